//! Every setting of notifier, with its default and the reason for it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use mesh_bus::BusConfig;
use mesh_eventstore::StoreConfig;
use mesh_eventstore::migrate::Owner;
use mesh_identity::{Upstream, Upstreams};
use mesh_runtime::Settings;
use mesh_runtime::process::Common;
use mesh_runtime::settings::Secret;

use crate::reactions::LANES;

/// What notifier is told when it starts.
pub struct Config {
    pub common: Common,
    pub store: StoreConfig,
    pub owner: Owner,
    pub bus: BusConfig,
    pub user_master: Upstream,
    pub smtp: Smtp,
    /// Pause before a mail that the mail server put off is tried again; grows with each try.
    pub retry_after: Duration,
}

/// How mails are handed in.
#[derive(Debug, Clone)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    /// Trusted beside the system's own.
    pub ca_file: Option<PathBuf>,
    pub login: Option<(String, Secret)>,
    /// Whom customers see as the sender.
    pub from: String,
}

/// Whether a mail server is spoken to in secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// From the first byte.
    Wrapped,
    /// After `STARTTLS`, without which nothing is said.
    Starttls,
    /// Never: on loopback alone, since a mail is personal data.
    Off,
}

impl FromStr for Tls {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "wrapped" => Ok(Self::Wrapped),
            "starttls" => Ok(Self::Starttls),
            "off" => Ok(Self::Off),
            _ => Err("is not wrapped, starttls or off"),
        }
    }
}

impl Config {
    /// Reads them; `settings.finish()` says whether they are good.
    pub fn from_settings(settings: &mut Settings) -> Self {
        let common = Common::from_settings(settings);
        let store = StoreConfig {
            // A batch holds a connection while its mails are handed in; the relay and the feed need theirs.
            pool_size: LANES as u32 + 3,
            // Events come with the sent log, in transactions of their own.
            batchers: 1,
            ..StoreConfig::from_settings(settings)
        };
        let retry_after_ms: u64 = settings.parse(
            "TIFFIN_NOTIFY_RETRY_MS",
            "60000",
            "first pause before a mail is tried again that the mail server put off; greylisting takes a minute",
        );
        Self {
            store,
            owner: Owner::from_settings(settings),
            bus: BusConfig::from_settings(settings, &common.region),
            user_master: Upstreams::from_settings(settings).get("user-master"),
            smtp: smtp(settings),
            retry_after: Duration::from_millis(retry_after_ms),
            common,
        }
    }
}

fn smtp(settings: &mut Settings) -> Smtp {
    const ADDRESS: &str = "TIFFIN_SMTP_ADDRESS";
    const TLS: &str = "TIFFIN_SMTP_TLS";
    const PASSWORD: &str = "TIFFIN_SMTP_PASSWORD";
    let address = settings.required(ADDRESS, "HOST:PORT of the mail server");
    let tls = settings.parse(
        TLS,
        "wrapped",
        "wrapped, starttls, or off, which only a server on loopback allows",
    );
    let ca_file = settings.text(
        "TIFFIN_SMTP_CA_FILE",
        "",
        "an authority to trust for it beside the system's own",
    );
    let user = settings.text("TIFFIN_SMTP_USER", "", "who we are to it; empty: it asks nobody");
    let password = settings.optional_secret(PASSWORD, "that user's");
    let from = settings.text(
        "TIFFIN_MAIL_FROM",
        "Tiffin <no-reply@tiffin.local>",
        "whom customers see as the sender",
    );
    let (host, port) = match address.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) if !host.is_empty() => (host.to_owned(), port),
        // A missing address has been refused already; do not complain twice.
        _ => {
            if !address.is_empty() {
                settings.refuse(ADDRESS, "is not HOST:PORT");
            }
            (String::new(), 0)
        }
    };
    if tls == Tls::Off && !host.is_empty() && !is_loopback(&host) {
        settings.refuse(TLS, "must not be off: the mail server is not on loopback");
    }
    if !user.is_empty() && password.is_none() {
        settings.refuse(PASSWORD, "is required with TIFFIN_SMTP_USER");
    }
    Smtp {
        host,
        port,
        tls,
        ca_file: (!ca_file.is_empty()).then(|| ca_file.into()),
        login: password.filter(|_| !user.is_empty()).map(|password| (user, password)),
        from,
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smtp_of(variables: &[(&str, &str)]) -> Result<Smtp, String> {
        let mut settings = Settings::of("notifier", variables.iter().copied());
        let smtp = smtp(&mut settings);
        settings.finish().map(|()| smtp).map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_mail_leaves_the_machine_only_in_secret() {
        let off = |address| smtp_of(&[("TIFFIN_SMTP_ADDRESS", address), ("TIFFIN_SMTP_TLS", "off")]);
        assert!(off("127.0.0.1:2525").is_ok());
        assert!(off("localhost:2525").is_ok());
        let refused = off("mail.example.org:25").expect_err("plain text");
        assert!(refused.contains("TIFFIN_SMTP_TLS"), "{refused}");
        let wrapped = smtp_of(&[("TIFFIN_SMTP_ADDRESS", "mail.example.org:465")]).expect("the default");
        assert_eq!(
            (wrapped.host.as_str(), wrapped.port, wrapped.tls),
            ("mail.example.org", 465, Tls::Wrapped)
        );
    }

    #[test]
    fn bad_settings_are_named() {
        let cases: [(&[(&str, &str)], &str); 4] = [
            (&[], "TIFFIN_SMTP_ADDRESS: is required"),
            (
                &[("TIFFIN_SMTP_ADDRESS", "mail")],
                "TIFFIN_SMTP_ADDRESS: is not HOST:PORT",
            ),
            (
                &[("TIFFIN_SMTP_ADDRESS", "mail:465"), ("TIFFIN_SMTP_TLS", "maybe")],
                "TIFFIN_SMTP_TLS: is not wrapped, starttls or off",
            ),
            (
                &[("TIFFIN_SMTP_ADDRESS", "mail:465"), ("TIFFIN_SMTP_USER", "us")],
                "TIFFIN_SMTP_PASSWORD: is required with TIFFIN_SMTP_USER",
            ),
        ];
        for (given, complaint) in cases {
            let refused = smtp_of(given).expect_err("refused");
            assert!(refused.contains(complaint), "{refused}");
        }
    }
}
