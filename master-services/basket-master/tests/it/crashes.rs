//! Time-outs, a provider that is away, and kill -9 in the middle of a call: one promise, one capture, the same end.

use mesh_testkit::eventually;

use crate::world::{PRICE, World, customer, run};

const VISA: &str = "pm_card_visa";
const ANSWER_LOST: &str = "pm_card_timeout_after_success";

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_asked_for_again_under_the_same_key() {
    run(World::without_webhooks, async |world| {
        let order = world.paying(&customer(), ANSWER_LOST).await;
        world.until(order, "payment.authorized").await;
        let types = world.event_types(order.payment()).await;
        let told = [
            "payment.opened",
            "payment.intended",
            "payment.unknown",
            "payment.authorized",
        ];
        assert_eq!(types, told);
        assert_eq!(world.provider.ledger(order).await.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_brings_an_answer_that_was_lost() {
    run(World::new, async |world| {
        let order = world.paying(&customer(), ANSWER_LOST).await;
        world.until(order, "payment.authorized").await;
        let events = world.events(order.payment()).await;
        assert_eq!(events.last().expect("an answer").meta.actor.0, "provider:payments");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_is_asked_until_it_answers() {
    run(World::without_provider, async |world| {
        let order = world.paying(&customer(), VISA).await;
        world.until(order, "payment.unknown").await;
        world.provider.open(None).await;
        world.until(order, "payment.authorized").await;
        let keys: Vec<_> = world
            .events(order.payment())
            .await
            .iter()
            .filter_map(|event| event.data.value()["key"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(keys, [format!("{}-1", order.payment())]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_provider_is_asked_it_resumes_with_the_same_promise() {
    run(World::without_webhooks, async |world| {
        let order = world.paying(&customer(), ANSWER_LOST).await;
        // The money is promised, and the answer will not come for five seconds.
        eventually("the provider has promised", || async {
            (!world.provider.ledger(order).await.is_empty()).then_some(())
        })
        .await;
        world.service.kill().await;
        world.service.start().await;
        world.until(order, "payment.authorized").await;
        world.due(order, PRICE, false, 1).await;
        world.until(order, "payment.captured").await;
        let ledger = world.provider.ledger(order).await;
        assert_eq!((ledger.len(), ledger[0].captures, ledger[0].open()), (1, 1, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_while_it_was_down_is_done_when_it_is_back() {
    run(World::new, async |world| {
        let order = world.paying(&customer(), VISA).await;
        world.until(order, "payment.authorized").await;
        world.service.kill().await;
        world.due(order, PRICE, false, 1).await;
        world.due(order, 0, true, 2).await;
        world.service.start().await;
        eventually("nothing is kept", || async {
            let ledger = world.provider.ledger(order).await;
            (ledger[0].captured == ledger[0].refunded() && ledger[0].open() == 0).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_it_ends_and_starts_again() {
    run(World::new, async |world| {
        world.service.stop().await;
        world.service.start().await;
        let order = world.paying(&customer(), VISA).await;
        world.until(order, "payment.authorized").await;
    })
    .await;
}
