//! How fast an info service fills a view anew: events a second of one of its cores, beside reading the same events from
//! Postgres and nothing else.

pub(super) mod log;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use mesh_eventstore::{Store, StoreConfig};
use mesh_local::running::Running;
use mesh_runtime::Clock;
use serde::Serialize;

use super::cpu::Cpu;
use super::{DATA_DIR, database, exit_code, on_own_platform};
use crate::rebuild;
use crate::say::{self, Steps};

/// What the project promises: events a second of one core of the info service.
const EVENTS_PER_S_PER_CORE_MIN: f64 = 50_000.0;

/// Whose log is read, and who shows it.
const MASTER: &str = "order-master";
const INFO: &str = "order-info";
const VIEW: &str = "order";

/// As many as the feed gives at once.
const PAGE: i64 = 2_000;

/// How to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Events of orders, about; an order has a dozen.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1_000..=20_000_000))]
    events: u32,
    /// Where the platform keeps its data, which is removed before and afterwards.
    #[arg(long, default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    /// Events a second of one core of the info service.
    value: f64,
    /// Events a second read from Postgres over one connection, with everything else on the machine as it is.
    beside: f64,
    ratio: f64,
    events: u64,
    documents: u64,
    /// Of wall time, with the master and the servers on the same machine.
    seconds: f64,
    events_per_s: f64,
    /// Microseconds of a core for each event, by process.
    cpu_us_per_event: Vec<(String, f64)>,
    target: f64,
    met: bool,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let steps = Steps::new();
    let report = on_own_platform(&args.data_dir, &steps, async |running| {
        measure(&args, running, &steps).await
    })
    .await?;
    if args.json {
        say::json(&report);
    } else {
        show(&report);
    }
    Ok(exit_code(report.met))
}

async fn measure(args: &Args, running: &Running, steps: &Steps) -> Result<Report> {
    let url = database(running, MASTER)?;
    log::write(running, &url, args.events, steps).await?;
    steps.step("reading the events from Postgres");
    let beside = read_alone(&url).await?;
    steps.step("rebuilding the view of orders");
    let before = Cpu::of(running.processes());
    let rebuilt = rebuild::of_view(running, INFO, VIEW, |_, _| {}).await?;
    let shares = Cpu::of(running.processes()).since(&before, rebuilt.events);
    let cpu_us_per_event: Vec<(String, f64)> = shares
        .into_iter()
        .map(|share| (share.process, share.ms_each * 1_000.0))
        .collect();
    let own = cpu_us_per_event.iter().find(|(process, _)| process == INFO);
    let (_, us) = own.context("the service has a process")?;
    let value = 1_000_000.0 / us.max(f64::MIN_POSITIVE);
    Ok(Report {
        value,
        beside,
        ratio: value / beside,
        events: rebuilt.events,
        documents: rebuilt.compared,
        seconds: rebuilt.seconds,
        events_per_s: rebuilt.events_per_s,
        cpu_us_per_event,
        target: EVENTS_PER_S_PER_CORE_MIN,
        met: value >= EVENTS_PER_S_PER_CORE_MIN,
    })
}

/// Events a second.
async fn read_alone(url: &str) -> Result<f64> {
    let store = Store::connect(StoreConfig::new(url, "bench"), Clock::real())
        .await
        .map_err(anyhow::Error::from_boxed)?;
    let (mut stream, mut version, mut events) = (String::new(), 0, 0_u64);
    let started = Instant::now();
    loop {
        let page = store.page(&stream, version, PAGE).await?;
        let Some(last) = page.last() else { break };
        (stream, version) = (last.stream.clone(), last.version);
        events += page.len() as u64;
    }
    let rate = events as f64 / started.elapsed().as_secs_f64();
    store.pool().close().await;
    Ok(rate)
}

fn show(report: &Report) {
    say::line(format_args!(
        "{:>9.0} events/s of one core of {INFO} (target {:.0}: {})",
        report.value,
        report.target,
        if report.met { "met" } else { "not met" }
    ));
    say::line(format_args!(
        "{:>9.0} events/s read from Postgres over one connection (ratio {:.2})",
        report.beside, report.ratio
    ));
    say::line(format_args!(
        "{:>9.0} events/s of wall time: {} events into {} documents in {:.1} s",
        report.events_per_s, report.events, report.documents, report.seconds
    ));
    for (process, us) in report.cpu_us_per_event.iter().filter(|(_, us)| *us >= 0.1) {
        say::line(format_args!("{us:>9.1} µs of a core per event: {process}"));
    }
}
