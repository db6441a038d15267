//! Redis is a view: what it loses comes back, and nothing wrong is said meanwhile.

use std::time::Duration;

use mesh_bus::Bus;
use mesh_contracts::id::OrderId;
use mesh_contracts::subject::Context;
use mesh_testkit::{eventually, eventually_in};

use crate::events::{POINT, after, placed, ticket};
use crate::world::{self, customer, kitchen};

/// The broker's patience with who has an event in hand, and some time to work.
const SOON: Duration = Duration::from_secs(7);

#[tokio::test]
async fn a_first_start_shows_what_happened_before_it() {
    world::run_stopped(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        for event in ticket(id, ann.subject, POINT, after(3)) {
            world.orders.keep(id, event);
        }
        world.service.start().await;
        assert_eq!(
            world.gateway.get(&format!("/orders/{id}"), &ann).await.json()["version"],
            5
        );
        let tickets = format!("/food-points/{POINT}/tickets");
        assert_eq!(
            world.gateway.get(&tickets, &kitchen(POINT)).await.ids(),
            [id.to_string()]
        );
    })
    .await;
}

#[tokio::test]
async fn a_flushed_redis_is_never_answered_from_and_fills_again() {
    world::run(async |world| {
        let ann = customer(1);
        let mut ids = Vec::new();
        for _ in 0..5 {
            let id = OrderId::new_v7();
            world.orders.tell_all(id, [placed(id, ann.subject)]).await;
            ids.push(id);
        }
        let first = ids[0];
        let path = format!("/orders/{first}");
        world.gateway.get_after("/orders", &ann, ids[4], 1).await;
        world.stage.settled().await;

        world.orders.set_down(true);
        world.redis.flush().await;
        assert_eq!(
            world.gateway.get(&path, &ann).await.problem(),
            (503, "unavailable".into())
        );
        assert_eq!(
            world.gateway.get("/orders", &ann).await.problem(),
            (503, "unavailable".into())
        );
        world.orders.set_down(false);
        assert_eq!(
            world.gateway.get(&path, &ann).await.json()["version"],
            1,
            "the master knows"
        );
        let listed = eventually("the list is there again", async || {
            let answer = world.gateway.get("/orders", &ann).await;
            match answer.status {
                200 => Some(answer.ids().len()),
                503 => None,
                _ => panic!("{answer:?}"),
            }
        })
        .await;
        assert_eq!(listed, 5, "all or 503");
    })
    .await;
}

#[tokio::test]
async fn a_killed_process_misses_nothing() {
    world::run(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        world.orders.tell_all(id, [placed(id, ann.subject)]).await;
        world.stage.settled().await;
        world.service.kill().await;
        world.orders.tell_all(id, crate::events::held(POINT)).await;
        world.service.start().await;
        let path = format!("/orders/{id}");
        eventually("it has caught up", async || {
            let answer = world.gateway.get(&path, &ann).await;
            (answer.status == 200 && answer.json()["version"] == 3).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn what_was_in_its_hands_when_it_was_killed_is_shown_soon_after() {
    world::run(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        world.orders.tell_all(id, [placed(id, ann.subject)]).await;
        world.stage.settled().await;
        world.service.freeze();
        world.orders.tell_all(id, crate::events::held(POINT)).await;
        let bus = Bus::connect(world.stage.bus(order_info::NAME))
            .await
            .expect("an address");
        eventually("both events are handed out", async || {
            let state = bus.consumer_state(Context::Order, order_info::NAME).await;
            (state.ok()??.ack_pending == 2).then_some(())
        })
        .await;
        world.service.kill().await;
        world.service.start().await;
        let path = format!("/orders/{id}");
        eventually_in("it has caught up", SOON, async || {
            let answer = world.gateway.get(&path, &ann).await;
            (answer.status == 200 && answer.json()["version"] == 3).then_some(())
        })
        .await;
    })
    .await;
}
