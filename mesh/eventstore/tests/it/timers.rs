//! Deadlines: each has its effect once, whoever restarts, and none once it is cleared.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use mesh_eventstore::inbox::Drained;
use mesh_eventstore::{Request, Streams, timers};
use mesh_local::servers::Database;
use mesh_runtime::Shutdown;
use mesh_testkit::{Stage, eventually};

use crate::tally::{
    Event, OPEN_FOR, Refusal, State, Tally, anyone, close, connect, count, migrated, new_id, open, raise, versions,
};

fn close_when_due(state: Option<&State>, kind: &str, _: Timestamp) -> Vec<Event> {
    assert_eq!(kind, "close");
    match state {
        Some(state) if !state.is_closed => vec![Event::Closed],
        Some(_) | None => Vec::new(),
    }
}

/// A replica that fires timers until `Shutdown`.
async fn replica(database: &Database) -> (Streams<Tally>, Shutdown) {
    let streams: Streams<Tally> = Streams::new(connect(database).await);
    let shutdown = Shutdown::new();
    let firing = streams.clone();
    let until = shutdown.clone();
    tokio::spawn(async move { firing.fire_timers(Drained::new(), until, close_when_due).await });
    (streams, shutdown)
}

async fn is_closed(streams: &Streams<Tally>, id: &str) -> Option<()> {
    let (state, _) = streams.load(id).await.expect("readable").expect("opened");
    state.is_closed.then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn due_timers_fire_once_whatever_replica_leads() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let (first, first_ends) = replica(&database).await;
    let (second, second_ends) = replica(&database).await;
    let ids: Vec<String> = (0..50).map(|_| new_id()).collect();
    for id in &ids {
        first.submit(id, anyone(), open(1)).await.expect("a new tally");
    }
    // Whoever leads now goes in the middle of it.
    tokio::time::sleep(OPEN_FOR / 2).await;
    first_ends.trigger();
    for id in &ids {
        eventually("the tally closes", || is_closed(&second, id)).await;
        assert_eq!(versions(second.store(), id).await, [1, 2]);
    }
    assert_eq!(count(second.store(), "select count(*) from timers").await, 0);
    second_ends.trigger();
}

#[tokio::test]
async fn a_timer_that_came_due_while_nobody_ran_fires_after_the_start() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let id = new_id();
    {
        let before: Streams<Tally> = Streams::new(connect(&database).await);
        before.submit(&id, anyone(), open(1)).await.expect("a new tally");
    }
    tokio::time::sleep(OPEN_FOR).await;
    let (after, ends) = replica(&database).await;
    eventually("the tally closes", || is_closed(&after, &id)).await;
    assert_eq!(versions(after.store(), &id).await, [1, 2]);
    ends.trigger();
}

#[tokio::test]
async fn a_cleared_timer_does_not_fire_and_a_timer_set_again_fires_later() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let (streams, ends) = replica(&database).await;
    let (cleared, postponed, witness) = (new_id(), new_id(), new_id());
    streams.submit(&cleared, anyone(), open(1)).await.expect("a new tally");
    streams.submit(&cleared, anyone(), close()).await.expect("open");
    streams
        .submit(&postponed, anyone(), open(1))
        .await
        .expect("a new tally");
    streams.submit(&postponed, anyone(), raise(2)).await.expect("open");
    // Set last, due first: when it has fired, the others were due.
    streams.submit(&witness, anyone(), open(1)).await.expect("a new tally");
    eventually("the witness closes", || is_closed(&streams, &witness)).await;
    assert_eq!(versions(streams.store(), &cleared).await, [1, 2]);
    assert_eq!(versions(streams.store(), &postponed).await, [1, 2]);
    assert_eq!(count(streams.store(), "select count(*) from timers").await, 1);
    ends.trigger();
}

#[tokio::test]
async fn a_timer_read_before_it_was_set_again_has_no_effect() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let streams: Streams<Tally> = Streams::new(connect(&database).await);
    let id = new_id();
    streams.submit(&id, anyone(), open(1)).await.expect("a new tally");
    let row: (String, uuid::Uuid) = sqlx::query_as("select kind, dedup from timers")
        .fetch_one(streams.store().pool())
        .await
        .expect("it was set");
    let timer = timers::Timer {
        stream: id.clone(),
        kind: row.0,
        due: Timestamp::now(),
        dedup: row.1,
    };
    streams.submit(&id, anyone(), raise(2)).await.expect("open");
    let fired = streams
        .submit(&id, Request::timer("order-master", &timer), |_, _| {
            Ok::<_, Refusal>(vec![Event::Closed])
        })
        .await
        .expect("answered");
    assert!(fired.replayed, "the timer is another one now");
    assert_eq!(versions(streams.store(), &id).await, [1, 2]);
}

#[tokio::test]
async fn timers_wait_until_the_inbox_is_drained() {
    let stage = Stage::new();
    let streams: Streams<Tally> = Streams::new(connect(&migrated(&stage).await).await);
    let drained = Drained::new();
    let part = drained.part();
    let id = new_id();
    streams.submit(&id, anyone(), open(1)).await.expect("a new tally");
    let firing = streams.fire_timers(drained, Shutdown::new(), close_when_due);
    let waited = tokio::time::timeout(OPEN_FOR * 2, firing).await;
    assert!(waited.is_err());
    assert_eq!(versions(streams.store(), &id).await, [1]);
    drop(part);
}

#[tokio::test]
async fn a_handler_that_fails_gets_the_timer_again() {
    let stage = Stage::new();
    let streams: Streams<Tally> = Streams::new(connect(&migrated(&stage).await).await);
    let id = new_id();
    streams.submit(&id, anyone(), open(1)).await.expect("a new tally");
    let tries = Arc::new(AtomicUsize::new(0));
    let shutdown = Shutdown::new();
    let handle = |timer: timers::Timer| {
        let (streams, tries) = (streams.clone(), tries.clone());
        async move {
            if tries.fetch_add(1, Ordering::Relaxed) < 2 {
                return Err("not yet".into());
            }
            let request = Request::timer("order-master", &timer);
            let fired = streams.submit(&timer.stream, request, close());
            fired.await.map(|_| ()).map_err(|err| format!("{err:?}").into())
        }
    };
    let closes = async {
        eventually("the tally closes", || is_closed(&streams, &id)).await;
        shutdown.trigger();
    };
    let firing = timers::run(streams.store(), "ord", Drained::new(), shutdown.clone(), handle);
    tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(firing, closes) })
        .await
        .expect("ends on shutdown");
    assert_eq!(tries.load(Ordering::Relaxed), 3);
    assert_eq!(versions(streams.store(), &id).await, [1, 2]);
}
