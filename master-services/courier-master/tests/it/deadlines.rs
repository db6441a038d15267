//! What happens when nobody says anything. Deadlines are never shorter than ten seconds of wall time,
//! so the clock runs just fast enough for that.

use std::time::Duration;

use mesh_testkit::eventually_in;
use serde_json::json;

use crate::world::{self, counter, door, operator};

/// 45 s at this rate are nine of the wall, which the floor makes ten.
const FAST: &str = "5";
/// Three offers, ten seconds each, and the two minutes before the second and third ask at rate 60.
const THREE_OFFERS: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_nobody_answers_lapses_and_is_missed() {
    world::run_at(FAST, async |world| {
        let courier = world.on_shift(counter()).await;
        let delivery = world.wanted().await;
        world.asked(&courier, delivery).await;
        world.happened(delivery, "delivery.offer_lapsed", 1).await;
        world
            .happened(courier.subject.courier(), "courier.offer_missed", 1)
            .await;
        let lapsed = world
            .events(delivery)
            .await
            .into_iter()
            .find(|event| event.event_type == "delivery.offer_lapsed");
        let actor = lapsed.expect("it lapsed").meta.actor.to_string();
        assert_eq!(actor, "timer:courier-master");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_silences_in_a_row_end_the_shift() {
    world::run_at("60", async |world| {
        let courier = world.on_shift(counter()).await;
        let _delivery = world.wanted().await;
        let stream = courier.subject.courier();
        eventually_in("the shift has ended", THREE_OFFERS, || async {
            let types = world.event_types(stream).await;
            types.contains(&"courier.shift_ended".to_owned()).then_some(())
        })
        .await;
        let last = world.events(stream).await.pop().expect("events");
        assert_eq!(last.data.value()["reason"], "missed_offers");
        world.happened(stream, "courier.offer_missed", 3).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_that_nobody_answers_leaves_the_delivery_with_the_first_courier() {
    // Five minutes are ten seconds of the wall at this rate.
    world::run_at("30", async |world| {
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
        assert_eq!(world.tell(&operator(), delivery, "hand-over", to).await.status, 200);
        eventually_in("nobody answered", THREE_OFFERS, || async {
            let last = world.events(delivery).await.pop()?;
            (last.event_type == "delivery.hand_over_ended").then_some(())
        })
        .await;
        let late = world.tell(&second, delivery, "accept", json!({})).await;
        assert_eq!((late.status, late.kind().as_str()), (409, "wrong_state"));
        assert_eq!(
            world
                .tell(&first, delivery, "deliver", json!({ "photo": "p" }))
                .await
                .status,
            200
        );
    })
    .await;
}
