//! Redis is a view: what it loses comes back, and nothing wrong is said meanwhile.

use mesh_contracts::id::ProductId;
use mesh_testkit::eventually;

use crate::baskets::set;
use crate::world::{self, customer};

#[tokio::test]
async fn a_flushed_redis_is_never_answered_from_and_fills_again() {
    world::run(async |world| {
        let ann = customer(1);
        let id = ann.subject.basket();
        let version = world.baskets.tell_all(id, [set(ProductId::new_v7(), 2)]).await;
        world.gateway.get_after("/basket", &ann, id, version).await;
        world.stage.settled().await;

        world.baskets.set_down(true);
        world.redis.flush().await;
        let answer = world.gateway.get("/basket", &ann).await;
        assert_eq!(answer.problem(), (503, "unavailable".into()), "and not empty");
        world.baskets.set_down(false);
        assert_eq!(
            world.gateway.get("/basket", &ann).await.json()["version"],
            1,
            "the master knows"
        );
        eventually("Redis alone can answer again", async || {
            world.baskets.set_down(true);
            let answer = world.gateway.get("/basket", &ann).await;
            world.baskets.set_down(false);
            (answer.status == 200).then_some(())
        })
        .await;
    })
    .await;
}
