//! Thousands of clients that each follow an order of their own and hear nothing for most of the time: what each costs the
//! gateway and order-info in memory, and that all of them hear what happens then.
//!
//! Each client has a TLS connection of its own, as phones have; none shares one by HTTP/2.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use mesh_contracts::api::Nothing;
use mesh_contracts::id::{OrderId, UserId};
use mesh_contracts::order::Kind;
use mesh_contracts::user::Role;
use mesh_local::running::Running;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Site;
use super::door::Door;
use super::load::{Ready, customers, place_order};
use super::order::memory_of_all;
use super::pace::evenly;
use super::people::People;
use super::row::Row;
use super::seen::{Commits, Watch};
use super::shop::{Plan, Shop};
use super::wire::publish_to_deliver;
use crate::say::{self, Steps};

/// What the project promises of the memory that an idle client takes.
const GATEWAY_KIB_MAX: f64 = 48.0;
const ORDER_INFO_KIB_MAX: f64 = 24.0;
/// And of the way from the commit to a client.
const CLIENT_P99_MS_MAX: f64 = 250.0;

/// Food points whose kitchens say yes by themselves, and as much as each may have open; the orders then wait for an hour's cooking, and nothing happens.
const POINTS: usize = 20;
const POOL: u16 = 1_000;
const PREP_MINUTES: u16 = 60;

/// Orders under way at once: few enough for what follows from each to keep up, or the first would have ended in the end.
const ORDERING: usize = 2;

/// Streams that are being opened at once: each costs two handshakes.
const OPENING: usize = 32;

/// Two heartbeats: by then everyone who is there has heard one.
const HEARTBEATS: Duration = Duration::from_secs(22);

/// Descriptors beside those of the clients, of which the gateway and this process have one for each.
const DESCRIPTORS_BESIDE: u64 = 2_000;

const EXAMPLES: &str = "\
Examples:
  tiffin bench live
  tiffin bench live --clients 1000 --events 100 --json";

/// How to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Clients, each with an order and a TLS connection of its own.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=16_000))]
    clients: u32,
    /// Orders that something happens to at the end.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    events: u32,
    /// How many of them per second.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    #[command(flatten)]
    site: Site,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    // What is started inherits it.
    allow_descriptors(args.clients)?;
    args.site
        .rows(async |running, steps| measure(&args, running, steps).await)
        .await
}

/// Raises the limit of open files, the hard one too where that is allowed.
pub(super) fn allow_descriptors(clients: u32) -> Result<()> {
    let needed = u64::from(clients) + DESCRIPTORS_BESIDE;
    let limits = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    let maximum = if enough(limits.maximum) {
        limits.maximum
    } else {
        Some(needed)
    };
    let raised = Rlimit {
        current: if enough(limits.current) {
            limits.current
        } else {
            Some(needed)
        },
        maximum,
    };
    setrlimit(Resource::Nofile, raised).with_context(|| {
        format!("so many clients need {needed} open files: raise the limit (ulimit -n), or take fewer")
    })
}

async fn measure(args: &Args, running: &Running, steps: &Steps) -> Result<Vec<Row>> {
    let (door, people) = (Door::of(running)?, People::of(running).await?);
    let plan = Plan {
        points: POINTS,
        kind: Kind::PickUp,
        pool: POOL,
        auto_accept: true,
        prep_minutes: PREP_MINUTES,
    };
    let shop = Shop::open(running, &plan, steps).await?;
    let clients = args.clients as usize;
    let ready = customers(running, (&door, &people, &shop), clients, steps).await?;
    steps.count("ordering", clients);
    let orders = order_each(&door, ready, steps).await?;
    let redis = Watch::redis(running).await?;
    redis.seen.quiet().await;
    drop(redis);

    let before = resident_kib(running);
    steps.count("opening live streams", clients);
    let everyone = follow_own(&door, &people, &orders, steps).await?;
    steps.step("waiting for two heartbeats");
    tokio::time::sleep(HEARTBEATS).await;
    let alive = everyone.heard_within(HEARTBEATS);
    let after = resident_kib(running);

    let moved = orders.len().min(args.events as usize);
    let span = Duration::from_secs_f64(moved as f64 / f64::from(args.rate));
    steps.step(&format!("{moved} orders are ready, {} per second", args.rate));
    let cook = people.token_at(&UserId::new_v7(), Role::Kitchen, &shop.points);
    let since = Timestamp::now();
    // Of all clients, not of those who came first.
    let stride = orders.len() / moved;
    let cooked = evenly(moved, span, |nth| {
        let (door, cook, order) = (door.clone(), cook.clone(), orders[nth * stride].1);
        async move {
            door.post(&format!("/v1/orders/{order}/ready"), &cook, &Nothing {})
                .await?;
            Ok(())
        }
    });
    let (cooked, wire) = tokio::join!(cooked, publish_to_deliver(running, f64::from(args.rate), span));
    let (cooked, wire) = (cooked?, wire?);
    for (error, count) in &cooked.errors {
        say::note(format_args!("{count} × {error}"));
    }
    ensure!(cooked.failed() < cooked.sent, "no kitchen was heard");
    everyone.seen.quiet().await;
    let commits = Commits::since(running, since).await?;
    let lag = everyone.seen.lag(&commits);

    let row = |what: String, unit, value| Row::new("live", what, unit, value);
    let each = |name: &str| (after[name] - before[name]) / clients as f64;
    let memory = |name: &str, most: f64| {
        let all = after[name] / 1_024.0;
        [
            row(
                format!("{name}, resident for each of {clients} clients"),
                "KiB",
                each(name),
            )
            .at_most(most),
            row(format!("{name}, resident in all"), "MiB", all),
        ]
    };
    let mut rows = vec![
        row(
            format!("clients of {clients} without a heartbeat"),
            "clients",
            (clients - alive) as f64,
        )
        .at_most(0.0),
    ];
    rows.extend(memory("gateway", GATEWAY_KIB_MAX));
    rows.extend(memory("order-info", ORDER_INFO_KIB_MAX));
    let missed = commits.count() as f64 - lag.count() as f64;
    rows.push(
        row(
            format!("events of {} that did not arrive", commits.count()),
            "events",
            missed,
        )
        .at_most(0.0),
    );
    for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
        let row = row(
            format!("commit to client at {} events/s, {name}", args.rate),
            "ms",
            lag.ms(part),
        );
        let row = row.beside(format!("NATS publish to deliver, {name}"), wire.ms(part));
        rows.push(if part > 0.9 {
            row.at_most(CLIENT_P99_MS_MAX)
        } else {
            row
        });
    }
    Ok(rows)
}

/// Everybody orders something to be picked up.
pub(super) async fn order_each(door: &Door, ready: Vec<Ready>, steps: &Steps) -> Result<Vec<(Ready, OrderId)>> {
    stream::iter(ready)
        .map(|customer| async move {
            let order = place_order(door, &customer, Kind::PickUp).await?;
            steps.one_more();
            anyhow::Ok((customer, order))
        })
        .buffered(ORDERING)
        .try_collect()
        .await
        .context("ordering")
}

/// Everybody follows the own order.
pub(super) async fn follow_own(
    door: &Door,
    people: &People,
    orders: &[(Ready, OrderId)],
    steps: &Steps,
) -> Result<Watch> {
    let everyone = Watch::none();
    stream::iter(orders)
        .map(async |(customer, order)| {
            // Setting up takes longer than a token lives.
            let token = people.token(&customer.id, Role::Customer);
            everyone
                .follow(door, &format!("/v1/orders/{order}/live"), &token)
                .await?;
            steps.one_more();
            anyhow::Ok(())
        })
        .buffer_unordered(OPENING)
        .try_collect::<()>()
        .await
        .context("opening the live streams")?;
    Ok(everyone)
}

fn resident_kib(running: &Running) -> BTreeMap<String, f64> {
    let all = memory_of_all(running).into_iter();
    all.map(|one| (one.service, one.resident_mib * 1_024.0)).collect()
}
