//! Every refusal as `application/problem+json` (RFC 9457), with a stable `type`.
//!
//! What went wrong inside stays inside: the cause travels to the request log in a response
//! extension and never into the body.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::extract::rejection::{
    BytesRejection, ExtensionRejection, JsonRejection, MatchedPathRejection, PathRejection, QueryRejection,
};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tower_http::catch_panic::CatchPanicLayer;

use crate::telemetry;

/// Where the `type` of a problem lives. The documentation page explains each kind.
pub const TYPE_PREFIX: &str = "https://tiffin.dev/problems/";

/// What every problem may say about itself.
const MEMBERS: [&str; 6] = ["type", "title", "status", "detail", "errors", "trace_id"];

/// What a request body may weigh: a thousand basket lines fit; an attack on memory does not.
pub const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// What is read of a body that is refused anyway, so that its sender can hear why.
const DISCARD_BYTES_MAX: usize = 1024 * 1024;
/// How long. Who has not sent it by then may announce a body that never comes.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// A refusal, or a failure, as the caller sees it. Boxed, since results carry it everywhere;
/// read its parts as fields.
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

/// What a problem consists of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The stable name, such as `basket_empty`; the end of `type`.
    pub kind: Cow<'static, str>,
    /// The same for every occurrence of the kind.
    pub title: Cow<'static, str>,
    /// The HTTP status.
    pub status: StatusCode,
    /// What is special about this occurrence. Never personal data, never a cause.
    pub detail: Option<String>,
    /// What is wrong with which part of the input.
    pub errors: Vec<FieldError>,
    /// Further members, such as the current state of what could not be changed.
    pub extra: Map<String, Value>,
    retry_after: Option<Duration>,
    cause: Option<String>,
}

/// What is wrong with one part of the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldError {
    /// The path to it, such as `lines[2].quantity`.
    #[schema(example = "lines[2].quantity")]
    pub field: String,
    /// What is wrong.
    #[schema(example = "must be between 1 and 20")]
    pub message: String,
}

/// The body of a problem answer, for the contract.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct Document {
    /// The stable identifier of the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "https://tiffin.dev/problems/not_found")]
    pub kind: String,
    /// The same for every occurrence of the kind.
    #[schema(example = "there is no such thing")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 404)]
    pub status: u16,
    /// What is special about this occurrence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What is wrong with which part of the input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The trace to quote when asking for help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Further members.
    #[serde(flatten)]
    #[schema(ignore)]
    pub extra: Map<String, Value>,
}

impl Problem {
    /// A problem of a kind.
    pub fn new(status: StatusCode, kind: impl Into<Cow<'static, str>>, title: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            kind: kind.into(),
            title: title.into(),
            status,
            detail: None,
            errors: Vec::new(),
            extra: Map::new(),
            retry_after: None,
            cause: None,
        }))
    }

    /// 400 `bad_request`: the request cannot be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad_request",
            "the request cannot be understood",
        )
        .detail(detail)
    }

    /// 401: nobody is known to have asked. The kind says why.
    pub fn unauthenticated(kind: &'static str, title: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, kind, title)
    }

    /// 403 `forbidden`: whoever asks may not do this.
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "you may not do this")
    }

    /// 404 `not_found`: there is none, or it is not yours.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is no such thing")
    }

    /// 405 `method_not_allowed`.
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this cannot be done to that",
        )
    }

    /// 409 of a kind: the state does not allow it.
    pub fn conflict(kind: &'static str, title: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, kind, title)
    }

    /// 413 `body_too_large`.
    pub fn body_too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is too large")
            .with("limit_bytes", BODY_LIMIT_BYTES)
    }

    /// 422 `invalid`: understood, and wrong. Add the fields.
    pub fn invalid() -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "the input is not valid")
    }

    /// 429 `too_many_requests`.
    pub fn too_many_requests(retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "too many requests").retry_after(retry_after)
    }

    /// 500 `internal`: a mistake of ours.
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong on our side",
        )
        .because(cause)
    }

    /// 503 `unavailable`: something we need is not there; trying again later helps.
    pub fn unavailable(dependency: &str, cause: impl fmt::Display) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "something we depend on is unavailable",
        )
        .retry_after(Duration::from_secs(1))
        .because(format_args!("{dependency}: {cause}"))
    }

    /// 503 `overloaded`: there is more to do than can be done in time, and the asker is turned away before anything was
    /// done for them.
    pub fn overloaded(title: &'static str, retry_after: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", title).retry_after(retry_after)
    }

    /// Says what is special about this occurrence.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Says what is wrong with one part of the input.
    #[must_use]
    pub fn field(mut self, path: impl Into<String>, message: impl Into<String>) -> Self {
        self.0.errors.push(FieldError {
            field: path.into(),
            message: message.into(),
        });
        self
    }

    /// Adds a member to the body.
    ///
    /// # Panics
    /// In a debug build, if every problem has a member of that name: the body would have two.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        debug_assert!(!MEMBERS.contains(&key), "every problem has a {key}");
        self.0.extra.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a `Retry-After` header, in whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Remembers the cause for the request log. It is not part of the answer.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// The problem that another of our services answered with, to hand it on as it is.
    /// None if the body is no problem document.
    pub fn relayed(status: StatusCode, body: &Value) -> Option<Self> {
        let document: Document = serde_json::from_value(body.clone()).ok()?;
        let kind = document.kind.strip_prefix(TYPE_PREFIX)?.to_owned();
        let mut problem = Self::new(status, kind, document.title);
        problem.0.detail = document.detail;
        problem.0.errors = document.errors;
        problem.0.extra = document.extra;
        Some(problem)
    }

    /// The body as it is sent.
    pub fn document(&self) -> Document {
        Document {
            kind: format!("{TYPE_PREFIX}{}", self.kind),
            title: self.title.clone().into_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            errors: self.errors.clone(),
            trace_id: telemetry::trace_id(),
            extra: self.extra.clone(),
        }
    }
}

impl Deref for Problem {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.kind, self.status.as_u16())
    }
}

impl Error for Problem {}

/// Why an answer is a failure; a response extension that only the request log reads.
#[derive(Debug, Clone)]
pub struct Cause(pub String);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.document()).expect("a problem document is JSON");
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(wait) = self.0.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(cause) = self.0.cause {
            response.extensions_mut().insert(Cause(cause));
        }
        response
    }
}

/// A path whose ids do not parse names nothing that exists.
impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        match rejection {
            PathRejection::FailedToDeserializePathParams(_) => Self::not_found(),
            other => Self::internal(other),
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        // The cause without axum's preamble; it names the parameter.
        let message = Error::source(&rejection).map_or_else(|| rejection.to_string(), ToString::to_string);
        Self::bad_request("the query is not valid").field("query", without_values(&message))
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Self::body_too_large()
        } else {
            Self::bad_request("the body could not be read")
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::MissingJsonContentType(_) => crate::json::unsupported_media_type(),
            JsonRejection::BytesRejection(bytes) => bytes.into(),
            JsonRejection::JsonDataError(_) => Self::invalid(),
            other => Self::bad_request(other.to_string()),
        }
    }
}

/// A missing extension is a router put together wrongly.
impl From<ExtensionRejection> for Problem {
    fn from(rejection: ExtensionRejection) -> Self {
        Self::internal(rejection)
    }
}

impl From<MatchedPathRejection> for Problem {
    fn from(rejection: MatchedPathRejection) -> Self {
        Self::internal(rejection)
    }
}

/// Gives a router what keeps its refusals in one shape: 404 and 405 as problems, and a panic answered with 500 instead of
/// a torn connection.
pub fn layer<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(|| async { Problem::not_found() })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(CatchPanicLayer::custom(panicked))
}

/// Takes quoted input out of a parser's message, which would otherwise repeat what was sent.
pub(crate) fn without_values(message: &str) -> String {
    message.split('"').step_by(2).collect::<Vec<_>>().join("\"…\"")
}

/// An error and what led to it, for the log: most errors name only who failed and leave the why
/// to their source.
pub fn with_sources(err: &dyn Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Reads what a refused client is still sending, within reason: an answer sent before the body was taken reaches
/// nobody over HTTP/1, since the client finds its connection broken first.
async fn discard(body: Body) {
    // The limiter's error is the end of our patience; there is nothing else to do about it.
    let mut body = std::pin::pin!(http_body_util::Limited::new(body, DISCARD_BYTES_MAX));
    let read = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, read).await;
}

/// Hands on a request whose body is within the limit, or ends where the limit is.
pub(crate) async fn limit_body(request: Request, next: Next) -> Response {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > BODY_LIMIT_BYTES as u64) {
        discard(request.into_body()).await;
        return Problem::body_too_large().into_response();
    }
    // A body without a length is cut off where the limit is; extractors answer 413 then.
    let request = request.map(|body| Body::new(http_body_util::Limited::new(body, BODY_LIMIT_BYTES)));
    next.run(request).await
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("panic without a message");
    Problem::internal(format_args!("panic: {message}")).into_response()
}
