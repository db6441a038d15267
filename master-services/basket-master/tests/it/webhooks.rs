//! Webhooks: forged, stale, repeated, about nobody; each leaves everything as it was.

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::id::OrderId;
use mesh_testkit::eventually;
use sandbox_payments::webhooks::sign;
use serde_json::json;

use crate::provider::WEBHOOK_SECRET;
use crate::world::{PRICE, World, an_order, customer, run};

/// The provider says that the money of this call is promised.
fn authorized(order: OrderId, key: &str) -> String {
    json!({
        "type": "payment_intent.amount_capturable_updated",
        "data": {"object": {"id": "pi_x", "status": "requires_capture", "metadata": {"order_id": order}}},
        "request": {"id": null, "idempotency_key": key},
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_webhook_is_refused_and_nothing_is_written() {
    run(World::without_provider, async |world| {
        let order = world.paying(&customer(), "pm_card_visa").await;
        world.until(order, "payment.unknown").await;
        let body = authorized(order, &format!("{}-1", order.payment()));
        let now = Timestamp::now();
        let old = now - SignedDuration::from_mins(6);
        for signature in [
            String::new(),
            "t=1,v1=00".to_owned(),
            sign(b"somebody else's secret", now, body.as_bytes()),
            sign(WEBHOOK_SECRET.as_bytes(), now, b"another body"),
            sign(WEBHOOK_SECRET.as_bytes(), old, body.as_bytes()),
        ] {
            let refused = world.webhook(&signature, &body).await;
            assert_eq!((refused.status, refused.kind()), (401, "webhook_forged".to_owned()));
        }
        assert!(
            !world
                .event_types(order.payment())
                .await
                .contains(&"payment.authorized".to_owned())
        );

        // The very same body, signed by the provider, settles the call.
        let good = sign(WEBHOOK_SECRET.as_bytes(), now, body.as_bytes());
        for _ in 0..3 {
            assert_eq!(world.webhook(&good, &body).await.status, 200);
        }
        world.until(order, "payment.authorized").await;
        let types = world.event_types(order.payment()).await;
        assert_eq!(types.iter().filter(|of| *of == "payment.authorized").count(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_a_hundred_times_at_once_counts_once() {
    run(World::without_provider, async |world| {
        let order = world.paying(&customer(), "pm_card_visa").await;
        world.until(order, "payment.unknown").await;
        let body = authorized(order, &format!("{}-1", order.payment()));
        let signature = sign(WEBHOOK_SECRET.as_bytes(), Timestamp::now(), body.as_bytes());
        let answers = join_all((0..100).map(|_| world.webhook(&signature, &body))).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        let types = world.event_types(order.payment()).await;
        assert_eq!(types.iter().filter(|of| *of == "payment.authorized").count(), 1);
        // Replayed long after, it finds nothing to answer.
        let before = world.written().await;
        assert_eq!(world.webhook(&signature, &body).await.status, 200);
        assert_eq!(world.written().await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_for_another_operation_or_of_an_earlier_call_settles_nothing() {
    run(World::new, async |world| {
        let order = world.paying(&customer(), "pm_card_capture_fails").await;
        world.until(order, "payment.authorized").await;
        world.due(order, PRICE, false, 1).await;
        eventually("it waits for another card", || async {
            let types = world.event_types(order.payment()).await;
            let failures = types.iter().filter(|of| *of == "payment.capture_failed").count();
            (failures == 2 && types.last().map(String::as_str) == Some("payment.voided")).then_some(())
        })
        .await;
        let before = world.written().await;
        // The first promise, announced again under the key that it was asked for with.
        let body = authorized(order, &format!("{}-1", order.payment()));
        let signature = sign(WEBHOOK_SECRET.as_bytes(), Timestamp::now(), body.as_bytes());
        assert_eq!(world.webhook(&signature, &body).await.status, 200);
        assert_eq!(world.written().await, before);
        world.due(order, 0, true, 2).await;
        world.until(order, "payment.due").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_about_no_open_call_changes_nothing() {
    run(World::new, async |world| {
        let order = world.paying(&customer(), "pm_card_visa").await;
        world.until(order, "payment.authorized").await;
        let before = world.written().await;
        for (order, key) in [
            (order, format!("{}-1", order.payment())),
            (an_order(), "no call".to_owned()),
        ] {
            let body = json!({
                "type": "payment_intent.succeeded",
                "data": {"object": {"id": "pi_x", "status": "succeeded", "metadata": {"order_id": order}}},
                "request": {"id": null, "idempotency_key": key},
            })
            .to_string();
            let signature = sign(WEBHOOK_SECRET.as_bytes(), Timestamp::now(), body.as_bytes());
            assert_eq!(world.webhook(&signature, &body).await.status, 200);
        }
        let no_json = sign(WEBHOOK_SECRET.as_bytes(), Timestamp::now(), b"no JSON");
        assert_eq!(world.webhook(&no_json, "no JSON").await.kind(), "bad_request");
        assert_eq!(world.written().await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_and_repeated_webhooks_do_no_harm() {
    run(World::new, async |world| {
        let order = world.paying(&customer(), "pm_card_webhook_repeated").await;
        world.until(order, "payment.authorized").await;
        world.due(order, 0, true, 1).await;
        world.until(order, "payment.voided").await;
        let types = world.event_types(order.payment()).await;
        let once = ["payment.authorized", "payment.voided"];
        assert!(
            once.iter()
                .all(|of| types.iter().filter(|known| known == of).count() == 1),
            "{types:?}"
        );
    })
    .await;
}
