//! `tiffin fault`: breaks a platform at random while people order, mends it, and sees whether anything is lost.
//!
//! A run is a quarter of an hour of a small town. What happens to it when follows from its seed; how the platform and
//! its machine take it does not, so the same seed breaks the same and need not end the same.

mod inject;
mod plan;
mod record;
mod strangers;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::future::join_all;
use jiff::Timestamp;
use mesh_local::disk;
use mesh_local::link::Links;
use mesh_local::platform::Platform;
use mesh_local::running::Running;
use mesh_runtime::Shutdown;
use mesh_verify::dice::Dice;
use mesh_verify::{Breach, Invariant, Report, check};
use serde::Serialize;
use serde_json::json;

use crate::replay::chaos::Chaos;
use crate::replay::instance::{Courier, Instance, Order, Point};
use crate::say::{self, Steps};
use crate::{replay, up};
use inject::{Diary, Hand};
use plan::{Fault, Planned, What, plan};
use strangers::Tries;

/// Where its platform is kept: it begins empty every time, so never where data is.
const OWN_DATA_DIR: &str = ".tiffin-fault";

/// Where failed runs leave their folders.
const RUNS_DIR: &str = ".tiffin-fault-runs";

/// A platform is replaced after so many runs: checking reads all it ever did.
const RUNS_OF_A_PLATFORM: u64 = 20;

/// After everything is mended, readers reach the heads, views are filled and money comes to rest within this.
const CONVERGES_WITHIN: Duration = Duration::from_secs(90);

/// What no time heals.
const FOR_GOOD: [Invariant; 5] = [
    Invariant::I3,
    Invariant::I4,
    Invariant::I6,
    Invariant::I7,
    Invariant::I9,
];

/// Pause before it is looked once more whether they have.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The town: orders come for five minutes, and couriers ride for long enough to bring them.
const ORDERS: u32 = 14;
const ORDER_MINUTES: usize = 6;
const RESTAURANTS: u32 = 3;
const COURIERS: u32 = 5;
const SHIFT_MINUTES: u32 = 30;
/// From the order to the counter.
const COOKED_WITHIN: std::ops::Range<usize> = 4..9;
/// Of its sides.
const TOWN_M: usize = 2_500;

const EXAMPLES: &str = "\
Examples:
  tiffin fault                                       ten runs, any faults
  tiffin fault --runs 200 --seed 1000                two hundred
  tiffin fault --runs 5 --only kill-order-master --only link-cut
  tiffin fault --runs 1 --seed 1017                  that one again: the same faults at the same times
  tiffin fault --list                                every fault by its name

Every run starts one to three faults within twelve seconds of its first order, ends them, lets the day end, mends
everything, and counts what `tiffin verify` counts, with the clients' history of all commands, answers, reads with
tokens and live streams (I1 to I10), orders that neither ended nor wait for anything, and answers to people without a
valid token (I11). Whatever needs time to heal has a minute and a half.

A failed run leaves a folder: run.json (seed, faults, what is violated, with examples), history.jsonl (what its clients
sent, were answered and heard), timeline.txt (faults, commands and events in their order) and the logs.
The exit code is 0 only if no run failed.";

/// What to break, how often.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How many runs, each with a seed one higher.
    #[arg(long, value_name = "N", default_value_t = 10)]
    runs: u64,
    /// The seed of the first.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Only this fault; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Say which faults there are.
    #[arg(long)]
    list: bool,
    /// How many times faster than life business time runs.
    #[arg(long, value_name = "N", default_value_t = 60.0)]
    speed: f64,
    /// Where its platforms keep their data, in a folder each [default: .tiffin-fault, emptied first]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where failed runs leave their folders.
    #[arg(long, value_name = "DIR", default_value = RUNS_DIR)]
    keep: PathBuf,
    /// One JSON object per run, and one for all.
    #[arg(long)]
    json: bool,
}

/// What one run came to.
#[derive(Debug, Serialize)]
struct Outcome {
    seed: u64,
    /// The command that breaks the same once more.
    again: String,
    #[serde(skip)]
    began: Timestamp,
    faults: Vec<Planned>,
    /// How orders ended.
    orders: BTreeMap<&'static str, usize>,
    /// Orders that neither ended nor wait for anything.
    lost: usize,
    violations: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    examples: BTreeMap<Invariant, Vec<Breach>>,
    /// Of people without a valid token.
    strangers: Tries,
    wall_seconds: f64,
    /// Until nothing was counted any more, from when everything was mended.
    healed_after_seconds: f64,
    /// What was broken and mended when.
    diary: Vec<(Timestamp, String)>,
}

impl Outcome {
    fn holds(&self) -> bool {
        self.lost == 0 && self.violations.values().all(|count| *count == 0)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<&str> = self.faults.iter().map(|planned| planned.fault.as_str()).collect();
        let completed = self.orders.get("completed").copied().unwrap_or_default();
        let orders: usize = self.orders.values().sum();
        write!(
            out,
            "seed {}: {}, {completed} of {orders} orders completed, healed after {:.1} s",
            self.seed,
            faults.join(", "),
            self.healed_after_seconds
        )?;
        if self.lost > 0 {
            write!(out, "\n  {} orders neither ended nor wait for anything", self.lost)?;
        }
        for (invariant, count) in self.violations.iter().filter(|(_, count)| **count > 0) {
            write!(out, "\n  {invariant}: {count}")?;
        }
        for (invariant, breaches) in &self.examples {
            for breach in breaches {
                write!(out, "\n  {invariant:?}: {}: {}", breach.id, breach.what)?;
            }
        }
        for let_in in &self.strangers.let_in {
            write!(out, "\n  I11: {let_in}")?;
        }
        Ok(())
    }
}

/// Runs the command.
pub async fn run(args: Args) -> Result<ExitCode> {
    let all = plan::all();
    if args.list {
        list(&all, args.json);
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = chosen(all, &args.only)?;
    let has_full_disks = is_planned(args.seed, args.runs, &chosen, is_full_disk);
    // Before anything is started, since it may start this program anew.
    let may_mount = has_full_disks && disk::enter_namespace()?;
    if has_full_disks && !may_mount {
        say::note("no disk will be full: only root on Linux may mount a small one");
    }
    let shutdown = Shutdown::on_signals()?;
    let steps = Steps::new();
    let runs = tokio::select! {
        runs = all_runs(&args, &chosen, may_mount, &steps) => runs,
        // What was started dies with the attempt.
        () = shutdown.triggered() => bail!("interrupted"),
    };
    steps.done();
    let failed = runs?;
    if args.json {
        say::json(&json!({"runs": args.runs, "failed": failed}));
    } else {
        say::line(format_args!("{} runs, {} failed", args.runs, failed.len()));
    }
    Ok(if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn list(all: &[Fault], is_json: bool) {
    for fault in all {
        if is_json {
            say::json(&json!({"name": fault.name, "means": fault.means}));
        } else {
            say::line(format_args!("{:<24} {}", fault.name, fault.means));
        }
    }
}

fn chosen(all: Vec<Fault>, only: &[String]) -> Result<Vec<Fault>> {
    if let Some(unknown) = only.iter().find(|name| all.iter().all(|fault| fault.name != **name)) {
        bail!("there is no fault {unknown}; `tiffin fault --list` names them");
    }
    let is_chosen = |fault: &Fault| only.is_empty() || only.contains(&fault.name);
    Ok(all.into_iter().filter(is_chosen).collect())
}

fn is_full_disk(what: &What) -> bool {
    matches!(what, What::DiskFull(_))
}

/// Whether one of so many seeds brings this.
fn is_planned(seed: u64, runs: u64, chosen: &[Fault], is_it: impl Fn(&What) -> bool) -> bool {
    let mut all = (seed..seed.saturating_add(runs)).flat_map(|seed| plan(seed, chosen));
    all.any(|planned| is_it(&planned.what))
}

/// A platform and the network in it.
struct Stage {
    platform: Platform,
    links: Arc<Links>,
}

/// Gives the seeds of the runs that failed.
async fn all_runs(args: &Args, chosen: &[Fault], may_mount: bool, steps: &Steps) -> Result<Vec<u64>> {
    let (mut failed, mut stage, mut runs) = (Vec::new(), None, 0);
    for seed in args.seed..args.seed.saturating_add(args.runs) {
        let current = match stage.take() {
            Some(current) => current,
            None => {
                // Only for runs in which one gets full: it is faster than a real one.
                let small_disks = may_mount && is_planned(seed, RUNS_OF_A_PLATFORM, chosen, is_full_disk);
                start(args, seed, small_disks, steps).await?
            }
        };
        let running = current.platform.running()?;
        let again = again(args, seed);
        let outcome = one_run(&running, &current.links, seed, again, chosen, steps).await?;
        runs += 1;
        if args.json {
            say::json(&outcome);
        } else {
            steps.done();
            say::line(&outcome);
        }
        if !outcome.holds() {
            failed.push(seed);
            let folder = record::keep(&running, &outcome, &args.keep).await?;
            say::note(format_args!("what happened is in {}", folder.display()));
        }
        if outcome.holds() && runs < RUNS_OF_A_PLATFORM {
            stage = Some(current);
        } else {
            runs = 0;
            current.platform.stop().await;
        }
    }
    if let Some(last) = stage {
        steps.step("stopping the platform");
        last.platform.stop().await;
    }
    Ok(failed)
}

/// From empty data: what an earlier platform broke must not count again.
async fn start(args: &Args, seed: u64, small_disks: bool, steps: &Steps) -> Result<Stage> {
    // A folder that somebody named is theirs, and what is in it stays.
    let data_dir = match &args.data_dir {
        Some(theirs) => theirs.join(format!("from-seed-{seed}")),
        None => OWN_DATA_DIR.into(),
    };
    let links = Arc::new(Links::default());
    let breakable = up::Breakable {
        links: Some(links.clone()),
        small_disks,
    };
    let platform = up::start_over(data_dir, true, args.speed, breakable, steps).await?;
    Ok(Stage { platform, links })
}

/// What a seed plans depends on what there is to choose from.
fn again(args: &Args, seed: u64) -> String {
    let only: String = args.only.iter().map(|name| format!(" --only {name}")).collect();
    format!("tiffin fault --runs 1 --seed {seed} --speed {}{only}", args.speed)
}

async fn one_run(
    running: &Running,
    links: &Arc<Links>,
    seed: u64,
    again: String,
    chosen: &[Fault],
    steps: &Steps,
) -> Result<Outcome> {
    let faults = plan(seed, chosen);
    let has_mischief = faults.iter().any(|planned| planned.what == What::Mischief);
    let chaos = has_mischief.then_some(Chaos { seed, times: 1 });
    let day = replay::set_up(running, &town(seed), chaos, steps).await?;
    let (began, started) = (Timestamp::now(), Instant::now());
    let (diary, mut strangers) = (Diary::default(), Tries::default());
    let hand = Hand {
        running,
        links,
        diary: &diary,
    };
    let report = {
        let breaking = join_all(faults.iter().map(|planned| hand.carry_out(planned)));
        let happening = async { tokio::join!(day.play(steps), breaking).0 };
        tokio::select! {
            report = happening => report?,
            tried = strangers::keep_trying(running, &mut strangers) => {
                tried.context("nobody can even try")?;
                bail!("strangers never give up")
            }
        }
    };
    hand.heal();
    let mended = Instant::now();
    steps.step("waiting until everything has healed");
    let verified = converged(running, mended).await?;
    let mut violations: BTreeMap<String, u64> = verified
        .violations
        .iter()
        .map(|(invariant, count)| (format!("{invariant:?}"), *count))
        .collect();
    violations.insert("I11".to_owned(), strangers.let_in.len() as u64);
    Ok(Outcome {
        seed,
        again,
        began,
        faults,
        orders: report.ends().into(),
        lost: report.lost(),
        violations,
        examples: verified.examples,
        strangers,
        wall_seconds: started.elapsed().as_secs_f64(),
        healed_after_seconds: mended.elapsed().as_secs_f64(),
        diary: diary.lines(),
    })
}

/// Looks until nothing is counted, or for as long as healing may take. A store that cannot be read is down still.
async fn converged(running: &Running, mended: Instant) -> Result<Report> {
    loop {
        let verified = check(running).await;
        let is_over = mended.elapsed() > CONVERGES_WITHIN;
        let is_settled =
            |report: &Report| report.holds() || FOR_GOOD.iter().any(|invariant| report.count(*invariant) > 0);
        match verified {
            Ok(report) if is_over || is_settled(&report) => return Ok(report),
            Err(err) if is_over => return Err(err),
            Ok(_) | Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

/// Another one for every seed.
fn town(seed: u64) -> Instance {
    let mut dice = Dice::new(!seed);
    let mut somewhere = || Point {
        x: dice.below(TOWN_M) as f64,
        y: dice.below(TOWN_M) as f64,
    };
    let restaurants = (0..RESTAURANTS).map(|nth| (format!("r{nth}"), somewhere())).collect();
    let couriers = (0..COURIERS).map(|nth| Courier {
        name: format!("c{nth}"),
        at: somewhere(),
        on_minute: 0,
        off_minute: SHIFT_MINUTES,
    });
    let couriers = couriers.collect();
    let places: Vec<Point> = (0..ORDERS).map(|_| somewhere()).collect();
    let minute = |of: usize| u32::try_from(of).expect("minutes of a day");
    let mut orders: Vec<Order> = (0..ORDERS)
        .zip(places)
        .map(|(nth, at)| {
            let placed_minute = minute(dice.below(ORDER_MINUTES));
            let cooked = COOKED_WITHIN.start + dice.below(COOKED_WITHIN.len());
            Order {
                name: format!("o{nth}"),
                at,
                placed_minute,
                restaurant: format!("r{}", dice.below(RESTAURANTS as usize)),
                ready_minute: placed_minute + minute(cooked),
            }
        })
        .collect();
    orders.sort_by_key(|order| order.placed_minute);
    Instance {
        orders,
        couriers,
        restaurants,
        meters_per_minute: 320,
        pickup_service_minutes: 2,
        dropoff_service_minutes: 2,
        first_minute: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_town() {
        assert_eq!(town(3), town(3));
        assert_ne!(town(3), town(4));
    }

    #[test]
    fn a_fault_that_there_is_not_is_refused_by_name() {
        let refused = chosen(plan::all(), &["kill-cook".to_owned()]).expect_err("there is none");
        assert!(refused.to_string().contains("kill-cook"));
        assert_eq!(
            chosen(plan::all(), &["nats-wiped".to_owned()]).expect("there is").len(),
            1
        );
    }
}
