use std::time::Duration;

use mesh_projection::{Projection, Unavailable};
use mesh_runtime::Shutdown;
use mesh_testkit::{Stage, eventually};
use redis::AsyncCommands as _;
use serde_json::{Value, json};

use crate::notebook::{Notebooks, closed, given, id, noted, shown};
use crate::own_redis::OwnRedis;
use crate::sse::Client;
use crate::world::{Log, World};

async fn open(projection: &Projection, topic: &str, last_event_id: Option<&str>) -> Result<Client, Unavailable> {
    let live = projection.live(topic).showing::<Notebooks>(shown);
    Ok(Client::of(live.open(last_event_id, Shutdown::new()).await?))
}

async fn listen(world: &World, topic: &str) -> Client {
    open(&world.projection, topic, None).await.unwrap()
}

async fn resume(world: &World, topic: &str, stamp: &str) -> Client {
    open(&world.projection, topic, Some(stamp)).await.unwrap()
}

#[tokio::test]
async fn a_client_gets_a_snapshot_and_then_every_event_once() {
    let world = World::new().await;
    world.happen(&[given(1, 1, "ann"), noted(1, 2)]).await;
    world.reaches(1, 2).await;
    let mut client = listen(&world, &format!("order:{}", id(1))).await;
    let snapshot = client.next().await;
    assert_eq!(snapshot.documents(), [(id(1), 2)]);
    assert_eq!(snapshot.data["stamp"], snapshot.id);
    let (generation, start) = snapshot.generation_and_sequence();
    for version in 3..=20 {
        world.happen(&[noted(1, version)]).await;
    }
    for version in 3..=20 {
        let event = client.next().await;
        assert_eq!(event.version(), version);
        assert_eq!(event.generation_and_sequence(), (generation, start + version - 2));
        assert_eq!(event.data["type"], "notebook.noted");
        assert_eq!(event.data["stream"], id(1));
        assert_eq!(event.data["at"], "1970-01-01T00:00:00Z");
        assert_eq!(event.data["data"], json!({ "text": version }));
    }
}

#[tokio::test]
async fn the_first_event_of_a_topic_arrives_as_an_event() {
    let world = World::new().await;
    let mut client = listen(&world, "point:ann").await;
    assert_eq!(client.next().await.documents(), []);
    world.happen(&[given(1, 1, "ann")]).await;
    assert_eq!(client.next().await.version(), 1);
}

#[tokio::test]
async fn a_topic_that_nobody_came_to_takes_no_room() {
    let world = World::new().await;
    world.happen(&[given(1, 1, "ann"), noted(1, 2)]).await;
    world.reaches(1, 2).await;
    let kept = [world.key("seq:point:ann"), world.key("live:point:ann")];
    let exist = async || -> usize { world.raw().await.exists(&kept).await.unwrap() };
    assert_eq!(exist().await, 0);
    let mut client = listen(&world, "point:ann").await;
    assert_eq!(client.next().await.documents(), [(id(1), 2)]);
    world.happen(&[noted(1, 3)]).await;
    assert_eq!(client.next().await.version(), 3);
    assert_eq!(exist().await, 2);
}

#[tokio::test]
async fn who_listens_longer_than_a_topic_lives_without_news_hears_what_comes_then() {
    let world = World::new().await;
    world.happen(&[given(1, 1, "ann")]).await;
    world.reaches(1, 1).await;
    let live = world.projection.live("point:ann").showing::<Notebooks>(shown);
    let live = live.beating(Duration::from_millis(5));
    let mut client = Client::of(live.open(None, Shutdown::new()).await.unwrap());
    assert_eq!(client.next().await.documents(), [(id(1), 1)]);
    // As if it had run out.
    let (counter, mut redis) = (world.key("seq:point:ann"), world.raw().await);
    redis.del::<_, ()>(&counter).await.unwrap();
    world.happen(&[noted(1, 2)]).await;
    // In a snapshot, or as an event if the look was before it.
    while !client.next().await.data.to_string().contains(r#""version":2"#) {}
    // Whoever looks again prolongs it.
    redis.expire::<_, ()>(&counter, 60).await.unwrap();
    let prolonged = async {
        while redis.ttl::<_, i64>(&counter).await.unwrap() <= 60 {
            client.block().await;
        }
    };
    let prolonged = tokio::time::timeout(Duration::from_secs(20), prolonged).await;
    prolonged.expect("the topic lives on");
}

#[tokio::test]
async fn a_topic_hears_of_what_it_gains_and_of_what_it_loses() {
    let world = World::new().await;
    world.happen(&[given(1, 1, "ann")]).await;
    world.reaches(1, 1).await;
    let mut ann = listen(&world, "point:ann").await;
    let mut bob = listen(&world, "point:bob").await;
    assert_eq!(ann.next().await.documents(), [(id(1), 1)]);
    assert_eq!(bob.next().await.documents(), []);
    world
        .happen(&[
            given(1, 2, "bob"),
            noted(1, 3),
            closed(1, 4),
            noted(1, 5),
            given(2, 1, "ann"),
        ])
        .await;
    assert_eq!(ann.next().await.version(), 2);
    assert_eq!(ann.next().await.data["stream"], id(2));
    for version in 2..=4 {
        assert_eq!(bob.next().await.version(), version);
    }
    world.reaches(1, 5).await;
    assert_eq!(listen(&world, "point:bob").await.next().await.documents(), []);
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed_and_nothing_twice() {
    let world = World::new().await;
    let topic = format!("order:{}", id(1));
    let mut client = listen(&world, &topic).await;
    client.next().await;
    world.happen(&[given(1, 1, "ann"), noted(1, 2)]).await;
    client.next().await;
    let last = client.next().await;
    drop(client);
    world.happen(&[noted(1, 3), noted(1, 4)]).await;
    world.reaches(1, 4).await;
    let mut client = resume(&world, &topic, &last.id).await;
    world.happen(&[noted(1, 5)]).await;
    for version in 3..=5 {
        assert_eq!(client.next().await.version(), version);
    }
    // And with nothing missed at all.
    let mut client = resume(&world, &topic, &last_stamp(&world, &topic).await).await;
    world.happen(&[noted(1, 6)]).await;
    assert_eq!(client.next().await.version(), 6);
}

#[tokio::test]
async fn a_stamp_that_cannot_be_resumed_gives_a_fresh_snapshot() {
    let world = World::new().await;
    let topic = format!("order:{}", id(1));
    let events: Vec<_> = (1..=1_100)
        .map(|version| {
            if version == 1 {
                given(1, 1, "ann")
            } else {
                noted(1, version)
            }
        })
        .collect();
    let mut client = listen(&world, &topic).await;
    let trimmed = client.next().await;
    drop(client);
    world.log.append(&events);
    for event in &events {
        let _ = world.bus.publish(event).await.unwrap();
    }
    world.reaches(1, 1_100).await;
    let (generation, sequence) = trimmed.generation_and_sequence();
    let (_, topic_tag) = trimmed.id.rsplit_once('-').unwrap();
    let of_the_future = format!("{generation}-{}-{topic_tag}", sequence + 5_000);
    let of_another_generation = format!("{}-{}-{topic_tag}", generation - 1, sequence + 1_099);
    let of_another_topic = format!("{generation}-{}-00000000", sequence + 1_099);
    let of_no_topic = format!("{generation}-{}", sequence + 1_099);
    for stamp in [
        trimmed.id.as_str(),
        &of_the_future,
        &of_another_generation,
        &of_another_topic,
        &of_no_topic,
        "no stamp",
        "1",
        "--",
        "",
    ] {
        let mut client = resume(&world, &topic, stamp).await;
        assert_eq!(client.next().await.documents(), [(id(1), 1_100)], "{stamp}");
    }
}

#[tokio::test]
async fn a_client_that_lags_gets_a_snapshot_instead_of_a_queue_without_end() {
    let world = World::new().await;
    let mut slow = listen(&world, "point:ann").await;
    let first = slow.next().await;
    let events: Vec<_> = (1..=400).map(|version| given(1, version, "ann")).collect();
    world.happen(&events).await;
    world.reaches(1, 400).await;
    world.happen(&[noted(2, 1)]).await;
    world.reaches(2, 1).await;
    let fresh = slow.next().await;
    assert_eq!(fresh.documents(), [(id(1), 400)]);
    assert!(fresh.generation_and_sequence() > first.generation_and_sequence());
    world.happen(&[noted(1, 401)]).await;
    assert_eq!(slow.next().await.version(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_life_of_redis_gives_a_fresh_snapshot_with_a_higher_stamp() {
    let mut redis = OwnRedis::start().await;
    let world = World::over(Stage::new(), redis.access(), Log::default()).await;
    world.filled().await;
    world.happen(&[given(1, 1, "ann")]).await;
    world.reaches(1, 1).await;
    let mut client = listen(&world, "point:ann").await;
    let before = client.next().await;
    redis.restart().await;
    let after = client.next().await;
    assert_eq!(after.documents(), [(id(1), 1)]);
    assert!(after.generation_and_sequence() > before.generation_and_sequence());
    world.happen(&[noted(1, 2)]).await;
    assert_eq!(client.next().await.version(), 2);
}

#[tokio::test]
async fn what_a_refill_brings_reaches_those_who_listen_already() {
    let world = World::new().await;
    world.happen(&[given(1, 1, "ann")]).await;
    world.reaches(1, 1).await;
    let mut client = listen(&world, "point:ann").await;
    client.next().await;
    // Committed and never published; only the refill can bring it.
    world.log.append(&[noted(1, 2)]);
    world.flush().await;
    assert_eq!(client.next().await.documents(), [(id(1), 2)]);
}

#[tokio::test]
async fn a_process_that_ends_tells_its_clients_when_to_come_back() {
    let world = World::new().await;
    let shutdown = Shutdown::new();
    let response = world
        .projection
        .live("point:ann")
        .showing::<Notebooks>(shown)
        .open(None, shutdown.clone())
        .await
        .unwrap();
    let mut client = Client::of(response);
    client.next().await;
    shutdown.trigger();
    assert_eq!(client.block().await.as_deref(), Some("retry: 500"));
    assert_eq!(client.block().await, None);
}

#[tokio::test]
async fn there_is_no_snapshot_before_the_view_is_complete() {
    let log = Log::default();
    log.set_down(true);
    let world = World::unfilled(log.clone()).await;
    assert!(open(&world.projection, "point:ann", None).await.is_err());
    log.set_down(false);
    world.filled().await;
    assert_eq!(listen(&world, "point:ann").await.next().await.documents(), []);
}

#[tokio::test]
async fn a_quiet_stream_shows_signs_of_life() {
    let world = World::new().await;
    let mut client = listen(&world, "point:ann").await;
    client.next().await;
    assert_eq!(client.block().await.as_deref(), Some(":"));
}

#[tokio::test]
async fn every_process_hears_what_another_has_written() {
    let world = World::new().await;
    let other = world.another(crate::world::DURABLE).await;
    eventually("the other is filled", async || (*other.filled().borrow()).then_some(())).await;
    let mut here = listen(&world, "point:ann").await;
    let mut there = open(&other, "point:ann", None).await.unwrap();
    here.next().await;
    there.next().await;
    let events: Vec<_> = (1..=30).map(|version| given(1, version, "ann")).collect();
    world.happen(&events).await;
    for version in 1..=30 {
        assert_eq!(here.next().await.version(), version);
        assert_eq!(there.next().await.version(), version);
    }
}

#[tokio::test]
async fn a_stamp_is_worth_nothing_on_another_topic_even_if_both_count_alike() {
    let world = World::new().await;
    world.happen(&[given(1, 1, "ann")]).await;
    world.reaches(1, 1).await;
    let of_the_point = last_stamp(&world, "point:ann").await;
    let of_the_order = last_stamp(&world, &format!("order:{}", id(1))).await;
    let (stamp, _) = of_the_point.rsplit_once('-').unwrap();
    let (_, order) = of_the_order.rsplit_once('-').unwrap();
    let mut client = resume(&world, "point:ann", &format!("{stamp}-{order}")).await;
    assert_eq!(client.next().await.documents(), [(id(1), 1)]);
}

#[tokio::test]
async fn what_joins_a_topic_comes_with_its_document_and_what_leaves_says_so() {
    let world = World::new().await;
    let mut client = listen(&world, "point:ann").await;
    client.next().await;
    world
        .happen(&[given(1, 1, "ann"), noted(1, 2), given(1, 3, "bob")])
        .await;
    let (joined, moved, left) = (client.next().await, client.next().await, client.next().await);
    assert_eq!(joined.data["document"], json!({ "id": id(1), "version": 1 }));
    assert_eq!((moved.data.get("document"), moved.data.get("left")), (None, None));
    assert_eq!((left.data.get("document"), &left.data["left"]), (None, &json!(true)));
}

#[tokio::test]
async fn a_mark_is_told_when_it_changes_and_otherwise_not() {
    let world = World::new().await;
    let live = world
        .projection
        .live("board")
        .calling("change")
        .showing::<Notebooks>(shown);
    let live = live.counting::<Notebooks>("holder", ["ann", "bob"]);
    let mut client = Client::of(live.open(None, Shutdown::new()).await.unwrap());
    assert_eq!(client.next().await.data["counts"], json!({ "ann": 0, "bob": 0 }));
    world
        .happen(&[
            given(1, 1, "ann"),
            noted(1, 2),
            noted(1, 3),
            given(1, 4, "bob"),
            closed(1, 5),
        ])
        .await;
    let mut turns = Vec::new();
    for _ in 0..3 {
        let change = client.next().await;
        assert_eq!(
            (change.name.as_str(), &change.data["kind"]),
            ("change", &json!("notebook"))
        );
        turns.push((
            change.data["version"].clone(),
            change.data["was"].clone(),
            change.data["is"].clone(),
        ));
    }
    let (ann, bob) = (json!({ "holder": "ann" }), json!({ "holder": "bob" }));
    assert_eq!(
        turns,
        [
            (json!(1), Value::Null, ann.clone()),
            (json!(4), ann, bob.clone()),
            (json!(5), bob, Value::Null)
        ]
    );
}

#[tokio::test]
async fn ephemeral_news_has_no_stamp_and_is_not_repeated() {
    let world = World::new().await;
    let mut client = listen(&world, "point:ann").await;
    let snapshot = client.next().await;
    assert_eq!(world.projection.listened("point:"), ["point:ann"]);
    world.projection.pass("point:ann", "position", "[1,2]");
    assert_eq!(client.block().await.as_deref(), Some("event: position\ndata: [1,2]"));
    world.happen(&[given(1, 1, "ann")]).await;
    assert_eq!(client.next().await.version(), 1);
    drop(client);
    let mut client = resume(&world, "point:ann", &snapshot.id).await;
    assert_eq!(
        client.next().await.version(),
        1,
        "the event, and nothing of what passed"
    );
    drop(client);
    assert!(world.projection.listened("").is_empty());
}

#[tokio::test]
async fn a_last_value_expires_by_itself() {
    let world = World::new().await;
    let names = ["at:ann".to_owned(), "at:bob".to_owned()];
    let value = [("at:ann".to_owned(), "here".to_owned())];
    world.projection.keep(&value, Duration::from_secs(1)).await.unwrap();
    assert_eq!(
        world.projection.kept(&names).await.unwrap(),
        [Some("here".into()), None]
    );
    eventually("it has expired", async || {
        let kept = world.projection.kept(&names).await.unwrap();
        (kept == [None, None]).then_some(())
    })
    .await;
    for value in 1..=4 {
        let ttl = Duration::from_secs(60);
        world.projection.remember("late:ann", value, 3, ttl).await.unwrap();
    }
    let names = ["late:ann".to_owned(), "late:bob".to_owned()];
    assert_eq!(
        world.projection.remembered(&names).await.unwrap(),
        [vec![4, 3, 2], vec![]]
    );
}

async fn last_stamp(world: &World, topic: &str) -> String {
    listen(world, topic).await.next().await.id
}
