//! Keeps processes running: starts them, writes down where they are, starts them again when they end, stops them in order.
//!
//! Does not know what they do, nor whether they are ready.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use mesh_runtime::handover;
use rustix::process::{Pid, Signal, kill_process, kill_process_group, setpriority_process};
use serde::{Deserialize, Serialize};
use tokio::process::Child;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::data_dir::{read_json, write_json};
use crate::exec::Launcher;

const FILE: &str = "processes.json";

/// Short enough that one crash passes unnoticed by clients that retry.
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// Long enough that a process which cannot start does not eat a core.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A process that lived this long has recovered, and its next crash counts as the first again.
const STEADY_AFTER: Duration = Duration::from_secs(10);

/// What a process may take to drain before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// And one whose successor works already: a service ends within ten seconds by itself.
const RETIRE_TIMEOUT: Duration = Duration::from_secs(15);

/// How often it is looked whether it has.
const RETIRE_POLL: Duration = Duration::from_millis(20);

/// The environment that children inherit; everything else comes from their `Spec`, so that no stray variable configures a service.
const INHERITED: [&str; 9] = [
    "PATH",
    "HOME",
    "USER",
    "TMPDIR",
    "TZ",
    "LANG",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "LLVM_PROFILE_FILE",
];

/// Whom a process runs as, if not as us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// Numeric user.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
}

/// When a process is stopped, relative to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Stopped first.
    Service,
    /// Stopped when no service is left.
    Server,
}

/// A process to keep running.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Unique among the processes of a supervisor; also names its log.
    pub name: String,
    /// Services before servers.
    pub tier: Tier,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its environment, besides a few inherited variables.
    pub env: BTreeMap<String, String>,
    /// Where it runs.
    pub current_dir: PathBuf,
    /// Whom it runs as, if not as us.
    pub user: Option<User>,
    /// How far it steps back when processors are scarce, from 0 (not at all) to 19.
    pub niceness: i32,
    /// What tells it to end in order; it gets the same when we die.
    pub stop_signal: Signal,
    /// Where it serves.
    pub address: SocketAddr,
    /// Ports that are kept open for it whether it runs or not; it finds them by `mesh_runtime::handover`.
    pub held: Vec<SocketAddr>,
    /// Where it answers `/readyz`, if it does.
    pub admin: Option<SocketAddr>,
}

/// A line of `processes.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// As in its `Spec`.
    pub name: String,
    /// Of the run that is going on, or of the last one.
    pub pid: i32,
    /// Where it serves.
    pub address: SocketAddr,
    /// Where it answers `/readyz`, if it does.
    pub admin: Option<SocketAddr>,
    /// How often it was started again.
    pub restarts: u32,
}

/// Runs processes until `stop`; dropping it kills them.
#[derive(Debug)]
pub struct Supervisor {
    data_dir: PathBuf,
    launcher: Launcher,
    table: Arc<Table>,
    running: Mutex<Vec<Running>>,
}

#[derive(Debug)]
struct Running {
    tier: Tier,
    name: String,
    held: Arc<Vec<TcpListener>>,
    stop: watch::Sender<Stop>,
    task: JoinHandle<()>,
}

/// Whether a process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    /// In its own time: a successor does its work.
    Retire,
    Now,
}

/// The processes as they are now, mirrored to the file.
#[derive(Debug)]
struct Table {
    path: PathBuf,
    processes: Mutex<BTreeMap<String, (Process, bool)>>,
}

impl Supervisor {
    /// Of a data directory: logs go to `logs/NAME.log` in it.
    pub fn new(data_dir: &Path, launcher: Launcher) -> Result<Self> {
        std::fs::create_dir_all(data_dir.join("logs"))?;
        let table = Table {
            path: data_dir.join(FILE),
            processes: Mutex::default(),
        };
        table.write()?;
        Ok(Self {
            data_dir: data_dir.to_owned(),
            launcher,
            table: Arc::new(table),
            running: Mutex::default(),
        })
    }

    /// Starts a process and keeps it running; fails if it cannot even be started once.
    pub async fn start(&self, spec: Spec) -> Result<()> {
        let log = self.log_path(&spec.name);
        if log.exists() {
            std::fs::rename(&log, log.with_extension("log.1"))?;
        }
        let held = Arc::new(hold(&spec.held).await?);
        self.launch(spec, held).await
    }

    /// Starts a successor beside the process of that name, on the same ports: whoever of the two is free takes a
    /// connection. [`Supervisor::retire`] or [`Supervisor::withdraw`] ends that.
    pub async fn start_beside(&self, spec: Spec) -> Result<()> {
        let held = self.held(&spec.name)?;
        self.launch(spec, held).await
    }

    /// Stops the process of that name and starts another one. Its ports stay open, and who connects meanwhile waits.
    pub async fn start_after(&self, spec: Spec) -> Result<()> {
        let held = self.held(&spec.name)?;
        self.stop_one(&spec.name).await;
        self.launch(spec, held).await
    }

    /// Lets the process before the newest one of that name end in its own time, and waits for it.
    pub async fn retire(&self, name: &str) {
        while !self.has_retired(name) {
            tokio::time::sleep(RETIRE_POLL).await;
        }
    }

    /// Tells it, if nobody has. It stays in the list, so that a stop of everything finds it.
    fn has_retired(&self, name: &str) -> bool {
        let mut running = self.running();
        running.retain(|running| !running.task.is_finished());
        let mut newest_first = running.iter().rev().filter(|running| running.name == name);
        let _newest = newest_first.next();
        let before = newest_first.next();
        if let Some(before) = before {
            before.stop.send_if_modified(|stop| {
                let is_new = *stop == Stop::No;
                if is_new {
                    *stop = Stop::Retire;
                }
                is_new
            });
        }
        before.is_none()
    }

    /// Stops the newest process of that name: the one before goes on, as `before` says.
    pub async fn withdraw(&self, name: &str, before: Process) -> Result<()> {
        let newest = {
            let mut running = self.running();
            let found = running.iter().rposition(|running| running.name == name);
            found.map(|index| running.remove(index))
        };
        stop_all(newest.into_iter().collect()).await;
        self.table.started(before)
    }

    fn held(&self, name: &str) -> Result<Arc<Vec<TcpListener>>> {
        let running = self.running();
        let newest = running.iter().rfind(|running| running.name == name);
        let newest = newest.with_context(|| format!("there is no process {name}"))?;
        Ok(newest.held.clone())
    }

    async fn launch(&self, spec: Spec, held: Arc<Vec<TcpListener>>) -> Result<()> {
        let log = self.log_path(&spec.name);
        let keeper = Keeper {
            spec: Arc::new(spec),
            launcher: self.launcher.clone(),
            log,
            held: held.clone(),
            table: self.table.clone(),
        };
        let child = keeper.spawn(0).await?;
        let (stop, stopped) = watch::channel(Stop::No);
        let (tier, name) = (keeper.spec.tier, keeper.spec.name.clone());
        let task = tokio::spawn(keeper.keep(child, stopped));
        self.running().push(Running {
            tier,
            name,
            held,
            stop,
            task,
        });
        Ok(())
    }

    /// Stops one process for good, and those that retire for its sake.
    pub async fn stop_one(&self, name: &str) {
        let chosen: Vec<Running> = {
            let mut running = self.running();
            running.extract_if(.., |running| running.name == name).collect()
        };
        stop_all(chosen).await;
    }

    /// Stops all of a tier, together, and waits for them; those that take too long are killed.
    pub async fn stop(&self, tier: Tier) {
        let chosen: Vec<Running> = {
            let mut running = self.running();
            running.extract_if(.., |running| running.tier == tier).collect()
        };
        stop_all(chosen).await;
    }

    /// All processes, by name.
    pub fn processes(&self) -> Vec<Process> {
        self.table.list()
    }

    /// Why a process cannot be expected to become ready: it ended at once, again and again.
    pub fn failure(&self, name: &str, restarts_max: u32) -> Option<String> {
        let process = self.processes().into_iter().find(|process| process.name == name)?;
        (process.restarts > restarts_max).then(|| {
            format!(
                "{name} ended {} times; the end of its log:\n{}",
                process.restarts,
                self.log_tail(name)
            )
        })
    }

    /// The last lines of a process's log.
    pub fn log_tail(&self, name: &str) -> String {
        tail(&self.log_path(name))
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.data_dir.join("logs").join(format!("{name}.log"))
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for running in self.running().drain(..) {
            running.task.abort();
        }
        for process in self.table.alive() {
            signal(process.pid, Signal::KILL);
        }
    }
}

/// The processes of a platform, running or not, from its data directory.
pub fn read_processes(data_dir: &Path) -> Result<Vec<Process>> {
    Ok(read_json(&data_dir.join(FILE))?.unwrap_or_default())
}

/// The last lines of a file, for an error message.
pub fn tail(path: &Path) -> String {
    const LINES: usize = 15;
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

async fn stop_all(chosen: Vec<Running>) {
    for running in &chosen {
        running.stop.send_replace(Stop::Now);
    }
    for running in chosen {
        if let Err(err) = running.task.await {
            tracing::warn!(process = running.name, error = %err, "keeper of a process ended badly");
        }
    }
}

async fn told_to_stop(stopped: &mut watch::Receiver<Stop>) {
    // A supervisor that is gone has killed the process, and nobody is left to say so.
    let _ = stopped.wait_for(|stop| *stop != Stop::No).await;
}

async fn hold(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    let mut held = Vec::new();
    for address in addresses {
        // Tokio's, since its queue is longer than that of the standard library.
        let listener = tokio::net::TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
        held.push(listener.into_std()?);
    }
    Ok(held)
}

/// Threads inherit it, and a process that was just started has one.
fn step_back(pid: i32, spec: &Spec) {
    if spec.niceness > 0
        && let Err(err) = setpriority_process(Pid::from_raw(pid), spec.niceness)
    {
        tracing::warn!(process = spec.name, error = %err, "process keeps its full share of the processors");
    }
}

/// What it takes to start one process again and again.
struct Keeper {
    spec: Arc<Spec>,
    launcher: Launcher,
    log: PathBuf,
    held: Arc<Vec<TcpListener>>,
    table: Arc<Table>,
}

impl Keeper {
    async fn keep(self, mut child: Child, mut stopped: watch::Receiver<Stop>) {
        let mut backoff = BACKOFF_MIN;
        for restarts in 1.. {
            let (started, pid) = (Instant::now(), pid_of(&child));
            tokio::select! {
                ended = child.wait() => tracing::warn!(process = self.spec.name, status = describe(ended), "process ended"),
                () = told_to_stop(&mut stopped) => return self.end(child, pid, stopped).await,
            }
            self.table.ended(&self.spec.name, pid);
            if started.elapsed() > STEADY_AFTER {
                backoff = BACKOFF_MIN;
            }
            child = loop {
                tokio::select! {
                    () = tokio::time::sleep(backoff) => {}
                    () = told_to_stop(&mut stopped) => return self.table.stopped(&self.spec.name, pid),
                }
                backoff = (backoff * 2).min(BACKOFF_MAX);
                match self.spawn(restarts).await {
                    Ok(child) => break child,
                    Err(err) => tracing::error!(process = self.spec.name, error = %err, "process could not be started"),
                }
            };
        }
    }

    async fn spawn(&self, restarts: u32) -> Result<Child> {
        let child = start_holding(&self.launcher, &self.spec, &self.log, &self.held).await?;
        let pid = pid_of(&child).context("a child that was not waited for has a pid")?;
        step_back(pid, &self.spec);
        self.table.started(Process {
            name: self.spec.name.clone(),
            pid,
            address: self.spec.address,
            admin: self.spec.admin,
            restarts,
        })?;
        Ok(child)
    }

    async fn end(&self, mut child: Child, pid: Option<i32>, mut stopped: watch::Receiver<Stop>) {
        if *stopped.borrow() == Stop::Retire
            && let Some(pid) = pid
        {
            signal_one(pid, Signal::TERM);
            tokio::select! {
                _ = child.wait() => return self.table.stopped(&self.spec.name, Some(pid)),
                () = tokio::time::sleep(RETIRE_TIMEOUT) => {}
                _ = stopped.wait_for(|stop| *stop == Stop::Now) => {}
            }
        }
        if let Some(pid) = pid {
            signal_one(pid, self.spec.stop_signal);
            if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
                tracing::warn!(process = self.spec.name, "process did not end in time and is killed");
                signal(pid, Signal::KILL);
                let _ = child.wait().await;
            }
        }
        self.table.stopped(&self.spec.name, pid);
    }
}

fn pid_of(child: &Child) -> Option<i32> {
    child.id().and_then(|pid| i32::try_from(pid).ok())
}

impl Table {
    fn started(&self, process: Process) -> Result<()> {
        self.lock().insert(process.name.clone(), (process, true));
        self.write()
    }

    /// Unless another process has the name by now.
    fn ended(&self, name: &str, pid: Option<i32>) {
        if let Some((process, alive)) = self.lock().get_mut(name)
            && Some(process.pid) == pid
        {
            *alive = false;
        }
    }

    /// As [`Table::ended`], for good.
    fn stopped(&self, name: &str, pid: Option<i32>) {
        let is_this = |process: &Process| Some(process.pid) == pid;
        self.lock().retain(|of, (process, _)| of != name || !is_this(process));
        if let Err(err) = self.write() {
            tracing::error!(error = %err, "the list of processes could not be written");
        }
    }

    fn list(&self) -> Vec<Process> {
        self.lock().values().map(|(process, _)| process.clone()).collect()
    }

    fn alive(&self) -> Vec<Process> {
        self.lock()
            .values()
            .filter(|(_, alive)| *alive)
            .map(|(process, _)| process.clone())
            .collect()
    }

    fn write(&self) -> Result<()> {
        // Under the lock, so that two starts at once cannot leave the older table on disk.
        let processes = self.lock();
        let list: Vec<&Process> = processes.values().map(|(process, _)| process).collect();
        write_json(&self.path, &list)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (Process, bool)>> {
        self.processes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Starts a program once, tied to us, with its output appended to a log; dropping the child kills it.
pub async fn start_tied(launcher: &Launcher, spec: &Spec, log: &Path) -> Result<Child> {
    start_holding(launcher, spec, log, &[]).await
}

async fn start_holding(launcher: &Launcher, spec: &Spec, log: &Path, held: &[TcpListener]) -> Result<Child> {
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
    let mut command = command(launcher, spec, spec.stop_signal);
    command.stdout(log.try_clone()?).stderr(log);
    if !held.is_empty() {
        let (ours, theirs) = UnixStream::pair()?;
        handover::send(&ours, held)?;
        command.stdin(OwnedFd::from(theirs));
    }
    spawn(command)
        .await
        .with_context(|| format!("cannot start {}", spec.name))
}

/// Runs a program to its end, tied to us like the others, and returns what it wrote; fails unless it succeeded.
pub async fn run_once(launcher: &Launcher, spec: &Spec) -> Result<String> {
    let mut command = command(launcher, spec, Signal::KILL);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = spawn(command)
        .await
        .with_context(|| format!("cannot start {}", spec.name))?;
    let output = child.wait_with_output().await?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if !output.status.success() {
        bail!("{} failed ({}):\n{said}", spec.name, output.status);
    }
    Ok(said)
}

fn command(launcher: &Launcher, spec: &Spec, death_signal: Signal) -> Command {
    let mut command = launcher.command(&spec.name, &spec.program, death_signal);
    command
        .args(&spec.args)
        .env_clear()
        .envs(inherited())
        .envs(&spec.env)
        .current_dir(&spec.current_dir)
        .stdin(Stdio::null())
        // Not in our group, so that Ctrl-C in a terminal reaches us alone and the order of stopping is ours.
        .process_group(0);
    if let Some(user) = spec.user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

/// What one job of the spawning thread is: the command, the runtime that reaps the child, and who asked.
type Job = (Command, tokio::runtime::Handle, oneshot::Sender<std::io::Result<Child>>);

/// Starts a child from a thread that lives as long as the process.
///
/// The kernel sends the parent-death signal when the *thread* that made the child ends,
/// and the threads of a runtime come and go.
async fn spawn(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (command, runtime, answer) in jobs {
                let _entered = runtime.enter();
                let _ = answer.send(tokio::process::Command::from(command).kill_on_drop(true).spawn());
            }
        });
        sender
    });
    let (answer, child) = oneshot::channel();
    spawner
        .send((command, tokio::runtime::Handle::current(), answer))
        .map_err(|_| anyhow!("the spawning thread is gone"))?;
    Ok(child.await??)
}

fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED
        .into_iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)))
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // Gone already is as good.
        let _ = kill_process_group(pid, signal);
    }
}

/// For an orderly stop: a database server tells its own children.
fn signal_one(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

fn describe(ended: std::io::Result<ExitStatus>) -> String {
    match ended {
        Ok(status) => match status.signal() {
            Some(signal) => format!("signal {signal}"),
            None => status.to_string(),
        },
        Err(err) => err.to_string(),
    }
}
