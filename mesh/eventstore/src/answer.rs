//! What a command is answered: stored with its events, and the same whenever it comes again.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::aggregate::Aggregate;

/// The answer to a command, as stored: a replay gives it byte for byte.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: Box<RawValue>,
    /// The stream that was asked.
    pub stream: String,
    /// Its version after the command.
    pub version: u64,
    /// The version of its last change of status.
    pub status_version: u64,
    /// What else the command wrote, with versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<(String, u64)>,
}

/// What came of a submitted request.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The answer.
    pub answer: Answer,
    /// It was carried out before; this time nothing was stored.
    pub replayed: bool,
}

impl Answer {
    /// The answer that shows a stream as it is.
    pub(crate) fn showing<A: Aggregate>(status: u16, stream: &str, state: Option<&A::State>, version: u64) -> Self {
        let body = state.map_or(Value::Null, |state| A::answer(stream, state, version));
        Self {
            status,
            body: raw(&body),
            stream: stream.to_owned(),
            version,
            status_version: state.map_or(0, A::status_version),
            also: Vec::new(),
        }
    }

    /// The body, parsed.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.body.get()).expect("a raw value is JSON")
    }

    /// `"<version>.<status_version>"`, as in the `ETag` header but without its quotes.
    pub fn tag(&self) -> String {
        format!("{}.{}", self.version, self.status_version)
    }

    pub(crate) fn to_stored(&self) -> String {
        serde_json::to_string(self).expect("an answer has text keys")
    }

    pub(crate) fn from_stored(stored: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(stored)
    }
}

fn raw(body: &Value) -> Box<RawValue> {
    RawValue::from_string(body.to_string()).expect("a value prints as JSON")
}
