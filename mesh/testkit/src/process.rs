//! A service's own binary, started by its tests as `up` would start it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mesh_identity::Upstream;
use mesh_local::exec::Launcher;
use mesh_local::secrets::random_hex;
use mesh_local::supervise::{Spec, Tier, run_once, start_tied, tail};
use mesh_local::{ports, probe};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::eventually::eventually_in;
use crate::shared::shared;
use crate::stage::Stage;
use crate::{Database, certificates};

/// Signs the consistency tokens of every test.
pub(crate) const CONSISTENCY_SECRET: &str = "a secret that all services of a test share";

/// A debug build on a busy machine; release builds take a tenth of it.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// A drain has a deadline of its own, which is shorter.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// A running service; dropping it kills it, and shows the end of its log if the test is failing.
#[derive(Debug)]
pub struct ServiceProcess {
    spec: Spec,
    log: PathBuf,
    child: Option<Child>,
}

impl ServiceProcess {
    /// Describes a service with the environment every service gets; nothing is started yet.
    ///
    /// `executable` is `env!("CARGO_BIN_EXE_<service>")` of its own tests.
    pub fn new(stage: &Stage, service: &str, executable: impl AsRef<Path>) -> Self {
        let shared = shared();
        let (address, admin) = (free_address(), free_address());
        let tls = certificates::bundle(service);
        let env = [
            ("TIFFIN_MESH_LISTEN", address.to_string()),
            ("TIFFIN_ADMIN_LISTEN", admin.to_string()),
            ("TIFFIN_TLS_DIR", tls.display().to_string()),
            ("TIFFIN_NATS_URL", shared.servers().nats.url()),
            ("TIFFIN_NATS_USER", service.to_owned()),
            ("TIFFIN_NATS_PASSWORD", shared.bus_password(service)),
            ("TIFFIN_BUS_PREFIX", stage.bus_prefix()),
            ("TIFFIN_REGION", "local".to_owned()),
            ("TIFFIN_CONSISTENCY_SECRET", CONSISTENCY_SECRET.to_owned()),
            ("TIFFIN_CLOCK_RATE", "1".to_owned()),
            ("TIFFIN_LOG", "info".to_owned()),
            // Of an error that ends it, the end of the log shows what it says rather than where.
            ("RUST_LIB_BACKTRACE", "0".to_owned()),
        ];
        let spec = Spec {
            name: service.to_owned(),
            tier: Tier::Service,
            program: executable.as_ref().to_owned(),
            args: Vec::new(),
            env: env
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            current_dir: shared.folder().to_owned(),
            user: None,
            niceness: 0,
            stop_signal: Signal::TERM,
            address,
            held: Vec::new(),
            admin: Some(admin),
        };
        let log = shared.folder().join(format!("{service}-{}.log", random_hex(4)));
        Self { spec, log, child: None }
    }

    /// Sets a variable, over what was there.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.spec.env.insert(name.to_owned(), value.into());
        self
    }

    /// Gives it a database and runs its `migrate` there.
    ///
    /// # Panics
    /// If `migrate` fails.
    pub async fn migrated(self, database: &Database) -> Self {
        let this = self.env("TIFFIN_POSTGRES_URL", &database.url);
        let mut migrate = this.spec.clone();
        migrate.args = vec!["migrate".into()];
        migrate
            .env
            .insert("TIFFIN_POSTGRES_OWNER_URL".to_owned(), database.owner_url.clone());
        if let Err(err) = run_once(&Launcher::foreign(), &migrate).await {
            panic!("{err:#}");
        }
        this
    }

    /// Gives it a part of Redis.
    #[must_use]
    pub fn with_redis(self, redis: &crate::RedisAccess) -> Self {
        self.env("TIFFIN_REDIS_URL", &redis.url)
            .env("TIFFIN_REDIS_PREFIX", &redis.prefix)
    }

    /// Starts it, or starts it again on the same ports, and waits until it is ready.
    ///
    /// # Panics
    /// If it ends, or is not ready in 30 s.
    pub async fn start(&mut self) {
        let mut serve = self.spec.clone();
        serve.args = vec!["serve".into()];
        let child = start_tied(&Launcher::foreign(), &serve, &self.log).await;
        let admin = self.admin();
        let child = self.child.insert(child.expect("the binary of this package starts"));
        let name = format!("{} is ready", self.spec.name);
        eventually_in(&name, READY_DEADLINE, || {
            let ended = child.try_wait().expect("a child of ours can be waited for");
            assert!(ended.is_none(), "{name}: it ended with {ended:?}");
            async move { probe::is_ready(admin).await.then_some(()) }
        })
        .await;
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Where its peers find it.
    pub fn upstream(&self) -> Upstream {
        Upstream::new(self.name(), self.address().to_string())
    }

    /// Its mesh port.
    pub fn address(&self) -> SocketAddr {
        self.spec.address
    }

    /// Its admin port.
    pub fn admin(&self) -> SocketAddr {
        self.spec.admin.expect("every service has one")
    }

    /// Where its log is.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Stops it in its tracks: what is sent to it arrives, and nothing is done about it. Only
    /// [`ServiceProcess::kill`] ends that.
    ///
    /// # Panics
    /// If it is not running.
    pub fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).expect("a child of ours can be told");
    }

    /// kill -9, and wait for the end.
    ///
    /// # Panics
    /// If it is not running.
    pub async fn kill(&mut self) {
        let mut child = self.child.take().expect("it was started");
        child.kill().await.expect("a child of ours can be killed");
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    /// If it does not end in time, or not with success.
    pub async fn stop(&mut self) {
        let pid = self.pid();
        let mut child = self.child.take().expect("it was started");
        kill_process(pid, Signal::INT).expect("a child of ours can be told");
        let ended = tokio::time::timeout(STOP_DEADLINE, child.wait()).await;
        let status = ended
            .expect("it drains in time")
            .expect("a child of ours can be waited for");
        assert!(status.success(), "{} ended with {status}", self.spec.name);
    }

    fn pid(&self) -> Pid {
        let child = self.child.as_ref().expect("it was started");
        child
            .id()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
            .expect("it is running")
    }
}

impl Drop for ServiceProcess {
    #[allow(clippy::print_stderr, reason = "cargo shows it with the failing test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of {}'s log:\n{}", self.spec.name, tail(&self.log));
        }
    }
}

/// A loopback address nobody listens on, and nobody else in this test binary is given.
///
/// # Panics
/// If the machine has none left.
pub fn free_address() -> SocketAddr {
    /// Whoever was given one may not listen yet.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let port = ports::choose(&given).expect("a free port");
    given.insert(port);
    (Ipv4Addr::LOCALHOST, port).into()
}
