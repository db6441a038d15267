//! Every refusal has its status and its name, and leaves nothing behind.

use http::Method;
use mesh_contracts::id::UserId;
use mesh_contracts::user::Role;
use mesh_identity::Caller;
use serde_json::{Value, json};

use crate::world::{self, address, caller, home, person};

fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

fn without(mut body: Value, member: &str) -> Value {
    body.as_object_mut().expect("an object").remove(member);
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_makes_no_sense_writes_nothing() {
    world::run(async |world| {
        let anna = || person("anna@example.org");
        let before = world.written().await;
        for (index, body) in [
            with(anna(), "email", json!("nobody")),
            with(anna(), "email", json!(format!("{}@example.org", "a".repeat(300)))),
            with(anna(), "password", json!("short")),
            with(anna(), "password", json!("x".repeat(129))),
            with(anna(), "password", json!(12_345_678)),
            with(anna(), "name", json!("  ")),
            with(anna(), "name", json!("x".repeat(121))),
            with(anna(), "name", json!("two\nlines")),
            with(anna(), "phone", json!("1".repeat(33))),
            with(anna(), "phone", json!("call me")),
            with(anna(), "role", json!("operator")),
            without(anna(), "name"),
            without(anna(), "email"),
        ]
        .into_iter()
        .enumerate()
        {
            let answer = world.register(&format!("key-{index}"), body.clone()).await;
            assert_eq!((answer.status, answer.kind().as_str()), (422, "invalid"), "{body}");
            assert_eq!(world.written().await, before, "{body}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_e_mail_in_use_and_a_key_in_use_are_refused() {
    world::run(async |world| {
        world.customer("anna@example.org").await;
        let before = world.written().await;
        let taken = world.register("another key", person("anna@example.org")).await;
        assert_eq!((taken.status, taken.kind().as_str()), (400, "idempotency_key_required"));
        let taken = world.register("another-key", person("ANNA@example.org")).await;
        assert_eq!((taken.status, taken.kind().as_str()), (409, "email_taken"));
        let other = with(person("anna@example.org"), "name", json!("Anna C."));
        let reused = world.register("register", other).await;
        assert_eq!((reused.status, reused.kind().as_str()), (422, "idempotency_key_reused"));
        let operator = world.operator().await;
        let before_staff = world.written().await;
        let courier = with(person("anna@example.org"), "country", json!("DE"));
        let taken = world.post("/couriers", Some(&operator), "c", courier).await;
        assert_eq!((taken.status, taken.kind().as_str()), (409, "email_taken"));
        assert_eq!(world.written().await, before_staff);
        assert_ne!(before, before_staff, "the operator has logged in");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_open_accounts_for_staff() {
    world::run(async |world| {
        let operator = world.operator().await;
        let before = world.written().await;
        let (couriers, staff) = ("/couriers", "/food-points/pnt_00000000000000000000000007/staff");
        let courier = || with(person("courier@example.org"), "country", json!("DE"));
        let cook = || person("cook@example.org");
        let refused = async |path: &str, by: Option<&Caller>, body: Value, status: u16, kind: &str| {
            let answer = world.post(path, by, "key", body.clone()).await;
            assert_eq!((answer.status, answer.kind().as_str()), (status, kind), "{path} {body}");
            assert_eq!(world.written().await, before, "{path} {body}");
        };
        for role in [Role::Customer, Role::Kitchen, Role::Courier] {
            let by = caller(UserId::new_v7(), role);
            refused(couriers, Some(&by), courier(), 403, "forbidden").await;
            refused(staff, Some(&by), cook(), 403, "forbidden").await;
        }
        refused(couriers, None, courier(), 401, "caller_unknown").await;
        refused(couriers, Some(&operator), without(courier(), "country"), 422, "invalid").await;
        refused(
            couriers,
            Some(&operator),
            with(courier(), "country", json!("Germany")),
            422,
            "invalid",
        )
        .await;
        refused(staff, Some(&operator), courier(), 422, "invalid").await;
        refused("/food-points/kitchen/staff", Some(&operator), cook(), 404, "not_found").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_data_is_checked_too() {
    world::run(async |world| {
        let anna = world.customer("anna@example.org").await;
        let nobody = caller(UserId::new_v7(), Role::Customer);
        let before = world.written().await;
        let refused = async |method: Method, path: &str, by: Option<&Caller>, body: Value, status: u16, kind: &str| {
            let answer = world.send(method, path, by, None, body.to_string()).await;
            assert_eq!((answer.status, answer.kind().as_str()), (status, kind), "{path} {body}");
            assert_eq!(world.written().await, before, "{path} {body}");
        };
        let one = format!("/me/addresses/{}", address(1));
        let at = |lat_e6: i64| json!({ "country": "DE", "at": { "lat_e6": lat_e6, "lon_e6": 0 } });
        for body in [
            with(home(), "text", json!(" ")),
            with(home(), "text", json!("x".repeat(301))),
            with(home(), "text", json!("bell\u{7}")),
            with(home(), "instructions", json!("x".repeat(301))),
            with(home(), "place", at(90_000_001)),
            with(
                home(),
                "place",
                json!({ "country": "xx", "at": { "lat_e6": 0, "lon_e6": 0 } }),
            ),
            with(home(), "owner", json!("me")),
            without(home(), "place"),
        ] {
            refused(Method::PUT, &one, Some(&anna), body, 422, "invalid").await;
        }
        refused(Method::PUT, "/me/addresses/home", Some(&anna), home(), 404, "not_found").await;
        refused(Method::PUT, &one, Some(&nobody), home(), 404, "not_found").await;
        refused(Method::PUT, &one, None, home(), 401, "caller_unknown").await;
        refused(Method::PATCH, "/me", Some(&anna), json!({}), 422, "invalid").await;
        refused(Method::PATCH, "/me", Some(&anna), json!({ "name": "" }), 422, "invalid").await;
        let klingon = json!({ "language": "tlh" });
        refused(Method::PATCH, "/me", Some(&anna), klingon, 422, "invalid").await;
        refused(
            Method::PATCH,
            "/me",
            Some(&anna),
            json!({ "email": "new@example.org" }),
            422,
            "invalid",
        )
        .await;
        refused(
            Method::PATCH,
            "/me",
            Some(&nobody),
            json!({ "name": "N" }),
            404,
            "not_found",
        )
        .await;
        refused(Method::DELETE, "/me", Some(&nobody), json!({}), 404, "not_found").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_none_writes_nothing() {
    world::run(async |world| {
        let before = world.written().await;
        let refused = async |path: &str, key: Option<&str>, body: String, status: u16, kind: &str| {
            let answer = world.send(Method::POST, path, None, key, body).await;
            assert_eq!((answer.status, answer.kind().as_str()), (status, kind), "{path}");
            assert_eq!(world.written().await, before, "{path}");
        };
        let body = || person("anna@example.org").to_string();
        refused("/users", None, body(), 400, "idempotency_key_required").await;
        refused("/users", Some("key"), "{".into(), 400, "malformed_json").await;
        refused("/sessions", None, "{}".into(), 422, "invalid").await;
        refused(
            "/sessions/refresh",
            None,
            r#"{"refresh_token":1}"#.into(),
            422,
            "invalid",
        )
        .await;
        let heavy = with(person("anna@example.org"), "name", json!("x".repeat(64 * 1024))).to_string();
        refused("/users", Some("key"), heavy, 413, "body_too_large").await;
    })
    .await;
}
