//! How fresh an answer must at least be, and whether the reader has it already.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use mesh_runtime::json::Json;
use mesh_runtime::{Problem, headers};
use serde::Serialize;

use crate::App;
use crate::error::Error;

/// Proof that everything the reader's consistency token names is in the read model, and what the
/// reader still has from before. As an extractor it waits; 400 for a token that is none of ours,
/// 503 if neither the read model nor the master gets there in time.
#[derive(Debug)]
pub struct Fresh {
    if_none_match: Option<HeaderValue>,
}

impl FromRequestParts<App> for Fresh {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        if let Some(token) = token(&parts.headers, app)? {
            app.projection.await_token(&token).await?;
        }
        Ok(Self {
            if_none_match: parts.headers.get(header::IF_NONE_MATCH).cloned(),
        })
    }
}

impl Fresh {
    /// The answer under its tag, without body if the reader has it.
    pub fn answer(&self, tag: &str, body: impl Serialize) -> Response {
        let tag = format!("\"{tag}\"");
        let mut response = if self.is_known(&tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            Json(body).into_response()
        };
        let tag = HeaderValue::from_str(&tag).expect("numbers and dots are visible ASCII");
        response.headers_mut().insert(header::ETAG, tag);
        // Every caller sees it differently, and asks each time whether it changed.
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

fn token(from: &HeaderMap, app: &App) -> Result<Option<Vec<(String, u64)>>, Problem> {
    let Some(token) = from.get(headers::CONSISTENCY) else {
        return Ok(None);
    };
    let token = token.to_str().ok().and_then(|token| app.signer.verify(token).ok());
    token.map(Some).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "consistency_token_malformed",
            "Tiffin-Consistency is not a token that we gave",
        )
    })
}
