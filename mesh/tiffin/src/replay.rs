//! `tiffin replay`: a day of a public meal-delivery instance, played through the public API.
//!
//! Restaurants become food points, orders pin their restaurant, couriers come on and off shift. Everyone hears of
//! what concerns them by live streams, as in the simulation; here the instance says when, and the people obey.

pub(crate) mod chaos;
pub(crate) mod instance;

mod book;
mod cast;
mod day;
mod deeds;
mod order;
mod people;
mod reckoning;
mod report;
mod whims;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use mesh_local::running::Running;
use mesh_runtime::Shutdown;

use crate::client::Api;
use crate::say::{self, Steps};
use crate::{settle, up};
use cast::Cast;
use chaos::Chaos;
pub(crate) use day::Day;
use instance::Instance;
pub use report::Report;

/// Where the platform of `--up` is kept unless told otherwise: it begins empty every time, so never where data is.
const OWN_DATA_DIR: &str = ".tiffin-replay";

const EXAMPLES: &str = "\
Examples:
  tiffin replay DIR --up --speed 300 --verify      on a platform of its own, and is everything in order?
  tiffin replay DIR                                on the platform that is up, at its clock rate
  tiffin replay DIR --up --speed 30 --from 660 --to 720 --json
  tiffin replay DIR --up --speed 60 --chaos --seed 7 --verify    and what if things go wrong?

DIR holds orders.txt, couriers.txt, restaurants.txt and instance_parameters.txt: tab-separated, minutes and metres.
Minute 0, or the minute of --from, is the business instant after set-up.

Reported are
  orders                   placed (acknowledged), and how they ended; lost: neither ended nor waiting with a live deadline
  click_to_door_minutes    from an order's minute to the hand-over, of completed orders; lower_bound_mean is what no
                           dispatcher can beat: the food's ready time, half the service at the counter, the bee line
                           at the couriers' speed, half the service at the door
  ready_to_pickup_minutes  from the kitchen's call to the pick-up
  api_latency_ms           of POST /v1/orders, retries included, in wall time
  projection_lag_ms        from an event's decision to a customer's screen (commit, bus, Redis, live stream), in wall time

With --chaos about one order in four meets one piece of mischief: its kitchen rejects, stays silent, stops or runs out;
its card is declined or cannot be captured; its customer cancels; a courier declines, ignores, drops, vanishes, breaks
down, loses it, or stands before a closed door. What happens to which order depends on --seed and the order's name only.
The rates are our assumptions, with their reasons in src/replay/chaos.rs; --chaos=N multiplies them. Reported then are
  chaos.mischief           of each sort, how many were planned, and how many the platform took note of
  chaos.turned_away        orders never taken, since a kitchen was out of something or closed after silence
  chaos.ends               by how orders ended: what was ordered = charged - refunded + owed + borne by point, courier
                           and platform + called off (a sale that was not made), as operators read it
  chaos.orders             the same for every order";

/// What to play, and where.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The folder of the instance.
    dir: PathBuf,
    /// On a platform of its own, started from empty data and stopped afterwards.
    #[arg(long)]
    up: bool,
    /// How many times faster than life, with --up.
    #[arg(long, value_name = "N", requires = "up", default_value_t = 300.0)]
    speed: f64,
    /// The first minute of the day to play.
    #[arg(long, value_name = "MIN", default_value_t = 0)]
    from: u32,
    /// The first minute not to play.
    #[arg(long, value_name = "MIN", default_value_t = u32::MAX)]
    to: u32,
    /// Where the platform keeps its data [default: .tiffin; with --up .tiffin-replay, emptied first]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Let things go wrong, N times as often as on an ordinary day [default: 1]
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    chaos: Option<u32>,
    /// What goes wrong for whom: the same seed, the same mischief.
    #[arg(long, value_name = "N", requires = "chaos", default_value_t = 1)]
    seed: u64,
    /// Check the invariants afterwards, as `tiffin verify` does.
    #[arg(long)]
    verify: bool,
    /// The report as JSON.
    #[arg(long)]
    json: bool,
}

/// Plays it and reports.
pub async fn run(args: Args) -> Result<ExitCode> {
    let shutdown = Shutdown::on_signals()?;
    let steps = Steps::new();
    let instance = Instance::read(&args.dir)?.part(args.from, args.to);
    ensure!(
        !instance.orders.is_empty(),
        "no order is placed in that part of the day"
    );
    let played = if args.up {
        on_its_own(&args, &instance, &shutdown, &steps).await
    } else {
        let data_dir = args.data_dir.clone().unwrap_or_else(|| up::DATA_DIR.into());
        let running = Running::find(&data_dir)?;
        until_interrupted(&shutdown, play(&args, &instance, &running, &steps)).await
    };
    steps.done();
    let report = played?;
    if args.json {
        say::json(&report);
    } else {
        say::line(&report);
    }
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A platform that lives as long as the replay.
async fn on_its_own(args: &Args, instance: &Instance, shutdown: &Shutdown, steps: &Steps) -> Result<Report> {
    // A folder that somebody named is theirs, and what is in it stays.
    let fresh = args.data_dir.is_none();
    let data_dir = args.data_dir.clone().unwrap_or_else(|| OWN_DATA_DIR.into());
    let platform = until_interrupted(shutdown, up::start(data_dir, fresh, args.speed, steps)).await?;
    let played = until_interrupted(shutdown, async {
        let running = platform.running()?;
        play(args, instance, &running, steps).await
    })
    .await;
    steps.step("stopping the platform");
    platform.stop().await;
    played
}

async fn until_interrupted<T>(shutdown: &Shutdown, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = work => done,
        () = shutdown.triggered() => anyhow::bail!("interrupted"),
    }
}

/// Sets an instance up on a platform, ready for its first minute.
pub(crate) async fn set_up(running: &Running, instance: &Instance, chaos: Option<Chaos>, steps: &Steps) -> Result<Day> {
    let api = Api::of(running)?;
    let (email, password) = running.operator()?;
    let operator = api.person(email, password);
    let cast = Cast::set_up(&api, &operator, instance, steps)
        .await
        .context("the instance could not be set up")?;
    steps.step("waiting until every service has heard of it");
    settle::everyone_has_heard(running).await?;
    Ok(Day::new(
        instance.clone(),
        cast,
        operator,
        running.clock().clone(),
        chaos,
    ))
}

async fn play(args: &Args, instance: &Instance, running: &Running, steps: &Steps) -> Result<Report> {
    let seed = args.seed;
    let chaos = args.chaos.map(|times| Chaos { seed, times });
    let day = set_up(running, instance, chaos, steps).await?;
    let mut report = day.play(steps).await?;
    if args.verify {
        steps.step("verifying");
        report.verified(&mesh_verify::check(running).await?);
    }
    Ok(report)
}
