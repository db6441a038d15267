//! Waits until what was just written has reached every master that decides by it.
//!
//! Customers need no such thing: for them a new menu may be a moment late. A replay whose first order comes
//! in the same second as the menu does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mesh_contracts::subject::Context;
use mesh_local::running::Running;
use mesh_local::services::SERVICES;
use sqlx::{Connection as _, PgConnection};

/// Which masters keep a table of whose facts.
const HEARERS: [(&str, Context); 4] = [
    ("order-master", Context::Menu),
    ("order-master", Context::Point),
    ("basket-master", Context::Menu),
    ("courier-master", Context::User),
];

/// Messages travel in milliseconds; a master that needs longer is stuck.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A look costs two small queries per pair.
const POLL: Duration = Duration::from_millis(100);

/// Versions of streams.
type Versions = BTreeMap<String, i64>;

/// Waits until menu, food points and couriers, as they are now, are known wherever they matter.
pub async fn everyone_has_heard(running: &Running) -> Result<()> {
    let started = Instant::now();
    for (hearer, context) in HEARERS {
        let heads = versions(running, context.owner(), "SELECT stream_id, version FROM streams").await?;
        loop {
            let heard = versions(running, hearer, "SELECT source_stream, version FROM inbox").await?;
            let missing = heads
                .iter()
                .filter(|(stream, _)| Context::of_stream(stream) == Some(context))
                .filter(|(stream, version)| heard.get(*stream).is_none_or(|heard| heard < version))
                .count();
            if missing == 0 {
                break;
            }
            if started.elapsed() > TIMEOUT {
                bail!("{hearer} has not heard of {missing} streams of {context:?} after {TIMEOUT:?}");
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}

async fn versions(running: &Running, master: &str, query: &'static str) -> Result<Versions> {
    let service = SERVICES
        .iter()
        .find(|service| service.name == master)
        .expect("a master of the table");
    let mut connection = PgConnection::connect(&running.database_url(service)?).await?;
    let rows: Vec<(String, i64)> = sqlx::query_as(query).fetch_all(&mut connection).await?;
    connection.close().await?;
    Ok(rows.into_iter().collect())
}
