//! From the request to the door.

use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::world::{self, counter, door, operator, pin};

#[tokio::test(flavor = "multi_thread")]
async fn a_courier_is_asked_takes_it_fetches_it_and_hands_it_over() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&courier, delivery).await;
        for (verb, body, status) in [
            ("accept", json!({}), "assigned"),
            ("pick-up", json!({}), "picked_up"),
            ("deliver", json!({ "pin": pin(delivery) }), "delivered"),
        ] {
            let answer = world.tell(&courier, delivery, verb, body).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let number = delivery.order().number();
            assert_eq!(
                answer.json(),
                json!({ "id": delivery, "status": status, "number": number })
            );
            assert!(answer.headers.contains_key("etag") && answer.headers.contains_key("tiffin-consistency"));
        }
        let courier_types = world.event_types(courier.subject.courier()).await;
        assert_eq!(courier_types[2..], ["courier.job_taken", "courier.job_ended"]);
        let types = world.event_types(delivery).await;
        assert_eq!(types.first().map(String::as_str), Some("delivery.opened"));
        assert_eq!(types.last().map(String::as_str), Some("delivery.delivered"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_proves_a_hand_over_after_a_closed_door() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&courier, delivery).await;
        for (verb, body) in [
            ("accept", json!({})),
            ("pick-up", json!({})),
            ("fail", json!({ "reason": "customer_not_found" })),
            ("deliver", json!({ "photo": "p-20260301_7" })),
        ] {
            assert_eq!(world.tell(&courier, delivery, verb, body).await.status, 200, "{verb}");
        }
        let last = world.events(delivery).await.pop().expect("events");
        assert_eq!(last.data.value()["proof"], json!({ "photo": "p-20260301_7" }));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_and_a_dropped_job_go_to_the_next_courier() {
    world::run(async |world| {
        let near = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&near, delivery).await;
        let far = world.on_shift(door()).await;
        assert_eq!(world.tell(&near, delivery, "decline", json!({})).await.status, 200);
        world.asked(&far, delivery).await;
        assert_eq!(world.tell(&far, delivery, "accept", json!({})).await.status, 200);
        let third = world.on_shift(door()).await;
        assert_eq!(world.tell(&far, delivery, "drop", json!({})).await.status, 200);
        world.asked(&third, delivery).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_ends_takes_the_job_away() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&courier, delivery).await;
        assert_eq!(world.tell(&courier, delivery, "accept", json!({})).await.status, 200);
        let by = mesh_contracts::order::EndedBy::Operator;
        let reason = mesh_contracts::order::Reason::Other;
        let ended = mesh_contracts::order::Event::Cancelled {
            by,
            reason,
            liable: None,
            cooking_began: true,
            held_at: None,
            borne: None,
        };
        world.orders.tell(delivery.order(), ended).await;
        world.happened(delivery, "delivery.cancelled", 1).await;
        let last = world.event_types(courier.subject.courier()).await.pop();
        assert_eq!(last.as_deref(), Some("courier.job_ended"));
        let late = world.tell(&courier, delivery, "pick-up", json!({})).await;
        assert_eq!((late.status, late.kind().as_str()), (409, "wrong_state"));
        assert_eq!(late.json()["delivery_status"], "cancelled");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bus_lost_is_asked_of_its_owner() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let order = world.requested().await;
        let lost = mesh_contracts::order::Event::CookingStarted {};
        world.orders.keep(order, lost);
        world.ready(order).await;
        world.happened(order.delivery(), "delivery.food_ready", 1).await;
        assert_eq!(world.heard(order).await, 3);
        world.asked(&courier, order.delivery()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_taken_over_by_the_same_courier_after_a_crash() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&courier, delivery).await;
        world.quiet().await;
        world.service.kill().await;
        world.service.start().await;
        assert_eq!(world.tell(&courier, delivery, "accept", json!({})).await.status, 200);
        world.quiet().await;
        world.service.kill().await;
        world.service.start().await;
        assert_eq!(world.tell(&courier, delivery, "pick-up", json!({})).await.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dispatch_looks_at_is_written_again_after_it_was_lost() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let first = world.wanted().await;
        world.asked(&courier, first).await;
        assert_eq!(world.tell(&courier, first, "decline", json!({})).await.status, 200);
        assert_eq!(world.shift(&courier, json!({ "on": false })).await.status, 200);
        let other = world.on_shift(door()).await;
        world.asked(&other, first).await;
        world.quiet().await;
        world.service.kill().await;
        let mut connection = world.connection().await;
        for lost in ["delete from dispatch_deliveries", "delete from dispatch_couriers"] {
            sqlx::query(lost)
                .execute(&mut connection)
                .await
                .expect("they are our own");
        }
        world.service.start().await;
        assert_eq!(world.tell(&other, first, "accept", json!({})).await.status, 200);
        let second = world.wanted().await;
        world.asked(&other, second).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_read_keeps_no_other_from_being_offered() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let spoilt = world.wanted().await;
        world.asked(&courier, spoilt).await;
        assert_eq!(world.tell(&courier, spoilt, "decline", json!({})).await.status, 200);
        assert_eq!(world.shift(&courier, json!({ "on": false })).await.status, 200);
        let waiting = world.wanted().await;
        world.happened(waiting, "delivery.opened", 1).await;
        world.quiet().await;
        world.service.kill().await;
        let mut owner = world.owner().await;
        let spoil = format!("update events set meta = '[]' where stream_id = '{spoilt}'");
        for statement in [spoil.as_str(), "delete from dispatch_deliveries"] {
            sqlx::query(AssertSqlSafe(statement))
                .execute(&mut owner)
                .await
                .expect("the owner may");
        }
        world.service.start().await;
        let other = world.on_shift(counter()).await;
        world.asked(&other, waiting).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn food_comes_back_after_an_attempt_or_is_lost_and_its_courier_is_free() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        for (ends, status) in [
            (vec!["attempted", "returned"], "returned"),
            (vec!["lost"], "lost"),
            (vec!["attempted", "lost"], "lost"),
        ] {
            let delivery = world.wanted().await;
            world.asked(&courier, delivery).await;
            world.happened(delivery, "delivery.food_ready", 1).await;
            for verb in ["accept", "pick-up"] {
                assert_eq!(
                    world.tell(&courier, delivery, verb, json!({})).await.status,
                    200,
                    "{verb}"
                );
            }
            for outcome in ends {
                let body = json!({ "reason": "customer_not_found", "outcome": outcome });
                let answer = world.tell(&courier, delivery, "fail", body).await;
                assert_eq!(answer.status, 200, "{outcome}: {answer:?}");
            }
            let types = world.event_types(delivery).await;
            assert_eq!(types.last(), Some(&format!("delivery.{status}")));
            let last = world.event_types(courier.subject.courier()).await.pop();
            assert_eq!(last.as_deref(), Some("courier.job_ended"));
            let late = world.tell(&courier, delivery, "deliver", json!({ "photo": "p" })).await;
            let told = late.json();
            assert_eq!(
                (late.status, &told["status"], told["delivery_status"].as_str()),
                (409, &json!(409), Some(status))
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sends_another_courier_who_takes_it_over() {
    world::run(async |world| {
        let first = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&first, delivery).await;
        world.happened(delivery, "delivery.food_ready", 1).await;
        for verb in ["accept", "pick-up"] {
            assert_eq!(
                world.tell(&first, delivery, verb, json!({})).await.status,
                200,
                "{verb}"
            );
        }
        let second = world.on_shift(door()).await;
        let to = json!({ "courier": second.subject.courier() });
        let asked = world.tell(&operator(), delivery, "hand-over", to).await;
        assert_eq!(
            (asked.status, asked.json()["status"].as_str()),
            (200, Some("picked_up"))
        );
        // Still the first one's.
        let early = world.tell(&second, delivery, "deliver", json!({ "photo": "p" })).await;
        assert_eq!((early.status, early.kind().as_str()), (409, "wrong_state"));
        assert_eq!(world.tell(&second, delivery, "accept", json!({})).await.status, 200);
        let late = world.tell(&first, delivery, "deliver", json!({ "photo": "p" })).await;
        assert_eq!((late.status, late.kind().as_str()), (409, "wrong_state"));
        let freed = world.event_types(first.subject.courier()).await.pop();
        assert_eq!(freed.as_deref(), Some("courier.job_ended"));
        let taken = world.event_types(second.subject.courier()).await.pop();
        assert_eq!(taken.as_deref(), Some("courier.job_taken"));
        assert_eq!(
            world
                .tell(&second, delivery, "deliver", json!({ "photo": "p" }))
                .await
                .status,
            200
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_cooked_elsewhere_is_offered_anew_for_the_new_place() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let order = world.requested().await;
        let delivery = order.delivery();
        world.asked(&courier, delivery).await;
        assert_eq!(world.tell(&courier, delivery, "accept", json!({})).await.status, 200);
        world.requested_again(order, door()).await;
        world.happened(delivery, "delivery.moved", 1).await;
        world.asked(&courier, delivery).await;
        let types = world.event_types(delivery).await;
        assert_eq!(types[3..], ["delivery.dropped", "delivery.moved", "delivery.offered"]);
        let jobs = world.event_types(courier.subject.courier()).await;
        assert_eq!(jobs[2..], ["courier.job_taken", "courier.job_ended"]);
    })
    .await;
}
