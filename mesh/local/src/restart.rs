//! Restarts the services of a platform one by one while people use it, on the word of another process.
//!
//! A successor starts on the same ports beside the one that runs, and that one ends in its own time once the successor
//! is ready; only then comes the next service, so that there is one process more at most, with its connections to the
//! stores. A stand-in for somebody outside keeps a ledger that only one process may write, so its successor starts
//! when it has ended; who connects in between waits at its port, which stays open.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::environment::ADMIN_LISTEN;
use crate::platform::{FAILED_STARTS_MAX, READY_POLL, READY_TIMEOUT};
use crate::probe;
use crate::services::Kind;
use crate::supervise::{Spec, Supervisor};

/// In the data directory.
const SOCKET: &str = "control.sock";

/// The answer to a restart that went well; any other tells what did not.
const DONE: &str = "done";

/// One service, as it may be started again.
pub(crate) struct Restartable {
    pub(crate) kind: Kind,
    pub(crate) spec: Spec,
    pub(crate) admin_of_successor: SocketAddr,
}

/// Where a platform listens for the word.
pub(crate) fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET)
}

/// Opens that socket to its owner alone. A path that is too long for a socket is an error.
pub(crate) fn open(data_dir: &Path) -> Result<UnixListener> {
    let socket = socket(data_dir);
    // Of a platform that was killed: this one holds the lock of the folder.
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
    std::fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Does what it is told, one after the other, until it is dropped.
pub(crate) async fn serve(listener: UnixListener, supervisor: Arc<Supervisor>, services: Vec<Restartable>) {
    loop {
        let told = match listener.accept().await {
            Ok((stream, _)) => answer(stream, &supervisor, &services).await,
            Err(err) => Err(err.into()),
        };
        if let Err(err) = told {
            tracing::warn!(error = %err, "somebody asked for a restart and did not hear of it");
        }
    }
}

/// Asks the platform of a data directory to restart a service; returns when the successor works alone.
pub(crate) async fn ask(data_dir: &Path, name: &str) -> Result<()> {
    let mut stream = UnixStream::connect(socket(data_dir)).await?;
    stream.write_all(format!("{name}\n").as_bytes()).await?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await?;
    match said.as_str() {
        DONE => Ok(()),
        "" => bail!("the platform ended before {name} was restarted"),
        failed => Err(anyhow!("{failed}")),
    }
}

async fn answer(stream: UnixStream, supervisor: &Supervisor, services: &[Restartable]) -> Result<()> {
    let (question, mut answer) = stream.into_split();
    let mut name = String::new();
    BufReader::new(question).read_line(&mut name).await?;
    let name = name.trim();
    let done = match services.iter().find(|service| service.spec.name == name) {
        Some(service) => restart(supervisor, service).await,
        None => Err(anyhow!("there is no service {name}")),
    };
    let said = done.map_or_else(|err| format!("{err:#}"), |()| DONE.to_owned());
    answer.write_all(said.as_bytes()).await?;
    Ok(())
}

async fn restart(supervisor: &Supervisor, service: &Restartable) -> Result<()> {
    let name = service.spec.name.as_str();
    let before = supervisor.processes().into_iter().find(|process| process.name == name);
    let before = before.with_context(|| format!("{name} is not running"))?;
    let mut successor = service.spec.clone();
    if service.kind == Kind::Sandbox {
        supervisor.start_after(successor).await?;
        return is_ready(supervisor, &service.spec).await;
    }
    if before.admin == successor.admin {
        let admin = service.admin_of_successor;
        successor.admin = Some(admin);
        successor.env.insert(ADMIN_LISTEN.to_owned(), admin.to_string());
    }
    supervisor.start_beside(successor.clone()).await?;
    let ready = is_ready(supervisor, &successor).await;
    match &ready {
        Ok(()) => supervisor.retire(name).await,
        Err(_) => supervisor.withdraw(name, before).await?,
    }
    ready
}

async fn is_ready(supervisor: &Supervisor, spec: &Spec) -> Result<()> {
    let started = Instant::now();
    let admin = spec.admin.context("every service has an admin port")?;
    while !probe::is_ready(admin).await {
        if let Some(failure) = supervisor.failure(&spec.name, FAILED_STARTS_MAX) {
            bail!(failure);
        }
        if started.elapsed() > READY_TIMEOUT {
            let log = supervisor.log_tail(&spec.name);
            bail!("{} is not ready after {READY_TIMEOUT:?}:\n{log}", spec.name);
        }
        tokio::time::sleep(READY_POLL).await;
    }
    Ok(())
}
