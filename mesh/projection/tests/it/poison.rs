use redis::AsyncCommands as _;

use crate::notebook::{Notebooks, given, id, noted, poison};
use crate::world::{Log, World};

#[tokio::test]
async fn a_poison_event_quarantines_its_stream_and_no_other() {
    let world = World::new().await;
    world
        .happen(&[given(1, 1, "ann"), poison(1, 2), noted(1, 3), given(2, 1, "ann")])
        .await;
    world.reaches(2, 1).await;
    world.stage.settled().await;
    world.happen(&[noted(1, 4), noted(2, 2)]).await;
    world.reaches(2, 2).await;
    world.stage.settled().await;
    // Applied up to the poison, marked, and not shown as if it were the newest.
    let mut raw = world.raw().await;
    let key = world.document_key(1).await;
    let (version, reason): (u64, String) = raw.hmget(&key, &["v", "q"]).await.unwrap();
    assert_eq!((version, reason.as_str()), (1, "version 2: no holder"));
    assert!(world.projection.get::<Notebooks>(&id(1)).await.is_err());
    assert_eq!(world.holders("ann").await, [id(2)]);
}

#[tokio::test]
async fn a_poison_event_in_the_feed_does_not_keep_the_rest_from_being_filled() {
    let log = Log::default();
    log.append(&[given(1, 1, "ann"), poison(1, 2), given(2, 1, "ann")]);
    let world = World::unfilled(log).await;
    world.filled().await;
    assert_eq!(world.holders("ann").await, [id(2)]);
}
