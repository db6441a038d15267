//! Many taps at once: one effect.

use futures::future::join_all;
use http::Method;
use serde_json::json;

use crate::world::{self, counter, door};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_couriers_who_tap_at_once_exactly_one_gets_the_job() {
    world::run(async |world| {
        for _ in 0..5 {
            let slow = world.on_shift(counter()).await;
            let delivery = world.wanted().await;
            world.asked(&slow, delivery).await;
            let quick = world.on_shift(door()).await;
            // The first one goes home while tapping: the offer passes to the second, who taps as well.
            let (_, first, second) = tokio::join!(
                world.shift(&slow, json!({ "on": false })),
                world.tell(&slow, delivery, "accept", json!({})),
                async {
                    loop {
                        let answer = world.tell(&quick, delivery, "accept", json!({})).await;
                        // Not asked yet, and nobody has it: tap again.
                        let types = world.event_types(delivery).await;
                        if answer.status == 200 || types.iter().any(|event| event == "delivery.assigned") {
                            return answer;
                        }
                    }
                },
            );
            let won = [&first, &second].iter().filter(|answer| answer.status == 200).count();
            assert_eq!(won, 1, "{first:?} {second:?}");
            assert!(
                [&first, &second]
                    .iter()
                    .all(|answer| matches!(answer.status, 200 | 404 | 409))
            );
            world.happened(delivery, "delivery.assigned", 1).await;
            let mut taken = 0;
            for courier in [&slow, &quick] {
                let types = world.event_types(courier.subject.courier()).await;
                taken += types.iter().filter(|event| *event == "courier.job_taken").count();
                world.shift(courier, json!({ "on": false })).await;
            }
            assert_eq!(taken, 1);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_an_offer_is_told_who_is_asked_now() {
    world::run(async |world| {
        let first = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&first, delivery).await;
        let second = world.on_shift(door()).await;
        world.tell(&first, delivery, "decline", json!({})).await;
        world.asked(&second, delivery).await;
        let lost = world.tell(&first, delivery, "accept", json!({})).await;
        assert_eq!((lost.status, lost.kind().as_str()), (409, "wrong_state"));
        assert_eq!(lost.json()["delivery_status"], "offered");
        assert_eq!(world.tell(&second, delivery, "accept", json!({})).await.status, 200);
        let lost = world.tell(&first, delivery, "accept", json!({})).await;
        assert_eq!(lost.json()["delivery_status"], "assigned");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_taps_of_one_button_take_one_job_and_get_one_answer() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&courier, delivery).await;
        let path = format!("/deliveries/{delivery}/accept");
        let taps = (0..50).map(|_| world.send(Method::POST, &path, &courier, Some("one-tap"), json!({})));
        let answers = join_all(taps).await;
        for answer in &answers {
            assert_eq!((answer.status, &answer.body), (200, &answers[0].body));
        }
        world.happened(delivery, "delivery.assigned", 1).await;
        world.happened(courier.subject.courier(), "courier.job_taken", 1).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_courier_has_at_most_two_jobs_however_fast_they_are_taken() {
    world::run(async |world| {
        let courier = world.on_shift(counter()).await;
        let deliveries = [world.wanted().await, world.wanted().await, world.wanted().await];
        let mut accepted = 0;
        while accepted < 2 {
            let taps = deliveries
                .iter()
                .map(|delivery| world.tell(&courier, *delivery, "accept", json!({})));
            accepted += join_all(taps)
                .await
                .iter()
                .filter(|answer| answer.status == 200)
                .count();
        }
        world.happened(courier.subject.courier(), "courier.job_taken", 2).await;
        let third = join_all(deliveries.iter().map(|delivery| world.event_types(delivery))).await;
        let waiting = third
            .iter()
            .filter(|types| !types.iter().any(|event| event == "delivery.assigned"))
            .count();
        assert_eq!(waiting, 1);
    })
    .await;
}
