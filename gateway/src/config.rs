//! Every setting of the gateway, with its default and the reason for it.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use mesh_contracts::geo::Country;
use mesh_identity::Upstreams;
use mesh_runtime::Settings;
use mesh_runtime::consistency::Signer;
use mesh_runtime::process::{self, Common, MeshTls};

use crate::limits::{Allowances, Counts};

/// What the process runs with.
pub struct Config {
    /// As every service has it.
    pub common: Common,
    /// The door for anyone; none behind an ingress.
    pub public: Option<Public>,
    /// Where the other services are.
    pub upstreams: Upstreams,
    /// Calls in flight to one service at most.
    pub calls_max: usize,
    /// What its calls to one service share; none: HTTP/1.1, and a connection for each.
    pub http2_connections: Option<NonZeroUsize>,
    /// Requests under way at most.
    pub requests_max: usize,
    /// What everybody may.
    pub allowances: Allowances,
    /// Where several gateways count together.
    pub counts: Option<Counts>,
    /// Joins the tokens of two masters into one.
    pub signer: Signer,
    /// Who must have issued a token.
    pub issuer: String,
    /// Whom a token must be for.
    pub audience: String,
    /// Whose menu the order page shows to a customer of whom nothing is known yet.
    pub home_country: Country,
}

/// The public listener.
pub struct Public {
    /// Where.
    pub listen: SocketAddr,
    /// With `tls.crt` and `tls.key`.
    pub tls_dir: PathBuf,
}

impl Config {
    /// Reads them; good once [`Settings::finish`] says so.
    pub fn from_settings(settings: &mut Settings) -> Self {
        let common = Common::from_settings(settings);
        Self {
            public: public(settings, &common),
            upstreams: Upstreams::from_settings(settings),
            calls_max: settings.parse(
                "TIFFIN_CALLS_MAX",
                "256",
                "calls in flight per service: half of it for browsing, three quarters with purchases, all with work",
            ),
            http2_connections: NonZeroUsize::new(settings.parse(
                "TIFFIN_HTTP2_CONNECTIONS",
                "0",
                "connections to each service that calls share by HTTP/2, a hundred at a time on each; 0: HTTP/1.1, and one \
                 for each call in flight",
            )),
            requests_max: settings.parse(
                "TIFFIN_REQUESTS_MAX",
                "1024",
                "requests under way in all, shared out in the same way; live streams count while they are opened",
            ),
            allowances: Allowances::from_settings(settings),
            counts: Counts::from_settings(settings),
            signer: process::signer(settings),
            issuer: settings.text(
                "TIFFIN_JWT_ISSUER",
                "https://tiffin.local",
                "tokens of other issuers are refused; must be what user-master signs with",
            ),
            audience: settings.text(
                "TIFFIN_JWT_AUDIENCE",
                "tiffin",
                "tokens for others are refused; must be what user-master signs with",
            ),
            home_country: home_country(settings),
            common,
        }
    }
}

fn public(settings: &mut Settings, common: &Common) -> Option<Public> {
    const LISTEN: &str = "TIFFIN_PUBLIC_LISTEN";
    const TLS_DIR: &str = "TIFFIN_PUBLIC_TLS_DIR";
    let listen = settings.text(
        LISTEN,
        "",
        "TLS for anyone, for one machine; empty: none, since an ingress has it",
    );
    let tls_dir = settings.text(
        TLS_DIR,
        "",
        "tls.crt and tls.key of the public listener, re-read when they change; empty: those of TIFFIN_TLS_DIR",
    );
    if listen.is_empty() {
        return None;
    }
    let tls_dir = match (&common.tls, tls_dir.as_str()) {
        (MeshTls::Mutual(own), "") => own.clone(),
        (MeshTls::Sidecar, "") => {
            settings.refuse(
                TLS_DIR,
                format!("is required with {LISTEN} behind a sidecar, where we have no other"),
            );
            return None;
        }
        _ => tls_dir.into(),
    };
    match listen.parse() {
        Ok(listen) => Some(Public { listen, tls_dir }),
        Err(err) => {
            settings.refuse(LISTEN, format!("{err}"));
            None
        }
    }
}

fn home_country(settings: &mut Settings) -> Country {
    const NAME: &str = "TIFFIN_HOME_COUNTRY";
    const DEFAULT: &str = "DE";
    let code = settings.text(
        NAME,
        DEFAULT,
        "the menu on the order page of a customer without basket and address",
    );
    Country::parse(&code).unwrap_or_else(|| {
        settings.refuse(NAME, "is not an ISO 3166-1 alpha-2 code");
        Country::parse(DEFAULT).expect("a country")
    })
}
