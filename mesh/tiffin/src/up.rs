//! `tiffin up`: the whole platform on this machine, the demonstration chain in it, and people who use it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use mesh_local::exec::Launcher;
use mesh_local::link::Links;
use mesh_local::platform::{Options, Platform};
use mesh_local::running::Running;
use mesh_runtime::Shutdown;
use serde_json::json;

use crate::chain::{self, Chain, Credentials};
use crate::client::Api;
use crate::say::{self, Steps};
use crate::{build, settle, simulation};

/// Where a platform is kept unless told otherwise.
pub const DATA_DIR: &str = ".tiffin";

/// With a simulation, business time runs this fast: an order takes half an hour, and nobody likes to wait that long.
const SIMULATED_RATE: f64 = 20.0;

/// What services log unless TIFFIN_LOG says otherwise: requests and every trouble, not what they think.
const LOG: &str = "info";

const EXAMPLES: &str = "\
Examples:
  tiffin up                                      with simulated people, at clock rate 20
  tiffin up --no-simulation                      bring your own customers
  tiffin up --no-simulation --clock-rate 300     for a replay
  tiffin up --edge                               HAProxy and Envoy in front of the gateway
  tiffin up --fresh --data-dir /var/tmp/tiffin   from empty data, elsewhere

It prints `ready URL` once orders can be placed. The data directory holds the certificate to trust
(certs/gateway/ca.crt), the people's passwords (credentials.json), the processes (processes.json) and logs, of
which TIFFIN_LOG says how much (info; debug shows one trace id from the door to the view).
Ctrl-C stops all of it; a second start finds the same data.";

/// How to start.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Nobody orders by themselves; the business clock then runs at rate 1.
    #[arg(long)]
    pub no_simulation: bool,
    /// How many times faster than the wall clock business time runs.
    #[arg(long, value_name = "N")]
    pub clock_rate: Option<f64>,
    /// Start from empty data.
    #[arg(long)]
    pub fresh: bool,
    /// HAProxy and Envoy in front of the gateway, as in production; `ready` then names HAProxy.
    #[arg(long)]
    pub edge: bool,
    /// Where everything is kept.
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    pub data_dir: PathBuf,
    /// One JSON object per line.
    #[arg(long)]
    pub json: bool,
}

impl Args {
    fn rate(&self) -> f64 {
        let default = if self.no_simulation { 1.0 } else { SIMULATED_RATE };
        self.clock_rate.unwrap_or(default)
    }
}

/// Runs until Ctrl-C or SIGTERM.
pub async fn run(args: Args) -> Result<ExitCode> {
    let shutdown = Shutdown::on_signals()?;
    let steps = Steps::new();
    let begun = Instant::now();
    let started = tokio::select! {
        started = start(args.data_dir.clone(), args.fresh, args.rate(), &steps) => started?,
        // What was started dies with the attempt.
        () = shutdown.triggered() => return interrupted(&steps),
    };
    let outcome = tokio::select! {
        outcome = open(&args, &started, &steps, begun) => outcome,
        () = shutdown.triggered() => {
            steps.done();
            Ok(())
        }
    };
    if outcome.is_ok() {
        shutdown.triggered().await;
    }
    steps.step("stopping");
    started.stop().await;
    steps.done();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Loads the chain, says that the platform is ready, and lets the simulated people loose.
async fn open(args: &Args, platform: &Platform, steps: &Steps, begun: Instant) -> Result<()> {
    let running = platform.running()?;
    let (api, chain) = load(&running, steps).await?;
    let door = if args.edge {
        platform.start_edge(&steps.sink()).await?
    } else {
        running.public_url()
    };
    steps.done();
    if args.json {
        say::json(&json!({
            "ready": door,
            "ca": running.ca_cert(),
            "data_dir": running.data_dir(),
            "clock_rate": args.rate(),
            "seconds": begun.elapsed().as_secs_f64(),
        }));
    } else {
        introduce(&running, &door, begun);
    }
    if args.no_simulation {
        return Ok(());
    }
    simulation::run(&api, &chain, &running, args.json).await
}

fn introduce(running: &Running, door: &str, begun: Instant) {
    say::line(format_args!("ready {door}"));
    say::note(format_args!(
        "after {:.1} s · look at {door}/console · documentation at {door}/docs · trust {} · passwords in {}",
        begun.elapsed().as_secs_f64(),
        running.ca_cert().display(),
        running.data_dir().join("credentials.json").display(),
    ));
}

fn interrupted(steps: &Steps) -> Result<ExitCode> {
    steps.done();
    say::note("interrupted before it was ready");
    Ok(ExitCode::FAILURE)
}

/// Builds what is to be built and starts a platform without a chain.
pub async fn start(data_dir: PathBuf, fresh: bool, clock_rate: f64, steps: &Steps) -> Result<Platform> {
    start_over(data_dir, fresh, clock_rate, Breakable::default(), steps).await
}

/// What of a platform is made so that it can be broken.
#[derive(Default)]
pub struct Breakable {
    /// The network between its parts.
    pub links: Option<Arc<Links>>,
    /// The disks of its database and its broker.
    pub small_disks: bool,
}

/// The same, in a way that can be broken.
pub async fn start_over(
    data_dir: PathBuf,
    fresh: bool,
    clock_rate: f64,
    breakable: Breakable,
    steps: &Steps,
) -> Result<Platform> {
    let binaries_dir = build::services(steps).await?;
    let options = Options {
        data_dir,
        binaries_dir,
        clock_rate,
        fresh,
        public_port: None,
        launcher: Launcher::own(),
        log: std::env::var("TIFFIN_LOG").unwrap_or_else(|_| LOG.to_owned()),
        links: breakable.links,
        small_disks: breakable.small_disks,
        progress: steps.sink(),
    };
    Platform::start(options).await
}

/// The API of a platform and the demonstration chain in it, loaded if it is not there yet.
pub async fn load(running: &Running, steps: &Steps) -> Result<(Api, Chain)> {
    let api = Api::of(running)?;
    let (email, password) = running.operator()?;
    let operator = Credentials {
        email: email.to_owned(),
        password,
    };
    let chain = chain::load(&api, &operator, running.data_dir(), steps)
        .await
        .context("the demonstration chain could not be loaded")?;
    steps.step("waiting until every service has heard of the chain");
    settle::everyone_has_heard(running).await?;
    Ok((api, chain))
}
