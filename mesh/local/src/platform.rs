//! The whole platform: servers, certificates, migrated databases and every service, ready and supervised.
//!
//! Does not know what to order, or from whom; whoever starts it loads data through the public port.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::{try_join, try_join_all};
use rustix::process::Signal;
use tokio::task::JoinHandle;

use crate::Progress;
use crate::certificates::{ca_cert, issue};
use crate::clock::KeptClock;
use crate::data_dir::DataDir;
use crate::disk;
use crate::edge::{self, Ingress};
use crate::environment::{Environment, Teller};
use crate::exec::Launcher;
use crate::install::EdgeExecutables;
use crate::link::Links;
use crate::ports::Ports;
use crate::probe;
use crate::regions;
use crate::restart::{self, Restartable};
use crate::running::{self, Running};
use crate::secrets::Secrets;
use crate::servers::{self, Database, Servers};
use crate::services::{COMMAND_LINE, Kind, SERVICES, Service, bus_grants, of_kind, redis_users};
use crate::supervise::{Process, Spec, Supervisor, Tier, run_once};

/// Seven pools of 12, their relays and checkers, and room to look around.
const CONNECTIONS_MAX: u32 = 200;

/// A debug build on two cores needs a third of it.
pub(crate) const READY_TIMEOUT: Duration = Duration::from_secs(90);

/// How often a service that is starting is asked.
pub(crate) const READY_POLL: Duration = Duration::from_millis(25);

/// A service that ends at once this many times will not start the next time either.
pub(crate) const FAILED_STARTS_MAX: u32 = 4;

/// How to start a platform.
#[derive(Clone)]
pub struct Options {
    /// Where everything of it is kept.
    pub data_dir: PathBuf,
    /// Where the services' executables are.
    pub binaries_dir: PathBuf,
    /// How many times faster than the wall clock business time runs.
    pub clock_rate: f64,
    /// Whether to begin with empty data.
    pub fresh: bool,
    /// What its region is called: part of every bus subject.
    pub region: String,
    /// Where the public port is; the system chooses at the first start if left open.
    pub public_port: Option<u16>,
    /// How children are tied to us.
    pub launcher: Launcher,
    /// What the services log.
    pub log: String,
    /// What lies between the parts, if their network is to be made bad.
    pub links: Option<Arc<Links>>,
    /// Whether the database and the broker have a small disk each, see [`crate::disk`]; `fresh` is needed then.
    pub small_disks: bool,
    /// Told of every step.
    pub progress: Progress,
}

/// A running platform. `stop` ends it in order; dropping it kills it.
pub struct Platform {
    data_dir: DataDir,
    supervisor: Arc<Supervisor>,
    servers: Servers,
    clock: KeptClock,
    noting: JoinHandle<()>,
    restarting: Option<JoinHandle<()>>,
    small_disks: bool,
    environment: Environment,
}

impl Platform {
    /// Starts everything and returns once every service says that it is ready.
    ///
    /// What was started is stopped again if anything fails.
    pub async fn start(options: Options) -> Result<Self> {
        executables_exist(&options.binaries_dir)?;
        let data_dir = DataDir::open(&options.data_dir, options.fresh).await?;
        let supervisor = Arc::new(Supervisor::new(data_dir.path(), options.launcher.clone())?);
        match Self::start_in(&options, data_dir.path(), &supervisor).await {
            Ok((servers, clock, environment)) => {
                let noting = tokio::spawn(clock.clone().keep());
                let restarting = restarting(&options, data_dir.path(), &supervisor, &environment);
                Ok(Self {
                    data_dir,
                    supervisor,
                    servers,
                    clock,
                    noting,
                    restarting,
                    small_disks: options.small_disks,
                    environment,
                })
            }
            Err(err) => {
                supervisor.stop(Tier::Service).await;
                supervisor.stop(Tier::Server).await;
                Err(err)
            }
        }
    }

    async fn start_in(
        options: &Options,
        data_dir: &Path,
        supervisor: &Arc<Supervisor>,
    ) -> Result<(Servers, KeptClock, Environment)> {
        let progress = &options.progress;
        regions::forget(data_dir)?;
        running::name_region(data_dir, &options.region)?;
        let ports = Ports::open(data_dir)?;
        let secrets = Secrets::open(data_dir)?;
        if let Some(port) = options.public_port {
            ports.fix("public", port)?;
        }
        let server_options = servers::Options {
            durable: true,
            any_prefix: false,
            small_disks: options.small_disks,
            connections_max: CONNECTIONS_MAX,
            bus: bus_grants(),
            redis: redis_users(),
        };
        let (servers, ()) = try_join(
            Servers::start(
                data_dir,
                &server_options,
                supervisor.clone(),
                &ports,
                &secrets,
                progress,
            ),
            certificates(data_dir),
        )
        .await?;
        progress("making the databases");
        let databases = databases(&servers, &secrets).await?;
        // As late as possible, since business time runs on from here.
        let clock = KeptClock::start(data_dir, options.clock_rate)?;
        let teller = Teller {
            data_dir,
            servers: &servers,
            databases: &databases,
            ports: &ports,
            secrets: &secrets,
            public: ports.get("public")?,
            links: options.links.as_deref(),
        };
        let environment = Environment::new(&teller, &clock, options)?;
        progress("migrating the databases");
        migrate(options, data_dir, &environment).await?;
        progress("starting the services");
        try_join_all(
            SERVICES
                .iter()
                .map(|service| supervisor.start(spec(options, data_dir, &environment, service))),
        )
        .await?;
        all_ready(supervisor, &environment, progress).await?;
        Ok((servers, clock, environment))
    }

    /// Where the public API is.
    pub fn public_url(&self) -> String {
        self.environment.public_url()
    }

    /// Starts HAProxy and Envoy in front of the gateway; where people come in then.
    pub async fn start_edge(&self, progress: &Progress) -> Result<String> {
        let executables = edge::executables(progress).await?;
        progress("starting HAProxy and Envoy");
        let ingress = self.start_ingress(&executables).await?;
        let door = edge::start_door(self.data_dir.path(), &[ingress], &self.supervisor, &executables).await?;
        Ok(format!("https://{door}"))
    }

    /// Starts Envoy in front of the gateway, for a door that others start.
    pub(crate) async fn start_ingress(&self, executables: &EdgeExecutables) -> Result<Ingress> {
        edge::start_ingress(&self.running()?, &self.supervisor, executables).await
    }

    /// The certificate to trust for it.
    pub fn ca_cert(&self) -> PathBuf {
        ca_cert(self.data_dir.path())
    }

    /// What runs, and where.
    pub fn processes(&self) -> Vec<Process> {
        self.supervisor.processes()
    }

    /// The business clock of all services.
    pub fn clock(&self) -> &KeptClock {
        &self.clock
    }

    /// The servers, with their administrators' access.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// The platform as other commands find it.
    pub fn running(&self) -> Result<Running> {
        Running::find(self.data_dir.path())
    }

    /// Stops the gateway, then the other services together, then the servers, and leaves no process behind.
    pub async fn stop(self) {
        self.noting.abort();
        self.restart_no_more();
        for name in edge::NAMES {
            self.supervisor.stop_one(name).await;
        }
        // The door first, so that a request which is under way still finds the services it needs.
        self.supervisor.stop_one("gateway").await;
        self.supervisor.stop(Tier::Service).await;
        if let Err(err) = self.clock.note() {
            tracing::error!(error = %err, "the clock could not be written down");
        }
        self.servers.stop().await;
        if self.small_disks {
            for server in disk::ON_DISK {
                if let Err(err) = disk::unmount(&self.data_dir.path().join(server)) {
                    tracing::error!(server, error = format!("{err:#}"), "a small disk stays");
                }
            }
        }
    }
}

impl Platform {
    fn restart_no_more(&self) {
        if let Some(restarting) = &self.restarting {
            restarting.abort();
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.noting.abort();
        self.restart_no_more();
    }
}

fn executables_exist(folder: &Path) -> Result<()> {
    let missing: Vec<&str> = SERVICES
        .iter()
        .map(|service| service.name)
        .filter(|name| !folder.join(name).is_file())
        .collect();
    ensure!(
        missing.is_empty(),
        "{} lacks {}; build them with `cargo build --workspace --bins`",
        folder.display(),
        missing.join(", ")
    );
    Ok(())
}

/// The authority is made once; every start issues fresh certificates.
async fn certificates(data_dir: &Path) -> Result<()> {
    let data_dir = data_dir.to_owned();
    let names = SERVICES.map(|service| service.name).into_iter().chain([COMMAND_LINE]);
    tokio::task::spawn_blocking(move || issue(&data_dir, names)).await?
}

async fn databases(servers: &Servers, secrets: &Secrets) -> Result<BTreeMap<&'static str, Database>> {
    let made = of_kind(Kind::Master).map(async |master| {
        let name = master.database();
        let serving = secrets.get(&format!("postgres/{name}"))?;
        let owner = secrets.get(&format!("postgres/{name}_owner"))?;
        anyhow::Ok((master.name, servers.postgres.database(&name, &serving, &owner).await?))
    });
    Ok(try_join_all(made).await?.into_iter().collect())
}

async fn migrate(options: &Options, data_dir: &Path, environment: &Environment) -> Result<()> {
    let migrations = of_kind(Kind::Master).map(async |master| {
        let mut spec = spec(options, data_dir, environment, master);
        spec.args = vec!["migrate".into()];
        spec.env.extend(environment.for_migration(master));
        run_once(&options.launcher, &spec)
            .await
            .with_context(|| format!("migrating the database of {}", master.name))
    });
    try_join_all(migrations).await.map(drop)
}

fn spec(options: &Options, data_dir: &Path, environment: &Environment, service: &Service) -> Spec {
    Spec {
        name: service.name.to_owned(),
        tier: Tier::Service,
        program: options.binaries_dir.join(service.name),
        args: vec!["serve".into()],
        env: environment.of(service),
        current_dir: data_dir.to_owned(),
        user: None,
        niceness: service.niceness(),
        // Who stops the whole platform leaves no successor.
        stop_signal: Signal::INT,
        address: environment.address(service),
        held: environment.held(service),
        admin: Some(environment.admin(service)),
    }
}

/// Listens for the wish to restart services. Everything else works without.
fn restarting(
    options: &Options,
    data_dir: &Path,
    supervisor: &Arc<Supervisor>,
    environment: &Environment,
) -> Option<JoinHandle<()>> {
    let services = SERVICES.iter().map(|service| Restartable {
        kind: service.kind,
        spec: spec(options, data_dir, environment, service),
        admin_of_successor: environment.admin_of_successor(service),
    });
    match restart::open(data_dir) {
        Ok(listener) => Some(tokio::spawn(restart::serve(
            listener,
            supervisor.clone(),
            services.collect(),
        ))),
        Err(err) => {
            tracing::warn!(error = format!("{err:#}"), "services cannot be restarted one by one");
            None
        }
    }
}

/// Waits for all of them together and says whom it still waits for.
async fn all_ready(supervisor: &Supervisor, environment: &Environment, progress: &Progress) -> Result<()> {
    let started = Instant::now();
    let mut waiting: Vec<(&str, SocketAddr)> = SERVICES
        .iter()
        .map(|service| (service.name, environment.admin(service)))
        .collect();
    loop {
        let answers = futures::future::join_all(waiting.iter().map(|(_, admin)| probe::is_ready(*admin))).await;
        let before = waiting.len();
        let mut answers = answers.into_iter();
        waiting.retain(|_| answers.next() != Some(true));
        let Some((first, admin)) = waiting.first() else {
            return Ok(());
        };
        if waiting.len() != before {
            let names: Vec<&str> = waiting.iter().map(|(name, _)| *name).collect();
            progress(&format!("waiting for {}", names.join(", ")));
        }
        if let Some(failure) = waiting
            .iter()
            .find_map(|(name, _)| supervisor.failure(name, FAILED_STARTS_MAX))
        {
            bail!(failure);
        }
        if started.elapsed() > READY_TIMEOUT {
            let said = probe::readyz(*admin)
                .await
                .map_or_else(|err| err.to_string(), |(_, body)| body);
            bail!(
                "{first} is not ready after {READY_TIMEOUT:?}: {said}\n{}",
                supervisor.log_tail(first)
            );
        }
        tokio::time::sleep(READY_POLL).await;
    }
}
