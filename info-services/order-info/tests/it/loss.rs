//! Redis is a view: what it loses comes back, and nothing wrong is said meanwhile.

use mesh_contracts::id::OrderId;
use mesh_testkit::eventually;

use crate::events::{POINT, after, placed, ticket};
use crate::world::{self, customer, kitchen};

#[tokio::test]
async fn a_first_start_shows_what_happened_before_it() {
    world::run_stopped(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        for event in ticket(id, ann.subject, POINT, after(3)) {
            world.orders.keep(id.to_string(), event);
        }
        world.service.start().await;
        assert_eq!(world.get(&format!("/orders/{id}"), &ann).await.json()["version"], 5);
        let tickets = format!("/food-points/{POINT}/tickets");
        assert_eq!(world.get(&tickets, &kitchen(POINT)).await.ids(), [id.to_string()]);
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
            world.orders.tell(id, [placed(id, ann.subject)]).await;
            ids.push(id);
        }
        let first = ids[0];
        let path = format!("/orders/{first}");
        world.get_after("/orders", &ann, ids[4], 1).await;
        world.stage.settled().await;

        world.orders.set_down(true);
        world.flush().await;
        assert_eq!(world.get(&path, &ann).await.problem(), (503, "unavailable".into()));
        assert_eq!(world.get("/orders", &ann).await.problem(), (503, "unavailable".into()));
        world.orders.set_down(false);
        assert_eq!(world.get(&path, &ann).await.json()["version"], 1, "the master knows");
        let listed = eventually("the list is there again", async || {
            let answer = world.get("/orders", &ann).await;
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
        world.orders.tell(id, [placed(id, ann.subject)]).await;
        world.stage.settled().await;
        world.service.kill().await;
        world.orders.tell(id, crate::events::held(POINT)).await;
        world.service.start().await;
        let path = format!("/orders/{id}");
        eventually("it has caught up", async || {
            let answer = world.get(&path, &ann).await;
            (answer.status == 200 && answer.json()["version"] == 3).then_some(())
        })
        .await;
    })
    .await;
}
