//! A whole chain's lunch: 500 food points with 20 orders a minute each, 5,000 couriers who say where they are, thousands of
//! customers who follow their order; and how much more there could be.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use mesh_contracts::order::Kind;
use mesh_local::running::Running;

use super::Site;
use super::cpu::Cpu;
use super::door::Door;
use super::live::{allow_descriptors, follow_own, order_each};
use super::load::{LUNCH, Ready, customers, order_evenly};
use super::order::cpu_rows;
use super::pace::{Outcome, evenly};
use super::people::People;
use super::positions::{EVERY, Rider, moves, on_shift};
use super::row::Row;
use super::seen::{Commits, Watch};
use super::shop::{Plan, Shop};
use crate::say::{self, Steps};

/// Of placing an order; the rate at which it is longer is where lunch ends.
const PLACE_P99_MS_MAX: f64 = 100.0;

/// Twenty orders a minute at each of 500 food points.
const LUNCH_PER_S: u32 = 167;

/// Tokens are good for a little longer.
const SECONDS_MAX: u64 = 540;

/// The next rate is so much higher than the last.
const STEP: f64 = 1.25;
/// How long each, beside everything else that goes on.
const STEP_SPAN: Duration = Duration::from_secs(15);
/// Where the search begins and ends, in parts of the lunch.
const STEPS_FROM: f64 = 0.125;
const STEPS_MAX: usize = 24;

const EXAMPLES: &str = "\
Examples:
  tiffin bench lunch
  tiffin bench lunch --rate 20 --couriers 500 --customers 500 --seconds 20 --json";

/// How to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Orders per second.
    #[arg(long, default_value_t = LUNCH_PER_S, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// For how long.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    seconds: u64,
    /// Couriers on shift, who say every four seconds where they are.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    couriers: u32,
    /// Customers who follow an order they placed before, each over a TLS connection.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(10..=16_000))]
    customers: u32,
    #[command(flatten)]
    site: Site,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    allow_descriptors(args.customers)?;
    args.site
        .rows(async |running, steps| measure(&args, running, steps).await)
        .await
}

async fn measure(args: &Args, running: &Running, steps: &Steps) -> Result<Vec<Row>> {
    let (door, people) = (Door::of(running)?, People::of(running).await?);
    let shop = Shop::open(running, &LUNCH, steps).await?;
    let parts = (&door, &people, &shop);
    // Those who follow an order have it from a counter that is as good as closed: nothing more happens to it.
    let counter = Plan {
        points: 20,
        kind: Kind::PickUp,
        auto_accept: true,
        prep_minutes: 60,
        ..LUNCH
    };
    let counter = Shop::open(running, &counter, steps).await?;
    let followers = customers(running, (&door, &people, &counter), args.customers as usize, steps).await?;
    steps.count("ordering", followers.len());
    let followed = order_each(&door, followers, steps).await?;
    steps.count("opening live streams", followed.len());
    let everyone = follow_own(&door, &people, &followed, steps).await?;

    let each = (args.couriers as usize).div_ceil(shop.points.len());
    let riders = on_shift(running, &door, &people, shop.points.len(), each, steps).await?;

    let mut rows = lunch(args, running, parts, &riders, steps).await?;
    rows.push(headroom(args, running, parts, &riders, steps).await?);
    drop(everyone);
    Ok(rows)
}

async fn lunch(
    args: &Args,
    running: &Running,
    parts: (&Door, &People, &Shop),
    riders: &[Rider],
    steps: &Steps,
) -> Result<Vec<Row>> {
    let (span, rate) = (Duration::from_secs(args.seconds), f64::from(args.rate));
    let ready = customers(running, parts, (rate * span.as_secs_f64()) as usize, steps).await?;
    let redis = Watch::redis(running).await?;
    redis.seen.quiet().await;
    steps.step(&format!("lunch: {rate:.0} orders per second for {} s", args.seconds));
    let (since, idle) = (Timestamp::now(), Cpu::of(running.processes()));
    let (orders, positions) = together(parts, ready, riders, span).await?;
    let cpu = Cpu::of(running.processes()).since(&idle, orders.sent);
    redis.seen.quiet().await;
    let lag = redis.seen.lag(&Commits::since(running, since).await?);
    for (error, count) in orders.errors.iter().chain(&positions.errors) {
        say::note(format_args!("{count} × {error}"));
    }
    let row = |what: String, unit, value| Row::new("lunch", what, unit, value);
    let mut rows = vec![
        row(
            format!("not accepted, of {} at {rate:.0}/s", orders.sent),
            "orders",
            orders.failed() as f64,
        )
        .at_most(0.0),
        row("place order, p50".to_owned(), "ms", orders.latency.ms(0.5)),
        row("place order, p99".to_owned(), "ms", orders.latency.ms(0.99)).at_most(PLACE_P99_MS_MAX),
        row(
            format!("not taken, of {}", positions.sent),
            "positions",
            positions.failed() as f64,
        )
        .at_most(0.0),
        row("position, p99".to_owned(), "ms", positions.latency.ms(0.99)),
        row("commit to Redis, p99".to_owned(), "ms", lag.ms(0.99)),
    ];
    rows.extend(cpu_rows("lunch", "order with all that goes on", &cpu));
    Ok(rows)
}

/// The highest rate at which orders are still placed in time, from below.
async fn headroom(
    args: &Args,
    running: &Running,
    parts: (&Door, &People, &Shop),
    riders: &[Rider],
    steps: &Steps,
) -> Result<Row> {
    let mut rate = f64::from(args.rate) * STEPS_FROM;
    let mut best = 0.0;
    for _ in 0..STEPS_MAX {
        let ready = customers(running, parts, (rate * STEP_SPAN.as_secs_f64()) as usize, steps).await?;
        let redis = Watch::redis(running).await?;
        redis.seen.quiet().await;
        steps.step(&format!("headroom: {rate:.0} orders per second"));
        let (orders, _) = together(parts, ready, riders, STEP_SPAN).await?;
        if orders.failed() > 0 || orders.latency.ms(0.99) > PLACE_P99_MS_MAX {
            break;
        }
        best = rate;
        rate *= STEP;
    }
    let what = format!("highest rate with place order p99 below {PLACE_P99_MS_MAX:.0} ms");
    Ok(Row::new("lunch", what, "orders/s", best)
        .beside("lunch", f64::from(LUNCH_PER_S))
        .ratio_at_least(1.0))
}

/// Orders and positions at the same time.
async fn together(
    (door, people, _): (&Door, &People, &Shop),
    ready: Vec<Ready>,
    riders: &[Rider],
    span: Duration,
) -> Result<(Outcome, Outcome)> {
    let count = (riders.len() as f64 * span.as_secs_f64() / EVERY.as_secs_f64()) as usize;
    let positions = evenly(count, span, moves(door, people, riders));
    let (orders, positions) = tokio::join!(order_evenly(door, ready, span), positions);
    Ok((orders?, positions?))
}
