//! The past of a replay's orders: what the public API shows of random instants is the fold of the events up to then,
//! read from Postgres.

#![expect(
    clippy::print_stdout,
    reason = "how much was asked, and the seed to ask the same again"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::{Body, EventBody as _};
use mesh_contracts::id::OrderId;
use mesh_contracts::order::Event;
use mesh_contracts::view;
use mesh_eventstore::SqlTime;
use mesh_local::running::Running;
use mesh_local::services::{Kind, of_kind};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use sqlx::types::Json;
use sqlx::{PgPool, Row as _};
use tempfile::TempDir;
use tiffin::client::{Api, Person};

use crate::command::{Folder, Started};

/// How many orders are placed unless `TIFFIN_PAST_ORDERS` says otherwise: enough for every way to end, in a minute.
const ORDERS: u32 = 24;

/// Instants asked about, of each order.
const INSTANTS: usize = 20;

/// Orders a minute, at sixty times life's speed: what a busy machine carries in a debug build.
const ORDERS_PER_MINUTE: u32 = 4;

const SPEED: &str = "60";

/// Servers, services and the chain.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// Deadlines after the last order, and as much again for a machine that does other things, too.
const LAST_ORDER_TIMEOUT: Duration = Duration::from_secs(400);

/// Questions in flight: as many as two cores answer without a queue.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_a_replay_stood_at_any_instant_as_its_events_up_to_then_leave_it() -> Result<()> {
    mesh_identity::install_crypto_provider();
    let seed: u64 = from_env("TIFFIN_PAST_SEED")?.unwrap_or_else(rand::random);
    let orders: u32 = from_env("TIFFIN_PAST_ORDERS")?.unwrap_or(ORDERS);
    println!("{orders} orders, {INSTANTS} instants of each; TIFFIN_PAST_SEED={seed}");

    let folder = Folder::new()?;
    let mut up = Started::new(
        folder.path(),
        &["up", "--no-simulation", "--clock-rate", SPEED, "--json"],
    )?;
    up.line("ready", READY_TIMEOUT, |line| line["ready"].is_string())
        .await?;
    replayed(&folder, orders).await?;
    let running = Running::find(folder.path())?;
    let mut past = Past::of(&running, seed).await?;
    let questions = past.questions().await?;
    let placed = questions.len();
    ensure!(placed as u32 > orders / 2, "{placed} of {orders} orders were placed");

    let asked: Vec<usize> = stream::iter(&questions)
        .map(|(order, instants)| past.check(*order, instants))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    println!(
        "{placed} orders, {} instants: all as the events leave them",
        asked.iter().sum::<usize>()
    );

    let (order, instants) = questions.first_key_value().context("an order")?;
    told_by_the_command_line(&folder, *order, instants[0]).await?;
    past.close().await;
    up.stop(rustix::process::Signal::TERM).await
}

/// Reads a number; whoever gives none leaves it to us.
fn from_env<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(name: &str) -> Result<Option<T>> {
    let given = std::env::var(name).ok();
    given
        .map(|given| given.parse().with_context(|| format!("{name}={given}")))
        .transpose()
}

/// With mischief, so that orders end in many ways.
async fn replayed(folder: &Folder, orders: u32) -> Result<()> {
    let instance = instance(orders)?;
    let path = instance.path().to_str().context("a path in UTF-8")?;
    let mut replay = Started::new(folder.path(), &["replay", path, "--chaos=2", "--seed", "7", "--json"])?;
    let placing = Duration::from_secs((orders / ORDERS_PER_MINUTE).into());
    let report = replay
        .line("the report", LAST_ORDER_TIMEOUT + 2 * placing, |line| {
            line["orders"].is_object()
        })
        .await?;
    println!("{}", report["orders"]);
    replay.ended().await
}

/// What is asked of one platform's past, and what its events say.
struct Past {
    events: PgPool,
    operator: Person,
    draw: StdRng,
}

impl Past {
    async fn of(running: &Running, seed: u64) -> Result<Self> {
        let mut masters = of_kind(Kind::Master);
        let master = masters.find(|service| service.name == "order-master");
        let url = running.database_url(master.context("a master of orders")?)?;
        let (email, password) = running.operator()?;
        Ok(Self {
            events: PgPool::connect(&url).await?,
            operator: Api::of(running)?.person(email, password),
            draw: StdRng::seed_from_u64(seed),
        })
    }

    /// For every order, instants of its life: some at an event, some just before one, most anywhere.
    async fn questions(&mut self) -> Result<BTreeMap<OrderId, Vec<Timestamp>>> {
        let rows =
            sqlx::query("select stream_id, at from events where stream_id like 'ord\\_%' order by stream_id, version")
                .fetch_all(&self.events)
                .await?;
        let mut lives: BTreeMap<OrderId, Vec<Timestamp>> = BTreeMap::new();
        for row in rows {
            let SqlTime(at) = row.try_get("at")?;
            let order: String = row.try_get("stream_id")?;
            lives.entry(order.parse()?).or_default().push(at);
        }
        let draw = &mut self.draw;
        Ok(lives
            .into_iter()
            .map(|(order, life)| (order, (0..INSTANTS).map(|_| instant(draw, &life)).collect()))
            .collect())
    }

    /// Asks the platform about every instant; gives how many there were.
    async fn check(&self, order: OrderId, instants: &[Timestamp]) -> Result<usize> {
        for at in instants {
            let shown = self.operator.order_as_of(order, *at).await?;
            let folded = self.folded(order, *at).await?;
            ensure!(shown == folded, "{order} as of {at}:\n{shown}\nand not\n{folded}");
        }
        Ok(instants.len())
    }

    /// The order as the events in Postgres leave it.
    async fn folded(&self, order: OrderId, at: Timestamp) -> Result<Value> {
        let rows = sqlx::query("select type, data, at from events where stream_id = $1 and at <= $2 order by version")
            .bind(order.to_string())
            .bind(SqlTime(at))
            .fetch_all(&self.events)
            .await?;
        let mut folded = None;
        for row in rows {
            let SqlTime(at) = row.try_get("at")?;
            let Json(data): Json<Body> = row.try_get("data")?;
            let event = Event::decode(row.try_get("type")?, &data)?;
            folded = view::order::fold(folded, &event.context("an event of this build")?, at);
        }
        let mut document = json!(folded.context("it was placed by then")?);
        document["id"] = json!(order);
        Ok(document)
    }

    async fn close(self) {
        self.events.close().await;
    }
}

fn instant(draw: &mut StdRng, life: &[Timestamp]) -> Timestamp {
    let (first, last) = (life[0], life[life.len() - 1]);
    let event = life[draw.random_range(0..life.len())];
    let at = match draw.random_range(0..4) {
        0 => event,
        // The least that Postgres tells apart.
        1 => event - SignedDuration::from_micros(1),
        _ => {
            let micros = last.duration_since(first).as_micros().max(1);
            let micros = i64::try_from(micros).expect("a life of less than 292,000 years");
            first + SignedDuration::from_micros(draw.random_range(0..=micros))
        }
    };
    at.max(first)
}

/// The same questions as a person at the terminal asks them.
async fn told_by_the_command_line(folder: &Folder, order: OrderId, at: Timestamp) -> Result<()> {
    let (order, at) = (order.to_string(), at.to_string());
    let ask = async |arguments: &[&str]| {
        let mut asked = Started::new(folder.path(), &[&["order", &order, "--json"], arguments].concat())?;
        let answer = asked.line("an answer", READY_TIMEOUT, |_| true).await?;
        asked.ended().await?;
        anyhow::Ok(answer)
    };
    let then = ask(&["as-of", &at]).await?;
    ensure!(then["version"].as_u64() > Some(0), "{then}");
    let explained = ask(&["explain"]).await?;
    let steps = explained["steps"].as_array().context("steps")?;
    let choices = steps.iter().filter(|step| step["event_type"] == "hold.requested");
    let mut considered = choices.map(|step| step["considered"].as_array().map_or(0, Vec::len));
    ensure!(considered.next() > Some(0), "nobody was considered: {explained}");
    let history = ask(&["history"]).await?;
    let own = steps.iter().filter(|step| step["stream"] == order.as_str());
    ensure!(history.as_array().map(Vec::len) == Some(own.count()), "{explained}");
    Ok(())
}

/// Eight restaurants, and a courier for every other order: a hundred and twenty bring what is placed in half an hour.
fn instance(orders: u32) -> Result<TempDir> {
    let table = |names: &str, lines: u32, line: &dyn Fn(u32) -> String| {
        let lines: String = (0..lines).map(|index| line(index) + "\n").collect();
        format!("{names}\n{lines}")
    };
    let order = |nth: u32| {
        let minute = nth / ORDERS_PER_MINUTE;
        let (x, y, ready) = (nth * 700 % 3000, nth * 1100 % 2500, minute + 6 + nth % 5);
        format!("o{nth}\t{x}\t{y}\t{minute}\tr{}\t{ready}", nth % 8)
    };
    let off = orders / ORDERS_PER_MINUTE + 120;
    let couriers = orders.div_ceil(2).min(30 * ORDERS_PER_MINUTE);
    let files = [
        (
            "orders.txt",
            table("order\tx\ty\tplacement_time\trestaurant\tready_time", orders, &order),
        ),
        (
            "restaurants.txt",
            table("restaurant\tx\ty", 8, &|nth| {
                format!("r{nth}\t{}\t{}", 300 * nth, 2400 - 300 * nth)
            }),
        ),
        (
            "couriers.txt",
            table("courier\tx\ty\ton_time\toff_time", couriers, &|nth| {
                format!("c{nth}\t{}\t{}\t0\t{off}", 25 * nth, 20 * nth)
            }),
        ),
        (
            "instance_parameters.txt",
            "meters_per_minute\tpickup service minutes\tdropoff service minutes\n320\t2\t2\n".to_owned(),
        ),
    ];
    let instance = tempfile::tempdir()?;
    for (name, text) in files {
        std::fs::write(instance.path().join(name), text)?;
    }
    Ok(instance)
}
