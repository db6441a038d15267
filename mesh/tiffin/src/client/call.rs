//! One call, and the three things that can come of it: an answer, a refusal, and not knowing.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use mesh_runtime::headers;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::{ATTEMPT_TIMEOUT, PATIENCE};

/// A call, the same however often it is sent.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    path: String,
    key: Option<String>,
    body: Bytes,
    seen: Option<String>,
    last_event_id: Option<String>,
    timeout: Duration,
    patience: Duration,
}

/// What is said again in a second is not worth more.
const FLEETING_TIMEOUT: Duration = Duration::from_secs(1);

impl Call {
    /// A question.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A command under a fresh key.
    pub fn post(path: impl Into<String>, body: &impl Serialize) -> Self {
        let fresh = Uuid::now_v7().to_string();
        Self::new(Method::POST, path).with_body(body).keyed(fresh)
    }

    /// Makes a thing be so; no key needed.
    pub fn put(path: impl Into<String>, body: &impl Serialize) -> Self {
        Self::new(Method::PUT, path).with_body(body)
    }

    /// Changes a part of a thing; no key needed.
    pub fn patch(path: impl Into<String>, body: &impl Serialize) -> Self {
        Self::new(Method::PATCH, path).with_body(body)
    }

    /// Removes a thing; no key needed.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            key: None,
            body: Bytes::new(),
            seen: None,
            last_event_id: None,
            timeout: ATTEMPT_TIMEOUT,
            patience: PATIENCE,
        }
    }

    fn with_body(self, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("requests have string keys and finite numbers");
        Self {
            body: body.into(),
            ..self
        }
    }

    /// Under a key of the caller's own, so that a later run sends the same.
    pub fn keyed(self, key: impl Into<String>) -> Self {
        Self {
            key: Some(key.into()),
            ..self
        }
    }

    /// Without a key, for the routes that take none.
    pub fn unkeyed(self) -> Self {
        Self { key: None, ..self }
    }

    /// The answer must show what this token stands for.
    pub fn having_seen(self, token: Option<String>) -> Self {
        Self { seen: token, ..self }
    }

    /// Resumes a live stream behind this stamp.
    pub(crate) fn resuming(self, stamp: Option<String>) -> Self {
        Self {
            last_event_id: stamp,
            ..self
        }
    }

    /// Sent once: if it is lost, the next one of its kind says more.
    pub fn fleeting(self) -> Self {
        Self {
            timeout: FLEETING_TIMEOUT,
            patience: Duration::ZERO,
            ..self
        }
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    pub(super) fn seen(&self) -> Option<&str> {
        self.seen.as_deref()
    }

    pub(super) fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The call without its body, for messages.
    pub(super) fn what(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Tells two bodies apart without keeping either.
    pub(super) fn body_hash(&self) -> String {
        Uuid::new_v5(&Uuid::NAMESPACE_OID, &self.body).simple().to_string()
    }
}

/// A definite yes.
#[derive(Debug, Clone)]
pub struct Reply {
    /// 2xx.
    pub status: StatusCode,
    /// The version in the `ETag`, 0 without one.
    pub version: u64,
    /// What a later question must have seen.
    pub token: Option<String>,
    /// As it came.
    pub body: Bytes,
    /// From the first attempt to the last byte of the answer.
    pub took: Duration,
}

impl Reply {
    pub(super) fn of(response: Response<Bytes>) -> Self {
        let text = |name: &http::HeaderName| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        Self {
            status: response.status(),
            version: text(&header::ETAG).as_deref().and_then(version_of).unwrap_or(0),
            token: text(&headers::CONSISTENCY),
            body: response.body().clone(),
            took: Duration::ZERO,
        }
    }

    /// The body as what the contract says it is.
    pub fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// The first half of `"<version>.<status_version>"`, weak or not.
pub(crate) fn version_of(etag: &str) -> Option<u64> {
    let tag = etag.trim_start_matches("W/").trim_matches('"');
    tag.split('.').next()?.parse().ok()
}

/// A definite no.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// 3xx or 4xx.
    pub status: StatusCode,
    /// The stable end of the problem's type; empty if there was no problem document.
    pub kind: String,
    /// The problem document.
    pub problem: Value,
    what: String,
}

impl Refusal {
    pub(super) fn of(call: &Call, status: StatusCode, body: &[u8]) -> Self {
        let problem: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let kind = problem["type"].as_str().and_then(|kind| kind.rsplit('/').next());
        Self {
            status,
            kind: kind.unwrap_or_default().to_owned(),
            what: call.what(),
            problem,
        }
    }

    /// The call cannot even be written down.
    pub(super) fn before_sending(call: &Call, err: &http::Error) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: String::new(),
            problem: Value::String(err.to_string()),
            what: call.what(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {} {}", self.what, self.status.as_u16(), self.kind)?;
        if let Some(detail) = self.problem["detail"].as_str() {
            write!(out, " ({detail})")?;
        }
        if let Some(errors) = self.problem["errors"].as_array() {
            for error in errors {
                let part = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
                write!(out, " [{}: {}]", part("field"), part("message"))?;
            }
        }
        Ok(())
    }
}

/// Why a call gave nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The answer is no, and stays no.
    #[error("{0}")]
    Refused(Refusal),
    /// Nobody gave a definite answer in time; it may have had its effect.
    #[error("{what}: no definite answer: {why}")]
    Unknown {
        /// Method and path.
        what: String,
        /// What the last attempt met.
        why: String,
    },
}

impl Failure {
    /// The kind of refusal, if it is one.
    pub fn kind(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&refusal.kind),
            Self::Unknown { .. } => None,
        }
    }

    /// The status of the refusal, if it is one.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            Self::Unknown { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_first_half_of_the_etag() {
        assert_eq!(version_of("\"17.3\""), Some(17));
        assert_eq!(version_of("W/\"17.3\""), Some(17));
        assert_eq!(version_of("\"x\""), None);
    }

    #[test]
    fn a_refusal_names_its_kind_and_the_fields() {
        let call = Call::get("/v1/menu");
        let body =
            br#"{"type":"https://tiffin.dev/problems/invalid","errors":[{"field":"country","message":"unknown"}]}"#;
        let refusal = Refusal::of(&call, StatusCode::UNPROCESSABLE_ENTITY, body);
        assert_eq!(refusal.kind, "invalid");
        assert_eq!(refusal.to_string(), "GET /v1/menu: 422 invalid [country: unknown]");
    }
}
