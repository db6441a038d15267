use mesh_projection::ListError;
use mesh_testkit::{Stage, eventually};
use redis::AsyncCommands as _;

use crate::notebook::{Notebooks, given, id, noted};
use crate::own_redis::OwnRedis;
use crate::world::{Log, World};

fn history() -> Vec<mesh_contracts::envelope::Envelope> {
    (1..=20)
        .flat_map(|version| (1..=30).map(move |number| (number, version)))
        .map(|(number, version)| match version {
            1 => given(number, version, "ann"),
            _ => noted(number, version),
        })
        .collect()
}

async fn assert_equal(world: &World) {
    for number in 1..=30 {
        let read = world.get(number).await.expect("filled");
        assert_eq!(read.doc, world.folded(number));
    }
    assert_eq!(world.holders("ann").await.len(), 30);
}

#[tokio::test]
async fn a_first_start_fills_from_the_feed_what_the_bus_never_had() {
    let log = Log::default();
    log.append(&history());
    let world = World::unfilled(log).await;
    world.filled().await;
    assert_equal(&world).await;
    let mut raw = world.raw().await;
    // History is announced to nobody.
    let topic = world.key(&format!("live:order:{}", id(1)));
    assert!(!raw.exists::<_, bool>(topic).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_came_back_empty_is_filled_again_and_equal() {
    let mut redis = OwnRedis::start().await;
    let world = World::over(Stage::new(), redis.access(), Log::default()).await;
    world.filled().await;
    world.happen(&history()).await;
    world.reaches(30, 20).await;
    world.stage.settled().await;
    redis.restart().await;
    eventually("the loss is noticed", async || {
        (!*world.projection.filled().borrow()).then_some(())
    })
    .await;
    world.filled().await;
    assert_equal(&world).await;
    world.happen(&[noted(1, 21)]).await;
    assert_eq!(world.reaches(1, 21).await.doc, world.folded(1));
    world.stage.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_arrive_while_redis_is_away_are_applied_when_it_is_back() {
    let mut redis = OwnRedis::start().await;
    let world = World::over(Stage::new(), redis.access(), Log::default()).await;
    world.filled().await;
    world.happen(&[given(1, 1, "ann")]).await;
    world.reaches(1, 1).await;
    redis.kill();
    world.happen(&[noted(1, 2), noted(1, 3)]).await;
    // The master answers for it meanwhile.
    assert_eq!(world.get(1).await.unwrap().doc, world.folded(1));
    redis.start_again().await;
    world.stage.settled().await;
    world.filled().await;
    assert_eq!(world.get(1).await.unwrap().doc, world.folded(1));
}

#[tokio::test]
async fn keys_that_were_flushed_are_noticed_and_filled_again() {
    let world = World::new().await;
    world.happen(&history()).await;
    world.reaches(30, 20).await;
    world.stage.settled().await;
    let generation = generation(&world).await;
    world.flush().await;
    eventually("a new generation begins and is filled", async || {
        let new = self::generation(&world).await?;
        (Some(new) > generation && *world.projection.filled().borrow()).then_some(())
    })
    .await;
    assert_equal(&world).await;
}

#[tokio::test]
async fn until_it_is_filled_a_missing_document_is_asked_of_the_master() {
    let world = World::new().await;
    world.happen(&[given(1, 1, "ann")]).await;
    world.reaches(1, 1).await;
    world.stage.settled().await;
    world.log.set_down(true);
    world.flush().await;
    // Neither Redis nor the master knows: not "not found".
    assert!(world.projection.get::<Notebooks>(&id(1)).await.is_err());
    assert!(world.projection.get::<Notebooks>(&id(9)).await.is_err());
    let list = world.projection.list::<Notebooks>("holder", "ann", None, 9).await;
    assert!(matches!(list, Err(ListError::Unavailable(_))));
    world.log.set_down(false);
    assert_eq!(world.get(1).await.unwrap().doc, world.folded(1));
    assert_eq!(world.get(9).await, None);
    world.filled().await;
}

#[tokio::test]
async fn data_of_another_servers_life_is_not_trusted() {
    let world = World::new().await;
    world.happen(&[given(1, 1, "ann")]).await;
    world.reaches(1, 1).await;
    let old = generation(&world).await.unwrap();
    let mut raw = world.raw().await;
    let _: () = raw.hset(world.key("sentinel"), "run", "0ther").await.unwrap();
    eventually("a new generation begins", async || {
        generation(&world).await.filter(|new| *new > old)
    })
    .await;
    world.filled().await;
    assert_eq!(world.get(1).await.unwrap().doc, world.folded(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn news_during_a_refill_is_not_lost() {
    let world = World::new().await;
    world.happen(&history()).await;
    world.reaches(30, 20).await;
    world.flush().await;
    for version in 21..=40 {
        let events: Vec<_> = (1..=30).map(|number| noted(number, version)).collect();
        world.happen(&events).await;
    }
    world.stage.settled().await;
    world.filled().await;
    assert_equal(&world).await;
}

async fn generation(world: &World) -> Option<u64> {
    world
        .raw()
        .await
        .hget(world.key("sentinel"), "generation")
        .await
        .unwrap()
}
