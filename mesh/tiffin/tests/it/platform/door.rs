//! The public door as anyone can knock at it: any method, any header, any bytes.
//!
//! The command line's client sends only what is well-formed.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use mesh_identity::{Client, ClientError, Upstream};
use mesh_runtime::headers;
use mesh_runtime::problem::TYPE_PREFIX;
use mesh_testkit::eventually_in;
use serde_json::{Value, json};

use super::{DEADLINE, PASSWORD, Shared, shared};

/// More than any step of the gateway's takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The public listener.
#[derive(Clone)]
pub struct Door {
    platform: &'static Shared,
    client: Client,
    upstream: Upstream,
}

/// A request to be sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Sent {
    /// With a JSON body and a fresh key, as an app would.
    pub fn json(method: Method, path: impl Into<String>, body: &Value) -> Self {
        let sent = Self::bare(method, path).with(header::CONTENT_TYPE, "application/json");
        let key = uuid::Uuid::now_v7().to_string();
        Self {
            body: body.to_string().into(),
            ..sent.with(headers::IDEMPOTENCY_KEY, &key)
        }
    }

    pub fn post(path: impl Into<String>, body: &Value) -> Self {
        Self::json(Method::POST, path, body)
    }

    pub fn put(path: impl Into<String>, body: &Value) -> Self {
        Self::json(Method::PUT, path, body)
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::bare(Method::GET, path)
    }

    fn bare(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// With a header, in the place of one of that name.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        let value = value.parse().expect("tests write good headers");
        self.headers.insert(name, value);
        self
    }

    /// Without a header.
    #[must_use]
    pub fn without(mut self, name: HeaderName) -> Self {
        self.headers.remove(name);
        self
    }

    /// With other bytes.
    #[must_use]
    pub fn saying(self, body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    /// Under an access token.
    #[must_use]
    pub fn by(self, token: &str) -> Self {
        self.with(header::AUTHORIZATION, &format!("Bearer {token}"))
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    fn of(answer: Response<Bytes>) -> Self {
        let (head, body) = answer.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    pub fn is_come_again(&self) -> bool {
        self.headers.contains_key(header::RETRY_AFTER)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The end of the `type` of a refusal that has everything a refusal must have; else what is wrong with it.
    pub fn problem_kind(&self) -> Result<String, String> {
        let said = String::from_utf8_lossy(&self.body);
        let media_type = self
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        if media_type != Some("application/problem+json") {
            return Err(format!("{} as {media_type:?}: {said}", self.status));
        }
        let document = self.json();
        let text = |member: &str| document[member].as_str().filter(|text| !text.is_empty());
        let is_whole =
            document["status"] == self.status.as_u16() && text("title").is_some() && text("trace_id").is_some();
        match text("type").and_then(|kind| kind.strip_prefix(TYPE_PREFIX)) {
            Some(kind) if is_whole => Ok(kind.to_owned()),
            Some(_) | None => Err(format!("{} with an incomplete problem: {said}", self.status)),
        }
    }
}

impl Door {
    /// The door of the shared platform.
    pub fn public() -> Self {
        Self::of(shared())
    }

    /// The door of a platform.
    pub fn of(platform: &'static Shared) -> Self {
        let running = platform.running();
        let client = Client::public_following(&running.certificates("gateway"));
        let url = running.public_url();
        let address = url.strip_prefix("https://").expect("the public API speaks TLS");
        Self {
            platform,
            client: client.expect("the authority's certificate is readable"),
            upstream: Upstream::new("gateway", address),
        }
    }

    /// An access token for one of a site's people.
    ///
    /// # Panics
    /// If they may not sign in.
    pub async fn token_of(&self, email: &str) -> String {
        self.signed_in(email, PASSWORD).await
    }

    /// An access token for the first operator.
    ///
    /// # Panics
    /// If there is none.
    pub async fn operators_token(&self) -> String {
        let running = self.platform.running();
        let (email, password) = running.operator().expect("the data directory knows");
        self.signed_in(email, &password).await
    }

    async fn signed_in(&self, email: &str, password: &str) -> String {
        let login = json!({"email": email, "password": password});
        let answer = self.send(Sent::post("/v1/sessions", &login)).await;
        let token = answer.json()["access_token"].as_str().map(str::to_owned);
        token.unwrap_or_else(|| panic!("{email} may not sign in: {answer:?}"))
    }

    /// Sends it until it has a definite answer: a busy machine may not get through the door at once, or be told to
    /// come again.
    ///
    /// # Panics
    /// If there is none in time.
    pub async fn send(&self, sent: Sent) -> Answer {
        let what = format!("{} {}", sent.method, sent.path);
        eventually_in(&what, DEADLINE, || async {
            match self.try_send(&sent).await {
                Ok(answer) => Some(answer).filter(|answer| !answer.is_come_again()),
                Err(err) if err.nothing_was_sent() => None,
                Err(err) => panic!("{what}: {err}: {:?}", std::error::Error::source(&err)),
            }
        })
        .await
    }

    /// Sends it once.
    pub async fn try_send(&self, sent: &Sent) -> Result<Answer, ClientError> {
        let mut request = Request::new(sent.body.clone());
        *request.method_mut() = sent.method.clone();
        *request.uri_mut() = sent.path.parse().expect("tests write good paths");
        *request.headers_mut() = sent.headers.clone();
        let answered = self.client.request_within(&self.upstream, request, TIMEOUT).await;
        answered.map(Answer::of)
    }
}
