//! Everything that is written anywhere: the rows of every master's tables, and the provider's ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use mesh_local::services::{Kind, of_kind};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::shared;

/// Tables that move by themselves: what is on its way, what others said, and where couriers are.
const RESTLESS: [&str; 5] = ["outbox", "inbox", "relay_checkpoints", "quarantine", "positions"];

/// Two looks this far apart that see the same mean that the platform is at rest: reactions follow each other in
/// milliseconds, on a busy machine in tenths of a second.
const REST: Duration = Duration::from_secs(2);

/// What earlier tests set off has ended by then.
const REST_DEADLINE: Duration = Duration::from_secs(60);

/// Events by type, and a fingerprint of every other table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written(BTreeMap<String, String>);

impl Written {
    /// What is written now.
    ///
    /// # Panics
    /// If a store cannot be read.
    pub async fn now() -> Self {
        let running = shared().running();
        let mut all = BTreeMap::new();
        for master in of_kind(Kind::Master) {
            let url = running.database_url(master).expect("every master has a database");
            rows(master.name, &url, &mut all).await.expect("a database can be read");
        }
        let ledger = bytes_in(&running.sandbox_ledger());
        all.insert("sandbox-payments ledger".to_owned(), format!("{ledger} bytes"));
        Self(all)
    }

    /// What is written once nothing moves any more.
    ///
    /// # Panics
    /// If something moves all the time.
    pub async fn at_rest() -> Self {
        let started = Instant::now();
        let mut before = Self::now().await;
        loop {
            tokio::time::sleep(REST).await;
            let now = Self::now().await;
            if now == before {
                return now;
            }
            let moved = now.since(&before);
            assert!(started.elapsed() < REST_DEADLINE, "the platform never rests: {moved:?}");
            before = now;
        }
    }

    /// What differs from what was written before, in words; nothing if nothing does.
    pub fn since(&self, before: &Self) -> Vec<String> {
        let places: BTreeSet<&String> = self.0.keys().chain(before.0.keys()).collect();
        let at = |written: &Self, place: &String| written.0.get(place).cloned().unwrap_or_else(|| "none".to_owned());
        places
            .into_iter()
            .map(|place| (place, at(before, place), at(self, place)))
            .filter(|(_, before, now)| before != now)
            .map(|(place, before, now)| format!("{place}: {before} → {now}"))
            .collect()
    }
}

async fn rows(master: &str, url: &str, all: &mut BTreeMap<String, String>) -> sqlx::Result<()> {
    let mut database = PgConnection::connect(url).await?;
    let events: Vec<(String, i64)> = sqlx::query_as("select type, count(*) from events group by type")
        .fetch_all(&mut database)
        .await?;
    for (event_type, count) in events {
        all.insert(format!("{master} {event_type}"), count.to_string());
    }
    let tables: Vec<String> = sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
        .fetch_all(&mut database)
        .await?;
    for table in tables.iter().filter(|table| !RESTLESS.contains(&table.as_str())) {
        let query =
            format!("select count(*) || ' rows ' || coalesce(sum(hashtextextended(t::text, 0)), 0) from {table} t");
        let print: String = sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_one(&mut database)
            .await?;
        all.insert(format!("{master} table {table}"), print);
    }
    database.close().await
}

fn bytes_in(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.len())
        .sum()
}
