//! Reading one's own writes while what is shown lags behind: after each command its author reads many times with the
//! token that came back, and the bus is frozen again and again. No answer may be older than its token; an honest 503 may
//! come instead, and is counted.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http::{Request, Response, header};
use mesh_contracts::order::Kind;
use mesh_local::running::Running;
use mesh_runtime::consistency::said_by;
use mesh_runtime::headers::CONSISTENCY;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Site;
use super::door::Door;
use super::load::{LUNCH, Ready, customers, place_insisting, set_line};
use super::pace::Latency;
use super::people::People;
use super::row::Row;
use super::shop::{Plan, Shop};
use crate::client::version_of;
use crate::say::Steps;

/// People who write and read at the same time.
const READERS: usize = 32;

/// Reads after each command.
const READS_EACH: u64 = 20;

/// Every so many commands of one person one is an order.
const ORDER_EVERY: u64 = 20;

/// How long the bus stands still, from what nobody notices to what is longer than a read may wait.
const FROZEN_MS: std::ops::Range<u64> = 20..1_500;
/// And goes on in between.
const FLOWING_MS: std::ops::Range<u64> = 20..500;

/// Whose answers say their version in the tag alone.
const BASKET: &str = "/v1/basket";

const EXAMPLES: &str = "\
Examples:
  tiffin bench tokens
  tiffin bench tokens --reads 20000 --json";

/// How to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Reads that bring a token.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..))]
    reads: u64,
    #[command(flatten)]
    site: Site,
}

/// What all readers found.
#[derive(Default)]
struct Found {
    reads: AtomicU64,
    stale: AtomicU64,
    unavailable: AtomicU64,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    args.site
        .rows(async |running, steps| measure(running, args.reads, steps).await)
        .await
}

async fn measure(running: &Running, reads: u64, steps: &Steps) -> Result<Vec<Row>> {
    let (door, people) = (Door::of(running)?, People::of(running).await?);
    let plan = Plan {
        points: READERS,
        kind: Kind::PickUp,
        // Points whose tickets nobody answers close after a few minutes.
        auto_accept: true,
        ..LUNCH
    };
    let shop = Shop::open(running, &plan, steps).await?;
    let ready = customers(running, (&door, &people, &shop), READERS, steps).await?;
    steps.step(&format!("{reads} reads while the bus stands still now and then"));
    let found = Arc::new(Found::default());
    let is_over = Arc::new(AtomicBool::new(false));
    let freezing = tokio::spawn(freeze(running.process("nats")?.pid, is_over.clone()));
    let started = Instant::now();
    let (door, people, shop) = (&door, &people, &shop);
    let readers = ready.into_iter().map(|customer| {
        let found = found.clone();
        async move { reader(door, people, shop, customer, &found, reads).await }
    });
    let latencies = try_join_all(readers).await;
    is_over.store(true, Ordering::Relaxed);
    let frozen = freezing.await??;
    let mut latency = Latency::new();
    latencies?.iter().for_each(|one| latency.add(one));

    let (reads, took) = (found.reads.load(Ordering::Relaxed), started.elapsed());
    let stale = found.stale.load(Ordering::Relaxed) as f64;
    let unavailable = found.unavailable.load(Ordering::Relaxed) as f64;
    let row = |what: String, unit, value| Row::new("tokens", what, unit, value);
    Ok(vec![
        row(format!("answers of {reads} older than their token"), "reads", stale).at_most(0.0),
        row(format!("honest 503 of {reads}"), "reads", unavailable),
        row(
            "the bus stood still for".to_owned(),
            "%",
            100.0 * frozen.as_secs_f64() / took.as_secs_f64(),
        ),
        row("reads".to_owned(), "1/s", reads as f64 / took.as_secs_f64()),
        row("read, p50".to_owned(), "ms", latency.ms(0.5)),
        row("read, p99".to_owned(), "ms", latency.ms(0.99)),
    ])
}

/// Stops the bus and lets it go on, until it is over; how long it stood still in all.
async fn freeze(pid: i32, is_over: Arc<AtomicBool>) -> Result<Duration> {
    let pid = Pid::from_raw(pid).context("a process has a number")?;
    let mut frozen = Duration::ZERO;
    while !is_over.load(Ordering::Relaxed) {
        let since = Instant::now();
        kill_process(pid, Signal::STOP)?;
        tokio::time::sleep(Duration::from_millis(rand::random_range(FROZEN_MS))).await;
        kill_process(pid, Signal::CONT)?;
        frozen += since.elapsed();
        tokio::time::sleep(Duration::from_millis(rand::random_range(FLOWING_MS))).await;
    }
    Ok(frozen)
}

/// One person's commands and reads, until everyone together has read enough.
async fn reader(
    door: &Door,
    people: &People,
    shop: &Shop,
    mut customer: Ready,
    found: &Found,
    reads: u64,
) -> Result<Latency> {
    let mut latency = Latency::new();
    for nth in 1_u64.. {
        customer.renew(people);
        let (paths, token) = if nth % ORDER_EVERY == 0 {
            // Orders that nobody answers while the bus stands still are as many as are worked off, and no more are taken.
            let answer = place_insisting(door, &customer, Kind::PickUp).await?;
            let body: Value = serde_json::from_slice(answer.body())?;
            let id = body["id"].as_str().context("an order has an id")?.to_owned();
            (
                vec![format!("/v1/orders/{id}"), "/v1/orders?limit=1".to_owned()],
                token_of(&answer)?,
            )
        } else {
            let answer = set_line(door, shop, &mut customer, 1 + (nth % 9) as u32).await?;
            (vec![BASKET.to_owned()], token_of(&answer)?)
        };
        for nth in 0..READS_EACH {
            if found.reads.fetch_add(1, Ordering::Relaxed) >= reads {
                found.reads.fetch_sub(1, Ordering::Relaxed);
                return Ok(latency);
            }
            let path = &paths[nth as usize % paths.len()];
            let began = Instant::now();
            let answer = door.try_send(question(path, &customer.token, &token)?).await?;
            latency.record(began.elapsed());
            match answer.status().as_u16() {
                200 if is_older(path, &answer, &token)? => found.stale.fetch_add(1, Ordering::Relaxed),
                200 => 0,
                503 => found.unavailable.fetch_add(1, Ordering::Relaxed),
                other => anyhow::bail!("{path} answered {other}"),
            };
        }
    }
    Ok(latency)
}

fn token_of(answer: &Response<Bytes>) -> Result<String> {
    let token = answer
        .headers()
        .get(CONSISTENCY)
        .context("a command's answer has a token")?;
    Ok(token.to_str()?.to_owned())
}

fn question(path: &str, bearer: &str, token: &str) -> Result<Request<Bytes>> {
    Ok(Request::get(path)
        .header(header::AUTHORIZATION, format!("Bearer {bearer}"))
        .header(CONSISTENCY, token)
        .body(Bytes::new())?)
}

/// Whether an answer shows an older version than its token names, or not at all what it names.
fn is_older(path: &str, answer: &Response<Bytes>, token: &str) -> Result<bool> {
    let asked = said_by(token).context("a token of ours")?;
    let is_basket = path == BASKET;
    // An order's token names its basket, too, which is on another page.
    let asked = asked
        .iter()
        .filter(|(stream, _)| is_basket == stream.starts_with("bas_"));
    let asked: Vec<_> = asked.collect();
    ensure!(!asked.is_empty(), "the token names nothing of what was read");
    let body: Value = serde_json::from_slice(answer.body())?;
    let shown = |stream: &str| {
        if is_basket {
            let tag = answer.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
            return tag.and_then(version_of);
        }
        let documents = body["items"]
            .as_array()
            .map_or(std::slice::from_ref(&body), Vec::as_slice);
        let own = documents.iter().find(|document| document["id"] == stream);
        own.and_then(|document| document["version"].as_u64())
    };
    Ok(asked
        .iter()
        .any(|(stream, version)| shown(stream).is_none_or(|shown| shown < *version)))
}

#[cfg(test)]
mod tests {
    use mesh_runtime::consistency::Signer;

    use super::*;

    fn answer(tag: &str, body: Value) -> Response<Bytes> {
        let answer = Response::builder().header(header::ETAG, tag);
        answer.body(Bytes::from(body.to_string())).expect("an answer")
    }

    #[test]
    fn an_answer_is_older_when_it_shows_less_or_nothing() {
        let signer = Signer::new(&[7; 32]).expect("long enough");
        let token = signer.sign(&[("ord_1", 4), ("bas_1", 2)]);
        let older_at = |path: &str, answer| is_older(path, &answer, &token).expect("an answer of ours");
        let older = |answer| older_at("/v1/orders/ord_1", answer);
        let order = |version| answer("\"0.0\"", serde_json::json!({"id": "ord_1", "version": version}));
        assert!(older(order(3)) && !older(order(4)) && !older(order(5)));
        let list = |id| answer("\"0.0\"", serde_json::json!({"items": [{"id": id, "version": 9}]}));
        assert!(older(list("ord_2")) && !older(list("ord_1")));
        let basket = |tag| older_at(BASKET, answer(tag, serde_json::json!({"lines": []})));
        assert!(basket("\"1.1\"") && !basket("\"2.1\""));
    }
}
