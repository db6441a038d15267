//! Whole orders at a fixed rate, from the customer to the door: kitchens and couriers answer at once, and everything they
//! say goes through the gateway. What Redis tells them stands for the screens they would look at.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use jiff::Timestamp;
use mesh_contracts::api::{Deliver, Nothing};
use mesh_contracts::id::{CourierId, FoodPointId, UserId};
use mesh_contracts::ops::Change;
use mesh_contracts::order::Status;
use mesh_contracts::user::Role;
use mesh_local::running::Running;
use serde::Deserialize;

use super::Site;
use super::cpu::{Cpu, Share};
use super::door::Door;
use super::load::{LUNCH, customers, order_evenly};
use super::order::cpu_rows;
use super::pace::Latency;
use super::people::People;
use super::positions::on_shift;
use super::row::Row;
use super::seen::{BOARD, Commits, Told, Watch, listen};
use super::shop::{Plan, Shop};
use crate::say::{self, Steps};

/// Whole orders a second that the project promises on two cores.
const COMPLETED_PER_S_MIN: f64 = 200.0;
/// The lag of the last half against that of the first.
const LAG_GROWTH_MAX: f64 = 1.5;

/// Couriers at each food point: an order is with one for less than a second.
const COURIERS_EACH: usize = 4;

/// Nothing more will be completed when nothing was for so long.
const QUIET: Duration = Duration::from_secs(10);

/// The food may be called ready a moment after its courier is asked.
const PICK_UP_TRIES: u32 = 20;
const PICK_UP_PAUSE: Duration = Duration::from_millis(250);

const EXAMPLES: &str = "\
Examples:
  tiffin bench lifecycle
  tiffin bench lifecycle --rate 30 --seconds 20 --json";

/// How to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Orders per second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// For how long.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Food points, each with four couriers on shift.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=500))]
    points: u32,
    #[command(flatten)]
    site: Site,
}

/// Kitchens and couriers.
struct Crew {
    door: Door,
    cooks: HashMap<FoodPointId, String>,
    riders: HashMap<CourierId, String>,
    ended: Mutex<Ended>,
}

/// What has come to its end.
#[derive(Default)]
struct Ended {
    created: HashMap<String, Timestamp>,
    completed: HashMap<String, Timestamp>,
    /// What a kitchen or a courier was refused.
    refused: HashMap<String, u64>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    event_type: String,
    stream: String,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    args.site
        .rows(async |running, steps| measure(&args, running, steps).await)
        .await
}

async fn measure(args: &Args, running: &Running, steps: &Steps) -> Result<Vec<Row>> {
    let (door, people) = (Door::of(running)?, People::of(running).await?);
    let plan = Plan {
        points: args.points as usize,
        auto_accept: true,
        prep_minutes: 1,
        ..LUNCH
    };
    let shop = Shop::open(running, &plan, steps).await?;
    let riders = on_shift(running, &door, &people, shop.points.len(), COURIERS_EACH, steps).await?;
    let orders = args.rate as usize * args.seconds as usize;
    let ready = customers(running, (&door, &people, &shop), orders, steps).await?;
    let crew = Arc::new(Crew {
        door: door.clone(),
        cooks: shop
            .points
            .iter()
            .map(|point| (*point, people.token_at(&UserId::new_v7(), Role::Kitchen, &[*point])))
            .collect(),
        riders: riders
            .iter()
            .map(|rider| (rider.id.courier(), people.token(&rider.id, Role::Courier)))
            .collect(),
        ended: Mutex::default(),
    });
    let redis = Watch::redis(running).await?;
    redis.seen.quiet().await;
    let working = tokio::spawn(crew.clone().work(listen(running, &crew.topics()).await?));

    let span = Duration::from_secs(args.seconds);
    steps.step(&format!("{} orders per second for {} s", args.rate, args.seconds));
    let (since, idle) = (Timestamp::now(), Cpu::of(running.processes()));
    let placed = order_evenly(&door, ready, span).await?;
    steps.step("waiting until everything is at the door");
    crew.all_done(orders - placed.failed() as usize).await;
    redis.seen.quiet().await;
    working.abort();
    let cpu = Cpu::of(running.processes()).since(&idle, orders as u64);
    let commits = Commits::since(running, since).await?;
    let half = since + span / 2;
    let lags = [
        redis.seen.lag_within(&commits, since, half),
        redis.seen.lag_within(&commits, half, since + span),
    ];
    for (what, count) in placed.errors.iter().chain(&crew.lock().refused) {
        say::note(format_args!("{count} × {what}"));
    }
    Ok(rows(args, placed.failed(), &crew.lock(), (since, span), &lags, &cpu))
}

impl Crew {
    async fn work(self: Arc<Self>, mut told: futures::stream::BoxStream<'static, Told>) {
        while let Some(told) = told.next().await {
            if told.topic == BOARD {
                self.note(&told);
                continue;
            }
            let Ok(entry) = serde_json::from_str::<Entry>(&told.text) else {
                continue;
            };
            let crew = self.clone();
            match (told.topic.split_once(':'), entry.event_type.as_str()) {
                (Some(("point", point)), "order.assigned") => {
                    let cook = point.parse().ok();
                    let cook = cook.and_then(|id: FoodPointId| self.cooks.get(&id).cloned());
                    let Some(token) = cook else { continue };
                    tokio::spawn(async move {
                        crew.done("ready", crew.cook(&entry.stream, &token).await);
                    });
                }
                (Some(("courier", courier)), "delivery.offered") => {
                    let courier = courier
                        .parse()
                        .ok()
                        .and_then(|id: CourierId| self.riders.get(&id).cloned());
                    let Some(token) = courier else { continue };
                    tokio::spawn(async move {
                        crew.done("delivery", crew.bring(&entry.stream, &token).await);
                    });
                }
                _ => {}
            }
        }
    }

    async fn cook(&self, order: &str, token: &str) -> Result<()> {
        let path = format!("/v1/orders/{order}/ready");
        self.door.post(&path, token, &Nothing {}).await?;
        Ok(())
    }

    async fn bring(&self, delivery: &str, token: &str) -> Result<()> {
        let path = |verb: &str| format!("/v1/deliveries/{delivery}/{verb}");
        self.door
            .post(&path("accept"), token, &Nothing {})
            .await
            .context("accept")?;
        let mut tries = 0;
        while let Err(err) = self.door.post(&path("pick-up"), token, &Nothing {}).await {
            tries += 1;
            if tries == PICK_UP_TRIES {
                return Err(err.context("pick-up"));
            }
            tokio::time::sleep(PICK_UP_PAUSE).await;
        }
        let proof = Deliver {
            pin: None,
            photo: Some("bench".to_owned()),
        };
        self.door
            .post(&path("deliver"), token, &proof)
            .await
            .context("deliver")?;
        Ok(())
    }

    fn done(&self, what: &str, result: Result<()>) {
        if let Err(err) = result {
            *self.lock().refused.entry(format!("{what}: {err:#}")).or_default() += 1;
        }
    }

    /// The screens to look at: everyone's own, and the operators' board for what becomes of the orders.
    fn topics(&self) -> Vec<String> {
        let points = self.cooks.keys().map(|point| format!("point:{point}"));
        let couriers = self.riders.keys().map(|courier| format!("courier:{courier}"));
        points.chain(couriers).chain([BOARD.to_owned()]).collect()
    }

    /// An order that began, or that left the road: nobody here fails to deliver.
    fn note(&self, told: &Told) {
        let Ok(Change::Order(turn)) = serde_json::from_str(&told.text) else {
            return;
        };
        let mut ended = self.lock();
        let which = match (turn.was.map(|mark| mark.status), turn.is) {
            (None, Some(_)) => &mut ended.created,
            (Some(Status::InDelivery), None) => &mut ended.completed,
            (None | Some(_), None | Some(_)) => return,
        };
        which.entry(turn.stream.to_string()).or_insert(told.at);
    }

    /// Waits for so many, or until nothing more comes.
    async fn all_done(&self, orders: usize) {
        let (mut last, mut since) = (0, std::time::Instant::now());
        loop {
            let done = self.lock().completed.len();
            if done >= orders || (done == last && since.elapsed() > QUIET) {
                return;
            }
            if done != last {
                (last, since) = (done, std::time::Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rows(
    args: &Args,
    failed: u64,
    ended: &Ended,
    (since, span): (Timestamp, Duration),
    [first, last]: &[Latency; 2],
    cpu: &[Share],
) -> Vec<Row> {
    let row = |what: String, unit, value| Row::new("lifecycle", what, unit, value);
    let orders = u64::from(args.rate) * args.seconds;
    // The beginning, when nothing can be completed yet, is left out.
    let (from, until) = (since + span / 4, since + span);
    let within = ended
        .completed
        .values()
        .filter(|at| (from..until).contains(*at))
        .count();
    let sustained = within as f64 / (span.as_secs_f64() * 0.75);
    let mut whole = Latency::new();
    for (order, at) in &ended.completed {
        if let Some(created) = ended.created.get(order) {
            whole.record(Duration::try_from(at.duration_since(*created)).unwrap_or_default());
        }
    }
    let open = orders - failed - ended.completed.len() as u64;
    let halves = "commit to Redis, p99 of the second half".to_owned();
    let mut rows = vec![
        row(
            format!("not accepted, of {orders} at {}/s", args.rate),
            "orders",
            failed as f64,
        )
        .at_most(0.0),
        row("accepted and not completed".to_owned(), "orders", open as f64).at_most(0.0),
        row("completed while orders came".to_owned(), "orders/s", sustained).at_least(COMPLETED_PER_S_MIN),
        row(halves, "ms", last.ms(0.99))
            .beside("of the first half", first.ms(0.99))
            .ratio_at_most(LAG_GROWTH_MAX),
        row("created to completed, p50".to_owned(), "ms", whole.ms(0.5)),
        row("created to completed, p99".to_owned(), "ms", whole.ms(0.99)),
    ];
    rows.extend(cpu_rows("lifecycle", "whole order", cpu));
    rows
}
