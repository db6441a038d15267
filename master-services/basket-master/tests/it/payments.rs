//! Money: promised, taken, given back, never twice; the provider's own ledger is the witness.

use mesh_contracts::id::OrderId;
use mesh_contracts::order::{self, Method};
use mesh_identity::Caller;
use mesh_testkit::eventually;
use serde_json::json;

use crate::world::{PRICE, World, an_order, customer, run};

const VISA: &str = "pm_card_visa";

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_promised_captured_once_and_refunded() {
    run(World::new, async |world| {
        let order = world.paying(&customer(), VISA).await;
        world.until(order, "payment.authorized").await;
        world.due(order, PRICE, false, 1).await;
        world.until(order, "payment.captured").await;
        world.due(order, PRICE, true, 2).await;
        world.until(order, "payment.due").await;
        world.due(order, 290, true, 3).await;
        world.until(order, "payment.refunded").await;
        world.due(order, 0, true, 4).await;
        world.until(order, "payment.refunded").await;
        let ledger = eventually("all of it went back", || async {
            let ledger = world.provider.ledger(order).await;
            (ledger[0].refunded() == PRICE.unsigned_abs()).then_some(ledger)
        })
        .await;
        assert_eq!((ledger.len(), ledger[0].captures, ledger[0].refunds.len()), (1, 1, 2));
        world.until_no_token_of(order).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_for_an_ended_order_is_given_back() {
    run(World::new, async |world| {
        let order = world.paying(&customer(), VISA).await;
        world.until(order, "payment.authorized").await;
        world.due(order, 0, true, 1).await;
        world.until(order, "payment.voided").await;
        let ledger = world.provider.ledger(order).await;
        assert_eq!((ledger[0].open(), ledger[0].captured), (0, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_ended_while_the_provider_was_away_keeps_no_promise() {
    run(World::without_provider, async |world| {
        let ann = customer();
        let order = world.paying(&ann, VISA).await;
        world.until(order, "payment.unknown").await;
        world.due(order, 0, true, 1).await;
        world.provider.open(None).await;
        world.until(order, "payment.voided").await;
        let ledger = world.provider.ledger(order).await;
        assert!(
            ledger
                .iter()
                .all(|payment| payment.open() == 0 && payment.captured == 0),
            "{ledger:?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_ended_before_any_payment_leaves_no_token() {
    run(World::new, async |world| {
        let order = world.checked_out(&customer(), VISA).await;
        world.due(order, 0, true, 1).await;
        world.until_no_token_of(order).await;
        assert!(world.events(order.payment()).await.is_empty());
        assert!(world.provider.ledger(order).await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cash_is_agreed_at_once_and_collected_at_the_door() {
    run(World::new, async |world| {
        let order = an_order();
        world.ask_for(&customer(), order, Method::Cash).await;
        world.until(order, "payment.cash_agreed").await;
        world.due(order, PRICE, false, 1).await;
        world.until(order, "payment.due").await;
        world.due(order, PRICE, true, 2).await;
        world.until(order, "payment.cash_collected").await;
        assert!(world.provider.ledger(order).await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_refusal_another_card_may_pay() {
    run(World::new, async |world| {
        let ann = customer();
        let order = world.paying(&ann, "pm_card_insufficient_funds").await;
        world.until(order, "payment.declined").await;
        let events = world.events(order.payment()).await;
        let declined = events.last().expect("a refusal").data.value();
        assert_eq!(
            (declined["code"].as_str(), declined["count"].as_u64()),
            (Some("insufficient_funds"), Some(1))
        );

        let body = json!({ "method": "card", "token": VISA });
        let tried = world.pay_again(&ann, order, "second", body.clone()).await;
        assert_eq!(
            (tried.status, tried.json()["status"].as_str()),
            (200, Some("authorizing")),
            "{tried:?}"
        );
        world.until(order, "payment.authorized").await;
        let repeated = world.pay_again(&ann, order, "second", body).await;
        assert_eq!((repeated.status, repeated.body), (tried.status, tried.body));
        let promised: Vec<_> = world
            .provider
            .ledger(order)
            .await
            .iter()
            .map(|payment| payment.open())
            .collect();
        assert_eq!(promised, [0, PRICE.unsigned_abs()]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_that_fails_is_tried_with_a_new_promise_and_ends_without_an_open_one() {
    run(World::new, async |world| {
        let order = failing(world, &customer()).await;
        let ledger = world.provider.ledger(order).await;
        let promises: Vec<_> = ledger
            .iter()
            .map(|promise| (promise.captures, promise.open()))
            .collect();
        assert_eq!(promises, [(0, 0), (0, 0)]);
        world.due(order, 0, true, 2).await;
        world.until(order, "payment.due").await;
        let kept = "select count(*) from secrets where about = $1";
        eventually("the token is gone", || async {
            (world.count(kept, &order.to_string()).await == 0).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_card_pays_after_a_failed_capture_and_is_captured_once() {
    run(World::new, async |world| {
        let ann = customer();
        let order = failing(world, &ann).await;
        let body = json!({ "method": "card", "token": VISA });
        let tried = world.pay_again(&ann, order, "second", body).await;
        assert_eq!(
            (tried.status, tried.json()["status"].as_str()),
            (200, Some("authorizing"))
        );
        world.until(order, "payment.captured").await;
        let ledger = world.provider.ledger(order).await;
        let promises: Vec<_> = ledger
            .iter()
            .map(|promise| (promise.captures, promise.open()))
            .collect();
        assert_eq!(promises, [(0, 0), (0, 0), (1, 0)]);
        let before = world.written().await;
        let third = world
            .pay_again(&ann, order, "third", json!({ "method": "card", "token": VISA }))
            .await;
        assert_eq!((third.status, third.kind()), (409, "payment_not_open".to_owned()));
        assert_eq!(world.written().await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_for_food_that_was_handed_over_is_a_debt() {
    run(World::new, async |world| {
        let order = failing(world, &customer()).await;
        world.due(order, PRICE, true, 2).await;
        world.until(order, "payment.debt_booked").await;
        let types = world.event_types(order.payment()).await;
        let end = ["payment.due", "payment.collection_failed", "payment.debt_booked"];
        assert_eq!(types[types.len() - 3..], end);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_was_taken_is_owed_and_not_taken_again() {
    run(World::new, async |world| {
        let order = world.paying(&customer(), VISA).await;
        world.until(order, "payment.authorized").await;
        world.due(order, PRICE, false, 1).await;
        world.until(order, "payment.captured").await;
        world.due(order, PRICE + 500, true, 2).await;
        world.until(order, "payment.debt_booked").await;
        let ledger = world.provider.ledger(order).await;
        assert_eq!(
            (ledger.len(), ledger[0].captures, ledger[0].captured),
            (1, 1, PRICE.unsigned_abs())
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cash_goes_back_without_the_provider() {
    run(World::new, async |world| {
        let order = an_order();
        world.ask_for(&customer(), order, Method::Cash).await;
        world.until(order, "payment.cash_agreed").await;
        world.due(order, PRICE, true, 1).await;
        world.until(order, "payment.cash_collected").await;
        world.due(order, 0, true, 2).await;
        world.until(order, "payment.refunded").await;
        assert!(world.provider.ledger(order).await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_at_fault_bears_what_goes_back() {
    run(World::new, async |world| {
        let order = world.paying(&customer(), VISA).await;
        world.until(order, "payment.authorized").await;
        world.due(order, PRICE, false, 1).await;
        world.until(order, "payment.captured").await;
        let end = order::Event::Cancelled {
            by: order::EndedBy::Kitchen,
            reason: order::Reason::IngredientUnavailable,
            liable: Some(order::Liable::Point),
            held_at: None,
            cooking_began: false,
            borne: None,
        };
        world.orders.tell(order, end).await;
        world.due(order, 0, true, 2).await;
        world.until(order, "payment.refunded").await;
        let events = world.events(order.payment()).await;
        let borne = events
            .iter()
            .find(|event| event.event_type == "payment.liability_booked");
        let borne = borne.expect("booked").data.value();
        assert_eq!(
            (&borne["liable"], &borne["amount"]["amount"]),
            (&json!("point"), &json!(PRICE))
        );
    })
    .await;
}

/// Accepted by the kitchen, captured in vain with both of the card's promises: it waits for another card.
async fn failing(world: &World, ann: &Caller) -> OrderId {
    let order = world.paying(ann, "pm_card_capture_fails").await;
    world.until(order, "payment.authorized").await;
    world.due(order, PRICE, false, 1).await;
    eventually("both promises failed and were given back", || async {
        let types = world.event_types(order.payment()).await;
        let failures = types.iter().filter(|of| *of == "payment.capture_failed").count();
        (failures == 2 && types.last().map(String::as_str) == Some("payment.voided")).then_some(())
    })
    .await;
    order
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_bus_lost_is_read_from_its_owner() {
    run(World::new, async |world| {
        let ann = customer();
        let order = world.paying(&ann, VISA).await;
        world.until(order, "payment.authorized").await;
        let lost = order::Event::CookingStarted {};
        world.orders.keep(order, lost);
        world.due(order, PRICE, false, 1).await;
        world.until(order, "payment.captured").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_delivered_twice_counts_once() {
    run(World::new, async |world| {
        let order = world.paying(&customer(), VISA).await;
        world.until(order, "payment.authorized").await;
        let mut again = world.orders.keep(order, order::Event::CookingStarted {});
        world.orders.publish(&again).await;
        // Another message id: the broker does not know it for a repeat.
        again.event_id = uuid::Uuid::now_v7();
        world.orders.publish(&again).await;
        world.due(order, PRICE, false, 1).await;
        world.until(order, "payment.captured").await;
        let types = world.event_types(order.payment()).await;
        assert_eq!(types.iter().filter(|of| *of == "payment.opened").count(), 1);
        assert_eq!(world.provider.ledger(order).await[0].captures, 1);
    })
    .await;
}
