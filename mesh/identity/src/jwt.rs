//! Tokens of people: ES256, `typ: at+jwt` (RFC 9068), ten minutes at most.
//!
//! Knows nothing of passwords and refresh tokens; user-master keeps those. Token times are wall
//! time, whatever the business clock does.

mod issuer;
mod verifier;

use std::time::Duration;

use http::{HeaderMap, header};
use jiff::Timestamp;
use mesh_contracts::id::{FoodPointId, UserId};
use mesh_contracts::user::Role;
use mesh_runtime::Problem;
use serde::{Deserialize, Serialize};

pub use issuer::{BadKey, Issuer, SigningKey};
pub use verifier::Verifier;

/// No token lives longer, so a role that was taken away is gone after this.
pub const LIFETIME_MAX: Duration = Duration::from_secs(600);

/// The header's `typ` (RFC 9068), so that no other kind of token passes for an access token.
const TYP: &str = "at+jwt";

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who.
    pub subject: UserId,
    /// What they may do.
    pub role: Role,
    /// The food points that kitchen staff work at.
    pub points: Vec<FoodPointId>,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none.
    #[error("token missing")]
    Missing,
    /// It was good.
    #[error("token expired")]
    Expired,
    /// It is not one of ours, for us.
    #[error("token invalid")]
    Invalid,
    /// No key of the issuer could be had yet; the token may be good.
    #[error("signing keys unavailable")]
    KeysUnavailable,
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Missing => Self::unauthenticated("token_missing", "an access token is required"),
            Refused::Expired => Self::unauthenticated("token_expired", "the access token has expired"),
            Refused::Invalid => Self::unauthenticated("token_invalid", "the access token is not valid"),
            Refused::KeysUnavailable => Self::unavailable("user-master", refused),
        }
    }
}

/// The bearer token of a request.
///
/// # Errors
/// [`Refused::Missing`] without an `Authorization` header, [`Refused::Invalid`] for another
/// scheme or several of them.
pub fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refused::Missing)?;
    if values.next().is_some() {
        return Err(Refused::Invalid);
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .ok_or(Refused::Invalid)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim())
    } else {
        Err(Refused::Invalid)
    }
}

/// The payload as it is signed.
#[derive(Serialize, Deserialize)]
struct Payload {
    iss: String,
    aud: String,
    sub: UserId,
    iat: i64,
    exp: i64,
    role: Role,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    points: Vec<FoodPointId>,
}
