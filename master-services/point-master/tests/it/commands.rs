//! What operators and staff do, and what it leaves behind.

use http::{Method, header};
use mesh_contracts::id::IngredientId;
use mesh_contracts::point::{Event, Settings, WasteReason};
use mesh_runtime::headers;
use serde_json::json;
use uuid::Uuid;

use crate::world::{self, BREAD, kitchen, operator, settings, stock};

#[tokio::test]
async fn a_point_is_registered_stocked_and_closed() {
    world::run(async |world| {
        let point = world.stocked_point(10).await;
        let staff = kitchen(point);
        let counted = world
            .post(&stock(point, "count"), &staff, "count", json!({ "quantity": 7 }))
            .await;
        assert_eq!(counted.json(), json!({ "id": point, "status": "open" }));
        let gone = world.post(&stock(point, "gone"), &operator(), "gone", json!({})).await;
        assert_eq!(gone.status, 200);
        let closed = world.patch(point, &staff, json!({ "open": false })).await;
        assert_eq!(closed.json()["status"], "closed");
        assert_eq!(closed.headers[header::ETAG], "\"5.5\"");
        assert!(closed.headers.contains_key(headers::CONSISTENCY));

        let events = world.events(point).await;
        let bodies: Vec<Event> = events
            .iter()
            .map(|event| event.body().expect("its own shape").expect("a known type"))
            .collect();
        let settings: Settings = serde_json::from_value(settings()).expect("settings");
        assert_eq!(
            bodies,
            [
                Event::Registered { settings },
                Event::Received {
                    ingredient: BREAD,
                    quantity: 10
                },
                Event::Counted {
                    ingredient: BREAD,
                    counted: 7,
                    corrected: -3
                },
                Event::Gone {
                    ingredient: BREAD,
                    corrected: -7
                },
                Event::Closed {
                    by: mesh_contracts::point::ClosedBy::Staff
                },
            ]
        );
        let actors: Vec<&str> = events
            .iter()
            .map(|event| event.meta.actor.0.split(':').next().unwrap_or(""))
            .collect();
        assert_eq!(actors, ["operator", "kitchen", "kitchen", "operator", "kitchen"]);
    })
    .await;
}

#[tokio::test]
async fn stock_is_thrown_away_gone_and_back() {
    world::run(async |world| {
        let point = world.stocked_point(10).await;
        let staff = kitchen(point);
        let spoiled = json!({ "quantity": 3, "reason": "spoiled" });
        let wasted = world.post(&stock(point, "waste"), &staff, "waste", spoiled).await;
        assert_eq!(wasted.json(), json!({ "id": point, "status": "open" }));
        let gone = world.post(&stock(point, "gone"), &staff, "gone", json!({})).await;
        assert_eq!(gone.status, 200);
        let back = world
            .post(&stock(point, "back"), &operator(), "back", json!({ "quantity": 6 }))
            .await;
        assert_eq!(back.headers[header::ETAG], "\"5.1\"");
        let bodies: Vec<Event> = world
            .events(point)
            .await
            .split_off(2)
            .iter()
            .map(|event| event.body().expect("its own shape").expect("a known type"))
            .collect();
        assert_eq!(
            bodies,
            [
                Event::Wasted {
                    ingredient: BREAD,
                    quantity: 3,
                    reason: WasteReason::Spoiled,
                },
                Event::Gone {
                    ingredient: BREAD,
                    corrected: -7
                },
                Event::Restored {
                    ingredient: BREAD,
                    counted: 6,
                    corrected: 6
                },
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_kitchen_says_from_where_on_its_stock_is_low() {
    world::run(async |world| {
        let point = world.stocked_point(10).await;
        let path = stock(point, "settings");
        for (caller, low_at) in [
            (kitchen(point), json!(5)),
            (operator(), json!(5)),
            (operator(), json!(null)),
        ] {
            let changed = world.put(&path, &caller, json!({ "low_at": low_at })).await;
            assert_eq!(changed.json(), json!({ "id": point, "status": "open" }));
        }
        let low_at: Vec<_> = world
            .events(point)
            .await
            .split_off(2)
            .iter()
            .map(|event| event.data.value()["low_at"].clone())
            .collect();
        assert_eq!(low_at, [json!(5), json!(null)], "what is so already changes nothing");
    })
    .await;
}

#[tokio::test]
async fn an_operator_describes_a_point_anew_and_opens_it() {
    world::run(async |world| {
        let point = world.stocked_point(0).await;
        world.patch(point, &operator(), json!({ "open": false })).await;
        let mut bigger = settings();
        bigger["pool"] = json!(3);
        let changed = world
            .patch(point, &operator(), json!({ "open": true, "settings": bigger }))
            .await;
        assert_eq!(changed.json()["status"], "open");
        assert_eq!(
            world.event_types(point).await,
            ["point.registered", "point.closed", "point.changed", "point.opened"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_repeated_command_is_answered_alike_and_done_once() {
    world::run(async |world| {
        let point = world.stocked_point(0).await;
        let path = stock(point, "receive");
        let staff = kitchen(point);
        let taps = (0..10).map(|_| world.post(&path, &staff, "tap", json!({ "quantity": 5 })));
        let answers = futures::future::join_all(taps).await;
        assert_eq!(answers[0].status, 200);
        for answer in &answers {
            assert_eq!(answer.body, answers[0].body);
            assert_eq!(answer.headers[header::ETAG], answers[0].headers[header::ETAG]);
            assert_eq!(
                answer.headers[headers::CONSISTENCY],
                answers[0].headers[headers::CONSISTENCY]
            );
        }
        let registered_again = world.post("/food-points", &operator(), "register", settings()).await;
        assert_eq!(registered_again.status, 201);
        assert_eq!(registered_again.json()["id"], json!(point));
        assert_eq!(world.event_types(point).await, ["point.registered", "stock.received"]);

        let other = world.post(&path, &staff, "tap", json!({ "quantity": 6 })).await;
        assert_eq!((other.status, other.kind().as_str()), (422, "idempotency_key_reused"));
        assert_eq!(world.written().await, (2, 2));
    })
    .await;
}

#[tokio::test]
async fn a_change_of_what_one_has_not_seen_is_refused() {
    world::run(async |world| {
        let point = world.stocked_point(10).await;
        let path = format!("/food-points/{point}");
        world.patch(point, &operator(), json!({ "open": false })).await;
        let mut request = http::Request::builder()
            .method(Method::PATCH)
            .uri(&path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::IF_MATCH, "\"2.1\"")
            .body(json!({ "open": true }).to_string().into())
            .expect("a request");
        operator().write(request.headers_mut());
        let gateway = mesh_testkit::certificates::mesh("gateway").client();
        let stale = gateway.request(&world.upstream, request).await.expect("an answer");
        assert_eq!(stale.status(), 409);
        assert_eq!(
            world.event_types(point).await.last().map(String::as_str),
            Some("point.closed")
        );
    })
    .await;
}

#[tokio::test]
async fn points_survive_a_kill_and_an_orderly_end() {
    world::run(async |world| {
        let point = world.stocked_point(10).await;
        world.service.kill().await;
        world.service.start().await;
        let other = IngredientId(Uuid::from_u128(2));
        let path = format!("/food-points/{point}/stock/{other}/receive");
        let received = world
            .post(&path, &kitchen(point), "second-delivery", json!({ "quantity": 1 }))
            .await;
        assert_eq!(received.headers[header::ETAG], "\"3.1\"");
        world.service.stop().await;
        world.service.start().await;
        assert_eq!(world.events(point).await.len(), 3);
    })
    .await;
}
