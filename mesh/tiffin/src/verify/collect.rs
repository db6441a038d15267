//! Opens and reads the stores of a platform. Knows where everything lies, and no rule about it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::jetstream;
use bytes::Bytes;
use futures::TryStreamExt as _;
use http::{Request, header};
use jiff::Timestamp;
use mesh_contracts::api::{Profile, StoredAddress};
use mesh_contracts::envelope::{Envelope, Meta};
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::subject::Context;
use mesh_contracts::user::Role;
use mesh_eventstore::{Answer, SqlTime};
use mesh_identity::{Client, Mesh, Upstream};
use mesh_local::running::Running;
use mesh_local::services::{Kind, of_kind};
use mesh_projection::keys as redis_keys;
use mesh_runtime::Clock;
use redis::aio::MultiplexedConnection;
use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::types::Json;
use sqlx::{ConnectOptions as _, Postgres, Row as _, Transaction};
use uuid::Uuid;

use super::documents::Stored;
use super::keys::Kept;
use super::lateness::Timer;
use super::money::{Entry, Ledger};
use super::readers::{Behind, Keeps, Reader, Versions};
use crate::client::history;

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

/// A master's database.
pub struct Database {
    /// Whose.
    pub master: &'static str,
    /// As the superuser.
    pub pool: PgPool,
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

/// Some streams of one master, as they stood at one moment.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Where each stands, by the table of streams.
    pub heads: Versions,
    /// All events of each, in order.
    pub events: BTreeMap<String, Vec<Envelope>>,
    /// When the timers of each are due.
    pub deadlines: BTreeMap<String, Vec<Timestamp>>,
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
        let mut pipeline = redis::pipe();
        for stream in streams {
            let key = redis_keys::document(&self.prefix(service), kind, stream);
            pipeline.cmd("HMGET").arg(key).arg(&["v", "doc", "q"]);
        }
        if streams.is_empty() {
            return Ok(BTreeMap::new());
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
        self.keys_after(&redis_keys::document(&self.prefix(service), kind, ""))
            .await
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

    /// The newest message of every context's stream.
    pub async fn bus_heads(&self) -> Result<BTreeMap<Context, u64>> {
        let mut heads = BTreeMap::new();
        for context in Context::ALL {
            let name = format!("{}{}", self.bus_prefix, context.as_str());
            let stream = self
                .bus
                .get_stream(&name)
                .await
                .with_context(|| format!("the stream {name}"))?;
            heads.insert(context, stream.cached_info().state.last_sequence);
        }
        Ok(heads)
    }

    /// Consumers that have not acknowledged everything up to these messages.
    pub async fn behind(&self, heads: &BTreeMap<Context, u64>) -> Result<Vec<Behind>> {
        let mut behind = Vec::new();
        for (context, head) in heads {
            let name = format!("{}{}", self.bus_prefix, context.as_str());
            let stream = self
                .bus
                .get_stream(&name)
                .await
                .with_context(|| format!("the stream {name}"))?;
            let mut consumers = stream.consumers();
            while let Some(consumer) = consumers.try_next().await? {
                let messages = consumer.num_pending + consumer.num_ack_pending as u64;
                if consumer.ack_floor.stream_sequence < *head && messages > 0 {
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

impl Database {
    /// Opens one with two connections: one at a time, and one to spare.
    pub async fn open(master: &'static str, url: &str) -> Result<Self> {
        let options: PgConnectOptions = url.parse()?;
        let options = options.application_name("tiffin verify").disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .connect_with(options)
            .await
            .with_context(|| format!("the database of {master} does not answer"))?;
        Ok(Self { master, pool })
    }

    /// Where every stream stands.
    pub async fn heads(&self) -> sqlx::Result<Versions> {
        sqlx::query("select stream_id, version from streams")
            .try_map(|row: PgRow| Ok((row.try_get(0)?, number(&row, 1)?)))
            .fetch(&self.pool)
            .try_collect()
            .await
    }

    /// How far a consumer has applied these streams.
    pub async fn marks(&self, consumer: &str, streams: &[&str]) -> sqlx::Result<Vec<(String, u64)>> {
        sqlx::query("select source_stream, version from inbox where consumer = $1 and source_stream = any($2)")
            .bind(consumer)
            .bind(streams)
            .try_map(|row: PgRow| Ok((row.try_get(0)?, number(&row, 1)?)))
            .fetch_all(&self.pool)
            .await
    }

    /// All of these streams, at one moment.
    pub async fn chunk(&self, streams: &[&str]) -> sqlx::Result<Chunk> {
        let mut chunk = Chunk::default();
        let mut tx = self.snapshot().await?;
        let heads: Vec<(String, u64)> = sqlx::query("select stream_id, version from streams where stream_id = any($1)")
            .bind(streams)
            .try_map(|row: PgRow| Ok((row.try_get(0)?, number(&row, 1)?)))
            .fetch_all(&mut *tx)
            .await?;
        chunk.heads.extend(heads);
        let mut events = sqlx::query(
            "select stream_id, version, position, event_id, type, schema_version, data, meta, at, recorded_at
             from events where stream_id = any($1) order by stream_id, version",
        )
        .bind(streams)
        .try_map(|row| envelope(&row))
        .fetch(&mut *tx);
        while let Some(event) = events.try_next().await? {
            chunk.events.entry(event.stream.clone()).or_default().push(event);
        }
        drop(events);
        let deadlines = sqlx::query("select stream_id, due_at from timers where stream_id = any($1)")
            .bind(streams)
            .try_map(|row: PgRow| Ok((row.try_get::<String, _>(0)?, row.try_get::<SqlTime, _>(1)?.0)))
            .fetch_all(&mut *tx)
            .await?;
        for (stream, due) in deadlines {
            chunk.deadlines.entry(stream).or_default().push(due);
        }
        tx.commit().await?;
        Ok(chunk)
    }

    /// Which of these streams there are.
    pub async fn existing(&self, streams: &[&str]) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar("select stream_id from streams where stream_id = any($1)")
            .bind(streams)
            .fetch_all(&self.pool)
            .await
    }

    /// Every deadline.
    pub async fn timers(&self) -> sqlx::Result<Vec<Timer>> {
        let master = self.master;
        sqlx::query("select stream_id, kind, due_at from timers")
            .try_map(move |row: PgRow| {
                Ok(Timer {
                    master,
                    stream: row.try_get(0)?,
                    kind: row.try_get(1)?,
                    due: row.try_get::<SqlTime, _>(2)?.0,
                })
            })
            .fetch_all(&self.pool)
            .await
    }

    /// Every stored answer, and where its stream stands by now.
    pub async fn kept(&self) -> Result<Vec<Kept>> {
        let mut rows = sqlx::query(
            "select c.command_id, c.response, coalesce(s.version, 0)
             from commands c left join streams s on s.stream_id = c.stream_id",
        )
        .try_map(|row: PgRow| {
            let command: Uuid = row.try_get(0)?;
            let response: String = row.try_get(1)?;
            Ok((command, response, number(&row, 2)?))
        })
        .fetch(&self.pool);
        let mut kept = Vec::new();
        while let Some((command, response, head)) = rows.try_next().await? {
            let answer: Answer = serde_json::from_str(&response)
                .with_context(|| format!("{} keeps an unreadable answer to {command}", self.master))?;
            kept.push(Kept {
                master: self.master,
                command,
                status: answer.status,
                body: answer.json(),
                stream: answer.stream,
                version: answer.version,
                head,
                read: 0,
            });
        }
        Ok(kept)
    }

    /// A person's own data with the person's events, at one moment; no data if the person is gone.
    pub async fn person(&self, id: &str) -> Result<(Option<Profile>, Vec<Envelope>)> {
        let mut tx = self.snapshot().await?;
        let row = sqlx::query("select person, role, email, name, phone from people where person = $1")
            .bind(id)
            .fetch_optional(&mut *tx)
            .await?;
        let addresses =
            sqlx::query("select address, text, country, lat_e6, lon_e6, instructions from addresses where person = $1")
                .bind(id)
                .fetch_all(&mut *tx)
                .await?;
        let events = sqlx::query(
            "select stream_id, version, position, event_id, type, schema_version, data, meta, at, recorded_at
             from events where stream_id = $1 order by version",
        )
        .bind(id)
        .try_map(|row| envelope(&row))
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        let profile = row.map(|row| profile(&row, &addresses)).transpose()?;
        Ok((profile, events))
    }

    async fn snapshot(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.pool
            .begin_with("begin transaction isolation level repeatable read, read only")
            .await
    }
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

fn envelope(row: &PgRow) -> sqlx::Result<Envelope> {
    let Json(data) = row.try_get(6)?;
    let Json(meta): Json<Meta> = row.try_get(7)?;
    let schema_version: i16 = row.try_get(5)?;
    Ok(Envelope {
        stream: row.try_get(0)?,
        version: number(row, 1)?,
        position: number(row, 2)?,
        event_id: row.try_get(3)?,
        event_type: row.try_get(4)?,
        schema_version: u16::try_from(schema_version).map_err(unreadable)?,
        data,
        meta,
        at: row.try_get::<SqlTime, _>(8)?.0,
        recorded_at: row.try_get::<SqlTime, _>(9)?.0,
    })
}

fn profile(row: &PgRow, addresses: &[PgRow]) -> Result<Profile> {
    let id: String = row.try_get("person")?;
    let role: String = row.try_get("role")?;
    let stored = addresses.iter().map(|row| {
        let country: String = row.try_get("country")?;
        let place = Place {
            country: Country::parse(&country).context("a country")?,
            at: Coordinates::new(row.try_get("lat_e6")?, row.try_get("lon_e6")?).context("on earth")?,
        };
        let address = StoredAddress {
            text: row.try_get("text")?,
            place,
            instructions: row.try_get("instructions")?,
        };
        anyhow::Ok((row.try_get("address")?, address))
    });
    Ok(Profile {
        id: id.parse()?,
        role: Role::parse(&role).context("a role")?,
        email: row.try_get("email")?,
        name: row.try_get("name")?,
        phone: row.try_get("phone")?,
        addresses: stored.collect::<Result<_>>()?,
    })
}

/// A count, which Postgres keeps with a sign.
fn number(row: &PgRow, column: usize) -> sqlx::Result<u64> {
    let signed: i64 = row.try_get(column)?;
    u64::try_from(signed).map_err(unreadable)
}

fn unreadable(err: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(err.into())
}
