//! Every refusal has its status and its name, and leaves nothing behind.

use http::Method;
use mesh_contracts::id::DeliveryId;
use mesh_contracts::user::Role;
use mesh_identity::Caller;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{self, World, counter, door, operator, pin, stranger};

/// Refused, and nothing was written.
async fn refused(
    world: &World<'_>,
    courier: &Caller,
    delivery: DeliveryId,
    verb: &str,
    body: Value,
    expected: (u16, &str),
) {
    let before = world.written().await;
    let answer = world.tell(courier, delivery, verb, body.clone()).await;
    assert_eq!((answer.status, answer.kind().as_str()), expected, "{verb} {body}");
    assert_eq!(world.written().await, before, "{verb} {body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_not_yours_is_none() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&courier, delivery).await;
        let other = stranger();
        let unknown = DeliveryId(Uuid::from_u128(404));
        for (verb, body) in [
            ("accept", json!({})),
            ("decline", json!({})),
            ("drop", json!({})),
            ("pick-up", json!({})),
            ("deliver", json!({ "photo": "p" })),
            ("deliver", json!({ "pin": pin(delivery) })),
            ("fail", json!({ "reason": "customer_not_found" })),
        ] {
            refused(world, &other, delivery, verb, body.clone(), (404, "not_found")).await;
            refused(world, &courier, unknown, verb, body.clone(), (404, "not_found")).await;
            for role in [Role::Customer, Role::Kitchen, Role::Operator] {
                let person = Caller {
                    role,
                    ..courier.clone()
                };
                refused(world, &person, delivery, verb, body.clone(), (403, "forbidden")).await;
            }
        }
        let nonsense = world
            .send(Method::POST, "/deliveries/dlv_x/accept", &courier, Some("k"), json!({}))
            .await;
        assert_eq!((nonsense.status, nonsense.kind().as_str()), (404, "not_found"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_out_of_turn_is_refused_with_the_current_state() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let order = world.requested().await;
        let delivery = order.delivery();
        world.asked(&courier, delivery).await;
        for (verb, body) in [
            ("drop", json!({})),
            ("pick-up", json!({})),
            ("deliver", json!({ "photo": "p" })),
        ] {
            refused(world, &courier, delivery, verb, body, (409, "wrong_state")).await;
        }
        assert_eq!(world.tell(&courier, delivery, "accept", json!({})).await.status, 200);
        refused(world, &courier, delivery, "accept", json!({}), (409, "wrong_state")).await;
        refused(world, &courier, delivery, "pick-up", json!({}), (409, "not_ready")).await;
        world.ready(order).await;
        world.happened(delivery, "delivery.food_ready", 1).await;
        assert_eq!(world.tell(&courier, delivery, "pick-up", json!({})).await.status, 200);
        refused(world, &courier, delivery, "drop", json!({}), (409, "wrong_state")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_pin_or_a_photo_hands_over() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&courier, delivery).await;
        world.tell(&courier, delivery, "accept", json!({})).await;
        world.tell(&courier, delivery, "pick-up", json!({})).await;
        let right = pin(delivery);
        let wrong = if right == "0000" { "0001" } else { "0000" };
        refused(
            world,
            &courier,
            delivery,
            "deliver",
            json!({ "pin": wrong }),
            (422, "wrong_pin"),
        )
        .await;
        for body in [
            json!({}),
            json!({ "pin": right, "photo": "p" }),
            json!({ "pin": "123" }),
            json!({ "pin": "12345" }),
            json!({ "pin": "12a4" }),
            json!({ "pin": 1234 }),
            json!({ "photo": "" }),
            json!({ "photo": "x".repeat(65) }),
            json!({ "photo": "https://example.org/p" }),
            json!({ "photo": "p", "tip": 5 }),
        ] {
            refused(world, &courier, delivery, "deliver", body, (422, "invalid")).await;
        }
        refused(
            world,
            &courier,
            delivery,
            "fail",
            json!({ "reason": "bored" }),
            (422, "invalid"),
        )
        .await;
        assert_eq!(
            world
                .tell(&courier, delivery, "deliver", json!({ "pin": right }))
                .await
                .status,
            200
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_that_makes_no_sense_is_refused() {
    world::run(async |world| {
        let courier = world.registered().await;
        let before = world.written().await;
        let shift = async |caller: &Caller, body: Value, expected: (u16, &str)| {
            let answer = world.shift(caller, body.clone()).await;
            assert_eq!((answer.status, answer.kind().as_str()), expected, "{body}");
        };
        let here = counter();
        shift(&courier, json!({ "on": true }), (422, "invalid")).await;
        shift(&courier, json!({ "on": "yes", "at": here }), (422, "invalid")).await;
        shift(
            &courier,
            json!({ "on": true, "at": here, "speed_m_per_min": 9 }),
            (422, "invalid"),
        )
        .await;
        shift(
            &courier,
            json!({ "on": true, "at": here, "speed_m_per_min": -320 }),
            (422, "invalid"),
        )
        .await;
        shift(
            &courier,
            json!({ "on": true, "at": { "lat_e6": 90_000_001, "lon_e6": 0 } }),
            (422, "invalid"),
        )
        .await;
        shift(
            &courier,
            json!({ "on": true, "at": here, "car": true }),
            (422, "invalid"),
        )
        .await;
        shift(&stranger(), json!({ "on": true, "at": here }), (404, "not_found")).await;
        let customer = Caller {
            role: Role::Customer,
            ..courier.clone()
        };
        shift(&customer, json!({ "on": true, "at": here }), (403, "forbidden")).await;
        assert_eq!(world.position(&customer, here).await.status, 403);
        let bad = world
            .send(
                Method::PUT,
                "/couriers/me/position",
                &courier,
                None,
                json!({ "at": {} }),
            )
            .await;
        assert_eq!((bad.status, bad.kind().as_str()), (422, "invalid"));
        assert_eq!(world.written().await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_none_writes_nothing() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&courier, delivery).await;
        world.happened(delivery, "delivery.food_ready", 1).await;
        let before = world.written().await;
        let path = format!("/deliveries/{delivery}/accept");
        let refused = async |caller: Option<&Caller>, key: Option<&str>, body: String, status: u16, kind: &str| {
            let answer = world.send_raw(Method::POST, &path, caller, key, body.into()).await;
            assert_eq!((answer.status, answer.kind().as_str()), (status, kind));
            assert_eq!(world.written().await, before, "{kind}");
        };
        refused(Some(&courier), None, "{}".into(), 400, "idempotency_key_required").await;
        refused(
            Some(&courier),
            Some("a key"),
            "{}".into(),
            400,
            "idempotency_key_required",
        )
        .await;
        refused(None, Some("key"), "{}".into(), 401, "caller_unknown").await;
        refused(Some(&courier), Some("key"), "{".into(), 400, "malformed_json").await;
        refused(Some(&courier), Some("key"), r#"{"now":true}"#.into(), 422, "invalid").await;
        let heavy = format!(r#"{{"note":"{}"}}"#, "x".repeat(64 * 1024));
        refused(Some(&courier), Some("key"), heavy, 413, "body_too_large").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_used_for_something_else_is_refused() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&courier, delivery).await;
        world.tell(&courier, delivery, "accept", json!({})).await;
        world.tell(&courier, delivery, "pick-up", json!({})).await;
        let path = format!("/deliveries/{delivery}/deliver");
        let send = async |photo: &str| {
            world
                .send(
                    Method::POST,
                    &path,
                    &courier,
                    Some("hand-over"),
                    json!({ "photo": photo }),
                )
                .await
        };
        assert_eq!(send("one").await.status, 200);
        let other = send("other").await;
        assert_eq!((other.status, other.kind().as_str()), (422, "idempotency_key_reused"));
        assert_eq!(send("one").await.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_makes_no_sense_is_refused() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&courier, delivery).await;
        world.happened(delivery, "delivery.food_ready", 1).await;
        world.tell(&courier, delivery, "accept", json!({})).await;
        world.tell(&courier, delivery, "pick-up", json!({})).await;
        for body in [
            json!({}),
            json!({ "reason": "closing_early" }),
            json!({ "reason": "payment" }),
            json!({ "reason": "other", "outcome": "eaten" }),
            json!({ "reason": "other", "outcome": "lost", "note": "a dog" }),
        ] {
            refused(world, &courier, delivery, "fail", body, (422, "invalid")).await;
        }
        let back = json!({ "reason": "customer_not_found", "outcome": "returned" });
        refused(world, &courier, delivery, "fail", back, (409, "wrong_state")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_that_cannot_be_is_refused() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&courier, delivery).await;
        world.happened(delivery, "delivery.food_ready", 1).await;
        world.tell(&courier, delivery, "accept", json!({})).await;
        let other = world.on_shift(door()).await;
        let off_shift = world.registered().await;
        let to = |person: &Caller| json!({ "courier": person.subject.courier() });
        let operator = operator();
        refused(
            world,
            &operator,
            delivery,
            "hand-over",
            to(&other),
            (409, "wrong_state"),
        )
        .await;
        world.tell(&courier, delivery, "pick-up", json!({})).await;
        refused(
            world,
            &operator,
            delivery,
            "hand-over",
            to(&courier),
            (422, "same_courier"),
        )
        .await;
        refused(
            world,
            &operator,
            delivery,
            "hand-over",
            to(&off_shift),
            (409, "off_shift"),
        )
        .await;
        refused(
            world,
            &operator,
            delivery,
            "hand-over",
            to(&stranger()),
            (404, "not_found"),
        )
        .await;
        let unknown = DeliveryId(Uuid::from_u128(404));
        refused(world, &operator, unknown, "hand-over", to(&other), (404, "not_found")).await;
        for body in [json!({}), json!({ "courier": "me" }), json!({ "courier": delivery })] {
            refused(world, &operator, delivery, "hand-over", body, (422, "invalid")).await;
        }
        for role in [Role::Customer, Role::Kitchen, Role::Courier] {
            let person = Caller {
                role,
                ..courier.clone()
            };
            refused(world, &person, delivery, "hand-over", to(&other), (403, "forbidden")).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_guard_is_told_the_current_state_and_strangers_nothing() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&courier, delivery).await;
        world.happened(delivery, "delivery.food_ready", 1).await;
        let before = world.written().await;
        let stale = world.tell_if("\"1.1\"", &courier, delivery, "accept", json!({})).await;
        assert_eq!((stale.status, stale.kind().as_str()), (409, "stale"));
        assert_eq!(stale.json()["current"]["status"], "offered");
        let theirs = world
            .tell_if("\"1.1\"", &stranger(), delivery, "accept", json!({}))
            .await;
        assert_eq!((theirs.status, theirs.kind().as_str()), (404, "not_found"));
        let to = json!({ "courier": courier.subject.courier() });
        let operators = world.tell_if("\"1.1\"", &operator(), delivery, "hand-over", to).await;
        assert_eq!((operators.status, operators.kind().as_str()), (409, "stale"));
        assert_eq!(world.written().await, before);
        let tag = stale.json()["etag"].as_str().expect("a tag").to_owned();
        assert_eq!(
            world
                .tell_if(&tag, &courier, delivery, "accept", json!({}))
                .await
                .status,
            200
        );
    })
    .await;
}
