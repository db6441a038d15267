//! Money: promised, taken, given back, never twice; the provider's own ledger is the witness.

use mesh_contracts::order::Method;
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
        let declined = &events.last().expect("a refusal").data;
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
async fn a_capture_that_fails_for_good_ends_without_an_open_promise() {
    run(World::new, async |world| {
        let order = world.paying(&customer(), "pm_card_capture_fails").await;
        world.until(order, "payment.authorized").await;
        world.due(order, PRICE, false, 1).await;
        world.until(order, "payment.capture_failed").await;
        world.due(order, 0, true, 2).await;
        world.until(order, "payment.voided").await;
        let ledger = world.provider.ledger(order).await;
        assert_eq!((ledger[0].captures, ledger[0].open()), (0, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_bus_lost_is_read_from_its_owner() {
    run(World::new, async |world| {
        let ann = customer();
        let order = world.paying(&ann, VISA).await;
        world.until(order, "payment.authorized").await;
        let lost = mesh_contracts::order::Event::CookingStarted {};
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
        let mut again = world
            .orders
            .keep(order, mesh_contracts::order::Event::CookingStarted {});
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
