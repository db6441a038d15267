//! Which tokens count, and that an outage of the issuer refuses no good one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use mesh_contracts::id::{FoodPointId, UserId};
use mesh_contracts::user::Role;
use mesh_identity::jwt::{self, Issuer, Refused, SigningKey, Verifier};
use mesh_runtime::{Problem, Shutdown};
use serde_json::{Value, json};
use tokio::time::Instant;

const ISS: &str = "https://tiffin.local";
const AUD: &str = "tiffin";
/// The issuer is asked once in this time at most.
const FETCH_SPACING: Duration = Duration::from_secs(10);
/// And at least once in this.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// An issuer's JWKS endpoint that can be taken down.
#[derive(Clone)]
struct Endpoint {
    jwks: Arc<Mutex<Value>>,
    down: Arc<AtomicBool>,
    fetches: Arc<AtomicUsize>,
    fetched_at: Arc<Mutex<Vec<Instant>>>,
}

impl Endpoint {
    fn of(issuer: &Issuer) -> Self {
        Self {
            jwks: Arc::new(Mutex::new(issuer.jwks())),
            down: Arc::default(),
            fetches: Arc::default(),
            fetched_at: Arc::default(),
        }
    }

    fn publish(&self, keys: &[&SigningKey]) {
        let keys = keys.iter().copied().cloned().collect();
        *self.jwks.lock().unwrap() = Issuer::new(keys, ISS, AUD).jwks();
    }

    /// No two fetches were nearer to each other than the spacing.
    #[track_caller]
    fn was_left_in_peace(&self) {
        let fetched_at = self.fetched_at.lock().unwrap();
        let gaps = fetched_at.windows(2).map(|pair| pair[1] - pair[0]);
        let shortest = gaps.min().unwrap_or(FETCH_SPACING);
        assert!(shortest >= FETCH_SPACING, "asked again after {shortest:?}");
    }

    fn verifier(&self) -> Verifier {
        let endpoint = self.clone();
        let fetch = move || {
            let endpoint = endpoint.clone();
            async move {
                endpoint.fetches.fetch_add(1, Ordering::Relaxed);
                endpoint.fetched_at.lock().unwrap().push(Instant::now());
                if endpoint.down.load(Ordering::Relaxed) {
                    Err("issuer down")
                } else {
                    Ok(endpoint.jwks.lock().unwrap().clone())
                }
            }
        };
        Verifier::new(fetch, ISS, AUD)
    }
}

fn issuer(key: &SigningKey) -> Issuer {
    Issuer::new(vec![key.clone()], ISS, AUD)
}

fn token(issuer: &Issuer) -> String {
    issuer.access_token(&UserId::new_v7(), Role::Customer, &[], Duration::from_secs(600))
}

fn payload() -> Value {
    let now = Timestamp::now().as_second();
    json!({ "iss": ISS, "aud": AUD, "sub": UserId::new_v7(), "iat": now, "exp": now + 600, "role": "customer" })
}

fn header(key: &SigningKey) -> Header {
    let mut header = Header::new(Algorithm::ES256);
    header.typ = Some("at+jwt".to_owned());
    header.kid = Some(key.kid().to_owned());
    header
}

fn signed(key: &SigningKey, header: &Header, payload: &Value) -> String {
    jsonwebtoken::encode(
        header,
        payload,
        &EncodingKey::from_ec_pem(key.to_pem().as_bytes()).unwrap(),
    )
    .unwrap()
}

#[tokio::test]
async fn a_good_token_says_who_and_what() {
    let key = SigningKey::generate();
    let issuer = issuer(&key);
    let (subject, points) = (UserId::new_v7(), vec![FoodPointId::new_v7()]);
    let token = issuer.access_token(&subject, Role::Kitchen, &points, Duration::from_secs(60));
    let verifier = Endpoint::of(&issuer).verifier();
    for _ in 0..2 {
        let claims = verifier.verify(&token).await.unwrap();
        assert_eq!(
            (claims.subject, claims.role, &claims.points),
            (subject, Role::Kitchen, &points)
        );
    }
}

#[tokio::test]
async fn a_key_survives_its_storage() {
    let key = SigningKey::generate();
    let stored = SigningKey::from_pem(key.to_pem()).unwrap();
    assert_eq!(stored.kid(), key.kid());
    let verifier = Endpoint::of(&issuer(&key)).verifier();
    assert!(verifier.verify(&token(&issuer(&stored))).await.is_ok());
    assert!(SigningKey::from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----").is_err());
}

#[tokio::test]
async fn the_lifetime_is_ten_minutes_at_most() {
    let key = SigningKey::generate();
    let verifier = Endpoint::of(&issuer(&key)).verifier();
    let long = issuer(&key).access_token(&UserId::new_v7(), Role::Customer, &[], Duration::from_secs(86_400));
    let left = verifier
        .verify(&long)
        .await
        .unwrap()
        .expires_at
        .duration_since(Timestamp::now());
    assert!(left <= jiff::SignedDuration::from_secs(600), "{left}");

    let mut forged = payload();
    forged["exp"] = json!(Timestamp::now().as_second() + 3600);
    assert_eq!(
        verifier.verify(&signed(&key, &header(&key), &forged)).await,
        Err(Refused::Invalid)
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_token_refuses_it() {
    let key = SigningKey::generate();
    let verifier = Endpoint::of(&issuer(&key)).verifier();
    assert!(
        verifier.verify(&signed(&key, &header(&key), &payload())).await.is_ok(),
        "the control"
    );

    let now = Timestamp::now().as_second();
    let wrong = [
        ("iss", json!("https://elsewhere"), Refused::Invalid),
        ("aud", json!("other"), Refused::Invalid),
        ("sub", json!("ord_1"), Refused::Invalid),
        ("role", json!("emperor"), Refused::Invalid),
        ("exp", json!(now - 6), Refused::Expired),
        ("iat", json!(now + 60), Refused::Invalid),
    ];
    for (claim, value, expected) in wrong {
        let mut payload = payload();
        payload[claim] = value;
        assert_eq!(
            verifier.verify(&signed(&key, &header(&key), &payload)).await,
            Err(expected),
            "{claim}"
        );
        payload.as_object_mut().unwrap().remove(claim);
        assert_eq!(
            verifier.verify(&signed(&key, &header(&key), &payload)).await,
            Err(Refused::Invalid),
            "no {claim}"
        );
    }

    let mut not_yet = payload();
    not_yet["nbf"] = json!(Timestamp::now().as_second() + 60);
    assert_eq!(
        verifier.verify(&signed(&key, &header(&key), &not_yet)).await,
        Err(Refused::Invalid)
    );
    let mut other_type = header(&key);
    other_type.typ = Some("JWT".to_owned());
    assert_eq!(
        verifier.verify(&signed(&key, &other_type, &payload())).await,
        Err(Refused::Invalid)
    );
    let mut no_kid = header(&key);
    no_kid.kid = None;
    assert_eq!(
        verifier.verify(&signed(&key, &no_kid, &payload())).await,
        Err(Refused::Invalid)
    );
    assert_eq!(verifier.verify("").await, Err(Refused::Missing));
    assert_eq!(verifier.verify("a.b.c").await, Err(Refused::Invalid));
}

#[tokio::test]
async fn five_seconds_of_clock_difference_are_forgiven() {
    let key = SigningKey::generate();
    let verifier = Endpoint::of(&issuer(&key)).verifier();
    let mut payload = payload();
    payload["iat"] = json!(Timestamp::now().as_second() - 60);
    payload["exp"] = json!(Timestamp::now().as_second() - 2);
    assert!(verifier.verify(&signed(&key, &header(&key), &payload)).await.is_ok());
}

#[tokio::test]
async fn no_other_algorithm_counts() {
    let key = SigningKey::generate();
    let verifier = Endpoint::of(&issuer(&key)).verifier();

    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = json!({ "alg": "none", "typ": "at+jwt", "kid": key.kid() });
    assert_eq!(
        verifier
            .verify(&format!("{}.{}.", encoded(&none), encoded(&payload())))
            .await,
        Err(Refused::Invalid)
    );

    // The classic: the public key, as everyone can have it, used as a shared secret.
    let mut hs256 = header(&key);
    hs256.alg = Algorithm::HS256;
    let secret = EncodingKey::from_secret(issuer(&key).jwks()["keys"][0]["x"].as_str().unwrap().as_bytes());
    let forged = jsonwebtoken::encode(&hs256, &payload(), &secret).unwrap();
    assert_eq!(verifier.verify(&forged).await, Err(Refused::Invalid));
}

#[tokio::test]
async fn a_changed_token_is_refused_even_if_the_original_is_cached() {
    let key = SigningKey::generate();
    let verifier = Endpoint::of(&issuer(&key)).verifier();
    let good = token(&issuer(&key));
    verifier.verify(&good).await.unwrap();
    let (head, rest) = good.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let operator = json!({ "role": "operator" });
    let mut raised = payload();
    raised["role"] = operator["role"].clone();
    let forged = format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(raised.to_string()));
    assert_eq!(verifier.verify(&forged).await, Err(Refused::Invalid));
}

/// Keeps a verifier's keys fresh, as a gateway does.
fn running(verifier: &Verifier) -> Shutdown {
    let (verifier, shutdown) = (verifier.clone(), Shutdown::new());
    let until = shutdown.clone();
    tokio::spawn(async move { verifier.run(until).await });
    shutdown
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_fetched_at_once_but_not_at_will() {
    let (old, new) = (SigningKey::generate(), SigningKey::generate());
    let endpoint = Endpoint::of(&issuer(&old));
    let verifier = endpoint.verifier();
    verifier.verify(&token(&issuer(&old))).await.unwrap();

    tokio::time::sleep(FETCH_SPACING).await;
    endpoint.publish(&[&new, &old]);
    let asked_at = Instant::now();
    verifier.verify(&token(&issuer(&new))).await.unwrap();
    assert!(asked_at.elapsed() < Duration::from_secs(1));

    let fetches = endpoint.fetches.load(Ordering::Relaxed);
    for _ in 0..20 {
        let stranger = token(&issuer(&SigningKey::generate()));
        assert_eq!(verifier.verify(&stranger).await, Err(Refused::Invalid));
    }
    assert_eq!(
        endpoint.fetches.load(Ordering::Relaxed),
        fetches,
        "fetched for invented keys"
    );
}

#[tokio::test(start_paused = true)]
async fn invented_keys_do_not_keep_a_new_one_out() {
    let (old, new) = (SigningKey::generate(), SigningKey::generate());
    let endpoint = Endpoint::of(&issuer(&old));
    let verifier = endpoint.verifier();
    let shutdown = running(&verifier);
    let (known, first) = (token(&issuer(&old)), token(&issuer(&new)));
    let forged = token(&issuer(&SigningKey::generate()));
    for second in 0..300 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(verifier.verify(&forged).await, Err(Refused::Invalid));
        verifier.verify(&known).await.unwrap();
        if second == 100 {
            endpoint.publish(&[&old, &new]);
        }
        // Published for one spacing, and asked for at no favourable moment.
        if second == 111 {
            verifier.verify(&first).await.unwrap();
        }
    }
    endpoint.was_left_in_peace();
    shutdown.trigger();
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_published_for_a_refresh_costs_no_fetch_when_it_signs() {
    let (old, new) = (SigningKey::generate(), SigningKey::generate());
    let endpoint = Endpoint::of(&issuer(&old));
    let verifier = endpoint.verifier();
    let shutdown = running(&verifier);
    verifier.verify(&token(&issuer(&old))).await.unwrap();
    endpoint.publish(&[&old, &new]);
    tokio::time::sleep(REFRESH_INTERVAL + Duration::from_secs(1)).await;
    let fetches = endpoint.fetches.load(Ordering::Relaxed);
    verifier.verify(&token(&issuer(&new))).await.unwrap();
    assert_eq!(endpoint.fetches.load(Ordering::Relaxed), fetches);
    shutdown.trigger();
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_the_issuer_refuses_no_valid_token() {
    let (key, new) = (SigningKey::generate(), SigningKey::generate());
    let endpoint = Endpoint::of(&issuer(&key));
    let verifier = endpoint.verifier();
    let shutdown = running(&verifier);
    verifier.verify(&token(&issuer(&key))).await.unwrap();

    endpoint.down.store(true, Ordering::Relaxed);
    let forged = token(&issuer(&SigningKey::generate()));
    let down_at = Instant::now();
    while down_at.elapsed() < HOUR {
        // Never seen before, so it is the key that counts and not the cache.
        verifier.verify(&token(&issuer(&key))).await.unwrap();
        assert_eq!(verifier.verify(&forged).await, Err(Refused::Invalid));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // A JWKS without keys is no better than none.
    *endpoint.jwks.lock().unwrap() = json!({ "keys": [] });
    endpoint.down.store(false, Ordering::Relaxed);
    tokio::time::sleep(REFRESH_INTERVAL).await;
    verifier.verify(&token(&issuer(&key))).await.unwrap();

    endpoint.publish(&[&new, &key]);
    tokio::time::sleep(REFRESH_INTERVAL).await;
    verifier.verify(&token(&issuer(&new))).await.unwrap();
    endpoint.was_left_in_peace();
    shutdown.trigger();
}

#[tokio::test(start_paused = true)]
async fn the_first_keys_are_asked_for_more_often() {
    let key = SigningKey::generate();
    let endpoint = Endpoint::of(&issuer(&key));
    endpoint.down.store(true, Ordering::Relaxed);
    let verifier = endpoint.verifier();
    let shutdown = running(&verifier);
    tokio::time::sleep(Duration::from_secs(2)).await;
    endpoint.down.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let fetches = endpoint.fetches.load(Ordering::Relaxed);
    verifier.verify(&token(&issuer(&key))).await.unwrap();
    assert_eq!(endpoint.fetches.load(Ordering::Relaxed), fetches, "they were there");
    shutdown.trigger();
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_takes_its_cached_tokens_along() {
    let (old, new) = (SigningKey::generate(), SigningKey::generate());
    let endpoint = Endpoint::of(&issuer(&old));
    let verifier = endpoint.verifier();
    let cached = token(&issuer(&old));
    verifier.verify(&cached).await.unwrap();

    tokio::time::sleep(FETCH_SPACING).await;
    endpoint.publish(&[&new]);
    verifier.verify(&token(&issuer(&new))).await.unwrap();
    assert_eq!(verifier.verify(&cached).await, Err(Refused::Invalid));
}

#[tokio::test]
async fn before_any_key_is_known_the_answer_is_503_and_not_401() {
    let key = SigningKey::generate();
    let endpoint = Endpoint::of(&issuer(&key));
    endpoint.down.store(true, Ordering::Relaxed);
    let refused = endpoint.verifier().verify(&token(&issuer(&key))).await.unwrap_err();
    assert_eq!(refused, Refused::KeysUnavailable);
    assert_eq!(Problem::from(refused).status, StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn each_refusal_has_its_own_problem() {
    for (refused, kind) in [
        (Refused::Missing, "token_missing"),
        (Refused::Expired, "token_expired"),
        (Refused::Invalid, "token_invalid"),
    ] {
        let problem = Problem::from(refused);
        assert_eq!((problem.status, &*problem.kind), (StatusCode::UNAUTHORIZED, kind));
    }
}

#[test]
fn the_bearer_token_is_the_one_in_the_header() {
    let mut headers = HeaderMap::new();
    assert_eq!(jwt::bearer(&headers), Err(Refused::Missing));
    headers.insert("authorization", "Basic dXNlcjpwYXNz".parse().unwrap());
    assert_eq!(jwt::bearer(&headers), Err(Refused::Invalid));
    headers.insert("authorization", "bearer abc".parse().unwrap());
    assert_eq!(jwt::bearer(&headers), Ok("abc"));
    headers.append("authorization", "Bearer def".parse().unwrap());
    assert_eq!(jwt::bearer(&headers), Err(Refused::Invalid));
}
