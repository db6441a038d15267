//! Commands over HTTP: their headers in, their answers and refusals out.
//!
//! Knows no route and no body.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use mesh_runtime::Problem;
use mesh_runtime::consistency::Signer;
use mesh_runtime::headers;
use uuid::Uuid;

use crate::answer::{Answer, Outcome};
use crate::request::v5;
use crate::streams::SubmitError;

/// Longest idempotency key.
const KEY_CHARS_MAX: usize = 255;

/// When to come again after a conflict or with a full mailbox: a run takes milliseconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The `Idempotency-Key` header: 1 to 255 visible ASCII characters. As an extractor it is
/// required; as `Option<IdempotencyKey>` it may be missing, not malformed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub String);

/// The status version that an `If-Match` header demands; `None` without one, or with `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IfMatch(pub Option<u64>);

/// The id of a command: who asks, for what (method and path with its ids filled in), and the
/// key that they gave it.
pub fn command_id(subject: &str, route: &str, key: &str) -> Uuid {
    v5(&[subject, route, key])
}

/// The answer as HTTP: stored status and body, `ETag: "<version>.<status_version>"`, and a
/// consistency token for every stream that the command wrote. A replay is equal byte for byte.
pub fn answer(outcome: Outcome, signer: &Signer) -> Response {
    let answer = outcome.answer;
    let mut written = vec![(answer.stream.clone(), answer.version)];
    written.extend(answer.also.iter().cloned());
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = Response::new(Body::from(answer.body.get().to_owned()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ETAG, ascii(&format!("\"{}\"", answer.tag())));
    headers.insert(headers::CONSISTENCY, ascii(&signer.sign(&written)));
    response
}

impl<R: Into<Problem>> From<SubmitError<R>> for Problem {
    fn from(err: SubmitError<R>) -> Self {
        match err {
            SubmitError::Rejected(rejection) => rejection.into(),
            SubmitError::Stale(current) => stale(&current),
            SubmitError::Conflict => {
                Self::conflict("conflict", "it was changed at the same time, try again").retry_after(RETRY_AFTER)
            }
            SubmitError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this idempotency key was used for another request",
            ),
            SubmitError::InFlight => Self::conflict("request_in_flight", "the same request is still being carried out")
                .retry_after(RETRY_AFTER),
            SubmitError::Overloaded => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "too many requests for the same thing",
            )
            .retry_after(RETRY_AFTER),
            SubmitError::Unavailable(why) => Self::unavailable("postgres", why),
        }
    }
}

/// 409 with the state that the caller has not seen.
fn stale(current: &Answer) -> Problem {
    Problem::conflict("stale", "it has changed since you read it")
        .with("current", current.json())
        .with("etag", format!("\"{}\"", current.tag()))
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        idempotency_key(parts)?.ok_or_else(|| key_required("the header is missing"))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        idempotency_key(parts)
    }
}

fn idempotency_key(parts: &Parts) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = parts.headers.get_all(headers::IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let key = value.as_bytes();
    let is_visible = key.iter().all(u8::is_ascii_graphic);
    if values.next().is_some() || !is_visible || !(1..=KEY_CHARS_MAX).contains(&key.len()) {
        return Err(key_required("one key of 1 to 255 visible ASCII characters"));
    }
    let key = String::from_utf8_lossy(key).into_owned();
    Ok(Some(IdempotencyKey(key)))
}

fn key_required(detail: &'static str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "idempotency_key_required",
        "an Idempotency-Key header is required",
    )
    .detail(detail)
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            return Ok(Self(None));
        };
        let value = value.to_str().unwrap_or_default().trim();
        if value == "*" {
            return Ok(Self(None));
        }
        let status_version = value
            .strip_prefix('"')
            .and_then(|tag| tag.strip_suffix('"'))
            .and_then(|tag| tag.split_once('.'))
            .and_then(|(_, status_version)| status_version.parse().ok());
        match status_version {
            Some(status_version) => Ok(Self(Some(status_version))),
            None => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "if_match_malformed",
                "If-Match is not an ETag that we gave",
            )),
        }
    }
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("digits, quotes and base64 are visible ASCII")
}
