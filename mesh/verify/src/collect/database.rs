//! One master's database: read as its superuser, never written.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use jiff::Timestamp;
use mesh_contracts::api::{Profile, StoredAddress};
use mesh_contracts::envelope::{Envelope, Meta};
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::ledger::{Account, Entry, Posting};
use mesh_contracts::money::Money;
use mesh_contracts::user::{Language, Role};
use mesh_eventstore::{Answer, SqlTime};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::types::Json;
use sqlx::{ConnectOptions as _, Postgres, Row as _, Transaction};
use uuid::Uuid;

use crate::books::Books;
use crate::keys::Kept;
use crate::lateness::Timer;
use crate::readers::Versions;

/// A master's database.
pub struct Database {
    /// Whose.
    pub master: &'static str,
    /// As the superuser.
    pub pool: PgPool,
}

/// Some streams of one master, as they stood at one moment.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Where each stands, by the table of streams.
    pub heads: Versions,
    /// All events of each, in order.
    pub events: BTreeMap<String, Vec<Envelope>>,
    /// When the timers of each are due, but for those that ask for a notification and move nothing.
    pub deadlines: BTreeMap<String, Vec<Timestamp>>,
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
        let deadlines = sqlx::query(
            "select stream_id, due_at from timers where stream_id = any($1) and kind not like 'notify\\_%'",
        )
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

    /// These payments and their part of the ledger, at one moment.
    pub async fn books(&self, payments: &[&str]) -> sqlx::Result<BTreeMap<String, Books>> {
        let mut books: BTreeMap<String, Books> = BTreeMap::new();
        let mut tx = self.snapshot().await?;
        let events = sqlx::query(
            "select stream_id, version, position, event_id, type, schema_version, data, meta, at, recorded_at
             from events where stream_id = any($1) order by stream_id, version",
        )
        .bind(payments)
        .try_map(|row| envelope(&row))
        .fetch_all(&mut *tx)
        .await?;
        for event in events {
            books.entry(event.stream.clone()).or_default().events.push(event);
        }
        let heads = sqlx::query("select stream_id, version from ledger_heads where stream_id = any($1)")
            .bind(payments)
            .try_map(|row: PgRow| Ok((row.try_get::<String, _>(0)?, number(&row, 1)?)))
            .fetch_all(&mut *tx)
            .await?;
        for (payment, head) in heads {
            books.entry(payment).or_default().head = head;
        }
        let entries = sqlx::query(
            "select stream_id, version, line, account, currency, amount, at
             from ledger_entries where stream_id = any($1) order by stream_id, version, line",
        )
        .bind(payments)
        .try_map(|row| ledger_entry(&row))
        .fetch_all(&mut *tx)
        .await?;
        for (payment, entry) in entries {
            books.entry(payment).or_default().entries.push(entry);
        }
        tx.commit().await?;
        Ok(books)
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
        let row = sqlx::query("select person, role, email, name, phone, language from people where person = $1")
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

fn ledger_entry(row: &PgRow) -> sqlx::Result<(String, Entry)> {
    let line: i16 = row.try_get(2)?;
    let account: String = row.try_get(3)?;
    let currency: String = row.try_get(4)?;
    let unknown = || sqlx::Error::Decode(format!("no such account: {account}").into());
    let posting = Posting {
        account: Account::parse(&account).ok_or_else(unknown)?,
        amount: Money::new(row.try_get(5)?, currency.parse().map_err(unreadable)?),
    };
    let entry = Entry {
        version: number(row, 1)?,
        line: u16::try_from(line).map_err(unreadable)?,
        at: row.try_get::<SqlTime, _>(6)?.0,
        posting,
    };
    Ok((row.try_get(0)?, entry))
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
        language: Language::parse(row.try_get("language")?).context("a language")?,
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
