//! Many appends as the arrays of one call of `engine_append`, and its answer as verdicts.
//!
//! Knows nothing of connections and retries.

use std::collections::{BTreeMap, HashSet};

use mesh_contracts::subject::shard;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use crate::append::{Append, AppendError};
use crate::request::RequestHash;
use crate::sql_time::SqlTime;

macro_rules! engine_append {
    () => {
        "engine_append(\
         $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
         $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36)"
    };
}

const CALL: &str = concat!(
    "select request, verdict, stored_hash, stored_answer from ",
    engine_append!()
);

/// The same for batches with secrets, which are few: those of refused requests are not kept.
const CALL_KEEPING: &str = concat!(
    "with answer as materialized (select request, verdict, stored_hash, stored_answer from ",
    engine_append!(),
    "), kept as (
         insert into secrets (key, about, secret)
         select s.key, s.about, s.secret
         from unnest($37::int[], $38::text[], $39::text[], $40::text[]) as s (request, key, about, secret)
         where not exists (select from answer a where a.request = s.request)
         order by s.key
         on conflict do nothing
     )
     select request, verdict, stored_hash, stored_answer from answer"
);

/// Stores the appends in one statement and gives each its verdict. On an error nothing is stored.
pub(crate) async fn execute(
    connection: &mut PgConnection,
    appends: &[&Append],
) -> Result<Vec<Result<(), AppendError>>, sqlx::Error> {
    let columns = Columns::of(appends);
    let refusals = columns.query().fetch_all(connection).await?;
    let mut verdicts = vec![Ok(()); appends.len()];
    for row in refusals {
        let (request, refusal) = refusal(&row)?;
        let verdict = request
            .checked_sub(1)
            .and_then(|index| verdicts.get_mut(index))
            .ok_or_else(|| sqlx::Error::Protocol(format!("verdict for request {request}")))?;
        *verdict = Err(refusal);
    }
    Ok(verdicts)
}

fn refusal(row: &PgRow) -> Result<(usize, AppendError), sqlx::Error> {
    let request: i32 = row.try_get("request")?;
    let verdict: i32 = row.try_get("verdict")?;
    let refusal = match verdict {
        1 => AppendError::Conflict,
        2 => AppendError::Duplicate {
            hash: RequestHash(row.try_get("stored_hash")?),
            response: row.try_get("stored_answer")?,
        },
        3 => AppendError::AlreadySeen,
        4 => AppendError::TimerGone,
        other => return Err(sqlx::Error::Protocol(format!("unknown verdict {other}"))),
    };
    Ok((usize::try_from(request).unwrap_or(0), refusal))
}

/// The arrays, group by group as in the function's signature. "Request" counts from 1.
#[derive(Default)]
struct Columns<'a> {
    requests: i32,
    repeats: Vec<i32>,
    streams: Vec<&'a str>,
    creates: Vec<bool>,
    rows: Rows,
    events: Events<'a>,
    commands: Commands<'a>,
    marks: Marks<'a>,
    fired: FiredColumns<'a>,
    timers: Timers<'a>,
    asides: Asides<'a>,
}

#[derive(Default)]
struct Rows {
    request: Vec<i32>,
    stream: Vec<i32>,
    expected: Vec<i64>,
    next: Vec<i64>,
}

#[derive(Default)]
struct Events<'a> {
    request: Vec<i32>,
    stream: Vec<&'a str>,
    version: Vec<i64>,
    shard: Vec<i16>,
    id: Vec<Uuid>,
    event_type: Vec<&'a str>,
    schema: Vec<i16>,
    data: Vec<&'a str>,
    meta: Vec<&'a str>,
    at: Vec<SqlTime>,
}

#[derive(Default)]
struct Commands<'a> {
    request: Vec<i32>,
    id: Vec<Uuid>,
    stream: Vec<&'a str>,
    hash: Vec<&'a [u8]>,
    answer: Vec<&'a str>,
}

#[derive(Default)]
struct Marks<'a> {
    request: Vec<i32>,
    consumer: Vec<&'a str>,
    stream: Vec<&'a str>,
    version: Vec<i64>,
}

#[derive(Default)]
struct FiredColumns<'a> {
    request: Vec<i32>,
    stream: Vec<&'a str>,
    kind: Vec<&'a str>,
    dedup: Vec<Uuid>,
}

#[derive(Default)]
struct Timers<'a> {
    request: Vec<i32>,
    stream: Vec<&'a str>,
    kind: Vec<&'a str>,
    due: Vec<Option<SqlTime>>,
    dedup: Vec<Uuid>,
}

#[derive(Default)]
struct Asides<'a> {
    request: Vec<i32>,
    key: Vec<&'a str>,
    about: Vec<&'a str>,
    secret: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn of(appends: &[&'a Append]) -> Self {
        let mut columns = Self {
            requests: number(appends.len()),
            repeats: repeats(appends),
            ..Self::default()
        };
        let indexes = columns.distinct_streams(appends);
        for (index, append) in appends.iter().enumerate() {
            let request = number(index + 1);
            columns.push_streams(request, append, &indexes);
            columns.push_rest(request, append);
        }
        columns
    }

    fn distinct_streams(&mut self, appends: &[&'a Append]) -> BTreeMap<&'a str, i32> {
        let mut creates: BTreeMap<&str, bool> = BTreeMap::new();
        for stream in appends.iter().flat_map(|append| &append.streams) {
            *creates.entry(&stream.stream).or_default() |= stream.expected == 0 && !stream.events.is_empty();
        }
        let mut indexes = BTreeMap::new();
        for (stream, creates) in creates {
            self.streams.push(stream);
            self.creates.push(creates);
            indexes.insert(stream, number(self.streams.len()));
        }
        indexes
    }

    fn push_streams(&mut self, request: i32, append: &'a Append, indexes: &BTreeMap<&'a str, i32>) {
        for stream in &append.streams {
            let expected = version(stream.expected);
            self.rows.request.push(request);
            self.rows.stream.push(indexes[stream.stream.as_str()]);
            self.rows.expected.push(expected);
            self.rows.next.push(expected + i64::from(number(stream.events.len())));
            let shard = i16::from(shard(&stream.stream));
            for (event, version) in stream.events.iter().zip(expected + 1..) {
                let events = &mut self.events;
                events.request.push(request);
                events.stream.push(&stream.stream);
                events.version.push(version);
                events.shard.push(shard);
                events.id.push(event.event_id);
                events.event_type.push(&event.event_type);
                events
                    .schema
                    .push(i16::try_from(event.schema_version).unwrap_or(i16::MAX));
                events.data.push(&event.data);
                events.meta.push(&event.meta);
                events.at.push(SqlTime(event.at));
            }
        }
    }

    fn push_rest(&mut self, request: i32, append: &'a Append) {
        if let Some(command) = &append.command {
            self.commands.request.push(request);
            self.commands.id.push(command.id);
            self.commands.stream.push(append.key());
            self.commands.hash.push(&command.hash.0);
            self.commands.answer.push(&command.response);
        }
        if let Some(mark) = &append.mark {
            self.marks.request.push(request);
            self.marks.consumer.push(&mark.consumer);
            self.marks.stream.push(&mark.stream);
            self.marks.version.push(version(mark.version));
        }
        if let Some(fired) = &append.fired {
            self.fired.request.push(request);
            self.fired.stream.push(&fired.stream);
            self.fired.kind.push(&fired.kind);
            self.fired.dedup.push(fired.dedup);
        }
        for change in &append.timers {
            self.timers.request.push(request);
            self.timers.stream.push(&change.stream);
            self.timers.kind.push(&change.kind);
            self.timers.due.push(change.due.map(SqlTime));
            self.timers.dedup.push(change.dedup);
        }
        if let Some(aside) = &append.aside {
            self.asides.request.push(request);
            self.asides.key.push(&aside.key);
            self.asides.about.push(&aside.about);
            self.asides.secret.push(aside.secret.expose());
        }
    }

    fn query(&self) -> sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments> {
        let keeps = !self.asides.request.is_empty();
        let query = sqlx::query(if keeps { CALL_KEEPING } else { CALL })
            .bind(self.requests)
            .bind(&self.repeats)
            .bind(&self.streams)
            .bind(&self.creates)
            .bind(&self.rows.request)
            .bind(&self.rows.stream)
            .bind(&self.rows.expected)
            .bind(&self.rows.next)
            .bind(&self.events.request)
            .bind(&self.events.stream)
            .bind(&self.events.version)
            .bind(&self.events.shard)
            .bind(&self.events.id)
            .bind(&self.events.event_type)
            .bind(&self.events.schema)
            .bind(&self.events.data)
            .bind(&self.events.meta)
            .bind(&self.events.at)
            .bind(&self.commands.request)
            .bind(&self.commands.id)
            .bind(&self.commands.stream)
            .bind(&self.commands.hash)
            .bind(&self.commands.answer)
            .bind(&self.marks.request)
            .bind(&self.marks.consumer)
            .bind(&self.marks.stream)
            .bind(&self.marks.version)
            .bind(&self.fired.request)
            .bind(&self.fired.stream)
            .bind(&self.fired.kind)
            .bind(&self.fired.dedup)
            .bind(&self.timers.request)
            .bind(&self.timers.stream)
            .bind(&self.timers.kind)
            .bind(&self.timers.due)
            .bind(&self.timers.dedup);
        if !keeps {
            return query;
        }
        query
            .bind(&self.asides.request)
            .bind(&self.asides.key)
            .bind(&self.asides.about)
            .bind(&self.asides.secret)
    }
}

/// Requests that use a key which an earlier request of the batch uses or changes. What becomes of
/// the earlier one is only known after the statement, so these are told to come again.
fn repeats(appends: &[&Append]) -> Vec<i32> {
    let mut commands = HashSet::new();
    let mut marks = HashSet::new();
    let mut timers: HashSet<(&str, &str)> = HashSet::new();
    let mut repeats = Vec::new();
    for (index, append) in appends.iter().enumerate() {
        let mut repeat = false;
        if let Some(command) = &append.command {
            repeat |= !commands.insert(command.id);
        }
        if let Some(mark) = &append.mark {
            repeat |= !marks.insert((mark.consumer.as_str(), mark.stream.as_str()));
        }
        if let Some(fired) = &append.fired {
            repeat |= !timers.insert((&fired.stream, &fired.kind));
        }
        for change in &append.timers {
            timers.insert((&change.stream, &change.kind));
        }
        if repeat {
            repeats.push(number(index + 1));
        }
    }
    repeats
}

fn number(count: usize) -> i32 {
    i32::try_from(count).expect("a batch is bounded far below two billion")
}

fn version(version: u64) -> i64 {
    i64::try_from(version).expect("versions count events")
}
