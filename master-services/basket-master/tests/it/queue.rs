//! Steps that fell due go over the work queue; what lies there, lost, late or repeated, moves no money twice.

use futures::future::join_all;
use mesh_testkit::eventually;
use serde_json::json;

use crate::world::{PRICE, World, customer, run};

const VISA: &str = "pm_card_visa";

/// As many as the field's worst webhook storms.
const REPEATS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_asked_about_by_a_job() {
    run(World::without_provider, async |world| {
        let order = world.paying(&customer(), VISA).await;
        world.until(order, "payment.unknown").await;
        world.provider.open(None).await;
        world.until(order, "payment.authorized").await;
        let (put, _) = world.jobs().await;
        assert!(put > 0, "nothing went over the queue");
        eventually("the queue is empty", async || (world.jobs().await.1 == 0).then_some(())).await;
        assert_eq!(world.provider.ledger(order).await.len(), 1);
        assert_eq!(world.dead_letters().await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_jobs_for_one_payment_take_its_money_once() {
    run(World::without_webhooks, async |world| {
        let order = world.paying(&customer(), VISA).await;
        let job = json!({ "payment": order.payment() });
        let storm = (0..REPEATS).map(|nth| world.put_on_queue(format!("again-{nth}"), &job));
        tokio::join!(join_all(storm), world.until(order, "payment.authorized"));
        let storm = (0..REPEATS).map(|nth| world.put_on_queue(format!("later-{nth}"), &job));
        tokio::join!(join_all(storm), world.due(order, PRICE, false, 1));
        world.until(order, "payment.captured").await;
        eventually("the queue is empty", async || (world.jobs().await.1 == 0).then_some(())).await;
        let ledger = world.provider.ledger(order).await;
        assert_eq!((ledger.len(), ledger[0].captures, ledger[0].open()), (1, 1, 0));
        let types = world.event_types(order.payment()).await;
        let told = [
            "payment.opened",
            "payment.intended",
            "payment.authorized",
            "payment.due",
            "payment.intended",
            "payment.captured",
        ];
        assert_eq!(types, told);
        assert_eq!(world.dead_letters().await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_about_no_payment_is_buried_and_bars_no_other() {
    run(World::without_provider, async |world| {
        world.put_on_queue("nonsense", &json!({ "payment": "ord_1" })).await;
        world
            .put_on_queue("unknown", &json!({ "payment": crate::world::an_order().payment() }))
            .await;
        let order = world.paying(&customer(), VISA).await;
        world.until(order, "payment.unknown").await;
        world.provider.open(None).await;
        world.until(order, "payment.authorized").await;
        eventually("the queue is empty", async || (world.jobs().await.1 == 0).then_some(())).await;
        assert_eq!(world.dead_letters().await, 1);
    })
    .await;
}
