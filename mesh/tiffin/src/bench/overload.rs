//! Four times as many orders as the platform can take, for a minute, while kitchens and couriers go on working: what is
//! still accepted, whom it costs something, and how soon everything is as before.
//!
//! A client who is turned away goes to the end of the queue of those who want to order. Nobody of them waits: the next
//! one is sent when its time has come, whatever became of those before.

use std::collections::{BTreeMap, VecDeque};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use mesh_contracts::api::Nothing;
use mesh_contracts::id::{OrderId, UserId};
use mesh_contracts::order::Kind;
use mesh_contracts::user::Role;
use mesh_local::running::Running;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Site;
use super::door::Door;
use super::insert::checkpoint;
use super::live::{allow_descriptors, order_each};
use super::load::{LUNCH, Ready, customers, insist, place_order};
use super::order::{RESIDENT_MIB_MAX, memory_of_all};
use super::pace::{Latency, Outcome, evenly};
use super::people::People;
use super::positions::{EVERY, moves, on_shift};
use super::row::Row;
use super::seen::{Seen, Watch};
use super::shop::{Plan, Shop};
use crate::say::{self, Steps};

/// How many times the peak is offered.
const TIMES: f64 = 4.0;

/// What the project promises of an overload: the part of the peak that is still accepted …
const GOODPUT_MIN: f64 = 0.8;
/// … the part of what kitchens and couriers say that is not taken …
const WORK_LOST_PERCENT_MAX: f64 = 0.1;
/// … and how long it may be felt afterwards.
const BACK_WITHIN_S: f64 = 5.0;

/// The load is what was meant, or nothing was measured.
const OFFERED_MIN: f64 = 0.95;

/// Callers who send their next order when the last one is answered: they find the peak.
const CALLERS: usize = 64;
/// The peak is measured until so many customers for each of its seconds are used up.
const PEAK_PER_S_MAX: usize = 1_000;

/// Phones that are connected. One who finds none free is turned away like one whom the gateway refuses: the gateway has
/// 768 places for purchases.
const CONNECTIONS: usize = 1_000;

/// Before and afterwards, the platform has an eighth of what it can take.
const ORDINARY: f64 = 0.125;
const ORDINARY_SPAN: Duration = Duration::from_secs(10);
/// How long it is looked for that it is as before.
const AFTERWARDS: Duration = Duration::from_secs(20);
/// It is, when 99 of 100 orders from then on take no longer than before, or than an order is promised to take at all.
const PLACE_P99_MS: f64 = 50.0;

/// Kitchens call food ready this often, in times a second; and so many couriers say where they are.
const READY_PER_S: usize = 10;
const COURIERS: usize = 200;

/// Whoever is turned away less often than this is turned away by chance.
const CUSTOMERS_SPARE: f64 = 1.2;

const EXAMPLES: &str = "\
Examples:
  tiffin bench overload
  tiffin bench overload --seconds 10 --peak-seconds 3 --json";

/// How to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How long there is too much.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=300))]
    seconds: u64,
    /// How long the peak is measured before.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=60))]
    peak_seconds: u64,
    #[command(flatten)]
    site: Site,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    allow_descriptors(CONNECTIONS as u32)?;
    args.site
        .rows(async |running, steps| measure(&args, running, steps).await)
        .await
}

async fn measure(args: &Args, running: &Running, steps: &Steps) -> Result<Vec<Row>> {
    let (door, people) = (Door::of(running)?, People::of(running).await?);
    let shop = Shop::open(running, &LUNCH, steps).await?;
    let parts = (&door, &people, &shop);
    let span = Duration::from_secs(args.seconds);
    let work = Work::prepare(args, running, parts, steps).await?;

    let many = PEAK_PER_S_MAX * args.peak_seconds as usize;
    let eager = customers(running, parts, many, steps).await?;
    steps.step(&format!("the peak: {CALLERS} callers for {} s", args.peak_seconds));
    let shown = Watch::redis(running).await?;
    shown.seen.quiet().await;
    let peak = peak(&door, eager, Duration::from_secs(args.peak_seconds), &shown.seen).await?;

    let ordinary = peak * ORDINARY;
    let count = |span: Duration| (ordinary * span.as_secs_f64()).ceil() as usize;
    let before = customers(running, parts, count(ORDINARY_SPAN), steps).await?;
    let wanting = (peak * span.as_secs_f64() * CUSTOMERS_SPARE) as usize;
    let wanting = customers(running, parts, wanting, steps).await?;
    let after = customers(running, parts, count(AFTERWARDS), steps).await?;

    // Their baskets are work as well.
    shown.seen.quiet().await;
    drop(shown);
    checkpoint(&running.postgres()?).await?;
    steps.step(&format!("before: {ordinary:.0} orders per second"));
    let (_, before) = each_second(&door, before, ORDINARY_SPAN).await?;
    let offered = peak * TIMES;
    steps.step(&format!("{offered:.0} orders per second for {} s", args.seconds));
    let crowd = Crowd::of(running, wanting)?;
    let (offering, worked) = tokio::join!(crowd.offer(offered, span), work.go_on(&door, &people, span));
    let memory = memory_of_all(running);
    let (overloaded, worked) = (offering?, worked?);
    steps.step(&format!("afterwards: {ordinary:.0} orders per second"));
    let (after, _) = each_second(&door, after, AFTERWARDS).await?;

    for (error, count) in worked.iter().flat_map(|(_, outcome)| &outcome.errors) {
        say::note(format_args!("{count} × {error}"));
    }
    for (error, count) in &overloaded.refused {
        say::note(format_args!("{count} × {error}"));
    }
    let row = |what: String, unit, value| Row::new("overload", what, unit, value);
    let level = before.ms(0.99).max(PLACE_P99_MS);
    let mut rows = vec![
        row(
            format!("offered for {} s", args.seconds),
            "orders/s",
            overloaded.offered_per_s,
        )
        .beside(format!("{TIMES} times the peak"), offered)
        .ratio_at_least(OFFERED_MIN),
        row("accepted meanwhile".to_owned(), "orders/s", overloaded.accepted_per_s)
            .beside(format!("the peak, {CALLERS} callers"), peak)
            .ratio_at_least(GOODPUT_MIN),
        row(
            "place order, p99 of those accepted".to_owned(),
            "ms",
            overloaded.latency.ms(0.99),
        )
        .beside("before", before.ms(0.99)),
    ];
    for (who, outcome) in &worked {
        let lost = 100.0 * outcome.failed() as f64 / outcome.sent as f64;
        rows.push(row(format!("not taken from {who}, of {}", outcome.sent), "%", lost).at_most(WORK_LOST_PERCENT_MAX));
        rows.push(row(format!("{who}, p99"), "ms", outcome.latency.ms(0.99)));
    }
    rows.push(
        row(
            format!("until place order, p99 is {level:.0} ms again"),
            "s",
            back(&after, level),
        )
        .at_most(BACK_WITHIN_S),
    );
    rows.extend(
        memory.iter().map(|one| {
            row(format!("resident at most: {}", one.service), "MiB", one.peak_mib).at_most(RESIDENT_MIB_MAX)
        }),
    );
    Ok(rows)
}

/// Orders accepted per second, of callers who begin anew when they are answered and come again when turned away, until
/// all that the orders set off is done as well: more can be taken for a while than can be worked off.
async fn peak(door: &Door, eager: Vec<Ready>, span: Duration, shown: &Seen) -> Result<f64> {
    let (started, began) = (Instant::now(), Timestamp::now());
    let mut orders = stream::iter(eager)
        .take_while(|_| std::future::ready(started.elapsed() < span))
        .map(async |customer| insist(door, &customer).await)
        .buffer_unordered(CALLERS);
    let mut accepted = 0_u64;
    while let Some(order) = orders.next().await {
        order?;
        accepted += 1;
    }
    drop(orders);
    let answered = started.elapsed();
    shown.quiet().await;
    let last = shown.last().unwrap_or(began);
    let done = Duration::try_from(last.duration_since(began)).unwrap_or_default();
    Ok(accepted as f64 / done.max(answered).as_secs_f64())
}

/// Orders evenly over this time, for each second how long they took, and all together. One that is refused took for ever.
async fn each_second(door: &Door, ready: Vec<Ready>, span: Duration) -> Result<(Vec<Latency>, Latency)> {
    let seconds = span.as_secs() as usize;
    let each: Arc<Mutex<Vec<Latency>>> = Arc::new(Mutex::new(vec![Latency::new(); seconds]));
    let (count, mut customers) = (ready.len(), ready.into_iter());
    let started = Instant::now();
    evenly(count, span, |nth| {
        let (door, customer, each) = (door.clone(), customers.next(), each.clone());
        let (second, meant) = (nth * seconds / count, started + span.mul_f64(nth as f64 / count as f64));
        async move {
            let customer = customer.expect("one customer for each order");
            let placed = place_order(&door, &customer, Kind::Delivery).await;
            let took = placed.as_ref().map_or(Duration::MAX, |_| meant.elapsed());
            each.lock().unwrap_or_else(PoisonError::into_inner)[second].record(took);
            placed.map(drop)
        }
    })
    .await?;
    let each = each.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut all = Latency::new();
    each.iter().for_each(|second| all.add(second));
    Ok((each, all))
}

/// Seconds until the first one from which on all together are as they should be.
fn back(seconds: &[Latency], level_ms: f64) -> f64 {
    let is_good = |from: &usize| {
        let mut rest = Latency::new();
        seconds[*from..].iter().for_each(|second| rest.add(second));
        rest.ms(0.99) <= level_ms
    };
    let good = (0..seconds.len()).find(is_good);
    good.unwrap_or(seconds.len()) as f64
}

/// What kitchens and couriers have to do meanwhile.
struct Work {
    cooking: Vec<(Ready, OrderId)>,
    cook: String,
    riders: Vec<super::positions::Rider>,
}

impl Work {
    async fn prepare(
        args: &Args,
        running: &Running,
        (door, people, lunch): (&Door, &People, &Shop),
        steps: &Steps,
    ) -> Result<Self> {
        // The orders wait to be called ready, and for nothing else.
        let counter = Plan {
            points: 20,
            kind: Kind::PickUp,
            auto_accept: true,
            prep_minutes: 60,
            ..LUNCH
        };
        let counter = Shop::open(running, &counter, steps).await?;
        let orders = READY_PER_S * args.seconds as usize;
        let hungry = customers(running, (door, people, &counter), orders, steps).await?;
        steps.count("ordering", hungry.len());
        Ok(Self {
            cooking: order_each(door, hungry, steps).await?,
            cook: people.token_at(&UserId::new_v7(), Role::Kitchen, &counter.points),
            riders: on_shift(running, door, people, lunch.points.len().min(COURIERS), 1, steps).await?,
        })
    }

    async fn go_on(self, door: &Door, people: &People, span: Duration) -> Result<[(&'static str, Outcome); 2]> {
        let Self { cooking, cook, riders } = self;
        let positions = (riders.len() as f64 * span.as_secs_f64() / EVERY.as_secs_f64()) as usize;
        let ready = evenly(cooking.len(), span, |nth| {
            let (door, cook, order) = (door.clone(), cook.clone(), cooking[nth].1);
            async move {
                let path = format!("/v1/orders/{order}/ready");
                door.post(&path, &cook, &Nothing {}).await.map(drop)
            }
        });
        let (ready, moved) = tokio::join!(ready, evenly(positions, span, moves(door, people, &riders)));
        Ok([("kitchens", ready?), ("couriers", moved?)])
    }
}

/// Everybody who wants to order.
struct Crowd {
    door: Door,
    connections: Arc<Semaphore>,
    told: Arc<Mutex<Told>>,
}

/// What they were told.
struct Told {
    /// Those who want to order still.
    wanting: VecDeque<Ready>,
    accepted: u64,
    refused: BTreeMap<String, u64>,
    latency: Latency,
}

struct Overloaded {
    offered_per_s: f64,
    accepted_per_s: f64,
    refused: BTreeMap<String, u64>,
    latency: Latency,
}

impl Crowd {
    fn of(running: &Running, wanting: Vec<Ready>) -> Result<Self> {
        let told = Told {
            wanting: wanting.into(),
            accepted: 0,
            refused: BTreeMap::new(),
            latency: Latency::new(),
        };
        Ok(Self {
            door: Door::of(running)?,
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            told: Arc::new(Mutex::new(told)),
        })
    }

    async fn offer(self, rate: f64, span: Duration) -> Result<Overloaded> {
        let (started, total) = (Instant::now(), (rate * span.as_secs_f64()) as usize);
        for nth in 0..total {
            tokio::time::sleep_until(started + span.mul_f64(nth as f64 / total as f64)).await;
            self.one_more();
        }
        let took = started.elapsed().as_secs_f64();
        let accepted = self.told().accepted;
        // Those who are under way.
        let _all = self.connections.acquire_many(CONNECTIONS as u32).await?;
        let told = self.told();
        ensure!(
            !told.wanting.is_empty(),
            "more was accepted than there were customers for"
        );
        Ok(Overloaded {
            offered_per_s: total as f64 / took,
            accepted_per_s: accepted as f64 / took,
            refused: told.refused.clone(),
            latency: told.latency.clone(),
        })
    }

    fn one_more(&self) {
        let Ok(connection) = self.connections.clone().try_acquire_owned() else {
            *self.told().refused.entry("no connection free".to_owned()).or_default() += 1;
            return;
        };
        let Some(customer) = self.told().wanting.pop_front() else {
            return;
        };
        let (door, told, sent) = (self.door.clone(), self.told.clone(), Instant::now());
        tokio::spawn(async move {
            let placed = place_order(&door, &customer, Kind::Delivery).await;
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            match placed {
                Ok(_) => {
                    told.accepted += 1;
                    told.latency.record(sent.elapsed());
                }
                Err(err) => {
                    let why = format!("{err:#}");
                    // Of any other, nobody knows whether the order was placed.
                    if why.starts_with("503") {
                        told.wanting.push_back(customer);
                    }
                    *told.refused.entry(why).or_default() += 1;
                }
            }
            drop(connection);
        });
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_before_from_the_first_second_on_of_which_99_of_100_are() {
        let second = |(ms, count)| {
            let mut latency = Latency::new();
            for _ in 0..count {
                latency.record(Duration::from_millis(ms));
            }
            latency
        };
        let seconds = [(900, 10), (30, 10), (80, 10), (20, 150), (90, 1), (10, 150)].map(second);
        assert!((back(&seconds, 50.0) - 3.0).abs() < f64::EPSILON);
        assert!(back(&seconds[5..], 50.0).abs() < f64::EPSILON);
        assert!((back(&seconds[..1], 50.0) - 1.0).abs() < f64::EPSILON);
    }
}
