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
use bytes::Bytes;
use http::Response;
use jiff::Timestamp;
use mesh_contracts::id::{OrderId, UserId};
use mesh_identity::ClientError;
use mesh_runtime::consistency::said_by;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::{Call, Reply};

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

impl Read {
    /// `None` without a token, or of an answer that is about another time than now.
    pub(super) fn of(
        call: &Call,
        subject: Option<UserId>,
        result: &Result<Response<Bytes>, ClientError>,
    ) -> Option<Self> {
        let asked: BTreeMap<String, u64> = said_by(call.seen()?)?.into_iter().collect();
        let response = result.as_ref().ok().filter(|response| response.status().is_success())?;
        let (path, query) = call.path().split_once('?').unwrap_or((call.path(), ""));
        if query.contains("as_of=") {
            return None;
        }
        let mut shown = BTreeMap::new();
        if let Ok(body) = serde_json::from_slice(response.body()) {
            gather(&mut shown, &body);
        }
        // Documents that do not say whose they are: the path does, and the tag which version.
        let reply = Reply::of(response.clone());
        let stream = match path {
            "/v1/basket" => subject.map(|subject| subject.basket().to_string()),
            _ => path
                .strip_prefix("/v1/orders/")
                .and_then(|rest| rest.strip_suffix("/payment"))
                .and_then(|order| Some(order.parse::<OrderId>().ok()?.payment().to_string())),
        };
        shown.extend(stream.map(|stream| (stream, reply.version)));
        shown.retain(|stream, _| asked.contains_key(stream));
        Some(Self {
            read_at: Timestamp::now(),
            path: call.path().to_owned(),
            asked,
            shown,
        })
    }
}

/// Every document in an answer that names itself and its version.
fn gather(shown: &mut BTreeMap<String, u64>, body: &Value) {
    if let (Some(id), Some(version)) = (body["id"].as_str(), body["version"].as_u64()) {
        shown.insert(id.to_owned(), version);
    }
    match body {
        Value::Array(items) => items.iter().for_each(|item| gather(shown, item)),
        Value::Object(members) => members.values().for_each(|member| gather(shown, member)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
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

impl Outcome {
    pub(super) fn of(result: &Result<Response<Bytes>, ClientError>) -> Self {
        match result {
            Ok(response) => Self::Answered {
                status: response.status().as_u16(),
                body: serde_json::from_slice(response.body())
                    .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(response.body()).into_owned())),
            },
            Err(err) => Self::Unknown { why: super::said(err) },
        }
    }
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

    pub(super) fn note(&self, line: &impl Serialize) {
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

    #[test]
    fn a_read_notes_what_of_the_token_it_was_shown() {
        let customer = UserId(uuid::Uuid::from_u128(7));
        let (order, basket) = (OrderId(uuid::Uuid::from_u128(9)), customer.basket().to_string());
        let (id, payment) = (order.to_string(), order.payment().to_string());
        let signer = mesh_runtime::consistency::Signer::new(&[7; 32]).expect("long enough");
        let token = signer.sign(&[(id.as_str(), 4), (basket.as_str(), 2), (payment.as_str(), 1)]);
        let shown = |path: &str, body: Value| {
            let answer = Response::builder()
                .header("etag", "\"6.3\"")
                .body(Bytes::from(body.to_string()));
            let call = Call::get(path).having_seen(Some(token.clone()));
            let read = Read::of(&call, Some(customer), &Ok(answer.expect("an answer")));
            read.map(|read| read.shown.into_iter().collect::<Vec<_>>())
        };
        let document = serde_json::json!({ "id": id, "version": 5 });
        let seen = Some(vec![(id.clone(), 5)]);
        assert_eq!(shown(&format!("/v1/orders/{id}"), document.clone()), seen);
        let list = serde_json::json!({ "items": [document, { "id": "ord_other", "version": 1 }] });
        assert_eq!(shown("/v1/orders?limit=2", list), seen);
        assert_eq!(
            shown("/v1/basket", serde_json::json!({})),
            Some(vec![(basket.clone(), 6)])
        );
        let paid = shown(&format!("/v1/orders/{id}/payment"), serde_json::json!({}));
        assert_eq!(paid, Some(vec![(payment.clone(), 6)]));
        assert_eq!(
            shown(
                &format!("/v1/orders/{id}?as_of=2026-03-01T12:00:00Z"),
                serde_json::json!({})
            ),
            None
        );
        assert_eq!(
            Read::of(&Call::get("/v1/basket"), Some(customer), &Ok(Response::default())),
            None
        );
    }
}
