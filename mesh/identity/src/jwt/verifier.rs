//! Verifying: the gateway's half. Keys are fetched, kept through outages of the issuer, and
//! fetched at once when a token names one that is not known yet.
//!
//! Two promises meet here: the issuer is asked at most once in [`FETCH_SPACING`], and a new key
//! works at once. They hold together because a key is published long before it signs, so that the
//! regular refresh has brought it when its first token arrives. Whoever invents key ids can use up
//! the next fetch, but every fetch brings all keys: under such an attack ours are at most one
//! spacing old instead of one refresh. Only a key that signs within a spacing of being published,
//! as after a withdrawal without a successor, can be refused for as long as that.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use mesh_runtime::{Shutdown, clock};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Claims, LIFETIME_MAX, Payload, Refused, TYP};

/// Clocks of two machines differ by less.
const LEEWAY: Duration = Duration::from_secs(5);
/// A key that is withdrawn is refused everywhere after this.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// The issuer is asked at most once in this time, whatever the reason: a refresh, a try after a
/// failed one, or key ids that nobody knows, however many are invented.
const FETCH_SPACING: Duration = Duration::from_secs(10);
/// Until the first keys are there nobody comes in at all, so it is tried sooner: after this, then
/// after twice as long each time, up to the spacing.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// A fetch that takes longer has failed; it holds up the requests that wait for it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
/// Longer texts are not our tokens: a kitchen with fifty points stays below half of it.
const TOKEN_BYTES_MAX: usize = 4096;
/// Verified tokens remembered: everyone who is active within ten minutes on one gateway.
const CACHE_TOKENS_MAX: u64 = 20_000;

type BoxError = Box<dyn StdError + Send + Sync>;
type Fetch = dyn Fn() -> Pin<Box<dyn Future<Output = Result<Value, BoxError>> + Send>> + Send + Sync;
type Fingerprint = [u8; 32];

/// Verifies access tokens of one issuer for one audience. Clones share keys and cache.
#[derive(Clone)]
pub struct Verifier {
    inner: Arc<Inner>,
}

struct Inner {
    fetch: Box<Fetch>,
    validation: Validation,
    keys: ArcSwap<HashMap<String, DecodingKey>>,
    asked: Mutex<Asked>,
    verified: moka::sync::Cache<Fingerprint, Claims>,
}

/// When the issuer was asked, and when it is to be asked again.
struct Asked {
    /// Not sooner, whatever the reason.
    not_before: Instant,
    /// At the latest.
    refresh_at: Instant,
    /// The wait after a failure while no key is known.
    first_retry: Duration,
}

impl Verifier {
    /// A verifier that gets the issuer's JWKS by `fetch`. Knows no key until it is first needed
    /// or until [`Verifier::run`] fetches them.
    pub fn new<F, R, E>(fetch: F, issuer: &str, audience: &str) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.leeway = LEEWAY.as_secs();
        // We don't say it in ours, but who says it means it.
        validation.validate_nbf = true;
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let fetch = move || -> Pin<Box<dyn Future<Output = Result<Value, BoxError>> + Send>> {
            let fetched = fetch();
            Box::pin(async move { fetched.await.map_err(Into::into) })
        };
        let verified = moka::sync::Cache::builder()
            .max_capacity(CACHE_TOKENS_MAX)
            .time_to_live(LIFETIME_MAX)
            .build();
        let inner = Inner {
            fetch: Box::new(fetch),
            validation,
            keys: ArcSwap::default(),
            asked: Mutex::new(Asked {
                not_before: Instant::now(),
                refresh_at: Instant::now(),
                first_retry: FIRST_RETRY,
            }),
            verified,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Keeps the keys fresh until the shutdown.
    pub async fn run(&self, shutdown: Shutdown) {
        loop {
            let refresh_at = {
                let mut asked = self.inner.asked.lock().await;
                // A token with an unknown key may have had them fetched meanwhile.
                if asked.refresh_at <= Instant::now() {
                    self.inner.ask(&mut asked).await;
                }
                asked.refresh_at
            };
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep_until(refresh_at) => {}
            }
        }
    }

    /// What a token says, if it is one of the issuer's, for us, and in date.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn verify(&self, token: &str) -> Result<Claims, Refused> {
        if token.is_empty() {
            return Err(Refused::Missing);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refused::Invalid);
        }
        let fingerprint = fingerprint(token);
        if let Some(claims) = self.inner.verified.get(&fingerprint) {
            return in_date(claims);
        }
        let key = self.key_for(token).await?;
        let claims = self.inner.check(token, &key)?;
        self.inner.verified.insert(fingerprint, claims.clone());
        Ok(claims)
    }

    async fn key_for(&self, token: &str) -> Result<DecodingKey, Refused> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Invalid)?;
        let is_access_token = header.typ.as_deref().is_some_and(|typ| typ.eq_ignore_ascii_case(TYP));
        if header.alg != Algorithm::ES256 || !is_access_token || header.crit.is_some() {
            return Err(Refused::Invalid);
        }
        let kid = header.kid.ok_or(Refused::Invalid)?;
        if let Some(key) = self.inner.keys.load().get(&kid) {
            return Ok(key.clone());
        }
        self.fetch_for(&kid).await
    }

    /// Asks the issuer for a key that is not known, unless it was asked within the spacing.
    async fn fetch_for(&self, kid: &str) -> Result<DecodingKey, Refused> {
        let mut asked = self.inner.asked.lock().await;
        // Whoever held the lock may have fetched it.
        if let Some(key) = self.inner.keys.load().get(kid) {
            return Ok(key.clone());
        }
        if asked.not_before <= Instant::now() {
            self.inner.ask(&mut asked).await;
        }
        let keys = self.inner.keys.load();
        let unknown = if keys.is_empty() {
            Refused::KeysUnavailable
        } else {
            Refused::Invalid
        };
        keys.get(kid).cloned().ok_or(unknown)
    }
}

impl Inner {
    /// Fetches the keys; what was known stays when that fails.
    async fn ask(&self, asked: &mut Asked) {
        let at = Instant::now();
        // Said before it is done: a caller that gives up in the middle must not let the next one in at once.
        asked.not_before = at + FETCH_SPACING;
        asked.refresh_at = asked.not_before;
        if self.fetch_keys().await {
            asked.refresh_at = at + REFRESH_INTERVAL;
        } else if self.keys.load().is_empty() {
            asked.not_before = at + asked.first_retry;
            asked.refresh_at = asked.not_before;
            asked.first_retry = (asked.first_retry * 2).min(FETCH_SPACING);
        }
    }

    /// Whether it succeeded.
    async fn fetch_keys(&self) -> bool {
        let answer = tokio::time::timeout(FETCH_TIMEOUT, (self.fetch)()).await;
        let keys = match answer {
            Ok(Ok(jwks)) => decoding_keys(&jwks),
            Ok(Err(err)) => {
                tracing::warn!(
                    error = &*err as &dyn StdError,
                    "signing keys could not be fetched, keeping the known ones"
                );
                return false;
            }
            Err(_) => {
                tracing::warn!("signing keys did not come in time, keeping the known ones");
                return false;
            }
        };
        if keys.is_empty() {
            tracing::warn!("the issuer names no usable signing key, keeping the known ones");
            return false;
        }
        let known = self.keys.load();
        let withdrawn = known.keys().any(|kid| !keys.contains_key(kid));
        self.keys.store(Arc::new(keys));
        if withdrawn {
            // What a withdrawn key has signed must not live on in the cache.
            self.verified.invalidate_all();
        }
        true
    }

    fn check(&self, token: &str, key: &DecodingKey) -> Result<Claims, Refused> {
        let decoded =
            jsonwebtoken::decode::<Payload>(token, key, &self.validation).map_err(|err| match err.kind() {
                ErrorKind::ExpiredSignature => Refused::Expired,
                _ => Refused::Invalid,
            })?;
        let payload = decoded.claims;
        let lifetime_s = payload.exp.checked_sub(payload.iat).ok_or(Refused::Invalid)?;
        let from_the_future = payload.iat > clock::wall().as_second() + LEEWAY.as_secs() as i64;
        if !(0..=LIFETIME_MAX.as_secs() as i64).contains(&lifetime_s) || from_the_future {
            return Err(Refused::Invalid);
        }
        let expires_at = Timestamp::from_second(payload.exp).map_err(|_| Refused::Invalid)?;
        Ok(Claims {
            subject: payload.sub,
            role: payload.role,
            points: payload.points,
            expires_at,
        })
    }
}

fn in_date(claims: Claims) -> Result<Claims, Refused> {
    let now_s = clock::wall().as_second();
    if claims.expires_at.as_second() + (LEEWAY.as_secs() as i64) < now_s {
        Err(Refused::Expired)
    } else {
        Ok(claims)
    }
}

/// The ES256 keys of a JWKS; what else is in it is not for us.
fn decoding_keys(jwks: &Value) -> HashMap<String, DecodingKey> {
    let keys = jwks["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    keys.iter()
        .filter(|key| key["kty"] == "EC" && key["crv"] == "P-256")
        .filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok())
        .filter_map(|jwk| Some((jwk.common.key_id.clone()?, DecodingKey::from_jwk(&jwk).ok()?)))
        .collect()
}

/// Caches keep no tokens, only what identifies them.
fn fingerprint(token: &str) -> Fingerprint {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    fingerprint
}
