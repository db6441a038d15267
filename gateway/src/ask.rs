//! What a client asked, as it is passed on: bytes unchanged, headers from a list, the caller from the token.
//!
//! Nothing a client sends reaches a service unless it is named here, so forged headers have no way through.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use jiff::Timestamp;
use mesh_identity::Caller;
use mesh_runtime::{Problem, headers, json};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::seats::Urgency;

/// How long a client may take to send its (small) body.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a live stream left off.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The payment provider's word that a webhook is its own.
pub(crate) const STRIPE_SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");

/// What a client may say to the services besides its body.
const PASSED: [HeaderName; 8] = [
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    headers::IDEMPOTENCY_KEY,
    headers::CONSISTENCY,
    // Replaced by our own span's, unless the log level leaves us without one.
    headers::TRACEPARENT,
    LAST_EVENT_ID,
    STRIPE_SIGNATURE,
];

/// Who asks, proven by a token; a request extension set at the door.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) caller: Caller,
    pub(crate) until: Timestamp,
}

/// One request to a service on somebody's behalf. As an extractor: the client's own, without its body.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Of the client's request, whatever is asked for its sake.
    pub(crate) urgency: Urgency,
    person: Option<Arc<Person>>,
}

/// A request with a JSON body that fits `T`. The bytes go on as they came; `said` is what they mean.
#[derive(Debug)]
pub(crate) struct Tell<T> {
    pub(crate) ask: Ask,
    pub(crate) said: T,
}

/// A request whose body is not ours to read.
#[derive(Debug)]
pub(crate) struct Raw(pub(crate) Ask);

impl Ask {
    /// Who asks.
    ///
    /// # Errors
    /// 500 on a route outside every guarded group, which is a router put together wrongly.
    pub(crate) fn person(&self) -> Result<&Person, Problem> {
        self.person
            .as_deref()
            .ok_or_else(|| Problem::internal("a route that needs a caller is not guarded"))
    }

    /// The idempotency key; the door has seen that it is there.
    pub(crate) fn key(&self) -> &str {
        self.header(&headers::IDEMPOTENCY_KEY).unwrap_or_default()
    }

    /// The same question elsewhere.
    pub(crate) fn at(self, path: &'static str) -> Self {
        Self {
            path: PathAndQuery::from_static(path),
            ..self
        }
    }

    /// The same, as something that work waits for.
    pub(crate) fn urgent(self) -> Self {
        Self {
            urgency: Urgency::Work,
            ..self
        }
    }

    /// Another question of the same person, with the same demand on freshness.
    pub(crate) fn also_get(&self, path: &str) -> Result<Self, Problem> {
        self.also(Method::GET, path, Bytes::new(), &[headers::CONSISTENCY])
    }

    /// A part of the same command, repeatable under the same key.
    pub(crate) fn also_post(&self, path: &str, body: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(body).map_err(Problem::internal)?;
        self.also(
            Method::POST,
            path,
            body.into(),
            &[header::CONTENT_TYPE, headers::IDEMPOTENCY_KEY],
        )
    }

    fn also(&self, method: Method, path: &str, body: Bytes, kept: &[HeaderName]) -> Result<Self, Problem> {
        let path = path.parse().map_err(Problem::internal)?;
        let mut headers = copied(&self.headers, kept);
        let person = self.person.clone();
        if let Some(person) = &person {
            person.caller.write(&mut headers);
        }
        Ok(Self {
            method,
            path,
            headers,
            body,
            urgency: self.urgency,
            person,
        })
    }

    /// Whether sending it twice does what sending it once does.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.method.is_safe() || self.method == Method::PUT || self.headers.contains_key(headers::IDEMPOTENCY_KEY)
    }

    pub(crate) fn request(self) -> http::Request<Bytes> {
        let mut request = http::Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = Uri::from(self.path);
        *request.headers_mut() = self.headers;
        request
    }

    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn of(parts: &Parts) -> Self {
        let person = parts.extensions.get::<Arc<Person>>().cloned();
        let mut headers = copied(&parts.headers, &PASSED);
        if let Some(person) = &person {
            person.caller.write(&mut headers);
        }
        // The answer's body is dropped on the way out, as HEAD wants it.
        let method = if parts.method == Method::HEAD {
            Method::GET
        } else {
            parts.method.clone()
        };
        let path = parts
            .uri
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        Self {
            method,
            path,
            headers,
            body: Bytes::new(),
            urgency: Urgency::of(&parts.method, person.as_ref().map(|person| person.caller.role)),
            person,
        }
    }
}

fn copied(from: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    // Room for the caller's headers, and for those of the call itself.
    let mut to = HeaderMap::with_capacity(names.len() + 6);
    for name in names {
        if let Some(value) = from.get(name) {
            to.insert(name, value.clone());
        }
    }
    to
}

impl<S: Sync> FromRequestParts<S> for Ask {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self::of(parts))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Tell<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !request.headers().get(header::CONTENT_TYPE).is_some_and(is_json) {
            return Err(unsupported_media_type());
        }
        let Raw(ask) = Raw::from_request(request, state).await?;
        let said = json::parse(&ask.body)?;
        Ok(Self { ask, said })
    }
}

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let ask = Ask::of(&parts);
        let body = Bytes::from_request(Request::new(body), state);
        let body = tokio::time::timeout(BODY_READ_TIMEOUT, body)
            .await
            .map_err(|_| too_slow())??;
        Ok(Self(Ask { body, ..ask }))
    }
}

fn is_json(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    })
}

fn unsupported_media_type() -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "the body must be application/json",
    )
}

fn too_slow() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body took too long")
}
