//! Read your writes: a signed note of what a reader must have seen.
//!
//! The token is base64url(JSON `[[stream, version], …]`), a dot, and base64url(HMAC-SHA256).
//! Signed, so that nobody makes readers wait for streams that never were.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode};

use crate::{Problem, headers};

/// How many streams a token names. A command writes few; readers wait for each.
pub const STREAMS_MAX: usize = 8;

/// Eight ids of 30 characters with their versions stay well below this.
const TOKEN_BYTES_MAX: usize = 1024;

/// Half of what HMAC-SHA256 can use; below it, guessing the secret becomes thinkable.
const SECRET_BYTES_MIN: usize = 16;

/// Signs and verifies tokens with the platform's one consistency secret.
#[derive(Clone)]
pub struct Signer {
    /// Shared: a copy of it costs more than many a signature.
    key: Arc<hmac::Key>,
}

impl Signer {
    /// A signer with the given secret.
    ///
    /// # Errors
    /// When the secret is shorter than 16 bytes.
    pub fn new(secret: &[u8]) -> Result<Self, WeakSecret> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(WeakSecret);
        }
        Ok(Self {
            key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)),
        })
    }

    /// The token that names these streams at these versions; of more than [`STREAMS_MAX`],
    /// the first ones.
    pub fn sign<S: AsRef<str>>(&self, streams: &[(S, u64)]) -> String {
        let named: Vec<(&str, u64)> = streams
            .iter()
            .take(STREAMS_MAX)
            .map(|(stream, version)| (stream.as_ref(), *version))
            .collect();
        let json = serde_json::to_vec(&named).expect("texts and numbers are JSON");
        let payload = URL_SAFE_NO_PAD.encode(json);
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, payload.as_bytes()));
        format!("{payload}.{tag}")
    }

    /// The four digits that a customer tells the courier at the door: the same for the same label
    /// (an order's id) in every service, and known to nobody without the secret.
    pub fn pin(&self, label: &str) -> String {
        // A prefix of its own, so that no token's tag ever gives a PIN away.
        let tag = hmac::sign(&self.key, format!("pin {label}").as_bytes());
        let number = tag
            .as_ref()
            .iter()
            .take(4)
            .fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
        format!("{:04}", number % 10_000)
    }

    /// What stands for a text that must not be kept, such as an e-mail address in a command's id:
    /// the same for the same text, and nobody without the secret can try out texts.
    pub fn fingerprint(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, format!("fingerprint {text}").as_bytes()))
    }

    /// What the token of a request names; `None` if it brings none. A token is nobody's own: it
    /// says how new an answer must be, never what of it its bearer may see.
    ///
    /// # Errors
    /// When it brings one that is none of this platform's: 400.
    pub fn demanded(&self, headers: &HeaderMap) -> Result<Option<Vec<(String, u64)>>, Problem> {
        let Some(token) = headers.get(headers::CONSISTENCY) else {
            return Ok(None);
        };
        let token = token.to_str().map_err(|_| BadToken)?;
        Ok(Some(self.verify(token)?))
    }

    /// The streams and versions that a token names.
    ///
    /// # Errors
    /// When this platform's secret did not sign it.
    pub fn verify(&self, token: &str) -> Result<Vec<(String, u64)>, BadToken> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(BadToken);
        }
        let (payload, tag) = token.split_once('.').ok_or(BadToken)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| BadToken)?;
        hmac::verify(&self.key, payload.as_bytes(), &tag).map_err(|_| BadToken)?;
        named(payload).ok_or(BadToken)
    }
}

impl From<BadToken> for Problem {
    fn from(_: BadToken) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "consistency_token_malformed",
            "Tiffin-Consistency is not a token that we gave",
        )
    }
}

/// What a token says it names, whoever signed it: for clients that note what they had seen.
pub fn said_by(token: &str) -> Option<Vec<(String, u64)>> {
    named(token.split_once('.')?.0)
}

fn named(payload: &str) -> Option<Vec<(String, u64)>> {
    let json = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&json).ok()
}

impl fmt::Debug for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Signer(…)")
    }
}

/// The secret is too short to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a consistency secret needs at least {SECRET_BYTES_MIN} bytes")]
pub struct WeakSecret;

/// The token was not signed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a consistency token of this platform")]
pub struct BadToken;
