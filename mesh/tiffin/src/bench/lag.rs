//! From the commit of an event to the document in Redis, and to a client's live stream through the gateway, while orders
//! come at a fixed rate; beside a message over the bus alone, at the same rate and at the same time.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use mesh_local::running::Running;

use super::Site;
use super::door::Door;
use super::load::{LUNCH, customers, order_evenly};
use super::pace::Latency;
use super::people::People;
use super::row::Row;
use super::seen::{Commits, Watch};
use super::shop::Shop;
use super::wire::publish_to_deliver;
use crate::say::Steps;

/// What the project promises of the way to Redis, at the median and of 99 in a hundred.
const REDIS_P50_MS_MAX: f64 = 5.0;
const REDIS_P99_MS_MAX: f64 = 50.0;
/// And of the way to a client.
const CLIENT_P99_MS_MAX: f64 = 250.0;

const EXAMPLES: &str = "\
Examples:
  tiffin bench lag
  tiffin bench lag --rate 50 --seconds 20 --json
  tiffin bench lag --peak 400 --percent-of-peak 10,50,80";

/// How to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Orders per second; each has about six events until its kitchen is asked.
    #[arg(long, default_value_t = 300.0, value_parser = rate)]
    rate: f64,
    /// What `bench order` found to be the most, in orders per second.
    #[arg(long, value_name = "RATE", value_parser = rate, requires = "percent_of_peak")]
    peak: Option<f64>,
    /// Measure at these parts of the peak instead, one after the other.
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', requires = "peak",
        value_parser = clap::value_parser!(u32).range(1..=100))]
    percent_of_peak: Vec<u32>,
    /// For how long each.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    #[command(flatten)]
    site: Site,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let is_possible = (0.1..=10_000.0).contains(&rate);
    is_possible
        .then_some(rate)
        .ok_or_else(|| "must be from 0.1 to 10000".to_owned())
}

impl Args {
    fn rates(&self) -> Vec<f64> {
        match self.peak {
            Some(peak) => {
                let parts = self.percent_of_peak.iter();
                parts.map(|percent| peak * f64::from(*percent) / 100.0).collect()
            }
            None => vec![self.rate],
        }
    }
}

pub async fn run(args: Args) -> Result<ExitCode> {
    args.site
        .rows(async |running, steps| measure(&args, running, steps).await)
        .await
}

async fn measure(args: &Args, running: &Running, steps: &Steps) -> Result<Vec<Row>> {
    let (door, people) = (Door::of(running)?, People::of(running).await?);
    let shop = Shop::open(running, &LUNCH, steps).await?;
    let span = Duration::from_secs(args.seconds);
    let mut rows = Vec::new();
    for rate in args.rates() {
        let orders = (rate * span.as_secs_f64()).ceil() as usize;
        let ready = customers(running, (&door, &people, &shop), orders, steps).await?;
        steps.step("opening a live stream at every food point");
        let clients = Watch::none();
        for point in &shop.points {
            let path = format!("/v1/food-points/{point}/live");
            // A person may have a few streams open and not hundreds.
            clients.follow(&door, &path, &people.operator()).await?;
        }
        let redis = Watch::redis(running).await?;
        // What was still under way from the setup does not count.
        redis.seen.quiet().await;
        steps.step(&format!("{rate:.0} orders per second for {} s", args.seconds));
        let since = Timestamp::now();
        let (outcome, wire) = tokio::join!(
            order_evenly(&door, ready, span),
            publish_to_deliver(running, rate, span)
        );
        let outcome = outcome?;
        let (failed, sent) = (outcome.failed(), outcome.sent);
        ensure!(failed < sent, "no order was answered");
        steps.step("waiting until everything is shown");
        redis.seen.quiet().await;
        let commits = Commits::since(running, since).await?;
        let (redis, clients) = (redis.seen.lag(&commits), clients.seen.lag(&commits));
        rows.push(
            Row::new(
                "lag",
                format!("orders not accepted at {rate:.0}/s, of {sent}"),
                "orders",
                failed as f64,
            )
            .at_most(0.0),
        );
        rows.extend(rows_of(rate, &redis, &clients, &wire?));
    }
    Ok(rows)
}

fn rows_of(rate: f64, redis: &Latency, clients: &Latency, wire: &Latency) -> Vec<Row> {
    let row = |what: &str, latency: &Latency, (name, part): (&str, f64)| {
        let what = format!("{what} at {rate:.0} orders/s, {name} of {}", latency.count());
        Row::new("lag", what, "ms", latency.ms(part)).beside(format!("NATS publish to deliver, {name}"), wire.ms(part))
    };
    let (p50, p99) = (("p50", 0.5), ("p99", 0.99));
    vec![
        row("commit to Redis", redis, p50).at_most(REDIS_P50_MS_MAX),
        row("commit to Redis", redis, p99).at_most(REDIS_P99_MS_MAX),
        row("commit to client", clients, p50),
        row("commit to client", clients, p99).at_most(CLIENT_P99_MS_MAX),
    ]
}
