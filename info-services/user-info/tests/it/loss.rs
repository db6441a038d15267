//! Redis is a view: what it loses comes back, and nothing wrong is said meanwhile.

use mesh_testkit::eventually;

use crate::world::{self, customer};

#[tokio::test]
async fn a_flushed_redis_is_never_answered_from_and_fills_again() {
    world::run(async |world| {
        let ann = customer(1);
        let version = world.register(ann.subject, "Ann").await;
        world.gateway.get_after("/me", &ann, ann.subject, version).await;
        world.stage.settled().await;

        world.users.set_down(true);
        world.redis.flush().await;
        assert_eq!(
            world.gateway.get("/me", &ann).await.problem(),
            (503, "unavailable".into())
        );
        world.users.set_down(false);
        assert_eq!(
            world.gateway.get("/me", &ann).await.json()["name"],
            "Ann",
            "user-master knows"
        );
        eventually("Redis alone can answer again", async || {
            world.users.set_down(true);
            let answer = world.gateway.get("/me", &ann).await;
            world.users.set_down(false);
            (answer.status == 200).then_some(())
        })
        .await;
    })
    .await;
}
