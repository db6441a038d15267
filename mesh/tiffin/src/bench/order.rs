//! Orders at a fixed rate through the gateway of a platform of its own: latency, errors, the way to Redis, memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use mesh_local::running::Running;
use mesh_local::services::{Kind, SERVICES};
use serde::Serialize;

use super::cpu::{Cpu, Share};
use super::lag::Lag;
use super::load::{Load, Outcome};
use super::memory::{self, Memory};
use super::{DATA_DIR, exit_code, remove};
use crate::say::{self, Steps};
use crate::up;

/// Place-order latency that the project promises at 200 orders a second.
const PLACE_P99_MS_MAX: f64 = 50.0;
/// The way from commit to Redis.
const LAG_P99_MS_MAX: u64 = 100;
/// What a service may take.
const RESIDENT_MIB_MAX: f64 = 80.0;

/// Everything has been shown when nothing new was for so long.
const QUIET: Duration = Duration::from_secs(2);
/// How long to wait for that.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

/// How to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Orders per second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// For how long.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Where the platform keeps its data, which is removed before and afterwards.
    #[arg(long, default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    rate: u32,
    seconds: u64,
    orders: Orders,
    place_order_ms: Latency,
    projection_lag_ms: LagReport,
    cpu: Vec<Share>,
    memory: Vec<Memory>,
    targets: Targets,
    met: Met,
}

#[derive(Debug, Serialize)]
struct Orders {
    sent: u64,
    answered: u64,
    errors: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
    max: f64,
}

/// Bounds of the buckets in which the percentiles lie.
#[derive(Debug, Serialize)]
struct LagReport {
    samples: u64,
    p50_at_most: Option<u64>,
    p99_at_most: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Targets {
    errors: u64,
    place_order_p99_ms: f64,
    projection_lag_p99_ms: u64,
    resident_mib: f64,
}

#[derive(Debug, Serialize)]
struct Met {
    errors: bool,
    place_order_p99: bool,
    projection_lag_p99: bool,
    resident: bool,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let steps = Steps::new();
    let measured = on_own_platform(&args, &steps).await;
    steps.done();
    remove(&args.data_dir).await?;
    let report = measured?;
    if args.json {
        say::json(&report);
    } else {
        show(&report);
    }
    Ok(exit_code(report.met.all()))
}

async fn on_own_platform(args: &Args, steps: &Steps) -> Result<Report> {
    let platform = up::start(args.data_dir.clone(), true, 1.0, steps).await?;
    let running = platform.running();
    let report = match running {
        Ok(running) => measure(args, &running, steps).await,
        Err(err) => Err(err),
    };
    steps.step("stopping");
    platform.stop().await;
    report
}

async fn measure(args: &Args, running: &Running, steps: &Steps) -> Result<Report> {
    let orders = u64::from(args.rate) * args.seconds;
    let load = Load::prepare(running, orders as usize, steps).await?;
    let admins = info_admins(running);
    let before = quiet(&admins).await?;
    let text = format!("{} orders per second for {} s", args.rate, args.seconds);
    steps.step(&text);
    let idle = Cpu::of(running.processes());
    let outcome = load.run(Duration::from_secs(args.seconds)).await?;
    steps.step("waiting until everything is shown");
    let lag = quiet(&admins).await?.since(&before);
    let cpu = Cpu::of(running.processes()).since(&idle, outcome.sent);
    Ok(report(args, &outcome, &lag, cpu, memory_of_all(running)))
}

/// The lag so far, once nothing more comes.
async fn quiet(admins: &[SocketAddr]) -> Result<Lag> {
    let started = Instant::now();
    let mut last = Lag::of(admins).await?;
    loop {
        tokio::time::sleep(QUIET).await;
        let now = Lag::of(admins).await?;
        if now == last || started.elapsed() > QUIET_WITHIN {
            return Ok(now);
        }
        last = now;
    }
}

fn info_admins(running: &Running) -> Vec<SocketAddr> {
    let infos: Vec<&str> = SERVICES
        .iter()
        .filter(|service| service.kind == Kind::Info)
        .map(|service| service.name)
        .collect();
    let processes = running.processes().iter();
    processes
        .filter(|process| infos.contains(&process.name.as_str()))
        .filter_map(|process| process.admin)
        .collect()
}

fn memory_of_all(running: &Running) -> Vec<Memory> {
    SERVICES
        .iter()
        .filter_map(|service| {
            let process = running.process(service.name).ok()?;
            memory::of(service.name, process.pid)
        })
        .collect()
}

fn report(args: &Args, outcome: &Outcome, lag: &Lag, cpu: Vec<Share>, memory: Vec<Memory>) -> Report {
    let ms = |micros: u64| micros as f64 / 1_000.0;
    let place_order_ms = Latency {
        p50: ms(outcome.latency_us.value_at_quantile(0.5)),
        p99: ms(outcome.latency_us.value_at_quantile(0.99)),
        max: ms(outcome.latency_us.max()),
    };
    let projection_lag_ms = LagReport {
        samples: lag.count(),
        p50_at_most: lag.percentile(50.0),
        p99_at_most: lag.percentile(99.0),
    };
    let met = Met {
        errors: outcome.errors.is_empty(),
        place_order_p99: place_order_ms.p99 <= PLACE_P99_MS_MAX,
        projection_lag_p99: projection_lag_ms.p99_at_most.is_some_and(|p99| p99 <= LAG_P99_MS_MAX),
        resident: !memory.is_empty() && memory.iter().all(|one| one.peak_mib < RESIDENT_MIB_MAX),
    };
    Report {
        rate: args.rate,
        seconds: args.seconds,
        orders: Orders {
            sent: outcome.sent,
            answered: outcome.latency_us.len(),
            errors: outcome.errors.clone(),
        },
        place_order_ms,
        projection_lag_ms,
        cpu,
        memory,
        targets: Targets {
            errors: 0,
            place_order_p99_ms: PLACE_P99_MS_MAX,
            projection_lag_p99_ms: LAG_P99_MS_MAX,
            resident_mib: RESIDENT_MIB_MAX,
        },
        met,
    }
}

impl Met {
    fn all(&self) -> bool {
        self.errors && self.place_order_p99 && self.projection_lag_p99 && self.resident
    }
}

fn show(report: &Report) {
    let word = |met: bool| if met { "met" } else { "missed" };
    let bound = |bound: Option<u64>| match bound {
        None => "nothing measured".to_owned(),
        Some(u64::MAX) => "more than 10000 ms".to_owned(),
        Some(ms) => format!("at most {ms} ms"),
    };
    let (orders, latency, lag) = (&report.orders, &report.place_order_ms, &report.projection_lag_ms);
    say::line(format_args!(
        "{} orders per second for {} s: {} sent, {} answered",
        report.rate, report.seconds, orders.sent, orders.answered
    ));
    let errors: u64 = orders.errors.values().sum();
    say::line(format_args!(
        "errors        {errors} (target: 0): {}",
        word(report.met.errors)
    ));
    for (error, count) in &orders.errors {
        say::line(format_args!("                {count} × {error}"));
    }
    say::line(format_args!(
        "place order   p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms (target: p99 at most {} ms): {}",
        latency.p50,
        latency.p99,
        latency.max,
        report.targets.place_order_p99_ms,
        word(report.met.place_order_p99)
    ));
    say::line(format_args!(
        "commit→Redis  p50 {}, p99 {}, {} events (target: p99 at most {} ms): {}",
        bound(lag.p50_at_most),
        bound(lag.p99_at_most),
        lag.samples,
        report.targets.projection_lag_p99_ms,
        word(report.met.projection_lag_p99)
    ));
    let spent: f64 = report.cpu.iter().map(|share| share.ms_per_order).sum();
    say::line(format_args!(
        "processor     {spent:.2} ms of one core per order, of which"
    ));
    for share in &report.cpu {
        say::line(format_args!(
            "                {:<18} {:>6.2} ms",
            share.process, share.ms_per_order
        ));
    }
    say::line(format_args!(
        "memory        every service under {} MiB resident: {}",
        report.targets.resident_mib,
        word(report.met.resident)
    ));
    for one in &report.memory {
        say::line(format_args!(
            "                {:<18} {:>6.1} MiB, {:>6.1} MiB at most",
            one.service, one.resident_mib, one.peak_mib
        ));
    }
}
