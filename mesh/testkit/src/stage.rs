//! What one test has to itself: databases, a bus prefix, a Redis prefix, and the check that it leaves nothing half done.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use mesh_bus::BusConfig;
use mesh_local::secrets::random_hex;
use mesh_local::servers::Database;
use sqlx::{Connection as _, PgConnection};

use crate::shared::shared;

/// What tests call their region.
const REGION: &str = "local";

/// Relays and consumers finish what the test's last act set off; they need far less.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is looked whether everything has settled.
const SETTLE_POLL: Duration = Duration::from_millis(25);

/// One test's own corner of the shared servers.
#[derive(Debug)]
pub struct Stage {
    name: String,
    databases: Mutex<Vec<String>>,
}

/// How one test reaches Redis.
#[derive(Debug, Clone)]
pub struct RedisAccess {
    /// With user and password, who may use the prefix alone.
    pub url: String,
    /// What every key and channel has to start with.
    pub prefix: String,
}

impl RedisAccess {
    /// A connection of its own.
    ///
    /// # Panics
    /// If Redis does not answer.
    pub async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url.as_str()).expect("a URL");
        client.get_multiplexed_async_connection().await.expect("Redis is up")
    }

    /// Every key there is.
    ///
    /// # Panics
    /// If Redis does not answer.
    pub async fn keys(&self) -> Vec<String> {
        let mut redis = self.connection().await;
        let (mut all, mut cursor) = (Vec::new(), 0);
        loop {
            let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(format!("{}*", self.prefix))
                .arg("COUNT")
                .arg(1_000)
                .query_async(&mut redis)
                .await
                .expect("our user may scan");
            all.extend(keys);
            cursor = next;
            if cursor == 0 {
                return all;
            }
        }
    }

    /// What FLUSHALL does, for these keys alone.
    ///
    /// # Panics
    /// If Redis does not answer.
    pub async fn flush(&self) {
        let keys = self.keys().await;
        if !keys.is_empty() {
            let mut redis = self.connection().await;
            redis::cmd("DEL")
                .arg(keys)
                .exec_async(&mut redis)
                .await
                .expect("our keys");
        }
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Stage {
    /// A corner that nobody has used; starts the servers if nobody has yet.
    pub fn new() -> Self {
        shared();
        Self {
            name: format!("t{}", random_hex(6)),
            databases: Mutex::default(),
        }
    }

    /// What every stream, subject and durable of this test starts with.
    pub fn bus_prefix(&self) -> String {
        format!("{}-", self.name)
    }

    /// A fresh, empty database; one per master of the test.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn database(&self) -> Database {
        let name = format!("t_{}", random_hex(8));
        let database = shared().servers().postgres.database(&name, "serves", "owns").await;
        self.databases.lock().expect("nobody panics with this lock").push(name);
        database.expect("a fresh database can be made")
    }

    /// The bus as a service sees it, under this test's prefix.
    pub fn bus(&self, service: &str) -> BusConfig {
        let shared = shared();
        BusConfig::new(
            shared.servers().nats.url(),
            service,
            shared.bus_password(service),
            REGION,
        )
        .with_prefix(self.bus_prefix())
    }

    /// The bus as its administrator sees it, without prefix.
    ///
    /// # Panics
    /// If the broker refuses.
    pub async fn bus_admin(&self) -> async_nats::Client {
        let nats = &shared().servers().nats;
        let (user, password) = nats.admin();
        async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
            .connect(nats.url())
            .await
            .expect("the broker lets its administrator in")
    }

    /// A fresh part of Redis with a user who may use nothing else.
    ///
    /// # Panics
    /// If Redis refuses.
    pub async fn redis(&self) -> RedisAccess {
        let user = format!("{}-{}", self.name, random_hex(3));
        let prefix = format!("{user}:");
        let url = shared().servers().redis.add_user(&user, &random_hex(16), &prefix).await;
        RedisAccess {
            url: url.expect("a fresh user can be made"),
            prefix,
        }
    }

    /// What is not settled: outbox rows and messages without acknowledgement, each said in words.
    ///
    /// # Panics
    /// If a server does not answer.
    pub async fn leftovers(&self) -> Vec<String> {
        let databases = self.databases.lock().expect("nobody panics with this lock").clone();
        let mut left = Vec::new();
        for database in databases {
            let rows = outbox_rows(&database).await.expect("the database server answers");
            if rows > 0 {
                left.push(format!("{rows} outbox rows in {database}"));
            }
        }
        left.extend(self.unacknowledged().await.expect("the broker answers"));
        left
    }

    /// Waits for relays and consumers to finish.
    ///
    /// # Panics
    /// If something is left when they should long be done.
    pub async fn settled(&self) {
        let started = Instant::now();
        loop {
            let left = self.leftovers().await;
            if left.is_empty() {
                return;
            }
            assert!(
                started.elapsed() < SETTLE_TIMEOUT,
                "the test leaves work undone: {}",
                left.join("; ")
            );
            tokio::time::sleep(SETTLE_POLL).await;
        }
    }

    async fn unacknowledged(&self) -> anyhow::Result<Vec<String>> {
        let jetstream = async_nats::jetstream::new(self.bus_admin().await);
        let mut left = Vec::new();
        let mut streams = jetstream.stream_names();
        while let Some(name) = streams.try_next().await? {
            if !name.starts_with(&self.bus_prefix()) {
                continue;
            }
            let stream = jetstream.get_stream(&name).await?;
            let mut consumers = stream.consumers();
            while let Some(consumer) = consumers.try_next().await? {
                let waiting = consumer.num_pending + consumer.num_ack_pending as u64;
                if waiting > 0 {
                    left.push(format!(
                        "{waiting} messages of {name} that {} has not acknowledged",
                        consumer.name
                    ));
                }
            }
        }
        Ok(left)
    }
}

/// Runs a test on a stage of its own, and fails it if it leaves outbox rows or unacknowledged messages.
/// What the body returns, such as its services, lives until they have had their time to finish.
///
/// # Panics
/// If the body does, or if work is left undone.
pub async fn run<T>(body: impl AsyncFnOnce(&Stage) -> T) {
    let stage = Stage::new();
    let alive = body(&stage).await;
    stage.settled().await;
    drop(alive);
}

async fn outbox_rows(database: &str) -> sqlx::Result<i64> {
    let url = shared().servers().postgres.superuser_url(database);
    let mut connection = PgConnection::connect(&url).await?;
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('outbox') IS NOT NULL")
        .fetch_one(&mut connection)
        .await?;
    let rows = if exists {
        sqlx::query_scalar("SELECT count(*) FROM outbox")
            .fetch_one(&mut connection)
            .await?
    } else {
        0
    };
    connection.close().await?;
    Ok(rows)
}
