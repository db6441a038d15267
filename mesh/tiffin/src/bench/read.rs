//! What customers look at most, through the gateway: one order, and the order page. Beside it the same bytes from Redis
//! by a plain GET, and as a file from nginx over TLS.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::future::try_join_all;
use mesh_contracts::order::Kind;
use mesh_local::running::Running;

use super::Site;
use super::cpu::Cpu;
use super::door::Door;
use super::load::{LUNCH, customers, place_order};
use super::nginx::{DOCUMENT, Nginx, reader};
use super::order::cpu_rows;
use super::pace::{Call, Latency, evenly, most};
use super::people::People;
use super::row::Row;
use super::seen::Watch;
use super::shop::{Plan, Shop};
use crate::say::Steps;

/// What the project promises: at least this part of what nginx serves.
const NGINX_PART_MIN: f64 = 0.1;

/// Callers who ask again when they are answered.
const CALLERS: usize = 64;

/// People who read their order.
const CUSTOMERS: usize = 100;

const EXAMPLES: &str = "\
Examples:
  tiffin bench read
  tiffin bench read --seconds 2 --json";

/// How to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// For how long each: as fast as possible, then at half of that rate for the latency.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    #[command(flatten)]
    site: Site,
}

/// How fast something answers.
struct Speed {
    per_s: f64,
    /// At half of that rate.
    latency: Latency,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    args.site
        .rows(async |running, steps| measure(&args, running, steps).await)
        .await
}

async fn measure(args: &Args, running: &Running, steps: &Steps) -> Result<Vec<Row>> {
    let span = Duration::from_secs(args.seconds);
    let (door, people) = (Door::of(running)?, People::of(running).await?);
    let plan = Plan {
        points: 20,
        kind: Kind::PickUp,
        auto_accept: true,
        prep_minutes: 60,
        ..LUNCH
    };
    let shop = Shop::open(running, &plan, steps).await?;
    let ready = customers(running, (&door, &people, &shop), CUSTOMERS, steps).await?;
    let ordering = ready.iter().map(|customer| place_order(&door, customer, Kind::PickUp));
    let orders = try_join_all(ordering).await?;
    Watch::redis(running).await?.seen.quiet().await;

    let mut rows = Vec::new();
    let pages = [
        (
            "order",
            orders
                .iter()
                .map(|order| format!("/v1/orders/{order}"))
                .collect::<Vec<_>>(),
        ),
        ("home", vec!["/v1/home".to_owned(); orders.len()]),
    ];
    for (name, paths) in pages {
        let document = door.get(&paths[0], &ready[0].token).await?.into_body();
        let readers: Vec<Call> = paths
            .iter()
            .zip(&ready)
            .map(|(path, customer)| reader(&door, path, &customer.token))
            .collect();
        let ours: Call = Arc::new(move |nth| readers[nth % readers.len()](nth));
        steps.step(&format!("reading: {name}"));
        let before = Cpu::of(running.processes());
        let (per_s, count) = most(CALLERS, span, &ours).await?;
        let cpu = Cpu::of(running.processes()).since(&before, count);
        let ours = at_half(per_s, span, &ours).await?;
        steps.step(&format!(
            "reading as much from Redis and nginx: {} bytes",
            document.len()
        ));
        let redis = speed(&redis(running, &document).await?, span).await?;
        let nginx = Nginx::serving(running, &document, steps).await?;
        let nginx = speed(&reader(&nginx.door, DOCUMENT, "none"), span).await?;
        rows.extend(rows_of(name, &ours, &redis, &nginx));
        rows.extend(cpu_rows("read", name, &cpu));
    }
    Ok(rows)
}

async fn speed(call: &Call, span: Duration) -> Result<Speed> {
    let (per_s, _) = most(CALLERS, span, call).await?;
    at_half(per_s, span, call).await
}

async fn at_half(per_s: f64, span: Duration, call: &Call) -> Result<Speed> {
    let total = (per_s / 2.0 * span.as_secs_f64()) as usize;
    let outcome = evenly(total, span, |nth| call(nth)).await?;
    anyhow::ensure!(outcome.failed() == 0, "{:?}", outcome.errors);
    Ok(Speed {
        per_s,
        latency: outcome.latency,
    })
}

/// Gets these bytes, each caller over a connection of its own.
async fn redis(running: &Running, document: &Bytes) -> Result<Call> {
    const KEY: &str = "bench:document";
    let client = redis::Client::open(running.redis()?.admin_url())?;
    let connections = try_join_all((0..CALLERS).map(|_| client.get_multiplexed_async_connection())).await?;
    let mut first = connections.first().context("there are callers")?.clone();
    redis::cmd("SET")
        .arg(KEY)
        .arg(&document[..])
        .query_async::<()>(&mut first)
        .await?;
    Ok(Arc::new(move |nth| {
        let mut connection = connections[nth % connections.len()].clone();
        Box::pin(async move {
            let got: Vec<u8> = redis::cmd("GET").arg(KEY).query_async(&mut connection).await?;
            anyhow::ensure!(!got.is_empty(), "there is nothing");
            Ok(())
        })
    }))
}

fn rows_of(name: &str, ours: &Speed, redis: &Speed, nginx: &Speed) -> Vec<Row> {
    let row = |what: String, unit, value| Row::new("read", what, unit, value);
    let rate = || row(format!("{name}, {CALLERS} callers"), "1/s", ours.per_s);
    let latency = |(part_name, part): (&str, f64)| {
        row(
            format!("{name} at half of that, {part_name}"),
            "ms",
            ours.latency.ms(part),
        )
        .beside(format!("nginx at half of its, {part_name}"), nginx.latency.ms(part))
    };
    vec![
        rate()
            .beside("the same from nginx over TLS", nginx.per_s)
            .ratio_at_least(NGINX_PART_MIN),
        rate().beside("Redis GET", redis.per_s),
        latency(("p50", 0.5)),
        latency(("p99", 0.99)),
    ]
}
