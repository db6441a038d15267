//! `tiffin bench`: the figures that the project promises, measured on servers and a platform of its own.
//!
//! Numbers mean something for release builds only; ratios within one run mean something everywhere.

pub mod append;
pub mod gateway;
pub mod growth;
pub mod lag;
pub mod lifecycle;
pub mod live;
pub mod lunch;
pub mod order;
pub mod overload;
pub mod positions;
pub mod read;
pub mod rebuild;
pub mod tokens;

mod cpu;
mod door;
mod insert;
mod load;
mod memory;
mod nginx;
mod pace;
mod people;
mod plain;
mod row;
mod seen;
mod shop;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use mesh_local::data_dir::DataDir;
use mesh_local::running::Running;
use mesh_local::services::SERVICES;

use self::row::Row;
use crate::say::{self, Steps};
use crate::up;

const EXAMPLES: &str = "\
Examples:
  cargo run --release -p tiffin -- bench append
  cargo run --release -p tiffin -- bench order --rate 200 --seconds 30 --json
  cargo run --release -p tiffin -- bench lag --peak 400 --percent-of-peak 10,50,80
  cargo run --release -p tiffin -- bench rebuild --events 1000000";

/// Where the servers of a bench keep their data: beside nobody's, and emptied afterwards.
const DATA_DIR: &str = ".tiffin-bench";

/// What to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Events per second into PostgreSQL: group commit against one row per statement.
    Append(append::Args),
    /// The gateway against Envoy in its place, and against no gateway.
    Gateway(gateway::Args),
    /// Whether an order costs more when a million are stored.
    Growth(growth::Args),
    /// From a commit to Redis and to a client's live stream, against the bus alone.
    Lag(lag::Args),
    /// Whole orders, from the customer to the door, with all services.
    Lifecycle(lifecycle::Args),
    /// Thousands of idle live streams: memory for each, and that all of them hear what happens then.
    Live(live::Args),
    /// A whole chain's lunch, and how much more there could be.
    Lunch(lunch::Args),
    /// Orders through the gateway: latency, errors, the way to Redis, and memory.
    Order(order::Args),
    /// Four times as many orders as can be taken, for a minute: what is still accepted, and who is served first.
    Overload(overload::Args),
    /// Couriers who say every four seconds where they are.
    Positions(positions::Args),
    /// One order and the order page, against nginx and Redis.
    Read(read::Args),
    /// A view filled anew: events per second of one core of its service, against reading them from PostgreSQL.
    Rebuild(rebuild::Args),
    /// Reads that bring a token while what is shown lags: none may be older.
    Tokens(tokens::Args),
}

/// Runs the command.
pub async fn run(args: Args) -> Result<ExitCode> {
    if cfg!(debug_assertions) {
        say::note("this is a debug build: only ratios mean something");
    }
    match args.what {
        What::Append(args) => append::run(args).await,
        What::Gateway(args) => gateway::run(args).await,
        What::Growth(args) => growth::run(args).await,
        What::Lag(args) => lag::run(args).await,
        What::Lifecycle(args) => lifecycle::run(args).await,
        What::Live(args) => live::run(args).await,
        What::Lunch(args) => lunch::run(args).await,
        What::Order(args) => order::run(args).await,
        What::Overload(args) => overload::run(args).await,
        What::Positions(args) => positions::run(args).await,
        What::Read(args) => read::run(args).await,
        What::Rebuild(args) => rebuild::run(args).await,
        What::Tokens(args) => tokens::run(args).await,
    }
}

fn exit_code(met: bool) -> ExitCode {
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Where most benches measure, and how they say what they saw.
#[derive(Debug, clap::Args)]
struct Site {
    /// Where the platform keeps its data, which is removed before and afterwards.
    #[arg(long, default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// Print JSON, one row per line.
    #[arg(long)]
    json: bool,
}

impl Site {
    /// Measures a platform of its own and prints the rows.
    async fn rows(&self, measure: impl AsyncFnOnce(&Running, &Steps) -> Result<Vec<Row>>) -> Result<ExitCode> {
        let steps = Steps::new();
        let rows = on_own_platform(&self.data_dir, &steps, async |running| measure(running, &steps).await).await?;
        Ok(row::print(&rows, self.json))
    }
}

/// Measures a platform that is started for it, and leaves nothing of it behind.
async fn on_own_platform<T>(
    data_dir: &Path,
    steps: &Steps,
    measure: impl AsyncFnOnce(&Running) -> Result<T>,
) -> Result<T> {
    let platform = up::start(data_dir.to_owned(), true, 1.0, steps).await?;
    let measured = match platform.running() {
        Ok(running) => measure(&running).await,
        Err(err) => Err(err),
    };
    steps.step("stopping");
    platform.stop().await;
    steps.done();
    remove(data_dir).await?;
    measured
}

/// A URL for everything in a master's database.
fn database(running: &Running, master: &str) -> Result<String> {
    let master = SERVICES.iter().find(|service| service.name == master);
    running.database_url(master.context("a master of the table")?)
}

/// Removes a folder that nothing runs in any more, with what lies elsewhere for it.
async fn remove(path: &Path) -> Result<()> {
    // Opening it afresh also empties the database's folder, which may be a link.
    drop(DataDir::open(path, true).await?);
    Ok(tokio::fs::remove_dir_all(path).await?)
}

/// The middle one, or the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let close = |values: &[f64], expected: f64| (median(values) - expected).abs() < 1e-9;
        assert!(close(&[], 0.0));
        assert!(close(&[5.0, 1.0, 3.0], 3.0));
        assert!(close(&[4.0, 1.0, 3.0, 2.0], 2.5));
    }
}
