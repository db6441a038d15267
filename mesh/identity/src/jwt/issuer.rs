//! Signing: user-master's half.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use mesh_contracts::id::{FoodPointId, UserId};
use mesh_contracts::user::Role;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use serde_json::{Value, json};

use super::{LIFETIME_MAX, Payload, TYP};

/// Length of an uncompressed P-256 point: a tag and two coordinates.
const POINT_BYTES: usize = 65;

/// A P-256 key that signs tokens, with its id.
#[derive(Clone)]
pub struct SigningKey {
    kid: String,
    pem: String,
    encoding: EncodingKey,
    x: String,
    y: String,
}

impl SigningKey {
    /// A new key.
    pub fn generate() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("the system has randomness");
        Self::of(&pair).expect("a fresh key is a good one")
    }

    /// The key that [`SigningKey::to_pem`] wrote.
    ///
    /// # Errors
    /// When it is no P-256 key in PKCS #8 PEM.
    pub fn from_pem(pem: &str) -> Result<Self, BadKey> {
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(pem, &PKCS_ECDSA_P256_SHA256).map_err(|_| BadKey)?;
        Self::of(&pair)
    }

    /// The key as PKCS #8 PEM. A secret.
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// The key's id: its thumbprint (RFC 7638), so that the same key has the same id everywhere.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    fn of(pair: &KeyPair) -> Result<Self, BadKey> {
        let point = pair.der_bytes();
        if point.len() != POINT_BYTES {
            return Err(BadKey);
        }
        let (x, y) = (
            URL_SAFE_NO_PAD.encode(&point[1..33]),
            URL_SAFE_NO_PAD.encode(&point[33..]),
        );
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
        let pem = pair.serialize_pem();
        let encoding = EncodingKey::from_ec_pem(pem.as_bytes()).map_err(|_| BadKey)?;
        Ok(Self {
            kid,
            pem,
            encoding,
            x,
            y,
        })
    }

    fn jwk(&self) -> Value {
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid, "x": self.x, "y": self.y })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SigningKey({})", self.kid)
    }
}

/// The text is no signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a P-256 key in PKCS #8 PEM")]
pub struct BadKey;

/// Issues access tokens. The first key signs; all of them are published, so that a new key can be
/// known everywhere before it signs, and an old one until its last token has expired.
#[derive(Debug, Clone)]
pub struct Issuer {
    keys: Vec<SigningKey>,
    issuer: String,
    audience: String,
}

impl Issuer {
    /// An issuer with its keys, newest first.
    ///
    /// # Panics
    /// Without a key.
    pub fn new(keys: Vec<SigningKey>, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        assert!(!keys.is_empty(), "an issuer needs a key");
        Self {
            keys,
            issuer: issuer.into(),
            audience: audience.into(),
        }
    }

    /// A token for a person, good for `lifetime` or [`LIFETIME_MAX`], whichever is shorter.
    pub fn access_token(&self, subject: &UserId, role: Role, points: &[FoodPointId], lifetime: Duration) -> String {
        let issued_s = mesh_runtime::clock::wall().as_second();
        let lifetime_s = i64::try_from(lifetime.min(LIFETIME_MAX).as_secs()).expect("ten minutes fit");
        let payload = Payload {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: *subject,
            iat: issued_s,
            exp: issued_s + lifetime_s,
            role,
            points: points.to_vec(),
        };
        let key = &self.keys[0];
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(TYP.to_owned());
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, &payload, &key.encoding).expect("a good key signs")
    }

    /// The public halves of all keys, for `/.well-known/jwks.json`.
    pub fn jwks(&self) -> Value {
        json!({ "keys": self.keys.iter().map(SigningKey::jwk).collect::<Vec<_>>() })
    }
}
