//! The seven steps as order-master hears and says them.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::order::Proof;
use mesh_contracts::{delivery, payment, point};
use mesh_testkit::run;
use serde_json::json;

use crate::world::{PRICE, World, courier};

#[tokio::test]
async fn an_order_runs_from_created_to_completed_as_its_peers_answer() {
    run(async |stage| {
        let world = World::new(stage).await;
        let order = world.placed().await;
        let held = point::Event::HoldHeld {
            order,
            attempt: 1,
            needs: vec![],
            expires_at: Timestamp::now(),
        };
        world.point_says(&held).await;
        world.hears(order, "payment.requested").await;

        let promised = payment::Event::Authorized {
            attempt: 1,
            amount: PRICE,
            provider_id: "pi_1".into(),
        };
        world.say(order.payment(), 1, &promised).await;
        world.hears(order, "ticket.offered").await;

        // Late enough that cooking need not start by timer before the kitchen is done.
        let ready_by = json!({ "ready_by": Timestamp::now() + SignedDuration::from_hours(1) });
        let accepted = world
            .post(&world.kitchen, &format!("/orders/{order}/accept"), &ready_by)
            .await;
        assert_eq!(accepted.status(), StatusCode::OK);
        world
            .point_says(&point::Event::HoldConfirmed { order, attempt: 1 })
            .await;
        world.hears(order, "delivery.requested").await;

        let courier = courier();
        let assigned = delivery::Event::Assigned {
            courier,
            pick_up_by: None,
        };
        world.say(order.delivery(), 1, &assigned).await;
        world.hears(order, "order.courier_assigned").await;
        let ready = world
            .post(&world.kitchen, &format!("/orders/{order}/ready"), &json!({}))
            .await;
        assert_eq!(ready.status(), StatusCode::OK);
        let eta = Timestamp::now();
        world
            .say(order.delivery(), 2, &delivery::Event::PickedUp { courier, eta })
            .await;
        let delivered = delivery::Event::Delivered {
            courier,
            proof: Proof::Pin,
        };
        world.say(order.delivery(), 3, &delivered).await;
        world.hears(order, "order.completed").await;

        assert_eq!(
            world.types(order).await,
            [
                "order.created",
                "hold.requested",
                "order.hold_held",
                "payment.requested",
                "order.paid",
                "ticket.offered",
                "ticket.accepted",
                "order.assigned",
                "settlement.due",
                "delivery.requested",
                "order.courier_assigned",
                "order.ready",
                "order.in_delivery",
                "order.completed",
                "settlement.due",
            ]
        );
        world
    })
    .await;
}

#[tokio::test]
async fn a_late_cancel_is_told_where_the_order_stands() {
    run(async |stage| {
        let world = World::new(stage).await;
        let order = world.placed().await;
        let cancel = format!("/orders/{order}/cancel");
        let reason = json!({ "reason": "customer_cancelled" });
        let cancelled = world.post(&world.customer, &cancel, &reason).await;
        assert_eq!(cancelled.status(), StatusCode::OK);
        let late = world.post(&world.customer, &cancel, &reason).await;
        assert_eq!(late.status(), StatusCode::CONFLICT);
        let problem: serde_json::Value = serde_json::from_slice(late.body()).expect("a problem");
        assert_eq!(problem["status"], 409);
        assert_eq!(problem["order_status"], "cancelled");
        world
    })
    .await;
}

#[tokio::test]
async fn killed_between_commit_and_publish_the_service_says_everything_after_its_restart() {
    run(async |stage| {
        let mut world = World::new(stage).await;
        let order = world.placed().await;
        world.service.kill().await;
        world.service.start().await;
        let held = point::Event::HoldHeld {
            order,
            attempt: 1,
            needs: vec![],
            expires_at: Timestamp::now(),
        };
        world.point_says(&held).await;
        world.hears(order, "payment.requested").await;
        world
    })
    .await;
}
