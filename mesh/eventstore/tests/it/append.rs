//! Group commit: what is stored, what is refused, and what a lost connection changes (nothing).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use mesh_contracts::envelope::{Actor, Meta};
use mesh_eventstore::{Append, AppendError, Mark, NewEvent, Store, StreamAppend, Streams, SubmitError};
use mesh_testkit::Stage;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use crate::tally::{Event, Tally, add, anyone, command, connect, count, migrated, new_id, open, tallies, versions};

fn added() -> NewEvent {
    let meta = Meta::by(Actor("customer:test".into()));
    NewEvent::new(&Event::Added { amount: 1 }, &meta, jiff::Timestamp::now())
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_of_many_streams_leave_dense_versions() {
    let stage = Stage::new();
    let store = connect(&migrated(&stage).await).await;
    let writers = (0..64).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let stream = new_id();
            for version in 0..20 {
                let append = Append::events(&stream, version, vec![added()]);
                store.append(append).await.expect("nobody else writes it");
            }
            stream
        })
    });
    for stream in join_all(writers).await {
        let stream = stream.expect("no panic");
        assert_eq!(versions(&store, &stream).await, (1..=20).collect::<Vec<_>>());
    }
    assert_eq!(
        count(&store, "select count(distinct position) from events").await,
        64 * 20
    );
    assert_eq!(
        count(&store, "select sum(cardinality(positions))::bigint from outbox").await,
        64 * 20
    );
    assert_eq!(
        count(&store, "select count(*) from streams where version <> 20").await,
        0
    );
}

#[tokio::test]
async fn an_append_to_two_streams_is_all_or_nothing() {
    let stage = Stage::new();
    let store = connect(&migrated(&stage).await).await;
    let (known, fresh) = (new_id(), new_id());
    store
        .append(Append::events(&known, 0, vec![added()]))
        .await
        .expect("a new stream");

    let both = |expected| Append {
        streams: vec![
            StreamAppend {
                stream: fresh.clone(),
                expected: 0,
                events: vec![added(), added()],
            },
            StreamAppend {
                stream: known.clone(),
                expected,
                events: vec![added()],
            },
        ],
        ..Append::default()
    };
    let refused = store.append(both(7)).await;
    assert!(matches!(refused, Err(AppendError::Conflict)), "{refused:?}");
    assert!(versions(&store, &fresh).await.is_empty());
    assert_eq!(versions(&store, &known).await, [1]);
    assert_eq!(
        count(&store, "select count(*) from streams").await,
        1,
        "a refused stream leaves no row"
    );

    store.append(both(1)).await.expect("the right version");
    assert_eq!(versions(&store, &fresh).await, [1, 2]);
    assert_eq!(versions(&store, &known).await, [1, 2]);
}

#[tokio::test]
async fn a_request_that_the_database_refuses_does_not_fail_those_beside_it() {
    let stage = Stage::new();
    let store = connect(&migrated(&stage).await).await;
    let appends = (0..40).map(|n| {
        let mut event = added();
        if n == 20 {
            event.data = "{ not json".into();
        }
        store.append(Append::events(new_id(), 0, vec![event]))
    });
    let verdicts = join_all(appends).await;
    for (n, verdict) in verdicts.into_iter().enumerate() {
        match verdict {
            Ok(()) => assert_ne!(n, 20),
            Err(AppendError::Refused(_)) => assert_eq!(n, 20),
            Err(err) => panic!("{err:?}"),
        }
    }
    assert_eq!(count(&store, "select count(*) from events").await, 39);
}

#[tokio::test]
async fn the_serving_role_can_neither_change_nor_delete_an_event() {
    let stage = Stage::new();
    let store = connect(&migrated(&stage).await).await;
    for forbidden in [
        "update events set type = 'x'",
        "delete from events",
        "truncate events",
        "drop table events",
        "create table mine ()",
    ] {
        let refused = sqlx::query(forbidden).execute(store.pool()).await.expect_err(forbidden);
        let code = refused.as_database_error().and_then(|err| err.code().map(String::from));
        assert_eq!(code.as_deref(), Some("42501"), "{forbidden}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_lose_and_double_nothing() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let streams = Streams::<Tally>::new(connect(&database).await);
    let ids: Vec<String> = (0..8).map(|_| new_id()).collect();
    for id in &ids {
        streams.submit(id, anyone(), open(1_000)).await.expect("a new tally");
    }

    let done = Arc::new(AtomicBool::new(false));
    let superuser_url = mesh_testkit::servers().postgres.superuser_url(&database.name);
    let breaker = tokio::spawn(break_connections(superuser_url, done.clone()));
    for round in 0..10 {
        let adding = (0..40).map(|n| insist_on_adding(&streams, &ids[n % 8], format!("{round}, {n}")));
        join_all(adding).await;
    }
    done.store(true, Ordering::Relaxed);
    assert!(breaker.await.expect("no panic") > 0, "nothing was broken");

    for id in &ids {
        let (state, version) = streams.load(id).await.expect("readable").expect("opened");
        assert_eq!((state.total, version), (50, 51));
        assert_eq!(versions(streams.store(), id).await, (1..=version).collect::<Vec<_>>());
    }
}

/// Adds one. Of what is lost twice nobody knows what became of it, so it is asked for again under its key.
async fn insist_on_adding(streams: &Streams<Tally>, id: &str, key: String) {
    for _ in 0..100 {
        match streams.submit(id, command(&key, &json!({ "amount": 1 })), add(1)).await {
            Ok(_) => return,
            Err(SubmitError::Unavailable(_)) => {}
            Err(err) => panic!("{err:?}"),
        }
    }
    panic!("never stored");
}

/// Ends the batchers' connections again and again; returns how many.
async fn break_connections(url: String, done: Arc<AtomicBool>) -> u64 {
    let mut connection = PgConnection::connect(&url).await.expect("the database answers");
    let mut broken = 0;
    // At least once, however fast the others are.
    while broken == 0 || !done.load(Ordering::Relaxed) {
        broken += sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid() and query like '%engine_append%'",
        )
        .fetch_all(&mut connection)
        .await
        .expect("permitted")
        .len() as u64;
        // Mostly longer than connecting and sending again takes.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    broken
}

#[tokio::test]
async fn a_hot_stream_is_decided_in_turn() {
    let stage = Stage::new();
    let streams = tallies(&stage).await;
    let id = new_id();
    streams.submit(&id, anyone(), open(1_000)).await.expect("a new tally");
    let outcomes = join_all((0..200).map(|_| streams.submit(&id, anyone(), add(1)))).await;
    let mut answered: Vec<u64> = outcomes
        .into_iter()
        .map(|outcome| outcome.expect("below the limit").answer.version)
        .collect();
    answered.sort_unstable();
    assert_eq!(answered, (2..=201).collect::<Vec<_>>());
    assert_eq!(versions(streams.store(), &id).await, (1..=201).collect::<Vec<_>>());
}

/// Appends until it is stored; nothing but a conflict may be in the way.
async fn insist(store: &Store, streams: [&str; 2]) {
    loop {
        let mut append = Append::default();
        for stream in streams {
            append.streams.push(StreamAppend {
                stream: stream.into(),
                expected: versions(store, stream).await.len() as u64,
                events: vec![added()],
            });
        }
        match store.append(append).await {
            Ok(()) => return,
            Err(AppendError::Conflict) => {}
            Err(err) => panic!("{err:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_to_the_same_streams_in_any_order_do_not_deadlock() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let stores = [connect(&database).await, connect(&database).await];
    let ids: Vec<String> = (0..4).map(|_| new_id()).collect();
    let insisting = (0..60).map(|n: usize| {
        let (first, second) = (n % 4, (n + 1 + n / 4 % 3) % 4);
        insist(&stores[n % 2], [&ids[first], &ids[second]])
    });
    join_all(insisting).await;
    let mut total = 0;
    for id in &ids {
        let versions = versions(&stores[0], id).await;
        assert_eq!(versions, (1..=versions.len() as u64).collect::<Vec<_>>());
        total += versions.len();
    }
    assert_eq!(total, 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_replicas_with_the_same_mark_one_has_the_effect() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let stores = [connect(&database).await, connect(&database).await];
    for version in 1..=50 {
        // Different streams, so that no stream lock keeps the two apart.
        let effect = |store: &Store| {
            let append = Append {
                mark: Some(Mark {
                    consumer: "basket-master".into(),
                    stream: "ord_source".into(),
                    version,
                }),
                ..Append::events(new_id(), 0, vec![added()])
            };
            let store = store.clone();
            async move { store.append(append).await }
        };
        let (left, right) = tokio::join!(effect(&stores[0]), effect(&stores[1]));
        let seen = [&left, &right]
            .into_iter()
            .filter(|verdict| matches!(verdict, Err(AppendError::AlreadySeen)))
            .count();
        let stored = [&left, &right].into_iter().filter(|verdict| verdict.is_ok()).count();
        assert_eq!((stored, seen), (1, 1), "{left:?} {right:?}");
    }
    assert_eq!(count(&stores[0], "select count(*) from events").await, 50);
}
