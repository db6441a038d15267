//! Opens and reads the stores of a platform. Knows where everything lies, and no rule about it.

mod database;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::jetstream;
use async_nats::jetstream::stream::RetentionPolicy;
use bytes::Bytes;
use futures::TryStreamExt as _;
use http::{Request, header};
use jiff::Timestamp;
use mesh_contracts::api::Profile;
use mesh_contracts::subject::{Context, Queue};
use mesh_identity::{Client, Mesh, Upstream};
use mesh_local::running::Running;
use mesh_local::services::{Kind, of_kind};
use mesh_projection::keys as redis_keys;
use mesh_runtime::Clock;
use redis::aio::MultiplexedConnection;
use serde::Deserialize;

use crate::documents::Stored;
use crate::history;
use crate::money::{Entry, Ledger};
use crate::readers::{Behind, Keeps, Reader, Versions};

pub use database::{Chunk, Database};

/// Streams read at once: some ten thousand events, a few megabytes.
pub const CHUNK: usize = 500;

/// How long readers have to reach the heads that were noted, in wall time.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// An answer that takes longer will not come.
const REDIS_TIMEOUT: Duration = Duration::from_secs(30);

/// Whom the payment provider knows.
const PAYER: &str = "basket-master";

/// The provider's name.
const PROVIDER: &str = "sandbox-payments";

/// The stores of one platform, open.
pub struct Stores {
    /// Every master's database.
    pub masters: Vec<Database>,
    /// As the administrator.
    pub redis: MultiplexedConnection,
    /// Put before the name of a service and its colon; empty outside tests.
    pub redis_prefix: String,
    /// As the administrator.
    pub bus: jetstream::Context,
    /// Put before the names of streams; empty outside tests.
    pub bus_prefix: String,
    /// The payment provider.
    pub provider: Provider,
    /// What clients wrote down.
    pub history: PathBuf,
    /// Business time.
    pub clock: Clock,
    /// How long readers have to reach the heads that were noted.
    pub patience: Duration,
}

/// How to ask the payment provider.
pub struct Provider {
    /// Under the name of the service that pays.
    pub client: Client,
    /// Where it is.
    pub upstream: Upstream,
    /// Its key.
    pub key: String,
}

impl Stores {
    /// Those of a platform that runs.
    pub async fn of(running: &Running) -> Result<Self> {
        let mut masters = Vec::new();
        for master in of_kind(Kind::Master) {
            masters.push(Database::open(master.name, &running.database_url(master)?).await?);
        }
        let nats = running.nats()?;
        let (user, password) = nats.admin();
        let bus = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
            .connect(nats.url())
            .await
            .context("the bus does not answer")?;
        Ok(Self {
            masters,
            redis: open_redis(&running.redis()?.admin_url()).await?,
            redis_prefix: String::new(),
            bus: jetstream::new(bus),
            bus_prefix: String::new(),
            provider: Provider::of(running)?,
            history: running.data_dir().join(history::FILE),
            clock: running.clock().clone(),
            patience: PATIENCE,
        })
    }

    /// Lets go of the databases, so that the platform can stop without waiting for us.
    pub async fn close(&self) {
        for master in &self.masters {
            master.pool.close().await;
        }
    }

    /// Where every stream stands, by context.
    pub async fn heads(&self) -> Result<BTreeMap<Context, Versions>> {
        let mut heads: BTreeMap<Context, Versions> = BTreeMap::new();
        for master in &self.masters {
            for (stream, version) in master.heads().await? {
                let context = Context::of_stream(&stream);
                let context = context.with_context(|| format!("{}: {stream} is of no context", master.master))?;
                heads.entry(context).or_default().insert(stream, version);
            }
        }
        Ok(heads)
    }

    /// How far a reader has come in these streams.
    pub async fn reached(&self, reader: &Reader, streams: &[&str]) -> Result<Versions> {
        let mut reached = Versions::new();
        for chunk in streams.chunks(CHUNK) {
            match reader.keeps {
                Keeps::Inbox => reached.extend(self.database(reader.service)?.marks(reader.service, chunk).await?),
                Keeps::Documents(kind) => {
                    let documents = self.documents(reader.service, kind, chunk).await?;
                    reached.extend(documents.into_iter().map(|(stream, stored)| (stream, stored.version)));
                }
            }
        }
        Ok(reached)
    }

    /// The documents of these streams.
    pub async fn documents(&self, service: &str, kind: &str, streams: &[&str]) -> Result<BTreeMap<String, Stored>> {
        let Some(edition) = self.edition(service, kind).await?.filter(|_| !streams.is_empty()) else {
            return Ok(BTreeMap::new());
        };
        let mut pipeline = redis::pipe();
        for stream in streams {
            let key = redis_keys::document(&self.prefix(service), &edition, stream);
            pipeline.cmd("HMGET").arg(key).arg(&["v", "doc", "q"]);
        }
        type Row = (Option<u64>, Option<String>, Option<String>);
        let rows: Vec<Row> = pipeline.query_async(&mut self.redis.clone()).await?;
        let found = streams
            .iter()
            .zip(rows)
            .filter_map(|(stream, (version, document, quarantine))| {
                let is_there = version.is_some() || quarantine.is_some();
                let stored = Stored {
                    version: version.unwrap_or_default(),
                    document: document.unwrap_or_default(),
                    quarantine,
                };
                is_there.then(|| ((*stream).to_owned(), stored))
            });
        Ok(found.collect())
    }

    /// The streams that have a document of this kind.
    pub async fn shown(&self, service: &str, kind: &str) -> Result<Vec<String>> {
        match self.edition(service, kind).await? {
            Some(edition) => {
                let documents = redis_keys::document(&self.prefix(service), &edition, "");
                self.keys_after(&documents).await
            }
            None => Ok(Vec::new()),
        }
    }

    /// The documents of this kind that readers see; `None` while there are none.
    pub async fn edition(&self, service: &str, kind: &str) -> Result<Option<String>> {
        let edition = redis::cmd("HGET")
            .arg(redis_keys::sentinel(&self.prefix(service)))
            .arg(redis_keys::current(kind))
            .query_async(&mut self.redis.clone())
            .await?;
        Ok(edition)
    }

    /// The personal data that user-info keeps, by person: the version it is of, and the data.
    pub async fn profiles(&self) -> Result<BTreeMap<String, KeptProfile>> {
        let prefix = format!("{}profile:", self.prefix("user-info"));
        let mut profiles = BTreeMap::new();
        for person in self.keys_after(&prefix).await? {
            let text: Option<String> = redis::cmd("GET")
                .arg(format!("{prefix}{person}"))
                .query_async(&mut self.redis.clone())
                .await?;
            // Gone since, because the person is.
            let Some(text) = text else { continue };
            let kept = serde_json::from_str(&text).with_context(|| format!("the profile of {person}"))?;
            profiles.insert(person, kept);
        }
        Ok(profiles)
    }

    /// What follows a prefix in the keys that start with it.
    async fn keys_after(&self, prefix: &str) -> Result<Vec<String>> {
        let mut rest = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let (next, keys): (String, Vec<String>) = redis::cmd("SCAN")
                .arg(&cursor)
                .arg("MATCH")
                .arg(format!("{prefix}*"))
                .arg("COUNT")
                .arg(1_000)
                .query_async(&mut self.redis.clone())
                .await?;
            rest.extend(
                keys.iter()
                    .filter_map(|key| key.strip_prefix(prefix))
                    .map(str::to_owned),
            );
            if next == "0" {
                // A key may be scanned twice.
                rest.sort_unstable();
                rest.dedup();
                return Ok(rest);
            }
            cursor = next;
        }
    }

    fn prefix(&self, service: &str) -> String {
        format!("{}{service}:", self.redis_prefix)
    }

    /// A master's database.
    pub fn database(&self, master: &str) -> Result<&Database> {
        let found = self.masters.iter().find(|database| database.master == master);
        found.with_context(|| format!("there is no master {master}"))
    }

    /// The newest message of every context's stream, and of the work queues there are, by their names.
    pub async fn bus_heads(&self) -> Result<BTreeMap<String, u64>> {
        let mut heads = BTreeMap::new();
        for context in Context::ALL {
            let name = format!("{}{}", self.bus_prefix, context.as_str());
            let stream = self.bus.get_stream(&name).await;
            let stream = stream.with_context(|| format!("the stream {name}"))?;
            heads.insert(name, stream.cached_info().state.last_sequence);
        }
        for queue in Queue::ALL {
            let name = format!("{}{}", self.bus_prefix, queue.as_str());
            // A queue is made by whoever uses it first.
            if let Ok(stream) = self.bus.get_stream(&name).await {
                heads.insert(name, stream.cached_info().state.last_sequence);
            }
        }
        Ok(heads)
    }

    /// Consumers that have not acknowledged everything up to these messages, and workers that have not even begun with
    /// a job: one that was put off may rest for a while.
    pub async fn behind(&self, heads: &BTreeMap<String, u64>) -> Result<Vec<Behind>> {
        let mut behind = Vec::new();
        for (name, head) in heads {
            let stream = self.bus.get_stream(name).await;
            let stream = stream.with_context(|| format!("the stream {name}"))?;
            let is_queue = stream.cached_info().config.retention == RetentionPolicy::WorkQueue;
            let mut consumers = stream.consumers();
            while let Some(consumer) = consumers.try_next().await? {
                let (reached, messages) = if is_queue {
                    (consumer.delivered.stream_sequence, consumer.num_pending)
                } else {
                    let messages = consumer.num_pending + consumer.num_ack_pending as u64;
                    (consumer.ack_floor.stream_sequence, messages)
                };
                if reached < *head && messages > 0 {
                    behind.push(Behind {
                        consumer: consumer.name,
                        stream: name.clone(),
                        messages,
                    });
                }
            }
        }
        Ok(behind)
    }
}

/// Personal data as user-info keeps it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct KeptProfile {
    /// The person's version that it contains.
    pub profile_version: u64,
    /// The data.
    pub profile: Profile,
}

impl Provider {
    fn of(running: &Running) -> Result<Self> {
        let mesh = Mesh::load(&running.certificates(PAYER), PAYER)?;
        let process = running.process(PROVIDER)?;
        Ok(Self {
            client: mesh.client(),
            upstream: Upstream::new(PROVIDER, process.address.to_string()),
            key: running.payments_key()?,
        })
    }

    /// Every payment that the provider knows.
    pub async fn ledger(&self) -> Result<Ledger> {
        let asked_at = Timestamp::now();
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let after = entries
                .last()
                .map(|last| format!("?after={}", last.id))
                .unwrap_or_default();
            let request = Request::get(format!("/v1/ledger{after}"))
                .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
                .body(Bytes::new())?;
            let answer = self.client.request(&self.upstream, request).await?;
            anyhow::ensure!(
                answer.status().is_success(),
                "the payment provider answered {} to GET /v1/ledger",
                answer.status()
            );
            let page: LedgerPage = serde_json::from_slice(answer.body())?;
            let has_more = page.has_more && !page.payments.is_empty();
            entries.extend(page.payments);
            if !has_more {
                return Ok(Ledger { entries, asked_at });
            }
        }
    }
}

#[derive(Deserialize)]
struct LedgerPage {
    payments: Vec<Entry>,
    has_more: bool,
}

/// Redis with time for big answers.
pub async fn open_redis(url: &str) -> Result<MultiplexedConnection> {
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(REDIS_TIMEOUT));
    let client = redis::Client::open(url)?;
    let connection = client.get_multiplexed_async_connection_with_config(&patient).await;
    connection.context("redis does not answer")
}
