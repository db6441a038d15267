//! Brings a master's database to the shape that this build needs.
//!
//! Runs as the owner role; creates no database and no role.

use mesh_runtime::Settings;
use mesh_runtime::settings::{ConfigError, ConfigErrors, Secret};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};

const OWNER_URL: &str = "TIFFIN_POSTGRES_OWNER_URL";

/// The engine's own books: two migrators in one database must not share a table.
const ENGINE_TABLE: &str = "_engine_migrations";

/// A master's database as the owner of its tables: `migrate` needs it, serving must not have it.
pub struct Owner(Option<Secret>);

impl Owner {
    /// Reads `TIFFIN_POSTGRES_OWNER_URL`.
    pub fn from_settings(settings: &mut Settings) -> Self {
        Self(settings.optional_secret(
            OWNER_URL,
            "the same as its owner; `migrate` needs it, serving must not have it",
        ))
    }

    /// Its URL.
    ///
    /// # Errors
    /// If it was not given.
    pub fn url(&self) -> Result<&str, ConfigErrors> {
        let missing = || {
            ConfigErrors(vec![ConfigError {
                name: OWNER_URL,
                complaint: "is required to migrate".to_owned(),
            }])
        };
        self.0.as_ref().map(Secret::expose).ok_or_else(missing)
    }
}

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
