//! Brings a master's database to the shape that this build needs.
//!
//! Runs as the owner role; creates no database and no role.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};

/// The engine's own books: two migrators in one database must not share a table.
const ENGINE_TABLE: &str = "_engine_migrations";

/// The engine's tables and functions.
pub async fn engine(owner_url: &str) -> Result<(), MigrateError> {
    let mut connection = connect(owner_url).await?;
    engine_migrator().run(&mut connection).await?;
    Ok(connection.close().await?)
}

/// The engine first, then the master's own folder, given as
/// `sqlx::migrate!("../../migrations/<master>")`.
pub async fn run(owner_url: &str, own: Migrator) -> Result<(), MigrateError> {
    engine(owner_url).await?;
    let mut connection = connect(owner_url).await?;
    own.run(&mut connection).await?;
    Ok(connection.close().await?)
}

fn engine_migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("../../migrations/engine");
    migrator.dangerous_set_table_name(ENGINE_TABLE);
    migrator
}

async fn connect(owner_url: &str) -> Result<PgConnection, MigrateError> {
    let mut connection = PgConnection::connect(owner_url).await?;
    // "relation already exists, skipping" of the migrators' own tables is no news.
    connection.execute("set client_min_messages = warning").await?;
    Ok(connection)
}
