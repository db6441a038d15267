//! Handing a mail in, over SMTP.
//!
//! A server's reply may quote the address it is about, so of a reply only the code goes any further.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use lettre::Address;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use mesh_contracts::api::Contact;
use mesh_contracts::notification::{Failure, Job};
use tokio::time::Instant;

use crate::config::{Smtp, Tls};
use crate::domain::words;
use crate::error::Error;

/// How we greet: the name of no machine.
const HELLO: &str = "notifier.tiffin";

/// Codes with which a server turns us away and not the mail: closing, or not content with who we say we are.
const TURNED_AWAY: [u16; 5] = [421, 530, 534, 535, 538];

/// A connection that was silent for longer is asked whether it is still one.
const FRESH: Duration = Duration::from_secs(1);

/// The way to the mail server. Clones share the connections.
///
/// They are kept here and not in lettre's pool: that one also takes back a connection whose mail was given up half-way,
/// and the next mail would be answered with the words meant for that one. Here such a connection ends with its mail.
#[derive(Clone)]
pub struct Mailer {
    server: Arc<Server>,
    from: Mailbox,
}

struct Server {
    host: String,
    port: u16,
    tls: smtp::client::Tls,
    login: Option<Credentials>,
    /// Connections with nothing to do, and since when.
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

impl Mailer {
    pub fn new(config: Smtp) -> anyhow::Result<Self> {
        let from = config.from.parse().context("TIFFIN_MAIL_FROM is no mailbox")?;
        let tls = tls(&config)?;
        let login = config
            .login
            .map(|(user, password)| Credentials::new(user, password.expose().to_owned()));
        let server = Server {
            host: config.host,
            port: config.port,
            tls,
            login,
            idle: Mutex::default(),
        };
        Ok(Self {
            server: Arc::new(server),
            from,
        })
    }

    /// Hands the mail in, if that can be done until then. `Some` failure: it will never be taken.
    pub async fn send(&self, job: &Job, to: &Contact, until: Instant) -> Result<Option<Failure>, Error> {
        let Some(mail) = self.mail(job, to) else {
            return Ok(Some(Failure::Refused));
        };
        tokio::time::timeout_at(until, self.server.take(&mail))
            .await
            .unwrap_or_else(|elapsed| Err(Error::away("mail server", elapsed)))
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

impl Server {
    async fn take(&self, mail: &Message) -> Result<Option<Failure>, Error> {
        let mut connection = match self.kept().await {
            Some(connection) => connection,
            // Whatever it says before it has heard of a mail is not about the mail.
            None => self.connect().await.map_err(away)?,
        };
        match connection.send(mail.envelope(), &mail.formatted()).await {
            Ok(_) => {
                self.idle().push((connection, Instant::now()));
                Ok(None)
            }
            Err(err) => judge(err),
        }
    }

    async fn kept(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let (mut connection, since) = self.idle().pop()?;
            if since.elapsed() < FRESH || connection.test_connected().await {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, smtp::Error> {
        let hello = ClientId::Domain(HELLO.to_owned());
        let (wrapped, starttls) = match &self.tls {
            smtp::client::Tls::None => (None, None),
            smtp::client::Tls::Opportunistic(parameters) | smtp::client::Tls::Required(parameters) => {
                (None, Some(parameters.clone()))
            }
            smtp::client::Tls::Wrapper(parameters) => (Some(parameters.clone()), None),
        };
        let server = (self.host.as_str(), self.port);
        let mut connection = AsyncSmtpConnection::connect_tokio1(server, None, &hello, wrapped, None).await?;
        if let Some(parameters) = starttls {
            connection.starttls(parameters, &hello).await?;
        }
        if let Some(login) = &self.login {
            connection.auth(DEFAULT_MECHANISMS, login).await?;
        }
        Ok(connection)
    }

    /// A panic elsewhere leaves the list whole: nothing panics while it is held.
    fn idle(&self) -> MutexGuard<'_, Vec<(AsyncSmtpConnection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
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
    match err.status().map(u16::from) {
        Some(code) if TURNED_AWAY.contains(&code) => Err(away(err)),
        Some(code @ 400..=499) => Err(Error::PutOff(code)),
        Some(_) => Ok(Some(Failure::Refused)),
        // It lacks what this address takes, and no try changes that.
        None if err.is_client() => Ok(Some(Failure::Refused)),
        None => Err(away(err)),
    }
}

fn away(err: smtp::Error) -> Error {
    match err.status().map(u16::from) {
        Some(code) => Error::away("mail server", format!("it answered {code}")),
        None if err.is_response() => Error::away("mail server", "it does not speak SMTP"),
        None => Error::away("mail server", err),
    }
}
