//! Snapshots spare reading and change nothing: not when they are missing, old, broken or refused.

use mesh_eventstore::{Store, Streams};
use mesh_local::servers::Database;
use mesh_testkit::{Stage, eventually};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::tally::{
    FOLD_VERSION, Refusal, State, Tally, add, add_many, anyone, connect, count, migrated, new_id, open, raise, versions,
};

/// Of the first events of a stream, and of those since its snapshot, a cold load reads fewer than this.
const READ_MAX: u64 = 200;

/// A tally of so many events, in a database of its own, with a snapshot of them all.
async fn long(stage: &Stage, events: usize) -> (Database, String) {
    let database = migrated(stage).await;
    let streams: Streams<Tally> = Streams::new(connect(&database).await);
    let id = new_id();
    streams
        .submit(&id, anyone(), open(u64::MAX))
        .await
        .expect("a new tally");
    grow(&streams, &id, events - 1).await;
    snapshot_at(streams.store(), events as i64).await;
    (database, id)
}

async fn grow(streams: &Streams<Tally>, id: &str, mut events: usize) {
    while events > 0 {
        let some = events.min(500);
        streams.submit(id, anyone(), add_many(some)).await.expect("open");
        events -= some;
    }
}

/// Waits for a snapshot that stands so far at least.
async fn snapshot_at(store: &Store, version: i64) {
    eventually("a snapshot", || async {
        let newest = count(store, "select coalesce(max(version), 0) from snapshots").await;
        (newest >= version).then_some(())
    })
    .await;
}

/// As a process sees it that knows nothing yet.
async fn cold(database: &Database, id: &str) -> (State, u64) {
    let streams: Streams<Tally> = Streams::new(connect(database).await);
    streams.load(id).await.expect("readable").expect("opened")
}

async fn as_owner(database: &Database, statement: &str) {
    let mut owner = PgConnection::connect(&database.owner_url).await.expect("the owner");
    let statement = sqlx::query(AssertSqlSafe(statement));
    statement.execute(&mut owner).await.expect("the owner may");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_are_loaded_by_reading_a_few() {
    let stage = Stage::new();
    let (database, id) = long(&stage, 10_000).await;
    let streams: Streams<Tally> = Streams::new(connect(&database).await);
    grow(&streams, &id, 60).await;
    let (state, version) = cold(&database, &id).await;
    assert_eq!((state.total, version), (10_059, 10_060));

    // Whoever reads one of the others fails.
    let others = format!("version > {READ_MAX} and version <= {}", version - READ_MAX);
    as_owner(&database, &format!("update events set data = '[]' where {others}")).await;
    assert_eq!(cold(&database, &id).await, (state.clone(), version));
    as_owner(&database, "delete from snapshots").await;
    let without: Streams<Tally> = Streams::new(connect(&database).await);
    without.load(&id).await.expect_err("all of them are read");
}

#[tokio::test(flavor = "multi_thread")]
async fn within_a_transaction_a_snapshot_is_as_good() {
    let stage = Stage::new();
    let (database, id) = long(&stage, 600).await;
    let streams: Streams<Tally> = Streams::new(connect(&database).await);
    grow(&streams, &id, 60).await;
    let (state, version) = cold(&database, &id).await;
    as_owner(&database, "update events set data = '[]' where version <= 600").await;

    let mut tx = streams.store().pool().begin().await.expect("the database is up");
    let elsewhere: Streams<Tally> = Streams::new(connect(&database).await);
    let within = elsewhere.load_in(&mut tx, std::slice::from_ref(&id)).await;
    assert_eq!(within.expect("readable"), [(Some(state), version)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_changes_nothing_about_what_is_loaded() {
    let stage = Stage::new();
    let (database, id) = long(&stage, 400).await;
    let streams: Streams<Tally> = Streams::new(connect(&database).await);
    streams.submit(&id, anyone(), raise(400)).await.expect("open");
    let with = cold(&database, &id).await;
    as_owner(&database, "delete from snapshots").await;
    assert_eq!(cold(&database, &id).await, with);

    // And the load that had to read everything leaves one for the next.
    snapshot_at(streams.store(), 401).await;
    assert_eq!(cold(&database, &id).await, with);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_build_or_nobody_wrote_is_not_read() {
    let stage = Stage::new();
    let (database, id) = long(&stage, 400).await;
    let honest = cold(&database, &id).await;
    let other = format!("fold_version = {}", FOLD_VERSION + 1);
    let spoilt = [
        &format!(r#"{other}, state = '{{"total": 7, "limit": 7, "is_closed": true, "status_version": 1}}'"#),
        r#"state = '{"total": "many"}'"#,
        "state = 'null'",
        "state = '[]'",
    ];
    for change in spoilt {
        as_owner(&database, "delete from snapshots").await;
        cold(&database, &id).await;
        let store = connect(&database).await;
        snapshot_at(&store, 400).await;
        as_owner(&database, &format!("update snapshots set {change}")).await;
        assert_eq!(cold(&database, &id).await, honest, "{change}");
        let mut tx = store.pool().begin().await.expect("the database is up");
        let elsewhere: Streams<Tally> = Streams::new(store.clone());
        let within = elsewhere.load_in(&mut tx, std::slice::from_ref(&id)).await;
        assert_eq!(
            within.expect("readable"),
            [(Some(honest.0.clone()), honest.1)],
            "{change}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_one_is_replaced_by_the_next() {
    let stage = Stage::new();
    let (database, id) = long(&stage, 400).await;
    as_owner(&database, "update snapshots set state = '[]'").await;
    let streams: Streams<Tally> = Streams::new(connect(&database).await);
    grow(&streams, &id, 200).await;
    snapshot_at(streams.store(), 600).await;
    as_owner(
        &database,
        "update events set data = '[]' where version > 200 and version <= 600",
    )
    .await;
    assert_eq!(cold(&database, &id).await.0.total, 599);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_do_not_need_them() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    as_owner(&database, "drop table snapshots").await;
    let streams: Streams<Tally> = Streams::new(connect(&database).await);
    let id = new_id();
    streams.submit(&id, anyone(), open(700)).await.expect("a new tally");
    for _ in 0..3 {
        streams.submit(&id, anyone(), add_many(200)).await.expect("open");
    }
    let elsewhere: Streams<Tally> = Streams::new(connect(&database).await);
    elsewhere.submit(&id, anyone(), add(100)).await.expect("it fits");
    let refused = elsewhere.submit(&id, anyone(), add(1)).await;
    assert!(matches!(
        refused,
        Err(mesh_eventstore::SubmitError::Rejected(Refusal::Full))
    ));
    assert_eq!(versions(streams.store(), &id).await, (1..=602).collect::<Vec<_>>());
}

#[tokio::test]
async fn whoever_serves_can_write_one_and_take_none_away() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let store = connect(&database).await;
    for refused in ["delete from snapshots", "truncate snapshots", "drop table snapshots"] {
        let err = sqlx::query(refused).execute(store.pool()).await.expect_err(refused);
        let code = err.as_database_error().and_then(|err| err.code().map(Into::into));
        assert_eq!(code, Some("42501".to_owned()), "{refused}");
    }
}
