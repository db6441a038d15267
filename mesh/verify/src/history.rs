//! `history.jsonl`: what clients sent under which key, what was answered, what stayed unknown, what they were shown when
//! they brought a token, and the stamps of what they heard on live streams.
//!
//! Holds no body that was sent and no token: only a hash of the one, so that two can be told apart.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use mesh_contracts::id::UserId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Its name in the data directory.
pub const FILE: &str = "history.jsonl";

/// One attempt to send one command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Wall time.
    pub sent_at: Timestamp,
    /// Until the outcome.
    pub took_ms: u64,
    /// Who sent it; nobody for a registration.
    pub subject: Option<UserId>,
    /// Always one that changes something.
    pub method: String,
    /// With its ids filled in.
    pub path: String,
    /// The idempotency key: with subject, method and path it names the command.
    pub key: String,
    /// Equal for equal bodies.
    pub body_hash: String,
    /// 1 for the first.
    pub attempt: u32,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// One answer to a question that brought a consistency token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Read {
    /// Wall time of the answer.
    pub read_at: Timestamp,
    /// With its ids filled in.
    pub path: String,
    /// The versions that the token names, by stream.
    pub asked: BTreeMap<String, u64>,
    /// The versions in the answer, of those streams that are in it.
    pub shown: BTreeMap<String, u64>,
}

/// Something with a stamp that a client heard on a live stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// Wall time.
    pub heard_at: Timestamp,
    /// Names the following, across all its connections.
    pub follower: String,
    /// With its ids filled in.
    pub path: String,
    /// As it came.
    pub stamp: String,
    /// It was a snapshot, which begins anew.
    pub snapshot: bool,
}

/// What a line of the file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// Of a live stream.
    Heard(Heard),
    /// What somebody was shown.
    Read(Read),
    /// Of a command.
    Sent(Line),
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// There was an answer.
    Answered {
        /// Any.
        status: u16,
        /// JSON, or the text if it was none.
        body: Value,
    },
    /// There was none: it may have had its effect or not.
    Unknown {
        /// What happened instead.
        why: String,
    },
}

/// Where lines go. Several processes may append to one file.
#[derive(Clone)]
pub struct History(Option<Arc<Mutex<File>>>);

impl History {
    /// Appends to a file, made if needed, readable by its owner alone.
    pub fn append_to(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(Some(Arc::new(Mutex::new(file)))))
    }

    /// Keeps nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// Appends a line.
    pub fn note(&self, line: &impl Serialize) {
        let Some(file) = &self.0 else { return };
        let mut text = serde_json::to_vec(line).expect("a line has string keys");
        text.push(b'\n');
        // In one write, so that lines of several processes do not mix.
        let written = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&text);
        if let Err(err) = written {
            tracing::error!(error = %err, "the history could not be written");
        }
    }
}

/// The lines of a file, oldest first; none if there is no file. A last line that was cut off by a crash is left out.
pub fn read(path: &Path) -> Result<Box<dyn Iterator<Item = Result<Entry>>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Box::new(std::iter::empty())),
        Err(err) => return Err(err).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut lines = BufReader::new(file).split(b'\n').peekable();
    Ok(Box::new(std::iter::from_fn(move || {
        let line = lines.next()?;
        let parsed = line
            .map_err(anyhow::Error::from)
            .and_then(|line| Ok(serde_json::from_slice(&line)?));
        let is_cut = parsed.is_err() && lines.peek().is_none();
        (!is_cut).then_some(parsed)
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_back_and_a_cut_one_at_the_end_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        let line = Line {
            sent_at: Timestamp::UNIX_EPOCH,
            took_ms: 3,
            subject: None,
            method: "POST".into(),
            path: "/v1/orders".into(),
            key: "k".into(),
            body_hash: "h".into(),
            attempt: 1,
            outcome: Outcome::Answered {
                status: 201,
                body: serde_json::json!({"id": "ord_x"}),
            },
        };
        let unknown = Line {
            attempt: 2,
            outcome: Outcome::Unknown { why: "cut".into() },
            ..line.clone()
        };
        let history = History::append_to(&path).expect("a file");
        let heard = Heard {
            heard_at: Timestamp::UNIX_EPOCH,
            follower: "f".into(),
            path: "/v1/couriers/me/live".into(),
            stamp: "7-1-a".into(),
            snapshot: true,
        };
        history.note(&line);
        history.note(&heard);
        let shown = Read {
            read_at: Timestamp::UNIX_EPOCH,
            path: "/v1/orders/ord_x".into(),
            asked: [("ord_x".to_owned(), 2)].into(),
            shown: [("ord_x".to_owned(), 3)].into(),
        };
        history.note(&shown);
        history.note(&unknown);
        OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(b"{\"sent_at\":"))
            .expect("written");
        let entries: Result<Vec<Entry>> = read(&path).expect("readable").collect();
        let expected = [
            Entry::Sent(line),
            Entry::Heard(heard),
            Entry::Read(shown),
            Entry::Sent(unknown),
        ];
        assert_eq!(entries.expect("all whole"), expected);
    }
}
