//! How much group commit brings: the event store's own append by many writers, against plain one-row inserts by
//! fewer clients into the same table, in turns on the same server, which syncs every commit.

use std::path::PathBuf;
use std::process::ExitCode;
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
use mesh_eventstore::{Append, NewEvent, SqlTime, Store, StoreConfig, migrate};
use mesh_local::data_dir::DataDir;
use mesh_local::exec::Launcher;
use mesh_local::ports::Ports;
use mesh_local::secrets::Secrets;
use mesh_local::servers::{Database, Options, Servers};
use mesh_local::supervise::Supervisor;
use mesh_runtime::Clock;
use serde::Serialize;
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::{DATA_DIR, exit_code, median, remove};
use crate::say::{self, Steps};

/// How many writers share the store's commits.
const WRITERS: usize = 256;

/// How many clients insert one row each.
const CLIENTS: usize = 32;

/// What the project promises: group commit is at least so many times as fast.
const RATIO_MIN: f64 = 2.0;

/// Plans are made, connections opened and files grown before it counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// How to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How often each of the two is measured, in turns.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each time.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Where the servers keep their data, which is removed before and afterwards.
    #[arg(long, default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Both rates, in events per second.
#[derive(Debug, Serialize)]
struct Report {
    group_commit: Side,
    one_row_per_statement: Side,
    /// Of the medians.
    ratio: f64,
    ratio_min: f64,
    met: bool,
}

#[derive(Debug, Serialize)]
struct Side {
    clients: usize,
    events_per_s: Vec<f64>,
    median: f64,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let steps = Steps::new();
    let measured = on_own_servers(&args, &steps).await;
    steps.done();
    remove(&args.data_dir).await?;
    let report = measured?;
    if args.json {
        say::json(&report);
    } else {
        show(&report);
    }
    Ok(exit_code(report.met))
}

async fn on_own_servers(args: &Args, steps: &Steps) -> Result<Report> {
    let data_dir = DataDir::open(&args.data_dir, true).await?;
    let supervisor = Arc::new(Supervisor::new(data_dir.path(), Launcher::own())?);
    let options = Options {
        durable: true,
        any_prefix: false,
        connections_max: 100,
        bus: Vec::new(),
        redis: Vec::new(),
    };
    let ports = Ports::open(data_dir.path())?;
    let secrets = Secrets::open(data_dir.path())?;
    let servers = Servers::start(data_dir.path(), &options, supervisor, &ports, &secrets, &steps.sink()).await?;
    let report = measure(args, &servers, steps).await;
    servers.stop().await;
    report
}

async fn measure(args: &Args, servers: &Servers, steps: &Steps) -> Result<Report> {
    let grouped = migrated(servers, "grouped").await?;
    let single = migrated(servers, "single").await?;
    let admin = servers.postgres.superuser_url("postgres");
    let span = Duration::from_secs(args.seconds);
    let (mut grouped_rates, mut single_rates) = (Vec::new(), Vec::new());
    for round in 1..=args.rounds {
        steps.step(&format!("round {round} of {}: group commit", args.rounds));
        checkpoint(&admin).await?;
        grouped_rates.push(group_commit(&grouped, span).await?);
        steps.step(&format!("round {round} of {}: one row per statement", args.rounds));
        checkpoint(&admin).await?;
        single_rates.push(one_row_per_statement(&single, span).await?);
    }
    let group_commit = Side::of(WRITERS, grouped_rates);
    let one_row_per_statement = Side::of(CLIENTS, single_rates);
    let ratio = group_commit.median / one_row_per_statement.median;
    Ok(Report {
        group_commit,
        one_row_per_statement,
        ratio,
        ratio_min: RATIO_MIN,
        met: ratio >= RATIO_MIN,
    })
}

async fn migrated(servers: &Servers, name: &str) -> Result<Database> {
    let database = servers.postgres.database(name, "serves", "owns").await?;
    migrate::engine(&database.owner_url).await?;
    Ok(database)
}

/// So that neither pays for writing back what the other left.
async fn checkpoint(admin: &str) -> Result<()> {
    let mut connection = PgConnection::connect(admin).await?;
    connection.execute("checkpoint").await?;
    Ok(connection.close().await?)
}

/// Each writer has a stream of its own and waits for every answer, as a service's commands do.
async fn group_commit(database: &Database, span: Duration) -> Result<f64> {
    let store = Store::connect(StoreConfig::new(&database.url, "bench"), Clock::real())
        .await
        .map_err(anyhow::Error::from_boxed)?;
    let count = Count::default();
    let writers = (0..WRITERS).map(|_| {
        let (store, count) = (store.clone(), count.clone());
        async move {
            let stream = OrderId::new_v7().to_string();
            let mut version = 0;
            while count.goes_on() {
                store.append(Append::events(&stream, version, vec![event()])).await?;
                version += 1;
                count.one_more();
            }
            anyhow::Ok(())
        }
    });
    count.over(span, writers).await
}

/// The fewest things that still store an event: no stream, no version check, no outbox.
async fn one_row_per_statement(database: &Database, span: Duration) -> Result<f64> {
    let connections = try_join_all((0..CLIENTS).map(|_| PgConnection::connect(&database.url))).await?;
    let count = Count::default();
    let clients = connections.into_iter().map(|mut connection| {
        let count = count.clone();
        async move {
            let stream = OrderId::new_v7().to_string();
            let mut version = 0;
            while count.goes_on() {
                version += 1;
                insert(&mut connection, &stream, version, &event()).await?;
                count.one_more();
            }
            Ok(connection.close().await?)
        }
    });
    count.over(span, clients).await
}

async fn insert(connection: &mut PgConnection, stream: &str, version: i64, event: &NewEvent) -> sqlx::Result<()> {
    sqlx::query(
        "insert into events
             (stream_id, version, position, shard, event_id, type, schema_version, data, meta, at, recorded_at)
         values ($1, $2, nextval('event_position'), $3, $4, $5, 1, $6::json, $7::json, $8, clock_timestamp())",
    )
    .bind(stream)
    .bind(version)
    .bind(i16::from(subject::shard(stream)))
    .bind(event.event_id)
    .bind(&*event.event_type)
    .bind(&event.data)
    .bind(&event.meta)
    .bind(SqlTime(event.at))
    .execute(connection)
    .await?;
    Ok(())
}

/// One of the many: none of an order's events is much larger but the first.
fn event() -> NewEvent {
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
struct Count(Arc<Counted>);

#[derive(Default)]
struct Counted {
    done: AtomicU64,
    is_over: AtomicBool,
}

impl Count {
    fn goes_on(&self) -> bool {
        !self.0.is_over.load(Ordering::Relaxed)
    }

    fn one_more(&self) {
        self.0.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets them work for a while; per second.
    async fn over<F>(&self, span: Duration, workers: impl Iterator<Item = F>) -> Result<f64>
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

impl Side {
    fn of(clients: usize, events_per_s: Vec<f64>) -> Self {
        Self {
            clients,
            median: median(&events_per_s),
            events_per_s,
        }
    }
}

fn show(report: &Report) {
    let (grouped, single) = (&report.group_commit, &report.one_row_per_statement);
    say::line(format_args!(
        "{:>8}  {:>26}  {:>34}",
        "round",
        format!("group commit, {} writers", grouped.clients),
        format!("one row per statement, {} clients", single.clients)
    ));
    for (round, (one, other)) in grouped.events_per_s.iter().zip(&single.events_per_s).enumerate() {
        say::line(format_args!(
            "{:>8}  {one:>17.0} events/s  {other:>25.0} events/s",
            round + 1
        ));
    }
    say::line(format_args!(
        "{:>8}  {:>17.0} events/s  {:>25.0} events/s",
        "median", grouped.median, single.median
    ));
    say::line(format_args!(
        "group commit is {:.2} times as fast (target: at least {:.0}): {}",
        report.ratio,
        report.ratio_min,
        if report.met { "met" } else { "missed" }
    ));
}
