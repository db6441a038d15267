//! Snapshots of long streams: written behind the append, read by whoever knows nothing of a stream yet.
//!
//! Nothing rests on them. One that is missing, of another form or unreadable costs time and changes no state, and a
//! write that fails is only counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, Row as _};
use tokio::sync::mpsc;

use super::Standing;
use crate::aggregate::{Aggregate, SnapshotForm};
use crate::read::{FEW, signed, unsigned};
use crate::store::Store;

/// A snapshot is due whenever a stream has grown by so many events: a cold load then reads so many of the
/// first events, and at most so many of the last. A busy food point's state weighs as much as eight of its events, so this adds four percent to what is written.
pub(super) const SNAPSHOT_EVERY: u64 = FEW;

/// Snapshots that may wait to be written. What does not fit is left out: the stream's next one comes.
const QUEUE_MAX: usize = 256;

/// Snapshots written in one statement; the largest states, of busy food points, weigh a few kilobytes.
const BATCH_MAX: usize = 16;

/// A stream whose snapshot is to be written.
type Due<A> = (String, Arc<Standing<A>>);

/// Takes snapshots that are due, and has them written by a task of its own.
pub(super) struct Snapshots<A: Aggregate> {
    due: Option<mpsc::Sender<Due<A>>>,
}

impl<A: Aggregate> Snapshots<A> {
    /// Starts the task, if states of `A` are kept.
    pub fn start(store: &Store) -> Self {
        let due = A::SNAPSHOT.map(|form| {
            let (due, waiting) = mpsc::channel(QUEUE_MAX);
            tokio::spawn(write_all(store.clone(), form, waiting));
            due
        });
        Self { due }
    }

    /// A stream has come from `before` to where it stands.
    pub fn moved(&self, stream: &str, before: u64, standing: &Arc<Standing<A>>) {
        let Some(due) = &self.due else { return };
        if standing.version / SNAPSHOT_EVERY == before / SNAPSHOT_EVERY {
            return;
        }
        if due.try_send((stream.to_owned(), Arc::clone(standing))).is_err() {
            metrics::counter!("snapshots_left_out_total", "category" => A::CATEGORY).increment(1);
        }
    }
}

/// Writes what is due until nobody can have any more.
async fn write_all<A: Aggregate>(store: Store, form: SnapshotForm<A::State>, mut due: mpsc::Receiver<Due<A>>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while due.recv_many(&mut batch, BATCH_MAX).await > 0 {
        // The newest of each stream, all in the order of their keys, so that two replicas cannot deadlock.
        let newest: BTreeMap<String, Arc<Standing<A>>> = batch.drain(..).collect();
        let count = newest.len() as u64;
        let outcome = match write(&store, form, newest).await {
            Ok(()) => "written",
            Err(err) => {
                tracing::warn!(category = A::CATEGORY, error = %err, "snapshots could not be written");
                "failed"
            }
        };
        metrics::counter!("snapshots_total", "category" => A::CATEGORY, "outcome" => outcome).increment(count);
    }
}

async fn write<A: Aggregate>(
    store: &Store,
    form: SnapshotForm<A::State>,
    newest: BTreeMap<String, Arc<Standing<A>>>,
) -> Result<(), crate::BoxError> {
    let (mut streams, mut versions, mut states) = (Vec::new(), Vec::new(), Vec::new());
    for (stream, standing) in newest {
        let Some(state) = &standing.state else { continue };
        streams.push(stream);
        versions.push(signed(standing.version));
        states.push((form.encode)(state)?);
    }
    // One that another replica has written since stays.
    sqlx::query(
        "insert into snapshots as s (stream_id, fold_version, version, state, at)
         select n.stream, $4, n.version, n.state::json, clock_timestamp()
         from unnest($1::text[], $2::bigint[], $3::text[]) as n (stream, version, state)
         on conflict (stream_id, fold_version) do update
         set version = excluded.version, state = excluded.state, at = excluded.at
         where s.version < excluded.version",
    )
    .bind(streams)
    .bind(versions)
    .bind(states)
    .bind(form.fold_version())
    .execute(store.pool())
    .await?;
    Ok(())
}

/// What snapshots know of these streams; a stream without a usable one is not among them.
pub(super) async fn newest<'e, A: Aggregate>(
    executor: impl PgExecutor<'e>,
    streams: &[String],
) -> Result<HashMap<String, Standing<A>>, sqlx::Error> {
    let Some(form) = A::SNAPSHOT.filter(|_| !streams.is_empty()) else {
        return Ok(HashMap::new());
    };
    let rows: Vec<(String, u64, String)> = sqlx::query(
        "select s.stream_id, s.version, s.state::text
         from unnest($1::text[]) as w (stream)
         cross join lateral (
             select * from snapshots where stream_id = w.stream and fold_version = $2 offset 0
         ) s",
    )
    .bind(streams)
    .bind(form.fold_version())
    .try_map(|row: PgRow| Ok((row.try_get(0)?, unsigned(row.try_get(1)?), row.try_get(2)?)))
    .fetch_all(executor)
    .await?;
    let usable = rows
        .into_iter()
        .filter_map(|(stream, version, state)| match (form.decode)(&state) {
            Ok(state) => Some((
                stream,
                Standing {
                    state: Some(state),
                    version,
                },
            )),
            Err(err) => {
                tracing::warn!(%stream, error = %err, "snapshot is unreadable, folding the events");
                metrics::counter!("snapshots_unreadable_total", "category" => A::CATEGORY).increment(1);
                None
            }
        });
    Ok(usable.collect())
}
