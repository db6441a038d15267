//! How much group commit brings: the event store's own append by 1, 32 and 256 writers, against plain inserts of one row
//! and of 64 into the same table, in turns on the same server, which syncs every commit.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use mesh_contracts::id::OrderId;
use mesh_eventstore::{Append, Store, StoreConfig};
use mesh_local::data_dir::DataDir;
use mesh_local::exec::Launcher;
use mesh_local::ports::Ports;
use mesh_local::secrets::Secrets;
use mesh_local::servers::{Database, Options, Servers};
use mesh_local::supervise::Supervisor;
use mesh_runtime::Clock;

use super::insert::{BATCH, BATCHERS, CLIENTS, Count, batches, checkpoint, event, migrated, one_row_per_statement};
use super::row::{self, Row};
use super::{DATA_DIR, median, remove};
use crate::say::Steps;

/// How many writers share the store's commits.
const WRITERS: [usize; 3] = [1, 32, 256];

/// What the project promises: with the most writers group commit is at least so many times as fast as single rows.
const RATIO_MIN: f64 = 2.0;

const EXAMPLES: &str = "\
Examples:
  tiffin bench append
  tiffin bench append --rounds 5 --seconds 10 --json";

/// How to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How often each is measured, in turns.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each time.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Where the servers keep their data, which is removed before and afterwards.
    #[arg(long, default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// Print JSON, one row per line.
    #[arg(long)]
    json: bool,
}

/// Rates of every round, in events per second.
#[derive(Default)]
struct Rates {
    grouped: BTreeMap<usize, Vec<f64>>,
    single: Vec<f64>,
    batched: Vec<f64>,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let steps = Steps::new();
    let measured = on_own_servers(&args, &steps).await;
    steps.done();
    remove(&args.data_dir).await?;
    Ok(row::print(&measured?, args.json))
}

async fn on_own_servers(args: &Args, steps: &Steps) -> Result<Vec<Row>> {
    let data_dir = DataDir::open(&args.data_dir, true).await?;
    let supervisor = Arc::new(Supervisor::new(data_dir.path(), Launcher::own())?);
    let options = Options {
        durable: true,
        any_prefix: false,
        small_disks: false,
        connections_max: 100,
        bus: Vec::new(),
        redis: Vec::new(),
    };
    let ports = Ports::open(data_dir.path())?;
    let secrets = Secrets::open(data_dir.path())?;
    let servers = Servers::start(data_dir.path(), &options, supervisor, &ports, &secrets, &steps.sink()).await?;
    let rows = measure(args, &servers, steps).await;
    servers.stop().await;
    rows
}

async fn measure(args: &Args, servers: &Servers, steps: &Steps) -> Result<Vec<Row>> {
    let postgres = &servers.postgres;
    let grouped = migrated(postgres, "grouped").await?;
    let plain = migrated(postgres, "plain").await?;
    let span = Duration::from_secs(args.seconds);
    let mut rates = Rates::default();
    for round in 1..=args.rounds {
        for writers in WRITERS {
            steps.step(&format!(
                "round {round} of {}: group commit, {writers} writers",
                args.rounds
            ));
            checkpoint(postgres).await?;
            let rate = group_commit(&grouped, writers, span).await?;
            rates.grouped.entry(writers).or_default().push(rate);
        }
        steps.step(&format!("round {round} of {}: one row per statement", args.rounds));
        checkpoint(postgres).await?;
        rates.single.push(one_row_per_statement(&plain.url, span).await?);
        steps.step(&format!("round {round} of {}: {BATCH} rows per statement", args.rounds));
        checkpoint(postgres).await?;
        rates.batched.push(batches(&plain.url, span).await?);
    }
    Ok(rows(&rates))
}

/// Each writer has a stream of its own and waits for every answer, as a service's commands do.
async fn group_commit(database: &Database, writers: usize, span: Duration) -> Result<f64> {
    let store = Store::connect(StoreConfig::new(&database.url, "bench"), Clock::real())
        .await
        .map_err(anyhow::Error::from_boxed)?;
    let count = Count::default();
    let writers = (0..writers).map(|_| {
        let (store, count) = (store.clone(), count.clone());
        async move {
            let stream = OrderId::new_v7().to_string();
            let mut version = 0;
            while count.goes_on() {
                store.append(Append::events(&stream, version, vec![event()])).await?;
                version += 1;
                count.more(1);
            }
            anyhow::Ok(())
        }
    });
    count.over(span, writers).await
}

fn rows(rates: &Rates) -> Vec<Row> {
    let (single, batched) = (median(&rates.single), median(&rates.batched));
    let single_is = format!("one row per statement, {CLIENTS} clients");
    let batched_is = format!("{BATCH} rows per statement, {BATCHERS} clients");
    let row = |writers: &usize, rates: &[f64]| {
        let what = format!("group commit, {writers} writers, median of {}", rates.len());
        Row::new("append", what, "events/s", median(rates))
    };
    let mut rows: Vec<Row> = rates
        .grouped
        .iter()
        .map(|(writers, rates)| {
            let row = row(writers, rates).beside(&single_is, single);
            let is_most = WRITERS.iter().max() == Some(writers);
            if is_most { row.ratio_at_least(RATIO_MIN) } else { row }
        })
        .collect();
    let most = rates.grouped.last_key_value();
    rows.extend(most.map(|(writers, rates)| row(writers, rates).beside(&batched_is, batched)));
    rows
}
