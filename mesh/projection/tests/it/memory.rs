//! What a process remembers of its writes saves it reads and decides nothing.

use mesh_testkit::{Stage, eventually};
use redis::AsyncCommands as _;

use crate::notebook::{given, id, noted, poison};
use crate::own_redis::OwnRedis;
use crate::rebuild::rebuilt;
use crate::world::{Log, World};

/// Another process of the service on the same Redis, which hears what is published to it alone.
async fn apart(world: &World) -> World {
    let second = World::over(Stage::new(), world.redis.clone(), world.log.clone()).await;
    second.filled().await;
    second
}

/// With a notebook that it wrote.
async fn with_notebook() -> World {
    let world = World::new().await;
    world.come_to([1, 2]).await;
    world.happen(&[given(1, 1, "ann")]).await;
    world.reaches(1, 1).await;
    world.happen(&[noted(1, 2)]).await;
    world.reaches(1, 2).await;
    world.stage.settled().await;
    world
}

async fn announced(world: &World, number: usize) -> usize {
    let topic = world.key(&format!("live:order:{}", id(number)));
    world.raw().await.xlen(topic).await.unwrap()
}

/// How often Redis was asked for a function since it was told to note everything.
async fn calls(world: &World, function: &str) -> usize {
    type Entry = (u64, u64, u64, Vec<String>, String, String);
    let mut raw = world.raw().await;
    let entries: Vec<Entry> = redis::cmd("SLOWLOG")
        .arg("GET")
        .arg(-1)
        .query_async(&mut raw)
        .await
        .unwrap();
    let names = entries.iter().filter_map(|(_, _, _, words, ..)| words.get(1));
    names.filter(|name| name.starts_with(function)).count()
}

async fn log_calls(world: &World) {
    let mut raw = world.raw().await;
    for (setting, value) in [("slowlog-max-len", 10_000), ("slowlog-log-slower-than", 0)] {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg(setting).arg(value);
        set.exec_async(&mut raw).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_at_the_same_time_is_written_together_and_all_of_it() {
    let redis = OwnRedis::start().await;
    let world = World::over(Stage::new(), redis.access(), Log::default()).await;
    world.filled().await;
    log_calls(&world).await;
    let begin: Vec<_> = (1..=200).map(|number| given(number, 1, "ann")).collect();
    world.happen(&begin).await;
    for number in 1..=200 {
        world.reaches(number, 1).await;
    }
    let calls = calls(&world, "tiffin_apply_").await;
    assert!((4..100).contains(&calls), "{calls} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_begin_and_go_on_are_written_without_being_read() {
    let redis = OwnRedis::start().await;
    let world = World::over(Stage::new(), redis.access(), Log::default()).await;
    world.filled().await;
    // Tells which edition is the current one.
    world.happen(&[given(1, 1, "ann")]).await;
    world.reaches(1, 1).await;
    log_calls(&world).await;
    for version in 2..=20 {
        world.happen(&[noted(1, version), noted(2, version - 1)]).await;
        world.reaches(1, version).await;
        world.reaches(2, version - 1).await;
    }
    assert!(calls(&world, "tiffin_apply_").await >= 19);
    assert_eq!(calls(&world, "tiffin_stored_").await, 0);
    for number in 1..=2 {
        assert_eq!(world.get(number).await.unwrap().doc, world.folded(number));
    }
}

#[tokio::test]
async fn what_another_process_wrote_is_gone_on_from_and_not_asked_of_the_master() {
    let world = with_notebook().await;
    let second = apart(&world).await;
    let asked = world.log.asked();
    second.happen(&[noted(1, 3)]).await;
    world.reaches(1, 3).await;
    world.happen(&[noted(1, 4)]).await;
    assert_eq!(world.reaches(1, 4).await.doc.seen, [1, 2, 3, 4]);
    assert_eq!(world.log.asked(), asked);
    second.happen(&[given(1, 5, "bob")]).await;
    assert_eq!(world.reaches(1, 5).await.doc, world.folded(1));
    assert_eq!(world.log.asked(), asked);
}

#[tokio::test]
async fn what_another_process_wrote_already_is_neither_lost_nor_announced_again() {
    let world = with_notebook().await;
    let second = apart(&world).await;
    let news = [given(1, 3, "bob"), noted(1, 4), given(2, 1, "cid"), noted(2, 2)];
    second.happen(&news).await;
    world.reaches(1, 4).await;
    world.reaches(2, 2).await;
    // The same for us, and more, as it comes from a consumer of our own.
    world.publish(&news).await;
    world.happen(&[noted(1, 5), noted(2, 3)]).await;
    for (number, version) in [(1, 5), (2, 3)] {
        assert_eq!(world.reaches(number, version).await.doc, world.folded(number));
        assert_eq!(announced(&world, number).await as u64, version);
    }
    world.stage.settled().await;
}

#[tokio::test]
async fn a_stream_that_another_process_quarantined_is_not_written() {
    let world = with_notebook().await;
    let second = apart(&world).await;
    second.happen(&[poison(1, 3), poison(2, 1)]).await;
    let keys = [world.document_key(1).await, world.document_key(2).await];
    for key in &keys {
        eventually("the stream is quarantined", async || {
            let is_marked: bool = world.raw().await.hexists(key, "q").await.unwrap();
            is_marked.then_some(())
        })
        .await;
    }
    // To us they look like any other.
    world.publish(&[noted(1, 3), noted(2, 1)]).await;
    world.stage.settled().await;
    for (key, stands_at) in keys.iter().zip([Some(2), None]) {
        let version: Option<u64> = world.raw().await.hget(key, "v").await.unwrap();
        assert_eq!(version, stands_at);
    }
}

#[tokio::test]
async fn what_was_written_to_one_edition_is_not_gone_on_from_in_the_next() {
    let world = with_notebook().await;
    let before = world.document_key(1).await;
    rebuilt(&world.projection, "{}").await;
    // As if that edition folded in another way.
    let key = world.document_key(1).await;
    let mut raw = world.raw().await;
    let mut doc = world.folded(1);
    doc.holder = "bob".into();
    let _: () = raw
        .hset(&key, "doc", serde_json::to_string(&doc).unwrap())
        .await
        .unwrap();
    world.happen(&[noted(1, 3), given(2, 1, "ann"), noted(2, 2)]).await;
    assert_eq!(world.reaches(1, 3).await.doc.holder, "bob");
    assert_eq!(world.reaches(2, 2).await.doc, world.folded(2));
    world.stage.settled().await;
    let version: u64 = raw.hget(&before, "v").await.unwrap();
    assert_eq!(version, 2);
}

#[tokio::test]
async fn news_behind_a_flush_follows_what_is_filled_again() {
    let world = with_notebook().await;
    world.flush().await;
    world.happen(&[noted(1, 3), given(2, 1, "bob")]).await;
    world.stage.settled().await;
    world.filled().await;
    world.happen(&[noted(1, 4), noted(2, 2)]).await;
    assert_eq!(world.reaches(1, 4).await.doc, world.folded(1));
    assert_eq!(world.reaches(2, 2).await.doc, world.folded(2));
    world.stage.settled().await;
}

#[tokio::test]
async fn a_poison_event_behind_what_is_remembered_stops_only_what_is_behind_it() {
    let world = with_notebook().await;
    world.happen(&[noted(1, 3), poison(1, 4), noted(1, 5)]).await;
    world.stage.settled().await;
    let mut raw = world.raw().await;
    let key = world.document_key(1).await;
    let (version, reason): (u64, String) = raw.hmget(&key, &["v", "q"]).await.unwrap();
    assert_eq!((version, reason.as_str()), (3, "version 4: no holder"));
}
