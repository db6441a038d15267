//! What a failed run leaves behind: one folder with its seed, its faults, what clients did, and what happened when.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use mesh_local::running::Running;
use mesh_local::services::{Kind, of_kind};
use sqlx::{Connection as _, PgConnection};

use super::Outcome;
use mesh_verify::history::{self, Entry, Line};

/// An event, as the timeline tells it: when, of what, which version, and its type.
type Told = (String, String, i64, String);

/// Writes the folder, and says where it is.
pub(super) async fn keep(running: &Running, outcome: &Outcome, into: &Path) -> Result<PathBuf> {
    let folder = into.join(format!("seed-{}", outcome.seed));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let run = serde_json::to_string_pretty(outcome)?;
    std::fs::write(folder.join("run.json"), run + "\n")?;
    let (mut lines, mut history) = (outcome.diary.clone(), String::new());
    for entry in history::read(&running.data_dir().join(history::FILE))? {
        let entry = entry?;
        if at(&entry) < outcome.began {
            continue;
        }
        let _ = writeln!(history, "{}", serde_json::to_string(&entry)?);
        if let Entry::Sent(line) = entry {
            lines.push((line.sent_at, told(&line)));
        }
    }
    std::fs::write(folder.join(history::FILE), history)?;
    lines.extend(events(running, outcome.began).await?);
    lines.sort();
    let mut timeline = String::new();
    for (at, what) in &lines {
        let since = at.duration_since(outcome.began).as_secs_f64();
        let _ = writeln!(timeline, "{since:9.3} s  {what}");
    }
    let _ = writeln!(timeline, "\n{outcome}");
    std::fs::write(folder.join("timeline.txt"), timeline)?;
    let logs = folder.join("logs");
    std::fs::create_dir_all(&logs)?;
    for log in std::fs::read_dir(running.data_dir().join("logs"))? {
        let log = log?;
        std::fs::copy(log.path(), logs.join(log.file_name()))?;
    }
    Ok(folder)
}

fn at(entry: &Entry) -> Timestamp {
    match entry {
        Entry::Sent(line) => line.sent_at,
        Entry::Read(read) => read.read_at,
        Entry::Heard(heard) => heard.heard_at,
    }
}

fn told(line: &Line) -> String {
    let outcome = match &line.outcome {
        history::Outcome::Answered { status, body } => {
            format!(
                "{status} {}",
                body["id"].as_str().or(body["type"].as_str()).unwrap_or_default()
            )
        }
        history::Outcome::Unknown { .. } => "unknown".to_owned(),
    };
    let Line {
        method,
        path,
        key,
        attempt,
        took_ms,
        ..
    } = line;
    format!("client {method} {path} (key {key}, try {attempt}): {outcome} after {took_ms} ms")
}

/// Of all masters, in the order in which they were stored.
async fn events(running: &Running, since: Timestamp) -> Result<Vec<(Timestamp, String)>> {
    let mut lines = Vec::new();
    for master in of_kind(Kind::Master) {
        let mut database = PgConnection::connect(&running.database_url(master)?).await?;
        let rows: Vec<Told> = sqlx::query_as(
            "select to_json(recorded_at)#>>'{}', stream_id, version, type from events
             where recorded_at >= $1::timestamptz order by position",
        )
        .bind(since.to_string())
        .fetch_all(&mut database)
        .await?;
        database.close().await?;
        for (at, stream, version, event) in rows {
            let what = format!("{} {stream} {version} {event}", master.name);
            lines.push((at.parse()?, what));
        }
    }
    Ok(lines)
}
