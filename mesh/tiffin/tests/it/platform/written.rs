//! Everything that is written anywhere: the rows of every master's tables, and the provider's ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mesh_local::services::{Kind, of_kind};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::shared;

/// Tables that move by themselves: what is on its way, what others said, what is still to be looked at, and where
/// couriers are. A refusal that wrote into them would have said an event or kept an answer, too.
const RESTLESS: [&str; 6] = [
    "outbox",
    "inbox",
    "relay_checkpoints",
    "quarantine",
    "timers",
    "positions",
];

/// Two looks this far apart that see the same mean that the platform is at rest: reactions follow each other in
/// milliseconds, on a busy machine in tenths of a second.
const REST: Duration = Duration::from_secs(1);

/// What earlier tests set off has ended by then.
const REST_DEADLINE: Duration = Duration::from_secs(60);

/// The stores, open to be looked at again and again.
pub struct Books {
    masters: Vec<Master>,
    ledger: PathBuf,
}

struct Master {
    database: PgConnection,
    query: String,
}

/// Events by type, and a fingerprint of every other table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written(BTreeMap<String, String>);

impl Books {
    /// # Panics
    /// If a store cannot be opened.
    pub async fn open() -> Self {
        let running = shared().running();
        let mut masters = Vec::new();
        for master in of_kind(Kind::Master) {
            let url = running.database_url(master).expect("every master has a database");
            masters.push(Master::open(master.name, &url).await.expect("its superuser enters"));
        }
        Self {
            masters,
            ledger: running.sandbox_ledger(),
        }
    }

    /// What is written now.
    ///
    /// # Panics
    /// If a store cannot be read.
    pub async fn now(&mut self) -> Written {
        let mut all = BTreeMap::new();
        for Master { database, query } in &mut self.masters {
            let query = AssertSqlSafe(query.clone());
            let rows: Vec<(String, String)> = sqlx::query_as(query).fetch_all(database).await.expect("readable");
            all.extend(rows);
        }
        all.insert(
            "sandbox-payments ledger".to_owned(),
            format!("{} bytes", bytes_in(&self.ledger)),
        );
        Written(all)
    }

    /// What is written once nothing moves any more.
    ///
    /// # Panics
    /// If something moves all the time.
    pub async fn at_rest(&mut self) -> Written {
        let started = Instant::now();
        let mut before = self.now().await;
        loop {
            tokio::time::sleep(REST).await;
            let now = self.now().await;
            let moved = now.since(&before);
            if moved.is_empty() {
                return now;
            }
            assert!(started.elapsed() < REST_DEADLINE, "the platform never rests: {moved:?}");
            before = now;
        }
    }
}

impl Master {
    async fn open(name: &str, url: &str) -> sqlx::Result<Self> {
        let mut database = PgConnection::connect(url).await?;
        let tables: Vec<String> =
            sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
                .fetch_all(&mut database)
                .await?;
        let mut query = format!("select '{name} ' || type, count(*)::text from events group by type");
        for table in tables.iter().filter(|table| !RESTLESS.contains(&table.as_str())) {
            query += &format!(
                " union all select '{name} table {table}', \
                 count(*) || ' rows, ' || coalesce(sum(hashtextextended(t::text, 0)), 0) from {table} t"
            );
        }
        Ok(Self { database, query })
    }
}

impl Written {
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

fn bytes_in(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.len())
        .sum()
}
