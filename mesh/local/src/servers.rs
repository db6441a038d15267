//! PostgreSQL, Redis and NATS for one platform: private ports, private data, private passwords, supervised.
//!
//! Does not know what is stored in them. Nothing that was running before is used or touched:
//! every server is asked to prove that it is ours before anything is written to it.

mod nats;
mod postgres;
mod redis;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub use self::nats::{Grant, Nats};
pub use self::postgres::{Database, Postgres};
pub use self::redis::Redis;

use crate::Progress;
use crate::install::Machine;
use crate::ports::Ports;
use crate::secrets::Secrets;
use crate::supervise::{Supervisor, Tier};

/// A database that was killed replays its log first, which may take a while on a slow disk.
const READY_TIMEOUT: Duration = Duration::from_secs(90);

/// How often a server that is starting is asked; a question costs less than this.
const READY_POLL: Duration = Duration::from_millis(20);

/// A server that ends at once this many times will not start the next time either.
const FAILED_STARTS_MAX: u32 = 6;

/// How the servers differ between a platform and a test.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether a commit survives the machine; tests do without, which is much faster.
    pub durable: bool,
    /// Whether users may also use bus subjects under a prefix, as tests do to keep apart.
    pub any_prefix: bool,
    /// Whether those that keep data on a disk have a small one each, which must be empty then.
    pub small_disks: bool,
    /// Connections the database accepts.
    pub connections_max: u32,
    /// Who may use the bus, and for what.
    pub bus: Vec<Grant>,
    /// Who may use Redis, each below the keys and channels that start with its name and a colon.
    pub redis: Vec<String>,
}

/// The three, ready.
#[derive(Debug)]
pub struct Servers {
    /// Truth.
    pub postgres: Postgres,
    /// Views.
    pub redis: Redis,
    /// Transport.
    pub nats: Nats,
    supervisor: Arc<Supervisor>,
}

impl Servers {
    /// Installs what is missing, starts all three and waits until they answer; a second start finds the data of the first.
    pub async fn start(
        data_dir: &Path,
        options: &Options,
        supervisor: Arc<Supervisor>,
        ports: &Ports,
        secrets: &Secrets,
        progress: &Progress,
    ) -> Result<Self> {
        let watched = progress.clone();
        let executables = tokio::task::spawn_blocking(move || Machine::this().executables(&watched)).await??;
        progress("starting PostgreSQL, Redis and NATS");
        let (postgres, redis, nats) = tokio::try_join!(
            Postgres::start(
                data_dir,
                &executables,
                options,
                &supervisor,
                ports.get("postgres")?,
                secrets
            ),
            Redis::start(
                data_dir,
                &executables,
                options,
                &supervisor,
                ports.get("redis")?,
                secrets
            ),
            Nats::start(
                data_dir,
                &executables,
                options,
                &supervisor,
                ports.get("nats")?,
                secrets
            ),
        )?;
        Ok(Self {
            postgres,
            redis,
            nats,
            supervisor,
        })
    }

    /// Stops them in order, so that the next start has nothing to repair.
    pub async fn stop(&self) {
        self.supervisor.stop(Tier::Server).await;
    }
}

/// Asks until the answer is yes; an error is a no for now, and is shown if it stays one.
async fn await_ready<F>(name: &str, supervisor: &Supervisor, ask: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let started = Instant::now();
    loop {
        let Err(err) = ask().await else {
            return Ok(());
        };
        if let Some(failure) = supervisor.failure(name, FAILED_STARTS_MAX) {
            bail!(failure);
        }
        if started.elapsed() > READY_TIMEOUT {
            bail!(
                "{name} was not ready in {READY_TIMEOUT:?}: {err:#}\n{}",
                supervisor.log_tail(name)
            );
        }
        tokio::time::sleep(READY_POLL).await;
    }
}

fn no_env() -> BTreeMap<String, String> {
    BTreeMap::new()
}
