//! Orders at a fixed rate through the gateway of a platform of its own: latency, errors, the way to Redis, processor and
//! memory; beside what a plain handler does with one row, and what Postgres takes at all.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use mesh_local::running::Running;
use mesh_local::services::SERVICES;

use super::cpu::{Cpu, Share};
use super::door::Door;
use super::insert::{CLIENTS, checkpoint, migrated, one_row_per_statement};
use super::load::{LUNCH, Ready, customers, insist, order_evenly};
use super::memory::{self, Memory};
use super::pace::{Latency, Outcome};
use super::people::People;
use super::plain::Plain;
use super::row::{self, Row};
use super::seen::{Commits, Watch};
use super::shop::Shop;
use super::{DATA_DIR, on_own_platform};
use crate::say::{self, Steps};

/// Accepted orders a second that the project promises on two cores.
const ACCEPTED_PER_S_MIN: f64 = 1_500.0;
/// Place-order latency.
const PLACE_P99_MS_MAX: f64 = 50.0;
/// The way from commit to Redis.
const LAG_P99_MS_MAX: f64 = 50.0;
/// What a service may take.
pub(super) const RESIDENT_MIB_MAX: f64 = 64.0;

/// Callers who send their next order when the last one is answered.
const CALLERS: usize = 64;

/// How long each neighbour is measured.
const BESIDE: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  tiffin bench order
  tiffin bench order --rate 50 --seconds 20 --json";

/// How to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Orders per second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// For how long.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Orders by which the most per second is found, sent by 64 callers as fast as they are answered.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(64..=100_000))]
    most: u32,
    /// Where the platform keeps its data, which is removed before and afterwards.
    #[arg(long, default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// Print JSON, one row per line.
    #[arg(long)]
    json: bool,
}

/// Everything that was measured.
struct Measured {
    outcome: Outcome,
    /// Orders per second that many callers got accepted.
    most_per_s: f64,
    lag: Latency,
    cpu: Vec<Share>,
    memory: Vec<Memory>,
    one_row_per_s: f64,
    plain_per_s: f64,
    plain: Outcome,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let steps = Steps::new();
    let measured = on_own_platform(&args.data_dir, &steps, async |running| {
        measure(&args, running, &steps).await
    })
    .await?;
    for (error, count) in &measured.outcome.errors {
        say::note(format_args!("{count} × {error}"));
    }
    Ok(row::print(&rows(&args, &measured), args.json))
}

async fn measure(args: &Args, running: &Running, steps: &Steps) -> Result<Measured> {
    let span = Duration::from_secs(args.seconds);
    let orders = args.rate as usize * args.seconds as usize;
    steps.step("one row per statement, and a handler that inserts one");
    let postgres = running.postgres()?;
    let url = migrated(&postgres, "bench").await?.url;
    let one_row_per_s = one_row_per_statement(&url, BESIDE).await?;
    let handler = Plain::start(&url).await?;
    let plain_per_s = handler.most(BESIDE).await?;
    let plain = handler
        .at_rate((f64::from(args.rate) * BESIDE.as_secs_f64()) as usize, BESIDE)
        .await?;
    drop(handler);

    let (door, people) = (Door::of(running)?, People::of(running).await?);
    let shop = Shop::open(running, &LUNCH, steps).await?;
    let count = orders + args.most as usize;
    let mut ready = customers(running, (&door, &people, &shop), count, steps).await?;
    let eager = ready.split_off(orders);
    checkpoint(&postgres).await?;
    let redis = Watch::redis(running).await?;
    redis.seen.quiet().await;
    steps.step(&format!("{} orders per second for {} s", args.rate, args.seconds));
    let (since, idle) = (Timestamp::now(), Cpu::of(running.processes()));
    let outcome = order_evenly(&door, ready, span).await?;
    steps.step("waiting until everything is shown");
    redis.seen.quiet().await;
    let cpu = Cpu::of(running.processes()).since(&idle, outcome.sent);
    let lag = redis.seen.lag(&Commits::since(running, since).await?);
    drop(redis);
    steps.step(&format!("{} orders by {CALLERS} callers", args.most));
    let most_per_s = most(&door, eager).await?;
    Ok(Measured {
        lag,
        outcome,
        most_per_s,
        cpu,
        memory: memory_of_all(running),
        one_row_per_s,
        plain_per_s,
        plain,
    })
}

/// Orders per second of those who send the next one when the last one is answered, and come again when turned away.
async fn most(door: &Door, customers: Vec<Ready>) -> Result<f64> {
    let (count, started) = (customers.len(), Instant::now());
    stream::iter(customers)
        .map(async |customer| insist(door, &customer).await)
        .buffer_unordered(CALLERS)
        .try_for_each(async |_| Ok(()))
        .await
        .context("ordering as fast as possible")?;
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

/// Of every service.
pub(super) fn memory_of_all(running: &Running) -> Vec<Memory> {
    SERVICES
        .iter()
        .filter_map(|service| {
            let process = running.process(service.name).ok()?;
            memory::of(service.name, process.pid)
        })
        .collect()
}

fn rows(args: &Args, measured: &Measured) -> Vec<Row> {
    let Measured {
        outcome, lag, plain, ..
    } = measured;
    let row = |what: String, unit, value| Row::new("order", what, unit, value);
    let most = || {
        row(
            format!("accepted from {CALLERS} callers"),
            "orders/s",
            measured.most_per_s,
        )
    };
    let failed = format!("not accepted, of {} at {}/s", outcome.sent, args.rate);
    let latency = |name: &str, part: f64| {
        row(format!("place order, {name}"), "ms", outcome.latency.ms(part)).beside(
            format!("plain handler at the same rate, {name}"),
            plain.latency.ms(part),
        )
    };
    let mut rows = vec![
        row(failed, "orders", outcome.failed() as f64).at_most(0.0),
        most()
            .beside(format!("plain axum handler, {CLIENTS} callers"), measured.plain_per_s)
            .at_least(ACCEPTED_PER_S_MIN),
        most().beside(
            format!("one row per statement, {CLIENTS} clients"),
            measured.one_row_per_s,
        ),
        latency("p50", 0.5),
        latency("p99", 0.99).at_most(PLACE_P99_MS_MAX),
        row(format!("commit to Redis, p50 of {}", lag.count()), "ms", lag.ms(0.5)),
        row(format!("commit to Redis, p99 of {}", lag.count()), "ms", lag.ms(0.99)).at_most(LAG_P99_MS_MAX),
    ];
    rows.extend(cpu_rows("order", "order", &measured.cpu));
    rows.extend(
        measured.memory.iter().map(|one| {
            row(format!("resident at most: {}", one.service), "MiB", one.peak_mib).at_most(RESIDENT_MIB_MAX)
        }),
    );
    rows
}

/// All together, then each process.
pub(super) fn cpu_rows(bench: &'static str, each: &str, shares: &[Share]) -> Vec<Row> {
    let all: f64 = shares.iter().map(|share| share.ms_each).sum();
    let row = |what: &str, ms| Row::new(bench, format!("one core per {each}: {what}"), "ms", ms);
    let all = row("all", all);
    let each = shares.iter().map(|share| row(&share.process, share.ms_each));
    [all].into_iter().chain(each).collect()
}
