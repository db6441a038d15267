//! One replica at a time: work that belongs to whoever holds a session's advisory lock.
//!
//! The lock goes with its connection, so a dead leader is replaced as soon as Postgres notices.

use std::time::Duration;

use mesh_runtime::Shutdown;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use xxhash_rust::xxh3::xxh3_64;

use crate::store::Store;

/// Between two looks whether the place is free, and between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(500);

/// Waits to become the only one in this database that does `work`, and gives the connection that
/// holds the lock: to lose it is to lose the lead. `None` on shutdown.
pub(crate) async fn lead(store: &Store, work: &str, shutdown: &Shutdown) -> Option<PgConnection> {
    loop {
        tokio::select! {
            () = shutdown.triggered() => return None,
            won = campaign(store, work) => match won {
                Ok(connection) => return Some(connection),
                Err(err) => tracing::warn!(work, error = %err, "cannot ask for the lead"),
            },
        }
        tokio::select! {
            () = shutdown.triggered() => return None,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn campaign(store: &Store, work: &str) -> Result<PgConnection, sqlx::Error> {
    let key = xxh3_64(work.as_bytes()).cast_signed();
    let mut connection = PgConnection::connect_with(store.maintenance()).await?;
    loop {
        let won: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(key)
            .fetch_one(&mut connection)
            .await?;
        if won {
            tracing::info!(work, "leading");
            return Ok(connection);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
