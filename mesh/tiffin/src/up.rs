//! `tiffin up`: the whole platform on this machine, the demonstration chain in it, and people who use it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use mesh_local::REGION;
use mesh_local::exec::Launcher;
use mesh_local::link::Links;
use mesh_local::platform::{Options, Platform};
use mesh_local::regions::{self, Regions};
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
  tiffin up --edge --regions eu,rs --no-simulation
                                                 two platforms that share nothing, and one HAProxy in front of both
  tiffin up --fresh --data-dir /var/tmp/tiffin   from empty data, elsewhere

It prints `ready URL` once orders can be placed. The data directory holds the certificate to trust
(certs/gateway/ca.crt), the people's passwords (credentials.json), the processes (processes.json) and logs, of
which TIFFIN_LOG says how much (info; debug shows one trace id from the door to the view).
With --regions each region has its own data directory, in regions/NAME below it; name that to the
other commands. HAProxy takes who comes from 127.0.0.1 to be of the first region's country, from
127.0.0.2 of the second's, and so on (curl --interface 127.0.0.2); whoever has signed in once is at
home in that region wherever they come from.
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
    /// Several regions, each a whole platform of its own, behind one HAProxy.
    #[arg(long, value_name = "A,B", value_delimiter = ',', requires = "edge", value_parser = regions::parse_name)]
    pub regions: Vec<String>,
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
        started = Up::start(&args, &steps) => started?,
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

/// What was started.
enum Up {
    One(Box<Platform>),
    Regions(Regions),
}

impl Up {
    async fn start(args: &Args, steps: &Steps) -> Result<Self> {
        let mut options = options(args.data_dir.clone(), steps).await?;
        options.fresh = args.fresh;
        options.clock_rate = args.rate();
        if args.regions.is_empty() {
            Ok(Self::One(Box::new(Platform::start(options).await?)))
        } else {
            Ok(Self::Regions(Regions::start(&options, &args.regions).await?))
        }
    }

    fn platforms(&self) -> Vec<&Platform> {
        match self {
            Self::One(platform) => vec![platform],
            Self::Regions(regions) => regions.all().map(|(_, platform, _)| platform).collect(),
        }
    }

    async fn door(&self, is_edge: bool, steps: &Steps) -> Result<String> {
        match self {
            Self::One(platform) if is_edge => platform.start_edge(&steps.sink()).await,
            Self::One(platform) => Ok(platform.public_url()),
            Self::Regions(regions) => regions.start_edge(&steps.sink()).await,
        }
    }

    async fn stop(self) {
        match self {
            Self::One(platform) => platform.stop().await,
            Self::Regions(regions) => regions.stop().await,
        }
    }
}

/// Loads the chain, says that all is ready, and lets the simulated people loose.
async fn open(args: &Args, up: &Up, steps: &Steps, begun: Instant) -> Result<()> {
    let mut worlds = Vec::new();
    for platform in up.platforms() {
        let running = platform.running()?;
        let (api, chain) = load(&running, steps).await?;
        worlds.push((api, chain, running));
    }
    let door = up.door(args.edge, steps).await?;
    steps.done();
    introduce(args, up, &door, begun)?;
    if args.no_simulation {
        return Ok(());
    }
    let simulated = worlds
        .iter()
        .map(|(api, chain, running)| simulation::run(api, chain, running, args.json));
    try_join_all(simulated).await.map(drop)
}

fn introduce(args: &Args, up: &Up, door: &str, begun: Instant) -> Result<()> {
    let (ca, data_dir) = match up {
        Up::One(platform) => (platform.ca_cert(), platform.running()?.data_dir().to_owned()),
        Up::Regions(regions) => (regions.ca_cert(), regions.data_dir().to_owned()),
    };
    let seconds = begun.elapsed().as_secs_f64();
    if args.json {
        let mut ready = json!({
            "ready": door,
            "ca": ca,
            "data_dir": data_dir,
            "clock_rate": args.rate(),
            "seconds": seconds,
        });
        if let Up::Regions(regions) = up {
            let described = regions.all().map(|(name, platform, people)| {
                let running = platform.running()?;
                anyhow::Ok(json!({
                    "name": name,
                    "country": people.country,
                    "from": people.from,
                    "gateway": running.public_url(),
                    "data_dir": running.data_dir(),
                }))
            });
            ready["regions"] = described.collect::<Result<Vec<_>>>()?.into();
        }
        say::json(&ready);
        return Ok(());
    }
    say::line(format_args!("ready {door}"));
    let ca = ca.display();
    let passwords = |data_dir: &Path| data_dir.join("credentials.json").display().to_string();
    match up {
        Up::One(_) => say::note(format_args!(
            "after {seconds:.1} s · look at {door}/console · documentation at {door}/docs · trust {ca} · passwords in {}",
            passwords(&data_dir),
        )),
        Up::Regions(regions) => {
            say::note(format_args!("after {seconds:.1} s · trust {ca}"));
            for (name, platform, people) in regions.all() {
                let running = platform.running()?;
                say::note(format_args!(
                    "region {name}: who comes from {} ({}), or has signed in there · look at {}/console · passwords in {}",
                    people.from,
                    people.country,
                    running.public_url(),
                    passwords(running.data_dir()),
                ));
            }
        }
    }
    Ok(())
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
    let options = Options {
        clock_rate,
        fresh,
        links: breakable.links,
        small_disks: breakable.small_disks,
        ..options(data_dir, steps).await?
    };
    Platform::start(options).await
}

/// For a platform at rate 1, as soon as everything is built.
async fn options(data_dir: PathBuf, steps: &Steps) -> Result<Options> {
    Ok(Options {
        data_dir,
        binaries_dir: build::services(steps).await?,
        clock_rate: 1.0,
        fresh: false,
        region: REGION.to_owned(),
        public_port: None,
        launcher: Launcher::own(),
        log: std::env::var("TIFFIN_LOG").unwrap_or_else(|_| LOG.to_owned()),
        links: None,
        small_disks: false,
        progress: steps.sink(),
    })
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
