//! What Postgres does at all: events put into the event store's own table, without a version check, a stream, an outbox
//! or an idempotency row; and the counting of what many do at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::future::{join_all, try_join_all};
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::{Actor, Meta};
use mesh_contracts::id::{OrderId, UserId};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::{Event, Method};
use mesh_contracts::subject;
use mesh_eventstore::{NewEvent, SqlTime, migrate};
use mesh_local::servers::{Database, Postgres};
use sqlx::{Connection as _, Executor as _, PgConnection, PgExecutor};

/// How many clients insert one row each.
pub(super) const CLIENTS: usize = 32;

/// As many connections as a master's batchers have, and rows in each of their statements.
pub(super) const BATCHERS: usize = 4;
pub(super) const BATCH: usize = 64;

/// Plans are made, connections opened and files grown before it counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// A database with the event store's tables.
pub(super) async fn migrated(postgres: &Postgres, name: &str) -> Result<Database> {
    let database = postgres.database(name, "serves", "owns").await?;
    migrate::engine(&database.owner_url).await?;
    Ok(database)
}

/// So that nobody pays for writing back what another left.
pub(super) async fn checkpoint(postgres: &Postgres) -> Result<()> {
    let mut connection = PgConnection::connect(&postgres.superuser_url("postgres")).await?;
    connection.execute("checkpoint").await?;
    Ok(connection.close().await?)
}

/// Rows per second of 32 clients that insert one at a time.
pub(super) async fn one_row_per_statement(url: &str, span: Duration) -> Result<f64> {
    rows_per_statement(url, CLIENTS, 1, span).await
}

/// Rows per second of four connections that insert 64 at a time.
pub(super) async fn batches(url: &str, span: Duration) -> Result<f64> {
    rows_per_statement(url, BATCHERS, BATCH, span).await
}

async fn rows_per_statement(url: &str, clients: usize, rows: usize, span: Duration) -> Result<f64> {
    let connections = try_join_all((0..clients).map(|_| PgConnection::connect(url))).await?;
    let count = Count::default();
    let clients = connections.into_iter().map(|mut connection| {
        let count = count.clone();
        async move {
            let stream = OrderId::new_v7().to_string();
            let mut version = 0;
            while count.goes_on() {
                let events: Vec<NewEvent> = (0..rows).map(|_| event()).collect();
                insert(&mut connection, &stream, version, &events).await?;
                version += rows as i64;
                count.more(rows as u64);
            }
            Ok(connection.close().await?)
        }
    });
    count.over(span, clients).await
}

/// Puts events into the table, the first as the version after this one.
pub(super) async fn insert(
    executor: impl PgExecutor<'_>,
    stream: &str,
    version: i64,
    events: &[NewEvent],
) -> sqlx::Result<()> {
    let versions: Vec<i64> = (version + 1..).take(events.len()).collect();
    let ids: Vec<uuid::Uuid> = events.iter().map(|event| event.event_id).collect();
    let types: Vec<&str> = events.iter().map(|event| &*event.event_type).collect();
    let data: Vec<&str> = events.iter().map(|event| event.data.as_str()).collect();
    let meta: Vec<&str> = events.iter().map(|event| event.meta.as_str()).collect();
    let ats: Vec<SqlTime> = events.iter().map(|event| SqlTime(event.at)).collect();
    sqlx::query(
        "insert into events
             (stream_id, version, position, shard, event_id, type, schema_version, data, meta, at, recorded_at)
         select $1, version, nextval('event_position'), $2, event_id, type, 1, data::json, meta::json, at,
             clock_timestamp()
         from unnest($3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::timestamptz[])
             t(version, event_id, type, data, meta, at)",
    )
    .bind(stream)
    .bind(i16::from(subject::shard(stream)))
    .bind(versions)
    .bind(ids)
    .bind(types)
    .bind(data)
    .bind(meta)
    .bind(ats)
    .execute(executor)
    .await?;
    Ok(())
}

/// One of the many: none of an order's events is much larger but the first.
pub(super) fn event() -> NewEvent {
    let customer = UserId::new_v7();
    let body = Event::PaymentRequested {
        customer,
        method: Method::Card,
        amount: Money::new(1_290, Currency::EUR),
        pay_by: Timestamp::now() + SignedDuration::from_mins(10),
    };
    NewEvent::new(&body, &Meta::by(Actor::service("order-master")), Timestamp::now())
}

/// Counts what many do at once, from the end of the warm-up on.
#[derive(Clone, Default)]
pub(super) struct Count(Arc<Counted>);

#[derive(Default)]
struct Counted {
    done: AtomicU64,
    is_over: AtomicBool,
}

impl Count {
    pub(super) fn goes_on(&self) -> bool {
        !self.0.is_over.load(Ordering::Relaxed)
    }

    pub(super) fn more(&self, done: u64) {
        self.0.done.fetch_add(done, Ordering::Relaxed);
    }

    /// Lets them work for a while; per second.
    pub(super) async fn over<F>(&self, span: Duration, workers: impl Iterator<Item = F>) -> Result<f64>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let workers: Vec<_> = workers.map(tokio::spawn).collect();
        tokio::time::sleep(WARM_UP).await;
        let (before, started) = (self.0.done.load(Ordering::Relaxed), Instant::now());
        tokio::time::sleep(span).await;
        let (after, took) = (self.0.done.load(Ordering::Relaxed), started.elapsed());
        self.0.is_over.store(true, Ordering::Relaxed);
        for worker in join_all(workers).await {
            worker?.context("a client failed")?;
        }
        Ok((after - before) as f64 / took.as_secs_f64())
    }
}
