//! Signing keys: one follows another, and no token is refused for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use mesh_contracts::api::{KeyState, SigningKey};
use mesh_contracts::user::Role;
use mesh_identity::Caller;
use mesh_identity::jwt::Verifier;
use mesh_testkit::{ServiceProcess, eventually, eventually_in};
use serde_json::{Value, json};

use crate::world::{self, Answer, PASSWORD, World, caller};

/// So that one second after it was published a key may sign.
const LEAD: (&str, &str) = ("TIFFIN_SIGNING_KEY_LEAD_S", "1");

async fn keys(world: &World<'_>, operator: &Caller) -> Vec<SigningKey> {
    let answer = world
        .send(Method::GET, "/ops/signing-keys", Some(operator), None, Bytes::new())
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_slice(&answer.body).expect("keys")
}

async fn of_state(world: &World<'_>, operator: &Caller, state: KeyState) -> Option<String> {
    let keys = keys(world, operator).await;
    let mut found = keys.into_iter().filter(|key| key.state == state).map(|key| key.kid);
    found.next()
}

async fn retire(world: &World<'_>, by: &Caller, kid: &str) -> Answer {
    let path = format!("/ops/signing-keys/{kid}/retire");
    world.post(&path, Some(by), "retire", json!({})).await
}

async fn withdraw(world: &World<'_>, by: &Caller, kid: &str) -> Answer {
    let path = format!("/ops/signing-keys/{kid}");
    world.send(Method::DELETE, &path, Some(by), None, Bytes::new()).await
}

async fn published(world: &World<'_>) -> BTreeSet<String> {
    let answer = world.get("/jwks").await.json();
    assert!(!answer.to_string().contains(r#""d""#), "a private key is published");
    let keys = answer["keys"].as_array().expect("a JWKS").iter();
    keys.map(|key| key["kid"].as_str().expect("a name").to_owned())
        .collect()
}

async fn token(world: &World<'_>) -> String {
    world.login("anna@example.org", PASSWORD).await.session().access_token
}

/// Which key signed it, by its header.
fn kid_of(token: &str) -> String {
    let header = jwt_header(token);
    header["kid"].as_str().expect("a name").to_owned()
}

fn jwt_header(token: &str) -> Value {
    use base64::Engine as _;
    let head = token.split('.').next().expect("a header");
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(head)
        .expect("base64");
    serde_json::from_slice(&json).expect("JSON")
}

async fn is_good(verifier: &Verifier, token: &str) {
    verifier.verify(token).await.expect("a good token");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_key_is_published_from_the_beginning_and_does_not_sign() {
    world::run(async |world| {
        world.customer("anna@example.org").await;
        let operator = world.operator().await;
        let known = keys(world, &operator).await;
        let states: Vec<_> = known.iter().map(|key| key.state).collect();
        assert_eq!(states, [KeyState::Next, KeyState::Current]);
        assert_eq!(
            published(world).await,
            known.iter().map(|key| key.kid.clone()).collect()
        );
        assert_eq!(kid_of(&token(world).await), known[1].kid);
        let lead_s = known[0].signs_from.duration_since(known[0].published_at).as_secs();
        assert!(lead_s > 6 * 24 * 3600, "{lead_s} s");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_key_signs_no_more_and_what_it_signed_stays_good() {
    world::run_with(&[LEAD], async |world| {
        world.customer("anna@example.org").await;
        let operator = world.operator().await;
        let known = keys(world, &operator).await;
        let (next, current) = (known[0].kid.clone(), known[1].kid.clone());
        let old = token(world).await;
        let knows_both = world.verifier();
        is_good(&knows_both, &old).await;

        let answer = retire(world, &operator, &current).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let new = eventually("the next key signs", async || {
            let token = token(world).await;
            (kid_of(&token) == next).then_some(token)
        })
        .await;
        for verifier in [knows_both, world.verifier()] {
            is_good(&verifier, &old).await;
            is_good(&verifier, &new).await;
        }
        eventually("another one is published", async || {
            of_state(world, &operator, KeyState::Next).await
        })
        .await;
        assert_eq!(published(world).await.len(), 3);

        // A repeat changes nothing, and a key can't stop before it has begun.
        let before = keys(world, &operator).await;
        assert_eq!(retire(world, &operator, &current).await.status, 200);
        let waiting = &before[0].kid;
        assert_eq!(retire(world, &operator, waiting).await.kind(), "key_not_current");
        assert_eq!(retire(world, &operator, "nobody's").await.kind(), "not_found");
        assert_eq!(keys(world, &operator).await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_hurried_into_a_key_that_was_published_a_moment_ago() {
    world::run(async |world| {
        world.customer("anna@example.org").await;
        let operator = world.operator().await;
        let current = keys(world, &operator).await[1].kid.clone();
        assert_eq!(retire(world, &operator, &current).await.status, 200);
        let known = keys(world, &operator).await;
        assert_eq!(known[1].state, KeyState::Current);
        let lead_s = known[0].signs_from.duration_since(known[0].published_at).as_secs();
        assert_eq!(lead_s, 3600);
        assert_eq!(kid_of(&token(world).await), current);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_key_is_gone_with_all_it_signed() {
    world::run(async |world| {
        world.customer("anna@example.org").await;
        let operator = world.operator().await;
        let known = keys(world, &operator).await;
        let (next, current) = (known[0].kid.clone(), known[1].kid.clone());
        let session = world.login("anna@example.org", PASSWORD).await.session();
        assert_eq!(withdraw(world, &operator, &current).await.status, 200);
        assert!(!published(world).await.contains(&current));
        let refused = world.verifier().verify(&session.access_token).await;
        refused.expect_err("somebody else may have signed it");
        let again = world.refresh(&session.refresh_token).await.session().access_token;
        assert_eq!(kid_of(&again), next);
        is_good(&world.verifier(), &again).await;
        assert_eq!(withdraw(world, &operator, &current).await.kind(), "not_found");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_rotate_together_and_sign_with_nothing_that_is_not_published() {
    let fast = [("TIFFIN_SIGNING_KEY_PERIOD_S", "6"), ("TIFFIN_SIGNING_KEY_LEAD_S", "6")];
    world::run_with(&fast, async |world| {
        world.customer("anna@example.org").await;
        let operator = world.operator().await;
        let mut other = ServiceProcess::new(world.stage, world::SERVICE, env!("CARGO_BIN_EXE_user-master"));
        for (name, value) in fast {
            other = other.env(name, value);
        }
        other = other.migrated(&world.database).await;
        other.start().await;
        let (world, other) = (&*world, &mut other);
        let tokens = Mutex::new(BTreeMap::new());
        eventually_in("three keys have signed", Duration::from_secs(60), async || {
            for upstream in [world.service.upstream(), other.upstream()] {
                let session = world.login_at(&upstream, "anna@example.org", PASSWORD).await.session();
                // Each time with nothing but what the first replica publishes.
                is_good(&world.verifier(), &session.access_token).await;
                let kid = kid_of(&session.access_token);
                tokens.lock().unwrap().insert(kid, session.access_token);
            }
            (tokens.lock().unwrap().len() >= 3).then_some(())
        })
        .await;
        let tokens = tokens.into_inner().unwrap();
        let verifier = world.verifier();
        for token in tokens.values() {
            is_good(&verifier, token).await;
        }
        let known = keys(world, &operator).await;
        let not_retired = known.iter().filter(|key| key.state != KeyState::Retired).count();
        assert!(not_retired <= 2, "{known:?}");
        other.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_the_operators_business() {
    world::run(async |world| {
        let anna = world.customer("anna@example.org").await;
        let operator = world.operator().await;
        let before = keys(world, &operator).await;
        let current = &before[1].kid;
        for role in [Role::Customer, Role::Kitchen, Role::Courier] {
            let stranger = caller(anna.subject, role);
            let list = world
                .send(Method::GET, "/ops/signing-keys", Some(&stranger), None, Bytes::new())
                .await;
            for answer in [
                list,
                retire(world, &stranger, current).await,
                withdraw(world, &stranger, current).await,
            ] {
                assert_eq!((answer.status, answer.kind().as_str()), (403, "forbidden"), "{role:?}");
            }
        }
        assert_eq!(keys(world, &operator).await, before);
    })
    .await;
}
