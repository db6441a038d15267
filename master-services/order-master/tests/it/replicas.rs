//! Two replicas, and a timer of an order that the other one has moved on: it is not dropped, and it does nothing to what
//! is only remembered.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mesh_bus::Bus;
use mesh_contracts::id::OrderId;
use mesh_contracts::order::Status;
use mesh_contracts::{delivery, payment, point};
use mesh_eventstore::inbox::Drained;
use mesh_eventstore::{Store, StoreConfig};
use mesh_runtime::{Clock, Shutdown};
use mesh_testkit::{Stage, eventually, gateway, run};
use order_master::notices::Notices;
use order_master::{App, NAME};
use serde_json::json;

use crate::world::{PRICE, World, courier};

/// Longer than a test takes: nobody is asked for a notice twice.
const NOTIFY_AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(1);

#[tokio::test]
async fn a_timer_that_means_nothing_to_the_remembered_order_passes_for_the_one_there_is() {
    run(async |stage| {
        let mut world = World::new(stage).await;
        let replica = Replica::of(stage, &world).await;
        let order = world.placed().await;
        // As the replica remembers it, nobody has been asked to cook it.
        replica.looks_at(order, Status::Created).await;
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

        replica.remembers(order, Status::Created).await;
        replica.fires(&mut world, order, "ticket").await;
        let types = world.types(order).await;
        let ended = ["ticket.timed_out", "order.rejected", "settlement.due"];
        assert_eq!(types[types.len() - 3..], ended);
        world
    })
    .await;
}

#[tokio::test]
async fn a_timer_that_would_move_the_remembered_order_leaves_the_one_there_is_alone() {
    run(async |stage| {
        let mut world = World::new(stage).await;
        let replica = Replica::of(stage, &world).await;
        let order = world.placed().await;
        world.assigned(order).await;
        let ready = world
            .post(&world.kitchen, &format!("/orders/{order}/ready"), &json!({}))
            .await;
        assert_eq!(ready.status(), http::StatusCode::OK, "{:?}", ready.body());
        // As the replica remembers it, nobody comes for it.
        replica.looks_at(order, Status::Ready).await;
        let assigned = delivery::Event::Assigned {
            courier: courier(),
            pick_up_by: None,
        };
        world.say(order.delivery(), 1, &assigned).await;
        world.hears(order, "order.courier_assigned").await;

        let (remembered, _) = replica.remembers(order, Status::Ready).await;
        assert_eq!(remembered.courier, None);
        replica.fires(&mut world, order, "courier").await;
        let types = world.types(order).await;
        assert_eq!(
            types.last().map(String::as_str),
            Some("order.courier_assigned"),
            "{types:?}"
        );
        world
    })
    .await;
}

/// Another order-master on the same database, which hears nothing.
struct Replica {
    app: Arc<App>,
    notices: Notices,
}

impl Replica {
    async fn of(stage: &Stage, world: &World) -> Self {
        let config = StoreConfig::new(&world.database.url, NAME);
        let store = Store::connect(config, Clock::real())
            .await
            .expect("the database answers");
        let bus = Bus::connect(stage.bus(NAME)).await.expect("the broker lets it in");
        Self {
            app: Arc::new(App::new(store, gateway::signer())),
            notices: Notices::new(bus, NOTIFY_AGAIN_AFTER),
        }
    }

    /// Reads it, and keeps it in mind.
    async fn looks_at(&self, order: OrderId, status: Status) {
        let (seen, _) = self
            .app
            .orders
            .load(order)
            .await
            .expect("readable")
            .expect("it was placed");
        assert_eq!(seen.status, status);
    }

    async fn remembers(&self, order: OrderId, status: Status) -> (mesh_contracts::view::order::Order, u64) {
        let (kept, version) = self
            .app
            .orders
            .recent(order)
            .await
            .expect("readable")
            .expect("it was seen");
        assert_eq!(kept.status, status, "it has not looked again");
        (kept, version)
    }

    /// The process dies, and while this replica leads, the order's timer of this kind passes. Then the process is back.
    async fn fires(&self, world: &mut World, order: OrderId, kind: &str) {
        world.service.kill().await;
        let pool = sqlx::PgPool::connect(&world.database.owner_url)
            .await
            .expect("it is there");
        let due = "update timers set due_at = now() - interval '1 second' where stream_id = $1 and kind = $2";
        let moved = sqlx::query(due).bind(order.to_string()).bind(kind).execute(&pool).await;
        assert_eq!(moved.expect("the owner may").rows_affected(), 1, "{kind} stands");
        let (app, notices, shutdown) = (self.app.clone(), self.notices.clone(), Shutdown::new());
        let until = shutdown.clone();
        let firing = tokio::spawn(async move { app.fire_timers(notices, Drained::new(), until).await });
        eventually("the timer has passed", || async {
            let left: i64 = sqlx::query_scalar("select count(*) from timers where stream_id = $1 and kind = $2")
                .bind(order.to_string())
                .bind(kind)
                .fetch_one(&pool)
                .await
                .expect("the engine's tables are there");
            (left == 0).then_some(())
        })
        .await;
        shutdown.trigger();
        firing.await.expect("it ends");
        pool.close().await;
        world.service.start().await;
    }
}
