//! How fresh an answer must at least be, and whether the reader has it already.
//!
//! Knows headers and tags, and no document.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mesh_runtime::Problem;
use mesh_runtime::consistency::Signer;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::connection::Projection;

/// What handlers of a read model share, as far as freshness is concerned.
pub trait ReadModel {
    /// The documents.
    fn projection(&self) -> &Projection;

    /// Knows genuine consistency tokens.
    fn signer(&self) -> &Signer;
}

impl<T: ReadModel> ReadModel for Arc<T> {
    fn projection(&self) -> &Projection {
        T::projection(self)
    }

    fn signer(&self) -> &Signer {
        T::signer(self)
    }
}

/// Proof that everything the reader's consistency token names is in the read model, and what the
/// reader still has from before. As an extractor it waits; 400 for a token that is none of ours,
/// 503 if neither the read model nor the master gets there in time.
#[derive(Debug)]
pub struct Fresh {
    is_demanded: bool,
    if_none_match: Option<HeaderValue>,
}

impl<S> FromRequestParts<S> for Fresh
where
    S: ReadModel + Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let token = state.signer().demanded(&parts.headers)?;
        if let Some(token) = &token {
            state.projection().await_token(token).await?;
        }
        Ok(Self {
            is_demanded: token.is_some(),
            if_none_match: parts.headers.get(header::IF_NONE_MATCH).cloned(),
        })
    }
}

impl Fresh {
    /// Whether the reader has seen something that the answer must contain.
    pub fn is_demanded(&self) -> bool {
        self.is_demanded
    }

    /// The answer under its tag, such as `version.status_version`; without body if the reader
    /// has it.
    pub fn answer(&self, tag: &str, body: &impl Serialize) -> Response {
        self.tagged(tag, || to_json(body))
    }

    /// The answer, tagged by its content since many streams make it; without body if the reader
    /// has it.
    pub fn answer_by_content(&self, body: &impl Serialize) -> Response {
        let body = to_json(body);
        self.tagged(&format!("{:016x}", xxh3_64(&body)), || body)
    }

    fn tagged(&self, tag: &str, body: impl FnOnce() -> Vec<u8>) -> Response {
        let tag = format!("\"{tag}\"");
        let mut response = if self.is_known(&tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, "application/json")], body()).into_response()
        };
        let tag = HeaderValue::from_str(&tag).expect("digits and dots are visible ASCII");
        response.headers_mut().insert(header::ETAG, tag);
        // Callers see different things of it, and each asks every time whether it changed.
        let policy = HeaderValue::from_static("private, no-cache");
        response.headers_mut().insert(header::CACHE_CONTROL, policy);
        response
    }

    fn is_known(&self, tag: &str) -> bool {
        let known = self.if_none_match.as_ref().and_then(|known| known.to_str().ok());
        known
            .into_iter()
            .flat_map(|known| known.split(','))
            .map(str::trim)
            .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
    }
}

fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("answers have string keys and finite numbers")
}
