//! kill -9 of services, servers and the payment provider in the middle of a busy stretch: nothing is lost.
//!
//! A short stretch of a real day, as `tiffin replay` plays it. Longer ones with more faults are the operator's to run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_local::probe;
use mesh_local::running::Running;
use mesh_local::services::{Kind, of_kind};
use mesh_local::supervise::Process;
use mesh_testkit::eventually_in;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use crate::command::{Folder, Started};

/// The workspace's neighbour, which a clone need not have.
const INSTANCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/mdrp/0o100t100s1p100");

/// Eight minutes of the busiest hour: orders come faster than one a minute, and forty couriers are out.
const STRETCH: [&str; 4] = ["--from", "600", "--to", "608"];

/// A third faster than the speed at which faults must change nothing at all, a payment window is fifteen seconds,
/// and a lost answer is asked for again after eight: on a slow machine some orders may end for lack of time.
const SPEED: [&str; 2] = ["--speed", "40"];

/// Who dies, in this order.
const VICTIMS: [&str; 6] = [
    "order-master",
    "order-info",
    "basket-master",
    "nats",
    "redis",
    "sandbox-payments",
];

/// Events of orders before the first one dies: some are placed, some paid.
const UNDER_WAY: i64 = 30;

/// Events of orders between one death and the next, so that each meets orders at other steps.
const BETWEEN: i64 = 8;

/// A platform and two hundred accounts, on a machine that does other things, too.
const SET_UP_DEADLINE: Duration = Duration::from_secs(120);

/// Binaries of a debug build start within a second or two, and their work goes on then.
const BACK_DEADLINE: Duration = Duration::from_secs(30);

/// From the first order to the report, with the checks.
const REPORT_DEADLINE: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr, reason = "a test that cannot run must say so")]
async fn whoever_is_killed_comes_back_and_every_order_still_ends_with_nothing_amiss() -> Result<()> {
    if !Path::new(INSTANCE).is_dir() {
        eprintln!("SKIPPED: there is no instance to replay in {INSTANCE}, so nothing was killed");
        return Ok(());
    }
    let folder = Folder::new()?;
    let arguments = [
        &["replay", INSTANCE, "--up", "--verify", "--json"][..],
        &SPEED,
        &STRETCH,
    ]
    .concat();
    let mut replay = Started::new(folder.path(), &arguments)?;
    orders_have_moved(folder.path(), UNDER_WAY, SET_UP_DEADLINE).await;
    let running = Running::find(folder.path())?;
    for victim in VICTIMS {
        kill(&running, victim).await?;
        life_goes_on(&running).await?;
    }
    wipe_the_bus(&running).await?;
    life_goes_on(&running).await?;

    let report = replay
        .line("the report", REPORT_DEADLINE, |line| line["orders"].is_object())
        .await?;
    nothing_is_amiss(&report)?;
    replay.ended().await
}

/// Waits until so many events have happened to orders.
async fn orders_have_moved(data_dir: &Path, count: i64, within: Duration) {
    let name = format!("orders have moved {count} times");
    eventually_in(&name, within, || async {
        let moved = moved(data_dir).await.unwrap_or(0);
        (moved >= count).then_some(())
    })
    .await;
}

async fn life_goes_on(running: &Running) -> Result<()> {
    let now = moved(running.data_dir()).await?;
    orders_have_moved(running.data_dir(), now + BETWEEN, BACK_DEADLINE).await;
    Ok(())
}

/// Fails for as long as there is no platform, no database or no table.
async fn moved(data_dir: &Path) -> Result<i64> {
    let running = Running::find(data_dir)?;
    let order_master = of_kind(Kind::Master).find(|service| service.name == "order-master");
    let url = running.database_url(order_master.context("it is in the table")?)?;
    let mut database = PgConnection::connect(&url).await?;
    let moved = sqlx::query_scalar("select count(*) from events")
        .fetch_one(&mut database)
        .await?;
    database.close().await?;
    Ok(moved)
}

/// kill -9, and waits until the supervisor has started it again and it is ready.
pub async fn kill(running: &Running, victim: &str) -> Result<()> {
    let before = running.process(victim)?;
    kill_process(pid(&before)?, Signal::KILL)?;
    is_back(running, &before).await;
    Ok(())
}

/// As if the bus had lost its disk: stopped where it stands, so that it cannot save anything, emptied, killed.
async fn wipe_the_bus(running: &Running) -> Result<()> {
    let before = running.process("nats")?;
    kill_process(pid(&before)?, Signal::STOP)?;
    let store: PathBuf = running.data_dir().join("nats/store");
    ensure!(store.is_dir(), "the bus keeps its streams in {}", store.display());
    std::fs::remove_dir_all(&store)?;
    kill_process(pid(&before)?, Signal::KILL)?;
    is_back(running, &before).await;
    Ok(())
}

async fn is_back(running: &Running, before: &Process) {
    let name = format!("{} is started again", before.name);
    eventually_in(&name, BACK_DEADLINE, || async {
        let now = running.process(&before.name).ok().filter(|now| now.pid != before.pid)?;
        match now.admin {
            Some(admin) => probe::is_ready(admin).await.then_some(()),
            None => tokio::net::TcpStream::connect(now.address).await.ok().map(drop),
        }
    })
    .await;
}

fn pid(process: &Process) -> Result<Pid> {
    Pid::from_raw(process.pid).with_context(|| format!("{} has no process", process.name))
}

/// Every order was taken and has ended, and no checker counts anything.
fn nothing_is_amiss(report: &Value) -> Result<()> {
    let orders = &report["orders"];
    let count = |name: &str| orders[name].as_u64().unwrap_or_default();
    let ended: u64 = ["completed", "rejected", "cancelled", "expired", "undelivered"]
        .map(count)
        .iter()
        .sum();
    ensure!(
        count("placed") > 5 && ended == count("placed"),
        "not every order ended: {report}"
    );
    ensure!(
        ["lost", "waiting", "refused"].map(count) == [0; 3],
        "orders got lost: {report}"
    );
    ensure!(
        2 * count("completed") > count("placed"),
        "most orders ended otherwise than without faults: {report}"
    );
    let violations = report["violations"].as_object().context("it was verified")?;
    ensure!(
        violations.values().all(|count| count == 0),
        "invariants are broken: {report}"
    );
    Ok(())
}
