//! The program as a person starts it: one command, and what it leaves behind.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use mesh_contracts::id::OrderId;
use mesh_local::running::Running;
use mesh_local::supervise::read_processes;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tiffin::client::Api;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// What the design promises for the first simulated order, and as long again for a machine that does other things, too.
const FIRST_ORDER_TIMEOUT: Duration = Duration::from_secs(360);

/// Builds are done, so this is servers, migrations, fourteen services and the chain.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// Services drain for ten seconds at most, servers come after them.
const STOP_TIMEOUT: Duration = Duration::from_secs(45);

/// Reads that bring a token; a bench of its own reads a million.
const TOKEN_READS: &str = "5000";

/// They take half a minute at most, on a machine that does other things, too.
const READS_TIMEOUT: Duration = Duration::from_secs(300);

/// A replay of a handful of orders on a platform of its own.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn up_runs_orders_to_completed_stops_without_a_trace_and_finds_them_again() -> Result<()> {
    mesh_identity::install_crypto_provider();
    let folder = Folder::new()?;
    let mut up = Started::new(folder.path(), &["up", "--json"])?;
    up.line("ready", READY_TIMEOUT, |line| line["ready"].is_string())
        .await?;
    let completed = up
        .line("a completed order", FIRST_ORDER_TIMEOUT, |line| {
            line["status"] == "completed"
        })
        .await?;
    let order: OrderId = serde_json::from_value(completed["order"].clone())?;
    let processes = read_processes(folder.path())?;
    ensure!(
        processes.len() > 12,
        "services and servers are supervised: {processes:?}"
    );
    up.stop(Signal::INT).await?;
    for process in processes {
        let alive = Pid::from_raw(process.pid).is_some_and(|pid| test_kill_process(pid).is_ok());
        ensure!(!alive, "{} is still there after Ctrl-C", process.name);
    }

    let mut again = Started::new(folder.path(), &["up", "--no-simulation", "--json"])?;
    again
        .line("ready", READY_TIMEOUT, |line| line["ready"].is_string())
        .await?;
    let running = Running::find(folder.path())?;
    let (email, password) = running.operator()?;
    let found = Api::of(&running)?.person(email, password).order(order).await?;
    assert_eq!(found["status"], "completed");
    again.stop(Signal::TERM).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_is_older_than_its_token_while_the_bus_stands_still_again_and_again() -> Result<()> {
    let folder = Folder::new()?;
    let mut bench = Started::new(folder.path(), &["bench", "tokens", "--reads", TOKEN_READS, "--json"])?;
    let row = |what: &'static str| move |line: &Value| line["what"].as_str().is_some_and(|told| told.starts_with(what));
    let stale = bench.line("the reads", READS_TIMEOUT, row("answers of")).await?;
    let refused = bench.line("the refusals", READS_TIMEOUT, row("honest 503")).await?;
    let stood_still = bench.line("the lag", READS_TIMEOUT, row("the bus stood still")).await?;
    writeln!(std::io::stdout(), "{stale}\n{refused}\n{stood_still}")?;
    assert_eq!(
        stale["what"],
        format!("answers of {TOKEN_READS} older than their token")
    );
    assert_eq!(stale["value"], 0.0);
    assert!(stood_still["value"].as_f64() > Some(10.0), "{stood_still}");
    bench.ended().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_places_and_completes_every_order_and_nothing_is_amiss_afterwards() -> Result<()> {
    let folder = Folder::new()?;
    let instance = small_instance()?;
    let arguments = ["replay", instance.path().to_str().context("a path in UTF-8")?];
    let options = ["--up", "--speed", "60", "--verify", "--json"];
    let mut replay = Started::new(folder.path(), &[&arguments[..], &options[..]].concat())?;
    let report = replay
        .line("the report", REPLAY_TIMEOUT, |line| line["orders"].is_object())
        .await?;
    let orders = &report["orders"];
    assert_eq!(
        (&orders["placed"], &orders["completed"]),
        (&6.into(), &6.into()),
        "{report}"
    );
    assert_eq!(orders["lost"], 0);
    assert!(report["chaos"].is_null(), "nothing goes wrong unless it is asked for");
    let door = &report["click_to_door_minutes"];
    let minutes = |name: &str| door[name].as_f64().unwrap_or_default();
    assert!(minutes("mean") > minutes("lower_bound_mean"), "{report}");
    assert!(report["api_latency_ms"]["place_order"]["p50"].as_f64() > Some(0.0));
    assert!(report["projection_lag_ms"]["p99"].as_f64() > Some(0.0));
    let violations = report["violations"].as_object().context("it was verified")?;
    assert_eq!(violations.len(), mesh_verify::Invariant::ALL.len());
    assert!(violations.values().all(|count| count == 0), "{report}");
    replay.ended().await
}

#[tokio::test]
async fn a_command_for_a_platform_that_is_not_up_says_so_and_fails() -> Result<()> {
    let instance = small_instance()?;
    let path = instance.path().to_str().context("a path in UTF-8")?;
    let output = program(&instance.path().join("nothing"), &["replay", path])
        .stderr(Stdio::piped())
        .output()
        .await?;
    ensure!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.contains("no platform is up"), "{said}");
    Ok(())
}

/// A folder that is removed at the end, whatever happens, with all that a platform puts elsewhere.
pub struct Folder {
    path: PathBuf,
    _caretaker: std::process::Child,
}

impl Folder {
    pub fn new() -> Result<Self> {
        let path = mesh_testkit::fresh_folder();
        let caretaker = mesh_testkit::remove_at_end(&path)?;
        Ok(Self {
            path,
            _caretaker: caretaker,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The program, started by nobody's cargo: it takes the services as they are built.
pub fn program(data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tiffin"));
    command
        .args(arguments)
        .arg("--data-dir")
        .arg(data_dir)
        .env_remove("CARGO")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A run of the program.
pub struct Started {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Started {
    pub fn new(data_dir: &Path, arguments: &[&str]) -> Result<Self> {
        let mut child = program(data_dir, arguments).spawn()?;
        let stdout = child.stdout.take().context("it is piped")?;
        Ok(Self {
            child,
            lines: BufReader::new(stdout).lines(),
        })
    }

    /// The first line of JSON that is wanted.
    pub async fn line(&mut self, what: &str, within: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let search = async {
            while let Some(line) = self.lines.next_line().await? {
                let line: Value = serde_json::from_str(&line)?;
                if wanted(&line) {
                    return Ok(line);
                }
            }
            bail!("the program ended before {what}")
        };
        tokio::time::timeout(within, search)
            .await
            .with_context(|| format!("{what} within {within:?}"))?
    }

    /// Asks it to end and sees that it ends well. What it still says has to go somewhere meanwhile.
    pub async fn stop(mut self, signal: Signal) -> Result<()> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        kill_process(pid.context("it is running")?, signal)?;
        let silence = async {
            while self.lines.next_line().await?.is_some() {}
            anyhow::Ok(())
        };
        tokio::time::timeout(STOP_TIMEOUT, silence)
            .await
            .context("it does not stop")??;
        self.ended().await
    }

    pub async fn ended(mut self) -> Result<()> {
        let status = tokio::time::timeout(STOP_TIMEOUT, self.child.wait())
            .await
            .context("it does not end")??;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

/// Six orders of two restaurants, two couriers who have the time for them.
fn small_instance() -> Result<TempDir> {
    let files = [
        (
            "orders.txt",
            "order\tx\ty\tplacement_time\trestaurant\tready_time\n\
             o1\t900\t0\t0\tr1\t6\no2\t0\t800\t1\tr2\t9\no3\t500\t500\t3\tr1\t10\n\
             o4\t1200\t100\t8\tr1\t16\no5\t100\t1300\t9\tr2\t15\no6\t700\t700\t12\tr2\t20\n",
        ),
        ("restaurants.txt", "restaurant\tx\ty\nr1\t300\t0\nr2\t0\t400\n"),
        (
            "couriers.txt",
            "courier\tx\ty\ton_time\toff_time\nc1\t0\t0\t0\t90\nc2\t400\t400\t0\t90\nc3\t800\t0\t2\t90\n",
        ),
        (
            "instance_parameters.txt",
            "meters_per_minute\tpickup service minutes\tdropoff service minutes\n320\t2\t2\n",
        ),
    ];
    let instance = tempfile::tempdir()?;
    for (name, text) in files {
        std::fs::write(instance.path().join(name), text)?;
    }
    Ok(instance)
}
