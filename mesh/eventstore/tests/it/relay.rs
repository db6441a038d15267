//! From the outbox to a real broker that is killed, wiped and comes back.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mesh_bus::Bus;
use mesh_contracts::subject::Context;
use mesh_eventstore::{Store, Streams, relay};
use mesh_runtime::Shutdown;
use mesh_testkit::{Stage, eventually};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::own_broker::OwnBroker;
use crate::tally::{Tally, add, anyone, connect, count, migrated, new_id, open};

fn start(store: &Store, bus: &Bus) -> (JoinHandle<()>, Shutdown) {
    let shutdown = Shutdown::new();
    let relaying = relay::run(store.clone(), bus.clone(), Context::Order, shutdown.clone());
    (tokio::spawn(relaying), shutdown)
}

async fn fill(streams: &Streams<Tally>, count: usize) {
    let id = new_id();
    streams
        .submit(&id, anyone(), open(1_000_000))
        .await
        .expect("a new tally");
    for _ in 1..count {
        streams.submit(&id, anyone(), add(1)).await.expect("open");
    }
}

async fn outbox_is_empty(store: &Store) -> Option<()> {
    (count(store, "select count(*) from outbox").await == 0).then_some(())
}

async fn stored_in(store: &Store) -> HashMap<Uuid, (String, i64)> {
    let rows: Vec<(Uuid, String, i64)> = sqlx::query_as("select event_id, stream_id, version from events")
        .fetch_all(store.pool())
        .await
        .expect("readable");
    rows.into_iter()
        .map(|(id, stream, version)| (id, (stream, version)))
        .collect()
}

/// The ids of the events that the broker keeps, in its order, as often as it has them.
async fn kept(bus: &Bus) -> Vec<Uuid> {
    let info = bus.stream_info(Context::Order).await.expect("answers");
    let last = info.map_or(0, |info| info.last_sequence);
    let mut ids = Vec::new();
    for sequence in 1..=last {
        let message = bus.message_at(Context::Order, sequence).await.expect("answers");
        let events = message.map_or_else(Vec::new, |message| message.events());
        ids.extend(events.into_iter().map(|event| event.expect("one of ours").event_id));
    }
    ids
}

/// The same without repeats.
async fn published(bus: &Bus) -> Vec<Uuid> {
    let mut seen = HashSet::new();
    let mut ids = kept(bus).await;
    ids.retain(|id| seen.insert(*id));
    ids
}

async fn broker_has_all(store: &Store, bus: &Bus) -> Option<()> {
    let has: HashSet<Uuid> = kept(bus).await.into_iter().collect();
    stored_in(store).await.keys().all(|id| has.contains(id)).then_some(())
}

/// How many rows of `events` were read by way of an index so far, once the server has counted that many.
async fn events_read(store: &Store, at_least: i64) -> Option<i64> {
    let read = count(
        store,
        "select coalesce(idx_tup_fetch, 0) from pg_stat_user_tables where relname = 'events'",
    )
    .await;
    (read >= at_least).then_some(read)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_into_the_outbox_reads_what_waits_and_not_what_ever_happened() {
    const EVENTS: usize = 500;
    let stage = Stage::new();
    let bus = Bus::connect(stage.bus("order-master")).await.expect("valid");
    let streams: Streams<Tally> = Streams::new(connect(&migrated(&stage).await).await);
    let (_relay, _ends) = start(streams.store(), &bus);
    fill(&streams, EVENTS).await;
    eventually("all is published", || outbox_is_empty(streams.store())).await;
    let read = eventually("all is counted", || events_read(streams.store(), EVENTS as i64)).await;
    assert!(read < 2 * EVENTS as i64, "read {read} rows to publish {EVENTS}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_published_in_the_order_of_its_stream() {
    let stage = Stage::new();
    let bus = Bus::connect(stage.bus("order-master")).await.expect("valid");
    let streams: Streams<Tally> = Streams::new(connect(&migrated(&stage).await).await);
    let (_relay, ends) = start(streams.store(), &bus);
    tokio::join!(fill(&streams, 200), fill(&streams, 200), fill(&streams, 200));
    eventually("all is published", || outbox_is_empty(streams.store())).await;
    let published = published(&bus).await;
    assert_eq!(published.len(), 600);
    let stored: HashMap<Uuid, (String, i64)> = stored_in(streams.store()).await;
    let mut heads: HashMap<&str, i64> = HashMap::new();
    for id in &published {
        let (stream, version) = &stored[id];
        let before = heads.insert(stream, *version).unwrap_or(0);
        assert_eq!(before + 1, *version);
    }
    ends.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_between_publish_and_delete_loses_nothing() {
    let stage = Stage::new();
    let bus = Bus::connect(stage.bus("order-master")).await.expect("valid");
    let database = migrated(&stage).await;
    let streams: Streams<Tally> = Streams::new(connect(&database).await);
    let filling = fill(&streams, 400);
    let killing = async {
        for _ in 0..15 {
            let (relaying, _) = start(streams.store(), &bus);
            tokio::time::sleep(Duration::from_millis(40)).await;
            relaying.abort();
            let _ = relaying.await;
        }
    };
    tokio::join!(filling, killing);
    let (_relay, ends) = start(streams.store(), &bus);
    eventually("all is published", || outbox_is_empty(streams.store())).await;
    assert_eq!(published(&bus).await.len(), 400);
    broker_has_all(streams.store(), &bus).await.expect("nothing is missing");
    ends.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_broker_gets_everything_again_though_nothing_new_happens() {
    let stage = Stage::new();
    let mut broker = OwnBroker::start().await;
    let bus = broker.bus().await;
    let streams: Streams<Tally> = Streams::new(connect(&migrated(&stage).await).await);
    let (_relay, ends) = start(streams.store(), &bus);
    fill(&streams, 300).await;
    eventually("all is published", || outbox_is_empty(streams.store())).await;

    broker.wipe().await;
    eventually("the broker has all again", || broker_has_all(streams.store(), &bus)).await;
    eventually("nothing waits", || outbox_is_empty(streams.store())).await;

    // And while events keep coming.
    let filling = fill(&streams, 200);
    let wiping = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        broker.wipe().await;
    };
    tokio::join!(filling, wiping);
    eventually("the broker has all again", || broker_has_all(streams.store(), &bus)).await;
    eventually("nothing waits", || outbox_is_empty(streams.store())).await;
    ends.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_restarted_with_its_store_gets_nothing_twice() {
    let stage = Stage::new();
    let mut broker = OwnBroker::start().await;
    let bus = broker.bus().await;
    let streams: Streams<Tally> = Streams::new(connect(&migrated(&stage).await).await);
    let (_relay, ends) = start(streams.store(), &bus);
    fill(&streams, 100).await;
    eventually("all is published", || outbox_is_empty(streams.store())).await;
    broker.kill();
    fill(&streams, 100).await;
    broker.start_again().await;
    eventually("the rest follows", || outbox_is_empty(streams.store())).await;
    assert_eq!(kept(&bus).await.len(), 200);
    broker_has_all(streams.store(), &bus).await.expect("nothing is missing");
    ends.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_wiped_while_the_master_was_down_gets_everything_again() {
    let stage = Stage::new();
    let mut broker = OwnBroker::start().await;
    let bus = broker.bus().await;
    let database = migrated(&stage).await;
    let streams: Streams<Tally> = Streams::new(connect(&database).await);
    let (relaying, ends) = start(streams.store(), &bus);
    fill(&streams, 100).await;
    eventually("all is published", || outbox_is_empty(streams.store())).await;
    ends.trigger();
    relaying.await.expect("ends on shutdown");

    broker.wipe().await;
    let bus = broker.bus().await;
    let (_relay, ends) = start(streams.store(), &bus);
    eventually("the broker has all again", || broker_has_all(streams.store(), &bus)).await;
    eventually("nothing waits", || outbox_is_empty(streams.store())).await;
    ends.trigger();
}
