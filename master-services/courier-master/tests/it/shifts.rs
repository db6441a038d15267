//! Coming and going.

use std::collections::HashMap;
use std::time::Duration;

use http::Method;
use mesh_contracts::live::{POSITIONS, Sighting};
use mesh_runtime::Shutdown;
use serde_json::json;
use tokio::sync::mpsc;

use crate::world::{self, counter, door};

#[tokio::test(flavor = "multi_thread")]
async fn coming_on_shift_twice_is_one_shift() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let again = world.shift(&courier, json!({ "on": true, "at": counter() })).await;
        assert_eq!((again.status, again.json()["status"].as_str()), (200, Some("on")));
        let off = world.shift(&courier, json!({ "on": false })).await;
        assert_eq!((off.status, off.json()["status"].as_str()), (200, Some("off")));
        assert_eq!(world.shift(&courier, json!({ "on": false })).await.status, 200);
        let types = world.event_types(courier.subject.courier()).await;
        assert_eq!(
            types,
            ["courier.registered", "courier.shift_started", "courier.shift_ended"]
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn going_home_with_an_open_offer_passes_it_on_without_a_miss() {
    world::run(async |world| {
        let tired = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&tired, delivery).await;
        let fresh = world.on_shift(door()).await;
        assert_eq!(world.shift(&tired, json!({ "on": false })).await.status, 200);
        world.asked(&fresh, delivery).await;
        let types = world.event_types(tired.subject.courier()).await;
        assert!(!types.contains(&"courier.offer_missed".to_owned()), "{types:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_in_hand_outlives_the_shift() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&courier, delivery).await;
        assert_eq!(world.tell(&courier, delivery, "accept", json!({})).await.status, 200);
        assert_eq!(world.shift(&courier, json!({ "on": false })).await.status, 200);
        assert_eq!(world.tell(&courier, delivery, "pick-up", json!({})).await.status, 200);
        let done = world.tell(&courier, delivery, "deliver", json!({ "photo": "p" })).await;
        assert_eq!(done.status, 200, "{done:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_by_the_last_position_is_asked() {
    world::run(async |world| {
        let moving = world.on_shift(door()).await;
        let staying = world.on_shift(door()).await;
        let before = world.written().await;
        assert_eq!(world.position(&moving, counter()).await.status, 204);
        mesh_testkit::eventually("the position is kept", || async {
            let mut connection = world.connection().await;
            let lat_e6: i32 = sqlx::query_scalar("select lat_e6 from positions where courier = $1")
                .bind(moving.subject.courier().to_string())
                .fetch_one(&mut connection)
                .await
                .expect("it is on shift");
            (lat_e6 == counter().lat_e6).then_some(())
        })
        .await;
        assert_eq!(world.written().await, before, "positions are no events");
        let delivery = world.wanted().await;
        world.asked(&moving, delivery).await;
        assert_eq!(world.tell(&staying, delivery, "accept", json!({})).await.status, 404);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_of_another_role_becomes_no_courier() {
    world::run(async |world| {
        let person = world::stranger();
        let role = mesh_contracts::user::Role::Customer;
        let event = mesh_contracts::user::Event::Registered {
            role,
            points: Vec::new(),
            country: None,
        };
        world.users.tell(person.subject, event).await;
        mesh_testkit::eventually("it is heard", || async {
            (world.heard(person.subject).await == 1).then_some(())
        })
        .await;
        let body = json!({ "on": true, "at": counter() });
        let answer = world.send(Method::PUT, "/couriers/me/shift", &person, None, body).await;
        assert_eq!((answer.status, answer.kind().as_str()), (404, "not_found"));
        assert_eq!(world.written().await, (0, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shows_positions_hears_the_newest_of_each_courier_and_no_event_is_written() {
    world::run(async |world| {
        let (moving, staying) = (world.on_shift(door()).await, world.on_shift(door()).await);
        let before = world.written().await;
        let (bus, shutdown) = (world.bus_of_order_info().await, Shutdown::new());
        let (teller, mut heard) = mpsc::unbounded_channel();
        let hearing = tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                let hear = |pieces: Vec<Sighting>| {
                    let teller = teller.clone();
                    async move {
                        for piece in pieces {
                            teller.send(piece).expect("the test listens");
                        }
                    }
                };
                bus.hear(POSITIONS, "order-info", shutdown, hear).await;
            }
        });
        // What is said before somebody listens is lost, as it may be.
        let (moving_id, staying_id) = (moving.subject.courier(), staying.subject.courier());
        let mut seen = HashMap::new();
        while seen.get(&moving_id) != Some(&counter()) || seen.get(&staying_id) != Some(&door()) {
            assert_eq!(world.position(&moving, counter()).await.status, 204);
            assert_eq!(world.position(&staying, door()).await.status, 204);
            if let Ok(sighting) = tokio::time::timeout(Duration::from_millis(500), heard.recv()).await {
                let sighting = sighting.expect("still listening");
                seen.insert(sighting.courier, sighting.place);
            }
        }
        assert_eq!(world.written().await, before);
        shutdown.trigger();
        hearing.await.expect("it ends with its process");
    })
    .await;
}
