//! A rolling restart of every service while a small town orders, cooks and rides: no request fails, no live stream misses
//! anything, every order ends, and nothing is amiss afterwards.
//!
//! A binary of its own, so that no other test is at work meanwhile: whoever waits two seconds for a processor is told that a
//! part of the platform is away, too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Request, header};
use jiff::Timestamp;
use mesh_contracts::api::{Login, Session};
use mesh_identity::{Client, Upstream};
use mesh_local::running::Running;
use mesh_local::services::SERVICES;
use mesh_testkit::eventually_in;
use mesh_verify::history::{self, Entry, Outcome};
use serde_json::Value;
use tokio::process::Command;

/// An order a minute for this long, in minutes of business: longer than all restarts take.
const MINUTES: u32 = 55;

/// An order a second, and an order's life in half a minute.
const SPEED: &str = "60";

const COURIERS: u32 = 10;

/// How often everybody is restarted at least, each time meeting orders at other steps; and at most, until so many commands
/// were given meanwhile.
const ROUNDS: usize = 2;
const ROUNDS_MAX: usize = 6;
const COMMANDS_MIN: usize = 60;

/// Readers who ask without pause, beside the town's own people.
const READERS: usize = 2;

/// What they look at: of two info services, and of a master.
const LOOKED_AT: [&str; 4] = [
    "/v1/menu?country=XM",
    "/v1/me",
    "/v1/food-points?country=XM",
    "/v1/ops/signing-keys",
];

/// Between two questions of one of them: a screen that people keep touching.
const READ_EVERY: Duration = Duration::from_millis(25);

/// Far above what an answer takes while a successor starts on the same two cores.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A platform and its people, on a machine that does other things, too.
const SET_UP_DEADLINE: Duration = Duration::from_secs(120);

/// Fourteen starts of a debug build, and a drain of six seconds at most for each.
const RESTARTED_WITHIN: Duration = Duration::from_secs(180);

/// From the last restart to the report.
const REPORT_DEADLINE: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn every_service_is_restarted_under_load_and_no_request_fails() -> Result<()> {
    mesh_identity::install_crypto_provider();
    let (folder, town) = (mesh_testkit::fresh_folder(), town()?);
    let _caretaker = mesh_testkit::remove_at_end(&folder)?;
    let town = town.path().to_str().context("a path in UTF-8")?;
    let replay = program(
        &folder,
        &["replay", town, "--up", "--speed", SPEED, "--verify", "--json"],
    )
    .spawn()?;
    let history = folder.join(history::FILE);
    eventually_in("orders are placed", SET_UP_DEADLINE, || async {
        let lines = commands(&history).ok()?;
        let placed = lines.iter().filter(|line| line.path == "/v1/orders").count();
        (placed > 3).then_some(())
    })
    .await;

    let running = Running::find(&folder)?;
    let before = pids(&running)?;
    let began = Timestamp::now();
    let mut reading = Vec::new();
    for _ in 0..READERS {
        reading.push(reader(&running).await?);
    }
    for round in 0..ROUNDS_MAX {
        if round >= ROUNDS && given(&commands(&history)?, began, Timestamp::now()) > COMMANDS_MIN {
            break;
        }
        let mut restart = program(&folder, &["restart"]);
        let restarted = tokio::time::timeout(RESTARTED_WITHIN, restart.stderr(Stdio::piped()).output()).await??;
        let said = String::from_utf8_lossy(&restarted.stderr);
        ensure!(restarted.status.success(), "{said}");
    }
    let ended = Timestamp::now();
    let after = pids(&running)?;
    for service in &SERVICES {
        ensure!(
            before[service.name] != after[service.name],
            "{} is as it was",
            service.name
        );
    }
    for reader in reading {
        let (asked, failed) = reader.finish().await?;
        let first = failed.first();
        ensure!(
            failed.is_empty() && asked > 200,
            "of {asked} reads failed {}: {first:?}",
            failed.len()
        );
    }

    let replay = tokio::time::timeout(REPORT_DEADLINE, replay.wait_with_output()).await??;
    let said = String::from_utf8_lossy(&replay.stdout);
    let report: Value = serde_json::from_str(said.lines().last().context("it reports")?)?;
    let orders = &report["orders"];
    let all = Value::from(MINUTES);
    assert_eq!((&orders["placed"], &orders["completed"]), (&all, &all), "{report}");
    let violations = report["violations"].as_object().context("it was verified")?;
    assert!(violations.values().all(|count| count == 0), "{report}");
    ensure!(replay.status.success(), "it ended with {}", replay.status);
    no_command_failed(&history, began, ended)
}

/// The program, started by nobody's cargo: it takes the services as they are built.
fn program(data_dir: &Path, arguments: &[&str]) -> Command {
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

/// Each was answered at the first attempt, whatever the answer, and none by a part that was away.
fn no_command_failed(history: &Path, began: Timestamp, ended: Timestamp) -> Result<()> {
    let mut sent = commands(history)?;
    let meanwhile = given(&sent, began, ended);
    ensure!(
        meanwhile > COMMANDS_MIN,
        "hardly anything was going on: {meanwhile} commands"
    );
    let count = sent.len();
    sent.retain(|line| match &line.outcome {
        Outcome::Answered { status, .. } => *status >= 500,
        Outcome::Unknown { .. } => true,
    });
    ensure!(sent.is_empty(), "of {count} commands failed {sent:#?}");
    Ok(())
}

fn given(sent: &[history::Line], began: Timestamp, ended: Timestamp) -> usize {
    let meanwhile = sent.iter().filter(|line| (began..ended).contains(&line.sent_at));
    meanwhile.count()
}

fn commands(history: &Path) -> Result<Vec<history::Line>> {
    let mut lines = Vec::new();
    for entry in history::read(history)? {
        // The last line may not be written to its end.
        if let Ok(Entry::Sent(line)) = entry {
            lines.push(line);
        }
    }
    Ok(lines)
}

fn pids(running: &Running) -> Result<BTreeMap<&'static str, i32>> {
    let of = |name: &'static str| Ok((name, running.process(name)?.pid));
    SERVICES.iter().map(|service| of(service.name)).collect()
}

/// Somebody who looks at one thing after the other, again and again.
struct Reader {
    end: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<(usize, Vec<String>)>,
}

impl Reader {
    async fn finish(self) -> Result<(usize, Vec<String>)> {
        self.end.send_replace(true);
        Ok(self.task.await?)
    }
}

async fn reader(running: &Running) -> Result<Reader> {
    let client = Client::public(&std::fs::read(running.ca_cert())?)?;
    let url = running.public_url();
    let door = Upstream::new("gateway", url.trim_start_matches("https://"));
    let (email, password) = running.operator()?;
    let email = email.to_owned();
    let session: Session = client
        .post_json(&door, "/v1/sessions", &Login { email, password })
        .await?;
    let token = format!("Bearer {}", session.access_token);
    let (end, ended) = tokio::sync::watch::channel(false);
    let task = tokio::spawn(async move {
        let (mut asked, mut failed) = (0, Vec::new());
        while !*ended.borrow() {
            let question = Request::get(LOOKED_AT[asked % LOOKED_AT.len()]).header(header::AUTHORIZATION, &token);
            let question = question.body(Bytes::new()).expect("it is well formed");
            asked += 1;
            match client.request_within(&door, question, READ_TIMEOUT).await {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => failed.push(format!("{}: {:?}", answer.status(), answer.body())),
                Err(err) => failed.push(format!("{err:?}")),
            }
            tokio::time::sleep(READ_EVERY).await;
        }
        (asked, failed)
    });
    Ok(Reader { end, task })
}

/// Orders at two counters, each near enough to be brought in time.
fn town() -> Result<tempfile::TempDir> {
    let mut orders = "order\tx\ty\tplacement_time\trestaurant\tready_time\n".to_owned();
    for minute in 0..MINUTES {
        let (x, y) = (200 + 97 * minute % 900, 31 * minute % 700);
        let _ = writeln!(orders, "o{minute}\t{x}\t{y}\t{minute}\tr{}\t{}", minute % 2, minute + 7);
    }
    let mut couriers = "courier\tx\ty\ton_time\toff_time\n".to_owned();
    for courier in 0..COURIERS {
        let _ = writeln!(couriers, "c{courier}\t{}\t0\t0\t{}", 100 * courier, 2 * MINUTES);
    }
    let files = [
        ("orders.txt", orders.as_str()),
        ("couriers.txt", &couriers),
        ("restaurants.txt", "restaurant\tx\ty\nr0\t300\t0\nr1\t600\t400\n"),
        (
            "instance_parameters.txt",
            "meters_per_minute\tpickup service minutes\tdropoff service minutes\n320\t2\t2\n",
        ),
    ];
    let town = tempfile::tempdir()?;
    for (name, text) in files {
        std::fs::write(town.path().join(name), text)?;
    }
    Ok(town)
}
