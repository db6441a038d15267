//! `tiffin fault` as people run it: fixed seeds pass, and one on which something is broken for good does not, and leaves
//! its folder. More runs are the operator's; what each checker counts is `verify`'s.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_local::running::Running;
use mesh_local::services::{Kind, of_kind};
use mesh_testkit::eventually_in;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use crate::command::{Folder, Started};

/// A platform, a town, half an hour of it at sixty times its speed, and healing, on a machine that does other things.
const RUN_DEADLINE: Duration = Duration::from_secs(180);

/// Until the first order is there.
const ORDER_DEADLINE: Duration = Duration::from_secs(120);

/// The faults of three seeds in a row: failpoints, a wrong clock, a restart, and nothing that stands still for a minute.
const FIRST_SEED: &str = "2";
const FAULTS: [&[&str]; 3] = [
    &["fail-commit-after", "clock-wrong"],
    &["restart-menu-info"],
    &["fail-redis-after", "fail-publish-before"],
];

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_fixed_seeds_break_things_and_lose_nothing() -> Result<()> {
    let folder = Folder::new()?;
    let kept = tempfile::tempdir()?;
    let runs = FAULTS.len().to_string();
    let mut fault = started(&folder, kept.path(), &runs, &["--seed", FIRST_SEED])?;
    let mut died = 0;
    for planned in FAULTS {
        let run = fault
            .line("the run", RUN_DEADLINE, |line| line["faults"].is_array())
            .await?;
        assert_eq!(names(&run), planned, "the seed plans the same");
        assert_eq!(run["lost"], 0, "{run}");
        assert!(run["orders"]["completed"].as_u64() > Some(3), "{run}");
        assert!(run["strangers"]["asked"].as_u64() > Some(20), "{run}");
        let violations = run["violations"].as_object().context("it was checked")?;
        assert_eq!(violations.len(), mesh_verify::Invariant::ALL.len() + 1);
        assert!(violations.values().all(|count| *count == 0), "{run}");
        let happened = run["diary"].as_array().context("it says what happened")?;
        let said = |line: &&Value| line[1].as_str().is_some_and(|what| what.ends_with(" died"));
        died += happened.iter().filter(said).count();
    }
    assert!(died > 0, "a service gets to its failpoint, and is started again");
    let all = fault
        .line("the end", RUN_DEADLINE, |line| line["runs"].is_u64())
        .await?;
    assert_eq!(all["failed"], Value::Array(Vec::new()));
    assert_eq!(std::fs::read_dir(kept.path())?.count(), 0, "nothing to look at");
    fault.ended().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_finds_something_fails_and_says_what_happened_when() -> Result<()> {
    let folder = Folder::new()?;
    let kept = tempfile::tempdir()?;
    let mut fault = started(&folder, kept.path(), "1", &["--seed", "7", "--only", "redis-flushed"])?;
    forget_an_answer(&folder.path().join("from-seed-7")).await?;
    let run = fault
        .line("the run", RUN_DEADLINE, |line| line["faults"].is_array())
        .await?;
    assert!(run["violations"]["I9"].as_u64() > Some(0), "{run}");
    let witness = run["examples"]["I9"][0]["what"]
        .as_str()
        .context("there is a witness")?;
    let all = fault
        .line("the end", RUN_DEADLINE, |line| line["runs"].is_u64())
        .await?;
    assert_eq!(all["failed"], serde_json::json!([7]));
    assert!(fault.ended().await.is_err(), "it must not end well");

    let folder = kept.path().join("seed-7");
    let text = |name: &str| std::fs::read_to_string(folder.join(name));
    let timeline = text("timeline.txt")?;
    for part in [
        "fault redis-flushed",
        "client POST /v1/orders",
        "order.created",
        "everything is mended",
        witness,
    ] {
        assert!(timeline.contains(part), "no {part} in\n{timeline}");
    }
    let kept_run: Value = serde_json::from_str(&text("run.json")?)?;
    assert_eq!((&kept_run["seed"], names(&kept_run)), (&run["seed"], names(&run)));
    assert_eq!(
        kept_run["again"],
        "tiffin fault --runs 1 --seed 7 --speed 60 --only redis-flushed"
    );
    assert!(text("history.jsonl")?.contains("/v1/orders"));
    ensure!(folder.join("logs/gateway.log").is_file(), "the logs are there");
    Ok(())
}

fn started(folder: &Folder, kept: &Path, runs: &str, arguments: &[&str]) -> Result<Started> {
    let kept = kept.to_str().context("a path in UTF-8")?;
    let common = ["fault", "--runs", runs, "--json", "--keep", kept];
    Started::new(folder.path(), &[&common[..], arguments].concat())
}

fn names(run: &Value) -> Vec<&str> {
    let faults = run["faults"].as_array().into_iter().flatten();
    faults.filter_map(|fault| fault["fault"].as_str()).collect()
}

/// As a table of answers would that is not kept: the next try of that key has another effect.
async fn forget_an_answer(data_dir: &Path) -> Result<()> {
    eventually_in("an order's answer is forgotten", ORDER_DEADLINE, || async {
        forgotten(data_dir).await.ok().filter(|answers| *answers > 0)
    })
    .await;
    Ok(())
}

async fn forgotten(data_dir: &Path) -> Result<u64> {
    let running = Running::find(data_dir)?;
    let order_master = of_kind(Kind::Master).find(|service| service.name == "order-master");
    let url = running.database_url(order_master.context("it is in the table")?)?;
    let mut database = PgConnection::connect(&url).await?;
    let answers = sqlx::query("delete from commands where stream_id like 'ord\\_%'")
        .execute(&mut database)
        .await?
        .rows_affected();
    database.close().await?;
    Ok(answers)
}
