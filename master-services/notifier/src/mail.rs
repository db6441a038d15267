//! Handing a mail in, over SMTP.
//!
//! A server's reply may quote the address it is about, so of a reply only the code goes any further.

use std::time::Duration;

use anyhow::Context as _;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use mesh_contracts::api::Contact;
use mesh_contracts::notification::{Failure, Job};

use crate::config::{Smtp, Tls};
use crate::domain::words;
use crate::error::Error;

/// A mail server that takes longer is taken for away. Below the ten seconds after which the database would end
/// whoever waits for the same order's turn.
const TIMEOUT: Duration = Duration::from_secs(8);

/// How we greet: the name of no machine.
const HELLO: &str = "notifier.tiffin";

/// Codes with which a server turns us away and not the mail: closing, or not content with who we say we are.
const TURNED_AWAY: [u16; 5] = [421, 530, 534, 535, 538];

/// The way to the mail server. Clones share nothing: each mail has a connection of its own.
#[derive(Clone)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mailer {
    pub fn new(config: Smtp) -> anyhow::Result<Self> {
        let from = config.from.parse().context("TIFFIN_MAIL_FROM is no mailbox")?;
        let tls = tls(&config)?;
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(config.host)
            .port(config.port)
            .tls(tls)
            .timeout(Some(TIMEOUT))
            .hello_name(ClientId::Domain(HELLO.to_owned()));
        if let Some((user, password)) = config.login {
            builder = builder.credentials(Credentials::new(user, password.expose().to_owned()));
        }
        Ok(Self {
            transport: builder.build(),
            from,
        })
    }

    /// Hands the mail in. `Some` failure: it will never be taken.
    pub async fn send(&self, job: &Job, to: &Contact) -> Result<Option<Failure>, Error> {
        let Some(mail) = self.mail(job, to) else {
            return Ok(Some(Failure::Refused));
        };
        match tokio::time::timeout(TIMEOUT, self.transport.send(mail)).await {
            Ok(Ok(_)) => Ok(None),
            Ok(Err(err)) => judge(err),
            Err(elapsed) => Err(Error::away("mail server", elapsed)),
        }
    }

    /// `None` if the address is none. The id is the same for every try, so that mail systems can tell a repeat.
    fn mail(&self, job: &Job, to: &Contact) -> Option<Message> {
        let address: Address = to.email.parse().ok()?;
        let words = words(job, to.language, &to.name);
        let id = format!("<{}.{}@tiffin>", job.order, job.occasion);
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(Some(to.name.clone()), address))
            .message_id(Some(id))
            .subject(words.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(words.text)
            .ok()
    }
}

fn tls(config: &Smtp) -> anyhow::Result<smtp::client::Tls> {
    let parameters = || -> anyhow::Result<TlsParameters> {
        let mut parameters = TlsParameters::builder(config.host.clone());
        if let Some(path) = &config.ca_file {
            let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            parameters = parameters.add_root_certificate(Certificate::from_pem(&pem)?);
        }
        Ok(parameters.build()?)
    };
    Ok(match config.tls {
        Tls::Wrapped => smtp::client::Tls::Wrapper(parameters()?),
        Tls::Starttls => smtp::client::Tls::Required(parameters()?),
        Tls::Off => smtp::client::Tls::None,
    })
}

fn judge(err: smtp::Error) -> Result<Option<Failure>, Error> {
    let Some(code) = err.status().map(u16::from) else {
        return Err(if err.is_response() {
            Error::away("mail server", "it does not speak SMTP")
        } else {
            Error::away("mail server", err)
        });
    };
    match code {
        turned_away if TURNED_AWAY.contains(&turned_away) => {
            Err(Error::away("mail server", format!("it answered {code}")))
        }
        400..=499 => Err(Error::PutOff(code)),
        _ => Ok(Some(Failure::Refused)),
    }
}
