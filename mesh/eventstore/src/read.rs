//! Reading events back: one stream, all of them stream by stream, or only where streams stand.

use std::time::Duration;

use mesh_bus::feed::Extent;
use mesh_contracts::envelope::{Body, Envelope, Meta};
use mesh_runtime::Coalesce;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::types::Json;

use crate::BoxError;
use crate::sql_time::SqlTime;
use crate::store::Store;

/// Events read at once when a whole stream is wanted.
const PAGE: i64 = 1_000;

/// Events of one stream that are read together with those of others. Most streams never have as many.
pub(crate) const FEW: u64 = 200;

/// Streams read in one statement: as many as a batch appends to at most.
const STREAMS_MAX: usize = 128;

/// Under load reads come so far apart, a third of what appends do: whoever decides waits for both.
const READ_PERIOD: Duration = Duration::from_millis(4);

/// Reads of a few events, in one statement for all who ask at the same time. A row that cannot be read spoils the
/// answer of who asked for it, and no other.
pub(crate) type Reader = Coalesce<After, Result<Vec<Envelope>, sqlx::Error>, sqlx::Error>;

/// What of a stream is wanted: up to [`FEW`] events after a version.
pub(crate) struct After {
    stream: String,
    version: i64,
}

/// What [`envelope`] reads; `e` is the table of events.
macro_rules! envelope_columns {
    () => {
        "e.stream_id, e.version, e.position, e.event_id, e.type, e.schema_version, e.data, e.meta, e.at, e.recorded_at"
    };
}
pub(crate) use envelope_columns;

impl Store {
    /// Every event of a stream, in order; empty if there is no such stream.
    pub async fn history(&self, stream: &str) -> Result<Vec<Envelope>, sqlx::Error> {
        self.history_after(stream, 0).await
    }

    /// Every event of a stream after `version`, read page by page.
    pub async fn history_after(&self, stream: &str, version: u64) -> Result<Vec<Envelope>, sqlx::Error> {
        let mut connection = self.pool().acquire().await?;
        let mut events: Vec<Envelope> = Vec::new();
        loop {
            let after = events.last().map_or(version, |event| event.version);
            let page = stream_page(&mut connection, stream, after, PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            events.extend(page);
            if is_last {
                return Ok(events);
            }
        }
    }

    /// Up to [`FEW`] events of a stream after `version`, as they are now or a moment later.
    pub(crate) async fn few_after(&self, stream: &str, version: u64) -> Result<Vec<Envelope>, BoxError> {
        let after = After {
            stream: stream.to_owned(),
            version: signed(version),
        };
        Ok(self.reader().ask(after).await??)
    }

    /// Up to `limit` events of a stream after `version`.
    pub(crate) async fn stream_page(&self, stream: &str, after: u64, limit: i64) -> Result<Vec<Envelope>, sqlx::Error> {
        let mut connection = self.pool().acquire().await?;
        stream_page(&mut connection, stream, after, limit).await
    }

    /// Up to `limit` events behind version `version` of `stream`, stream by stream in the order of
    /// their ids: whoever reads all of them has each stream whole and at once.
    pub async fn page(&self, stream: &str, version: u64, limit: i64) -> Result<Vec<Envelope>, sqlx::Error> {
        sqlx::query(concat!(
            "select ",
            envelope_columns!(),
            " from events e where (e.stream_id, e.version) > ($1, $2) order by e.stream_id, e.version limit $3"
        ))
        .bind(stream)
        .bind(signed(version))
        .bind(limit)
        .try_map(|row| envelope(&row))
        .fetch_all(self.pool())
        .await
    }

    /// How many streams have ids that begin with `prefix`, and how many events they have.
    pub(crate) async fn extent(&self, prefix: &str) -> Result<Extent, sqlx::Error> {
        // No id has a character behind the tilde.
        let row: (i64, i64) = sqlx::query_as(
            "select count(*), coalesce(sum(version), 0)::bigint from streams
             where stream_id >= $1 and stream_id < $1 || '~'",
        )
        .bind(prefix)
        .fetch_one(self.pool())
        .await?;
        Ok(Extent {
            streams: unsigned(row.0),
            events: unsigned(row.1),
        })
    }

    /// Up to `limit` streams after `stream` in the order of their ids, with their versions.
    pub(crate) async fn heads_page(&self, after: &str, limit: i64) -> Result<Vec<(String, u64)>, sqlx::Error> {
        sqlx::query(
            "select stream_id, version from streams
             where stream_id > $1 order by stream_id limit $2",
        )
        .bind(after)
        .bind(limit)
        .try_map(|row: PgRow| Ok((row.try_get(0)?, unsigned(row.try_get(1)?))))
        .fetch_all(self.pool())
        .await
    }
}

/// Starts what [`Store::few_after`] asks.
pub(crate) fn reader(pool: PgPool) -> Reader {
    Coalesce::start(STREAMS_MAX, READ_PERIOD, move |wanted| {
        few_of_each(pool.clone(), wanted)
    })
}

async fn few_of_each(pool: PgPool, wanted: Vec<After>) -> Result<Vec<Result<Vec<Envelope>, sqlx::Error>>, sqlx::Error> {
    let mut few: Vec<Result<Vec<Envelope>, sqlx::Error>> = wanted.iter().map(|_| Ok(Vec::new())).collect();
    let (streams, versions): (Vec<String>, Vec<i64>) =
        wanted.into_iter().map(|after| (after.stream, after.version)).unzip();
    let rows = sqlx::query(concat!(
        "select w.nth, ",
        envelope_columns!(),
        " from unnest($1::text[], $2::bigint[]) with ordinality as w (stream, version, nth)
          cross join lateral (
              select * from events where stream_id = w.stream and version > w.version order by version limit $3
          ) e
          order by w.nth, e.version"
    ))
    .bind(streams)
    .bind(versions)
    .bind(signed(FEW))
    .fetch_all(&pool)
    .await?;
    for row in rows {
        let nth = unsigned(row.try_get("nth")?) as usize;
        match (envelope(&row), &mut few[nth - 1]) {
            (Ok(event), Ok(events)) => events.push(event),
            (Err(err), read) => *read = Err(err),
            (Ok(_), Err(_)) => {}
        }
    }
    Ok(few)
}

/// Every event of each stream after its version, each stream's in their order.
pub(crate) async fn histories_after(
    connection: &mut PgConnection,
    streams: &[String],
    versions: &[i64],
) -> Result<Vec<Envelope>, sqlx::Error> {
    sqlx::query(concat!(
        "select ",
        envelope_columns!(),
        " from unnest($1::text[], $2::bigint[]) as w (stream, version)
          cross join lateral (
              select * from events where stream_id = w.stream and version > w.version offset 0
          ) e
          order by e.stream_id, e.version"
    ))
    .bind(streams)
    .bind(versions)
    .try_map(|row| envelope(&row))
    .fetch_all(connection)
    .await
}

async fn stream_page(
    connection: &mut PgConnection,
    stream: &str,
    after: u64,
    limit: i64,
) -> Result<Vec<Envelope>, sqlx::Error> {
    sqlx::query(concat!(
        "select ",
        envelope_columns!(),
        " from events e where e.stream_id = $1 and e.version > $2 order by e.version limit $3"
    ))
    .bind(stream)
    .bind(signed(after))
    .bind(limit)
    .try_map(|row| envelope(&row))
    .fetch_all(connection)
    .await
}

pub(crate) fn envelope(row: &PgRow) -> Result<Envelope, sqlx::Error> {
    let Json(meta): Json<Meta> = row.try_get("meta")?;
    let Json(data): Json<Body> = row.try_get("data")?;
    let SqlTime(at) = row.try_get("at")?;
    let SqlTime(recorded_at) = row.try_get("recorded_at")?;
    let schema_version: i16 = row.try_get("schema_version")?;
    Ok(Envelope {
        event_id: row.try_get("event_id")?,
        stream: row.try_get("stream_id")?,
        version: unsigned(row.try_get("version")?),
        position: unsigned(row.try_get("position")?),
        event_type: row.try_get("type")?,
        schema_version: schema_version.unsigned_abs(),
        at,
        recorded_at,
        meta,
        data,
    })
}

/// Postgres has no unsigned numbers; ours count up from 0 and never reach the sign.
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
