//! The servers of a test binary: started by whoever needs them first, ended with the binary however that ends.
//!
//! The servers get a signal when the binary dies. A small shell, the caretaker, waits on a pipe for the same moment,
//! and then removes the folder, since a test binary runs no code of ours at its end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow};
use mesh_identity::ca::Authority;
use mesh_local::data_dir::{DataDir, is_live};
use mesh_local::exec::Launcher;
use mesh_local::ports::Ports;
use mesh_local::secrets::{Secrets, random_hex};
use mesh_local::servers::{Options, Servers};
use mesh_local::supervise::Supervisor;
use mesh_local::{Progress, services};

const PREFIX: &str = "tiffin-test-";

/// A folder this old that nobody holds was left by a machine that went down.
const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(600);

/// Many tests at once, each with the pools of several masters.
const CONNECTIONS_MAX: u32 = 400;

/// Ends what is still running (only where the kernel does not do it), then removes everything.
const CARETAKER: &str = r#"
cat >/dev/null
pids=$(sed -n 's/.*"pid": \([0-9]*\).*/\1/p' "$1/processes.json")
kill -INT $pids
i=0
while [ $i -lt 50 ] && kill -0 $pids; do i=$((i + 1)); sleep 0.1; done
kill -KILL $pids
elsewhere=$(readlink "$1/postgres") && rm -rf -- "$elsewhere"
rm -rf -- "$1"
"#;

/// What the tests of one binary share.
#[derive(Debug)]
pub struct Shared {
    servers: Servers,
    supervisor: Arc<Supervisor>,
    secrets: Secrets,
    authority_dir: PathBuf,
    data_dir: DataDir,
    _caretaker: Child,
}

impl Shared {
    /// The three servers.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Who keeps the servers running.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// A folder that goes away with the binary.
    pub fn folder(&self) -> &Path {
        self.data_dir.path()
    }

    /// The folder of the authority that signed everyone's certificates.
    pub fn authority_dir(&self) -> &Path {
        &self.authority_dir
    }

    /// The bus password of a service.
    pub fn bus_password(&self, service: &str) -> String {
        self.secrets
            .get(&format!("nats/{service}"))
            .expect("the secrets are writable")
    }
}

/// What the tests of this binary share; the first call starts it, which takes a few seconds.
///
/// # Panics
/// If the servers cannot be started; the message says why.
pub fn shared() -> &'static Shared {
    static SHARED: OnceLock<Result<Shared, String>> = OnceLock::new();
    match SHARED.get_or_init(|| start_on_own_thread().map_err(|err| format!("{err:#}"))) {
        Ok(shared) => shared,
        Err(err) => panic!("the servers for the tests cannot be started: {err}"),
    }
}

/// On a runtime of their own, since every test's ends with the test.
fn start_on_own_thread() -> Result<Shared> {
    let (sender, started) = mpsc::channel();
    std::thread::Builder::new().name("servers".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(async {
                let _ = sender.send(start().await);
                // The supervisor's tasks live on this runtime until the binary ends.
                std::future::pending::<()>().await;
            }),
            Err(err) => drop(sender.send(Err(err.into()))),
        }
    })?;
    started
        .recv()
        .map_err(|_| anyhow!("the thread that starts them ended"))?
}

async fn start() -> Result<Shared> {
    let path = fresh_folder();
    let data_dir = DataDir::open(&path, false).await?;
    let caretaker = remove_at_end(data_dir.path())?;
    let ports = Ports::open(data_dir.path())?;
    let secrets = Secrets::open(data_dir.path())?;
    let supervisor = Arc::new(Supervisor::new(data_dir.path(), Launcher::foreign())?);
    let options = Options {
        durable: false,
        any_prefix: true,
        small_disks: false,
        connections_max: CONNECTIONS_MAX,
        bus: services::bus_grants(),
        redis: services::redis_users(),
    };
    let progress: Progress = mesh_local::unwatched();
    let servers = Servers::start(
        data_dir.path(),
        &options,
        supervisor.clone(),
        &ports,
        &secrets,
        &progress,
    )
    .await?;
    let authority_dir = data_dir.path().join("authority");
    Authority::create(&authority_dir)?;
    Ok(Shared {
        servers,
        supervisor,
        secrets,
        authority_dir,
        data_dir,
        _caretaker: caretaker,
    })
}

/// Has a data directory removed, with what still runs in it, as soon as what this returns is dropped or this
/// binary has ended, however that ends. The folder need not be there yet.
///
/// # Errors
/// When there is no shell.
pub fn remove_at_end(folder: &Path) -> Result<Child> {
    use std::os::unix::process::CommandExt as _;

    Command::new("/bin/sh")
        .args(["-c", CARETAKER, "tiffin-test-caretaker"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Out of our group, so that Ctrl-C leaves it to its work.
        .process_group(0)
        .spawn()
        .context("cannot start a shell")
}

/// A path for a data directory of a test binary; nothing is there yet.
pub fn fresh_folder() -> PathBuf {
    let base = std::env::temp_dir();
    sweep(&base);
    base.join(format!("{PREFIX}{}", random_hex(8)))
}

/// Removes what test binaries left whose machine or caretaker was killed.
fn sweep(base: &Path) {
    let old = |path: &Path| {
        path.metadata().and_then(|meta| meta.modified()).is_ok_and(|modified| {
            SystemTime::now()
                .duration_since(modified)
                .is_ok_and(|age| age > LEFT_BEHIND_AFTER)
        })
    };
    let left = std::fs::read_dir(base).into_iter().flatten().flatten().filter(|entry| {
        entry.file_name().to_string_lossy().starts_with(PREFIX) && old(&entry.path()) && !is_live(&entry.path())
    });
    for entry in left {
        if let Ok(elsewhere) = std::fs::read_link(entry.path().join("postgres")) {
            let _ = std::fs::remove_dir_all(elsewhere);
        }
        let _ = std::fs::remove_dir_all(entry.path());
    }
}
