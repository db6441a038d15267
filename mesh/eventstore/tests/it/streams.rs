//! Deciding in turn: with other replicas, against a limit, with `If-Match`.

use std::time::Duration;

use futures::future::join_all;
use mesh_contracts::envelope::{Actor, Meta};
use mesh_eventstore::{AlsoAppend, Append, AppendError, Decided, NewEvent, StreamAppend, Streams, SubmitError};
use mesh_testkit::Stage;
use sqlx::{Connection as _, PgConnection};

use crate::tally::{
    Event, Refusal, Submitted, Tally, add, anyone, close, connect, count, migrated, new_id, open, raise, tallies,
    versions,
};

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_conflict_decide_again_and_lose_nothing() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let left: Streams<Tally> = Streams::new(connect(&database).await);
    let right: Streams<Tally> = Streams::new(connect(&database).await);
    let id = new_id();
    left.submit(&id, anyone(), open(1_000)).await.expect("a new tally");

    let mut stored = 1;
    let mut conflicts = 0;
    for _ in 0..30 {
        let both = [left.submit(&id, anyone(), add(1)), right.submit(&id, anyone(), add(1))];
        for outcome in join_all(both).await {
            match outcome {
                Ok(_) => stored += 1,
                Err(SubmitError::Conflict) => conflicts += 1,
                Err(err) => panic!("{err:?}"),
            }
        }
    }
    assert_eq!(versions(left.store(), &id).await, (1..=stored).collect::<Vec<_>>());
    assert!(conflicts < 3, "{conflicts} of 60 gave up");
    let (state, _) = right.load(&id).await.expect("readable").expect("opened");
    assert_eq!(state.total, stored - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_as_many_are_accepted_as_fit() {
    let stage = Stage::new();
    let streams = tallies(&stage).await;
    let id = new_id();
    streams.submit(&id, anyone(), open(10)).await.expect("a new tally");
    let outcomes: Vec<Submitted> = join_all((0..100).map(|_| streams.submit(&id, anyone(), add(1)))).await;
    let accepted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let full = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(SubmitError::Rejected(Refusal::Full))))
        .count();
    assert_eq!((accepted, full), (10, 90));
}

#[tokio::test]
async fn a_refusal_never_rests_on_what_another_replica_has_changed() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let here: Streams<Tally> = Streams::new(connect(&database).await);
    let there: Streams<Tally> = Streams::new(connect(&database).await);
    let id = new_id();
    here.submit(&id, anyone(), open(0)).await.expect("a new tally");
    let full = here.submit(&id, anyone(), add(1)).await;
    assert!(matches!(full, Err(SubmitError::Rejected(Refusal::Full))));

    there.submit(&id, anyone(), raise(1)).await.expect("open");
    here.submit(&id, anyone(), add(1)).await.expect("it fits now");
}

#[tokio::test]
async fn a_refused_request_stores_nothing() {
    let stage = Stage::new();
    let streams = tallies(&stage).await;
    let request = crate::tally::command("k1", &serde_json::json!({}));
    let refused = streams.submit(new_id(), request, add(1)).await;
    assert!(matches!(refused, Err(SubmitError::Rejected(Refusal::NotOpen))));
    for table in [
        "select count(*) from events",
        "select count(*) from streams",
        "select count(*) from commands",
        "select count(*) from outbox",
        "select count(*) from timers",
    ] {
        assert_eq!(count(streams.store(), table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn if_match_compares_the_last_change_of_status() {
    let stage = Stage::new();
    let streams = tallies(&stage).await;
    let id = new_id();
    streams.submit(&id, anyone(), open(10)).await.expect("a new tally");
    streams.submit(&id, anyone(), add(1)).await.expect("open");

    let first = anyone().if_match(Some(1));
    streams
        .submit(&id, first.clone(), add(1))
        .await
        .expect("the status has not changed since version 1");
    streams.submit(&id, anyone(), close()).await.expect("open");
    match streams.submit(&id, first, raise(20)).await {
        Err(SubmitError::Stale(current)) => {
            assert_eq!((current.version, current.status_version), (4, 4));
            assert_eq!(current.json()["total"], 2);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_repeated_command_with_if_match_gets_its_stored_answer() {
    let stage = Stage::new();
    let streams = tallies(&stage).await;
    let id = new_id();
    streams.submit(&id, anyone(), open(10)).await.expect("a new tally");
    let closing = || crate::tally::command("close", &serde_json::json!({})).if_match(Some(1));
    let first = streams.submit(&id, closing(), close()).await.expect("open");
    let again = streams
        .submit(&id, closing(), close())
        .await
        .expect("carried out before");
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.answer.body.get(), again.answer.body.get());
}

#[tokio::test]
async fn a_full_mailbox_turns_requests_away() {
    let stage = Stage::new();
    let streams = tallies(&stage).await;
    let id = new_id();
    streams.submit(&id, anyone(), open(10_000)).await.expect("a new tally");
    let outcomes = join_all((0..1_000).map(|_| streams.submit(&id, anyone(), add(1)))).await;
    let turned_away = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(SubmitError::Overloaded)))
        .count();
    let accepted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(turned_away + accepted, 1_000);
    assert!(turned_away > 0 && accepted >= 256, "{turned_away} turned away");
    streams.submit(&id, anyone(), add(1)).await.expect("room again");
}

#[tokio::test]
async fn a_decision_can_start_another_stream_of_the_same_master() {
    let stage = Stage::new();
    let streams = tallies(&stage).await;
    let (id, other) = (new_id(), new_id());
    let and_another = {
        let other = other.clone();
        move |_: Option<&crate::tally::State>, now| {
            let opened = vec![Event::Opened { limit: 1 }];
            let also = AlsoAppend::create::<Tally>(&other, vec![Event::Opened { limit: 2 }], now);
            Ok::<_, Refusal>(Decided::from(opened).and(also))
        }
    };
    let outcome = streams.submit(&id, anyone(), and_another).await.expect("both are new");
    assert_eq!(outcome.answer.also, [(other.clone(), 1)]);
    let (state, version) = streams.load(&other).await.expect("readable").expect("created");
    assert_eq!((state.limit, version), (2, 1));
    assert_eq!(count(streams.store(), "select count(*) from timers").await, 2);
}

#[tokio::test]
async fn own_tables_commit_with_the_event_or_not_at_all() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let streams: Streams<Tally> = Streams::new(connect(&database).await);
    let id = new_id();
    let request = || crate::tally::command("k", &serde_json::json!({}));

    let mut tx = streams.store().pool().begin().await.expect("a connection");
    streams
        .submit_in(&mut tx, &id, request(), open(10))
        .await
        .expect("a new tally");
    tx.rollback().await.expect("connected");
    assert!(streams.load(&id).await.expect("readable").is_none());

    let mut tx = streams.store().pool().begin().await.expect("a connection");
    let pending = streams
        .submit_in(&mut tx, &id, request(), open(10))
        .await
        .expect("still new");
    tx.commit().await.expect("connected");
    let first = pending.committed(streams.store());
    let again = streams
        .submit(&id, request(), open(10))
        .await
        .expect("carried out before");
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.answer.body.get(), again.answer.body.get());
}

#[tokio::test]
async fn many_streams_are_read_and_written_in_one_transaction() {
    let stage = Stage::new();
    let streams = tallies(&stage).await;
    let ids: Vec<String> = std::iter::repeat_with(new_id).take(3).collect();
    for id in &ids[..2] {
        streams.submit(id, anyone(), open(3)).await.expect("a new tally");
    }
    let store = streams.store();
    let event = || {
        NewEvent::new(
            &Event::Opened { limit: 1 },
            &Meta::by(Actor::service("test")),
            store.clock().now(),
        )
    };
    let append = |versions: &[u64]| Append {
        streams: ids
            .iter()
            .zip(versions)
            .map(|(id, version)| StreamAppend {
                stream: id.clone(),
                expected: *version,
                events: vec![event()],
            })
            .collect(),
        ..Append::default()
    };

    let mut tx = store.pool().begin().await.expect("a connection");
    let versions = versions_in(&streams, &mut tx, &ids).await;
    assert_eq!(versions, [1, 1, 0]);
    store
        .append_in(&mut tx, &append(&versions))
        .await
        .expect("as it was read");
    assert_eq!(versions_in(&streams, &mut tx, &ids).await, [2, 2, 1]);
    tx.commit().await.expect("connected");

    let mut tx = store.pool().begin().await.expect("a connection");
    let refused = store.append_in(&mut tx, &append(&[2, 1, 1])).await;
    assert!(matches!(refused, Err(AppendError::Conflict)), "{refused:?}");
    assert_eq!(versions_in(&streams, &mut tx, &ids).await, [2, 2, 1]);
}

async fn versions_in(streams: &Streams<Tally>, tx: &mut PgConnection, ids: &[String]) -> Vec<u64> {
    let found = streams.load_in(tx, ids).await.expect("readable");
    found.into_iter().map(|(_, version)| version).collect()
}

#[tokio::test]
async fn rules_that_panic_fail_their_request_and_no_later_one() {
    let stage = Stage::new();
    let streams = tallies(&stage).await;
    let id = new_id();
    let broken = |_: Option<&crate::tally::State>, _| -> Result<Vec<Event>, Refusal> { panic!("on purpose") };
    let failed = streams.submit(&id, anyone(), broken).await;
    assert!(matches!(failed, Err(SubmitError::Unavailable(_))), "{failed:?}");
    let later = tokio::time::timeout(Duration::from_secs(5), streams.submit(&id, anyone(), open(1))).await;
    later.expect("answered").expect("a new tally");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_transactions_at_once_do_not_wait_for_each_others_connections() {
    let stage = Stage::new();
    let streams = tallies(&stage).await;
    let opening = (0..40).map(|_| async {
        let mut tx = streams.store().pool().begin().await.expect("a connection in time");
        let pending = streams.submit_in(&mut tx, new_id(), anyone(), open(1)).await;
        let pending = pending.expect("a new tally");
        tx.commit().await.expect("connected");
        pending.committed(streams.store());
    });
    join_all(opening).await;
    assert_eq!(count(streams.store(), "select count(*) from events").await, 40);
}

#[tokio::test]
async fn who_takes_a_stream_for_new_still_decides_on_what_it_is() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let here: Streams<Tally> = Streams::new(connect(&database).await);
    let there: Streams<Tally> = Streams::new(connect(&database).await);
    let id = new_id();
    there.submit(&id, anyone(), open(1)).await.expect("a new tally");

    // Accepted on nothing and in conflict with what stands there, then decided on that.
    let opened = here.submit(&id, anyone().starting(), open(5)).await;
    assert!(
        matches!(opened, Err(SubmitError::Rejected(Refusal::AlreadyOpen))),
        "{opened:?}"
    );
    // Refused on nothing, which is not what stands there.
    let other = new_id();
    there.submit(&other, anyone(), open(1)).await.expect("a new tally");
    here.submit(&other, anyone().starting(), add(1)).await.expect("it fits");
    let refused = here.submit(new_id(), anyone().starting(), add(1)).await;
    assert!(matches!(refused, Err(SubmitError::Rejected(Refusal::NotOpen))));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_read_at_once_each_as_it_stands_and_one_that_is_spoilt_fails_alone() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let streams: Streams<Tally> = Streams::new(connect(&database).await);
    let ids: Vec<String> = (0..50).map(|_| new_id()).collect();
    for (amount, id) in (1..).zip(&ids) {
        streams.submit(id, anyone(), open(1_000)).await.expect("a new tally");
        streams.submit(id, anyone(), add(amount)).await.expect("open");
    }
    let mut owner = PgConnection::connect(&database.owner_url).await.expect("the owner");
    sqlx::query("update events set meta = '[]' where stream_id = $1")
        .bind(&ids[7])
        .execute(&mut owner)
        .await
        .expect("the owner may");

    let cold: Streams<Tally> = Streams::new(connect(&database).await);
    let read = join_all(ids.iter().map(|id| cold.load(id))).await;
    for ((amount, nth), read) in (1..).zip(0..).zip(read) {
        match nth {
            7 => assert!(read.is_err(), "its events cannot be read"),
            _ => {
                let (state, version) = read.expect("readable").expect("opened");
                assert_eq!((state.total, version), (amount, 2));
            }
        }
    }
    assert_eq!(cold.load(new_id()).await.expect("readable"), None);
}

#[tokio::test]
async fn whoever_heard_that_a_stream_moved_gets_it_so_far_at_least() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let here: Streams<Tally> = Streams::new(connect(&database).await);
    let there: Streams<Tally> = Streams::new(connect(&database).await);
    let id = new_id();
    here.submit(&id, anyone(), open(10)).await.expect("a new tally");
    there.submit(&id, anyone(), add(1)).await.expect("open");
    let version = |read: Option<(crate::tally::State, u64)>| read.map(|(_, version)| version);
    assert_eq!(
        version(here.at_least(&id, 1).await.expect("readable")),
        Some(1),
        "from memory"
    );
    assert_eq!(version(here.at_least(&id, 2).await.expect("readable")), Some(2));
    there.submit(&id, anyone(), add(1)).await.expect("open");
    assert_eq!(
        version(here.at_least(&id, u64::MAX).await.expect("readable")),
        Some(3),
        "as it is"
    );
}
