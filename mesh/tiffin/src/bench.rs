//! `tiffin bench`: the figures that the project promises, measured on servers and a platform of its own.
//!
//! Numbers mean something for release builds only; ratios within one run mean something everywhere.

pub mod append;
pub mod order;
pub mod rebuild;

mod cpu;
mod lag;
mod load;
mod memory;

use std::path::Path;
use std::process::ExitCode;

use mesh_local::data_dir::DataDir;

use crate::say;

const EXAMPLES: &str = "\
Examples:
  cargo run --release -p tiffin -- bench append
  cargo run --release -p tiffin -- bench order --rate 200 --seconds 30 --json
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
    /// Orders through the gateway: latency, errors, the way to Redis, and memory.
    Order(order::Args),
    /// A view filled anew: events per second of one core of its service, against reading them from PostgreSQL.
    Rebuild(rebuild::Args),
}

/// Runs the command.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if cfg!(debug_assertions) {
        say::note("this is a debug build: only ratios mean something");
    }
    match args.what {
        What::Append(args) => append::run(args).await,
        What::Order(args) => order::run(args).await,
        What::Rebuild(args) => rebuild::run(args).await,
    }
}

fn exit_code(met: bool) -> ExitCode {
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Removes a folder that nothing runs in any more, with what lies elsewhere for it.
async fn remove(path: &Path) -> anyhow::Result<()> {
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
