//! SMTP as a server speaks it (RFC 5321, its core), one task per connection.
//!
//! Offers no TLS and no login: it stands on loopback, and what it takes goes nowhere.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mesh_runtime::Shutdown;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::office::{Mood, Office};

/// Connections at once; more wait.
const CONNECTIONS_MAX: usize = 128;

/// RFC 5321 allows 512 bytes a command; some senders take more.
const LINE_BYTES_MAX: usize = 2_048;

/// RFC 5321's least.
const RECIPIENTS_MAX: usize = 100;

/// A hundred times what we send.
const MAIL_BYTES_MAX: usize = 1024 * 1024;

/// A sender who says nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Takes mails until shutdown.
pub async fn serve(listener: TcpListener, office: Office, shutdown: Shutdown) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
        let connection = tokio::select! {
            () = shutdown.triggered() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let Ok((connection, _)) = connection else {
            continue;
        };
        let (office, shutdown) = (office.clone(), shutdown.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.triggered() => {}
                ended = Session::new(connection, office).run() => {
                    if let Err(err) = ended {
                        tracing::debug!(error = %err, "connection broke");
                    }
                }
            }
            drop(place);
        });
    }
}

/// One connection and the mail that is being handed in over it.
struct Session {
    stream: BufStream<TcpStream>,
    office: Office,
    greeted: bool,
    from: Option<String>,
    to: Vec<String>,
}

impl Session {
    fn new(connection: TcpStream, office: Office) -> Self {
        Self {
            stream: BufStream::new(connection),
            office,
            greeted: false,
            from: None,
            to: Vec::new(),
        }
    }

    async fn run(mut self) -> io::Result<()> {
        self.say("220 sandbox-mail takes mails and delivers none").await?;
        while let Some(line) = self.line().await? {
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" | "HELO" => {
                    self.forget();
                    self.greeted = true;
                    self.say("250 sandbox-mail").await?;
                }
                "MAIL" => self.mail(rest).await?,
                "RCPT" => self.recipient(rest).await?,
                "DATA" => self.data().await?,
                "RSET" => {
                    self.forget();
                    self.say("250 forgotten").await?;
                }
                "NOOP" => self.say("250 nothing done").await?,
                "QUIT" => return self.say("221 bye").await,
                _ => self.say("502 not offered here").await?,
            }
        }
        Ok(())
    }

    async fn mail(&mut self, rest: &str) -> io::Result<()> {
        let Some(from) = path(rest, "FROM:") else {
            return self.say("501 MAIL FROM:<address>").await;
        };
        if !self.greeted || self.from.is_some() {
            return self.say("503 not now").await;
        }
        self.from = Some(from);
        self.say("250 from whom is noted").await
    }

    async fn recipient(&mut self, rest: &str) -> io::Result<()> {
        let Some(to) = path(rest, "TO:").filter(|to| !to.is_empty()) else {
            return self.say("501 RCPT TO:<address>").await;
        };
        if self.from.is_none() {
            return self.say("503 from whom?").await;
        }
        if self.to.len() == RECIPIENTS_MAX {
            return self.say("452 too many recipients").await;
        }
        match mood_towards(&to, self.office.mood()) {
            Mood::Refusing => self.say("550 5.1.1 nobody here is called that").await,
            Mood::PuttingOff => self.say("451 4.7.1 come again later").await,
            Mood::Accepting | Mood::Stalling => {
                self.to.push(to);
                self.say("250 to whom is noted").await
            }
        }
    }

    async fn data(&mut self) -> io::Result<()> {
        let Some(from) = self.from.clone().filter(|_| !self.to.is_empty()) else {
            return self.say("503 from whom, and to whom?").await;
        };
        if self
            .to
            .iter()
            .any(|to| mood_towards(to, self.office.mood()) == Mood::Stalling)
        {
            // The sender's patience ends it, or ours.
            tokio::time::sleep(SILENCE_MAX).await;
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.say("354 go on, end with a dot").await?;
        let Some(content) = self.content().await? else {
            self.forget();
            return self.say("552 too big").await;
        };
        let taken = self.office.take(&from, &self.to, &content);
        self.forget();
        match taken {
            Ok(number) => self.say(&format!("250 mail {number} is taken")).await,
            Err(err) => {
                tracing::error!(error = %err, "mail not written down");
                self.say("452 not written down").await
            }
        }
    }

    /// Up to the dot on a line of its own; `None` if it is too big, read to its end all the same.
    async fn content(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut content = Vec::new();
        let mut is_too_big = false;
        while let Some(line) = self.bytes(MAIL_BYTES_MAX).await? {
            if line == b".\r\n" {
                return Ok((!is_too_big).then_some(content));
            }
            // A dot at the beginning was doubled by the sender.
            let line = line.strip_prefix(b".").unwrap_or(&line);
            is_too_big |= content.len() + line.len() > MAIL_BYTES_MAX;
            if !is_too_big {
                content.extend_from_slice(line);
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn forget(&mut self) {
        self.from = None;
        self.to.clear();
    }

    async fn line(&mut self) -> io::Result<Option<String>> {
        let bytes = self.bytes(LINE_BYTES_MAX).await?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned()))
    }

    /// A line with its end; `None` when the sender hung up.
    async fn bytes(&mut self, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.stream).take(bytes_max as u64);
        let reading = bounded.read_until(b'\n', &mut line);
        tokio::time::timeout(SILENCE_MAX, reading).await??;
        match line.last() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(line)),
            Some(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    async fn say(&mut self, reply: &str) -> io::Result<()> {
        self.stream.write_all(reply.as_bytes()).await?;
        self.stream.write_all(b"\r\n").await?;
        self.stream.flush().await
    }
}

/// What stands between the angle brackets after `FROM:` or `TO:`; parameters after them are ignored.
fn path(rest: &str, keyword: &str) -> Option<String> {
    let head = rest.get(..keyword.len())?;
    let rest = rest[keyword.len()..].trim_start().strip_prefix('<')?;
    let (address, _) = rest.split_once('>')?;
    head.eq_ignore_ascii_case(keyword).then(|| address.to_owned())
}

fn mood_towards(to: &str, mood: Mood) -> Mood {
    if to.starts_with("refused") {
        Mood::Refusing
    } else if to.starts_with("put-off") {
        Mood::PuttingOff
    } else if to.starts_with("stalling") {
        Mood::Stalling
    } else {
        mood
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_stands_between_the_brackets() {
        let anna = Some("anna@example.org".to_owned());
        assert_eq!(path("TO:<anna@example.org>", "TO:"), anna);
        assert_eq!(path("to: <anna@example.org> NOTIFY=NEVER", "TO:"), anna);
        assert_eq!(path("FROM:<>", "FROM:"), Some(String::new()));
        for bad in ["", "TO", "TO:anna@example.org", "FROM:<anna@example.org>", "TO:<anna"] {
            assert_eq!(path(bad, "TO:"), None, "{bad}");
        }
    }
}
