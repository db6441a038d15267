use redis::AsyncCommands as _;

use crate::notebook::{burnt, given, id, noted};
use crate::world::{Log, World};

#[tokio::test]
async fn a_document_is_the_fold_of_its_stream() {
    let world = World::new().await;
    world
        .happen(&[given(1, 1, "ann"), noted(1, 2), given(1, 3, "bob")])
        .await;
    assert_eq!(world.reaches(1, 3).await.doc, world.folded(1));
    world.stage.settled().await;
}

#[tokio::test]
async fn a_duplicate_changes_nothing() {
    let world = World::new().await;
    world.happen(&[given(1, 1, "ann"), noted(1, 2)]).await;
    world.reaches(1, 2).await;
    // Other ids, so that the broker does not drop them already.
    world.publish(&[given(1, 1, "ann"), noted(1, 2)]).await;
    world.happen(&[noted(1, 3)]).await;
    assert_eq!(world.reaches(1, 3).await.doc.seen, [1, 2, 3]);
    world.stage.settled().await;
}

#[tokio::test]
async fn what_arrives_too_early_is_preceded_by_what_the_feed_has() {
    let world = World::new().await;
    let events = [given(1, 1, "ann"), noted(1, 2), noted(1, 3), noted(1, 4)];
    world.log.append(&events);
    world.publish(&events[2..3]).await;
    assert_eq!(world.reaches(1, 4).await.doc, world.folded(1));
    // The rest of them come late.
    world
        .publish(&[events[1].clone(), events[0].clone(), events[3].clone()])
        .await;
    world.stage.settled().await;
    assert_eq!(world.get(1).await.unwrap().doc, world.folded(1));
}

#[tokio::test]
async fn a_gap_is_never_acknowledged_over_while_the_feed_is_down() {
    let world = World::new().await;
    let events = [given(1, 1, "ann"), noted(1, 2)];
    world.log.set_down(true);
    world.log.append(&events);
    world.publish(&events[1..]).await;
    let asked = world.log.asked();
    mesh_testkit::eventually("the feed is asked again", async || {
        (world.log.asked() > asked + 2).then_some(())
    })
    .await;
    assert_eq!(world.get(1).await, None);
    assert!(!world.stage.leftovers().await.is_empty());
    world.log.set_down(false);
    assert_eq!(world.reaches(1, 2).await.doc, world.folded(1));
    world.stage.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn projectors_that_race_leave_the_fold_and_announce_each_event_once() {
    let world = World::new().await;
    let others = [world.another("second").await, world.another("third").await];
    world.come_to(1..=5).await;
    for version in 1..=40 {
        let events: Vec<_> = (1..=5).map(|number| given(number, version, "ann")).collect();
        world.log.append(&events);
        for event in &events {
            let _ = world.bus.publish(event).await.unwrap();
        }
    }
    let mut raw = world.raw().await;
    for number in 1..=5 {
        assert_eq!(world.reaches(number, 40).await.doc, world.folded(number));
    }
    world.stage.settled().await;
    for number in 1..=5 {
        let topic = world.key(&format!("live:order:{}", id(number)));
        let announced: usize = raw.xlen(topic).await.unwrap();
        assert_eq!(announced, 40);
    }
    drop(others);
}

#[tokio::test]
async fn a_stream_that_folds_to_nothing_is_not_found_and_goes_on() {
    let world = World::new().await;
    world.happen(&[given(1, 1, "ann"), burnt(1, 2)]).await;
    mesh_testkit::eventually("the document is gone", async || {
        world.get(1).await.is_none().then_some(())
    })
    .await;
    assert!(world.holders("ann").await.is_empty());
    world.happen(&[given(1, 3, "bob")]).await;
    assert_eq!(world.reaches(1, 3).await.doc.seen, [3]);
    assert_eq!(world.holders("bob").await, [id(1)]);
}

#[tokio::test]
async fn a_stored_document_of_another_shape_is_folded_anew() {
    // Filled from the feed, so that it is not remembered as news.
    let log = Log::default();
    log.append(&[given(1, 1, "ann"), noted(1, 2)]);
    let world = World::unfilled(log).await;
    world.filled().await;
    let mut raw = world.raw().await;
    let key = world.document_key(1).await;
    let _: () = raw.hset(&key, "doc", r#"{"of":"another build"}"#).await.unwrap();
    // Readers ask the master meanwhile.
    assert_eq!(world.get(1).await.unwrap().doc, world.folded(1));
    world.happen(&[noted(1, 3)]).await;
    let folded = serde_json::to_string(&world.folded(1)).unwrap();
    mesh_testkit::eventually("the document has our shape", async || {
        let stored: String = world.raw().await.hget(&key, "doc").await.unwrap();
        (stored == folded).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_missing_document_is_not_found_without_asking_the_master() {
    let world = World::new().await;
    let asked = world.log.asked();
    assert_eq!(world.get(9).await, None);
    assert_eq!(world.log.asked(), asked);
}
