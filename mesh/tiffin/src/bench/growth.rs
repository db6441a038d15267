//! Whether an order costs more when many are stored: processor time, memory and lag after ten thousand, a hundred thousand
//! and a million orders.
//!
//! The stored ones are copies of one that went to its end, written into order-master's log by one statement in Postgres
//! and shown by a rebuild of the view, since a day of placing them would measure the same.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use mesh_local::running::Running;

use super::cpu::Cpu;
use super::door::Door;
use super::load::{LUNCH, customers, order_evenly};
use super::order::memory_of_all;
use super::pace::Latency;
use super::people::People;
use super::rebuild::log;
use super::row::Row;
use super::seen::{Commits, Watch};
use super::shop::Shop;
use super::{Site, database};
use crate::rebuild;
use crate::say::Steps;

/// What the project promises: no figure grows by more.
const GROWTH_MAX: f64 = 1.2;

const MASTER: &str = "order-master";
const INFO: &str = "order-info";
const VIEW: &str = "order";

const EXAMPLES: &str = "\
Examples:
  tiffin bench growth
  tiffin bench growth --stored 1000,10000 --rate 20 --seconds 10 --json";

/// How to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Orders stored, in ascending numbers.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000",
        value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    stored: Vec<u32>,
    /// Orders per second that are placed then.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// For how long.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    #[command(flatten)]
    site: Site,
}

/// What was measured with so many orders stored.
struct Stage {
    stored: u32,
    failed: u64,
    cpu_ms: f64,
    lag: Latency,
    resident_mib: f64,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    ensure!(args.stored.is_sorted(), "--stored must ascend");
    args.site
        .rows(async |running, steps| measure(&args, running, steps).await)
        .await
}

async fn measure(args: &Args, running: &Running, steps: &Steps) -> Result<Vec<Row>> {
    let (door, people) = (Door::of(running)?, People::of(running).await?);
    let shop = Shop::open(running, &LUNCH, steps).await?;
    let parts = (&door, &people, &shop);
    steps.step("one order, to its end");
    let order = log::one_order(running).await?;
    let url = database(running, MASTER)?;
    // Plans, caches and files are as they stay, so that the first stage pays for nothing else than the last.
    stage(args, running, parts, 0, steps).await?;
    let (mut stages, mut stored) = (Vec::new(), 0);
    for wanted in &args.stored {
        steps.step(&format!("storing {wanted} orders"));
        log::copies(&url, order, stored, *wanted).await?;
        stored = *wanted;
        steps.step("showing them");
        rebuild::of_view(running, INFO, VIEW, |_, _| {}).await?;
        stages.push(stage(args, running, parts, stored, steps).await?);
    }
    rows(args, &stages)
}

async fn stage(
    args: &Args,
    running: &Running,
    parts: (&Door, &People, &Shop),
    stored: u32,
    steps: &Steps,
) -> Result<Stage> {
    let orders = args.rate as usize * args.seconds as usize;
    let ready = customers(running, parts, orders, steps).await?;
    let redis = Watch::redis(running).await?;
    redis.seen.quiet().await;
    steps.step(&format!(
        "{} orders per second for {} s, {stored} stored",
        args.rate, args.seconds
    ));
    let (since, idle) = (Timestamp::now(), Cpu::of(running.processes()));
    let outcome = order_evenly(parts.0, ready, Duration::from_secs(args.seconds)).await?;
    redis.seen.quiet().await;
    let shares = Cpu::of(running.processes()).since(&idle, outcome.sent);
    let commits = Commits::since(running, since).await?;
    Ok(Stage {
        stored,
        failed: outcome.failed(),
        cpu_ms: shares.iter().map(|share| share.ms_each).sum(),
        lag: redis.seen.lag(&commits),
        resident_mib: memory_of_all(running).iter().map(|one| one.resident_mib).sum(),
    })
}

fn rows(args: &Args, stages: &[Stage]) -> Result<Vec<Row>> {
    let first = stages.first().context("at least one stage")?;
    let mut rows = Vec::new();
    for stage in stages {
        let row = |what: &str, unit, value: fn(&Stage) -> f64| {
            let what = format!("{what}, {} stored", stage.stored);
            let row = Row::new("growth", what, unit, value(stage));
            let is_first = stage.stored == first.stored;
            if is_first {
                return row;
            }
            row.beside(format!("with {}", first.stored), value(first))
                .ratio_at_most(GROWTH_MAX)
        };
        let orders = u64::from(args.rate) * args.seconds;
        let failed = format!("not accepted, of {orders} at {}/s, {} stored", args.rate, stage.stored);
        rows.extend([
            Row::new("growth", failed, "orders", stage.failed as f64).at_most(0.0),
            row("one core per order", "ms", |stage| stage.cpu_ms),
            row("resident, all services", "MiB", |stage| stage.resident_mib),
            row("commit to Redis, p50", "ms", |stage| stage.lag.ms(0.5)),
            row("commit to Redis, p99", "ms", |stage| stage.lag.ms(0.99)),
        ]);
    }
    Ok(rows)
}
