//! Redis is a view: what it loses comes back, and nothing wrong is said meanwhile.

use mesh_testkit::eventually;

use crate::chain::{BREAD, CENTRE, CLUB, created, product, registered};
use crate::world::{self, customer};

const MENU: &str = "/menu?country=DE";

#[tokio::test]
async fn a_flushed_redis_is_never_answered_from_and_fills_again() {
    world::run(async |world| {
        let ann = customer(1);
        world.points.tell_all(CENTRE, [registered("Centre", 0)]).await;
        let version = world.menu.tell_all(CLUB, [created(product("Club", BREAD, 2))]).await;
        world.gateway.get_after(MENU, &ann, CLUB, version).await;
        world.stage.settled().await;

        world.menu.set_down(true);
        world.redis.flush().await;
        eventually("what was kept for a moment is gone", async || {
            let answer = world.gateway.get(MENU, &ann).await;
            match answer.status {
                503 => Some(()),
                _ => {
                    assert_eq!(answer.json()["items"][0]["names"]["en"], "Club");
                    None
                }
            }
        })
        .await;
        world.menu.set_down(false);
        let menu = eventually("the menu is there again", async || {
            let answer = world.gateway.get(MENU, &ann).await;
            (answer.status != 503).then(|| answer.json())
        })
        .await;
        assert_eq!(menu["items"][0]["names"]["en"], "Club", "all or 503");
    })
    .await;
}
