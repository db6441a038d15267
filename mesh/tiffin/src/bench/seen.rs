//! When each event could be seen, at this machine's one clock, against when it was stored.
//!
//! Postgres writes down the time within the append, so the commit itself is part of every figure. Redis tells of a
//! document in the same step that writes it, on the topics that somebody came to: here one operator, who is told where
//! every order stands.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use mesh_identity::client::Streamed;
use mesh_local::running::Running;
use serde::Deserialize;
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinHandle;

use super::database;
use super::door::Door;
use super::pace::Latency;
use crate::client::live::Parser;

/// Whose events, and where Redis tells of the orders they move.
const MASTER: &str = "order-master";
const LIVE: &str = "order-info:live:";
/// What a topic has that somebody came to, for longer than any bench takes.
const COUNTER: &str = "order-info:seq:";
const HEARD_FOR_S: u64 = 6 * 3600;

/// The operators' board.
pub(super) const BOARD: &str = "ops";

/// Everything has been shown when nothing new was for so long.
const QUIET: Duration = Duration::from_secs(2);
/// How long to wait for that.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

/// Of an event.
type Key = (String, u64);

/// What was seen, and when. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<(Key, Timestamp)>>>);

/// Ends what fills it when dropped.
pub(super) struct Watch {
    pub seen: Seen,
    followed: Mutex<Vec<Followed>>,
}

struct Followed {
    task: JoinHandle<()>,
    /// Microseconds of the wall clock.
    heard_at: Arc<AtomicI64>,
}

/// As much of an entry as names the event.
#[derive(Deserialize)]
struct Entry {
    stream: String,
    version: u64,
}

impl Seen {
    fn note(&self, text: &str, at: Timestamp) {
        if let Ok(entry) = serde_json::from_str::<Entry>(text) {
            self.lock().push(((entry.stream, entry.version), at));
        }
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// When the newest was seen.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.lock().iter().map(|(_, at)| *at).max()
    }

    /// Waits until nothing more comes.
    pub(super) async fn quiet(&self) {
        let started = std::time::Instant::now();
        let mut last = self.count();
        loop {
            tokio::time::sleep(QUIET).await;
            let now = self.count();
            if now == last || started.elapsed() > QUIET_WITHIN {
                return;
            }
            last = now;
        }
    }

    /// From the commit on, of those that are known to have been committed.
    pub(super) fn lag(&self, commits: &Commits) -> Latency {
        self.lag_within(commits, Timestamp::MIN, Timestamp::MAX)
    }

    /// The same, of those that were committed between these instants.
    pub(super) fn lag_within(&self, commits: &Commits, from: Timestamp, until: Timestamp) -> Latency {
        let mut latency = Latency::new();
        for (key, at) in self.lock().iter() {
            let commit = commits.0.get(key).filter(|commit| (from..until).contains(commit));
            if let Some(commit) = commit {
                latency.record(Duration::try_from(at.duration_since(*commit)).unwrap_or_default());
            }
        }
        latency
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Key, Timestamp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Every change of where an order stands that Redis shows.
    pub(super) async fn redis(running: &Running) -> Result<Self> {
        let mut told = listen(running, &[BOARD.to_owned()]).await?;
        let watch = Self::none();
        let seen = watch.seen.clone();
        let task = tokio::spawn(async move {
            while let Some(told) = told.next().await {
                seen.note(&told.text, told.at);
            }
        });
        watch.keep(task, Arc::default());
        Ok(watch)
    }

    /// Nothing yet.
    pub(super) fn none() -> Self {
        Self {
            seen: Seen::default(),
            followed: Mutex::default(),
        }
    }

    /// Every event on this live stream, over a connection of its own.
    pub(super) async fn follow(&self, door: &Door, path: &str, token: &str) -> Result<()> {
        let body = door.open(path, token).await.context("opening a live stream")?;
        let heard_at = Arc::default();
        let task = tokio::spawn(follow(body.into_body(), self.seen.clone(), Arc::clone(&heard_at)));
        self.keep(task, heard_at);
        Ok(())
    }

    /// How many of the streams gave as much as a heartbeat lately.
    pub(super) fn heard_within(&self, span: Duration) -> usize {
        let since = Timestamp::now().as_microsecond() - i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = followed
            .iter()
            .filter(|followed| followed.heard_at.load(Ordering::Relaxed) >= since);
        heard.count()
    }

    fn keep(&self, task: JoinHandle<()>, heard_at: Arc<AtomicI64>) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.push(Followed { task, heard_at });
    }
}

/// What Redis told a live topic.
pub(super) struct Told {
    pub topic: String,
    pub text: String,
    pub at: Timestamp,
}

/// What Redis tells these live topics of order-info, from now on: as if a screen had come to each.
pub(super) async fn listen(running: &Running, topics: &[String]) -> Result<BoxStream<'static, Told>> {
    let client = redis::Client::open(running.redis()?.admin_url())?;
    let mut subscription = client.get_async_pubsub().await?;
    let channels: Vec<String> = topics.iter().map(|topic| format!("{LIVE}{topic}")).collect();
    subscription.subscribe(&channels).await?;
    let mut begin = redis::pipe();
    for topic in topics {
        begin
            .cmd("SET")
            .arg(format!("{COUNTER}{topic}"))
            .arg(Timestamp::now().as_microsecond())
            .arg("NX")
            .arg("EX")
            .arg(HEARD_FOR_S)
            .ignore();
    }
    let mut connection = client.get_multiplexed_async_connection().await?;
    begin.exec_async(&mut connection).await?;
    let told = subscription.into_on_message().filter_map(async |message| {
        let at = Timestamp::now();
        let payload: String = message.get_payload().ok()?;
        let (_, text) = payload.split_once('\n')?;
        Some(Told {
            topic: message.get_channel_name().strip_prefix(LIVE)?.to_owned(),
            text: text.to_owned(),
            at,
        })
    });
    Ok(told.boxed())
}

impl Drop for Watch {
    fn drop(&mut self) {
        let followed = self.followed.get_mut().unwrap_or_else(PoisonError::into_inner);
        followed.iter().for_each(|followed| followed.task.abort());
    }
}

/// Notes events until the stream ends.
async fn follow(mut body: Streamed, seen: Seen, heard_at: Arc<AtomicI64>) {
    let mut parser = Parser::default();
    while let Some(Ok(frame)) = body.frame().await {
        let at = Timestamp::now();
        heard_at.store(at.as_microsecond(), Ordering::Relaxed);
        let Ok(bytes) = frame.into_data() else { continue };
        parser.feed(&bytes);
        while let Some(message) = parser.next() {
            if message.event == "event" {
                seen.note(&message.data, at);
            }
        }
    }
}

/// When events were stored.
pub(super) struct Commits(HashMap<Key, Timestamp>);

impl Commits {
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Of orders, from this instant on.
    pub(super) async fn since(running: &Running, since: Timestamp) -> Result<Self> {
        let mut connection = PgConnection::connect(&database(running, MASTER)?).await?;
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(
            "select stream_id, version, (extract(epoch from recorded_at) * 1000000)::bigint
             from events where recorded_at >= to_timestamp($1::bigint / 1000000.0)",
        )
        .bind(since.as_microsecond())
        .fetch_all(&mut connection)
        .await?;
        connection.close().await?;
        let commit = |(stream, version, us): (String, i64, i64)| {
            let version = u64::try_from(version).ok()?;
            Some(((stream, version), Timestamp::from_microsecond(us).ok()?))
        };
        Ok(Self(rows.into_iter().filter_map(commit).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_from_commit_to_sight_of_what_is_known_to_both() {
        let at = |us| Timestamp::from_microsecond(us).expect("an instant");
        let seen = Seen::default();
        seen.note(
            r#"{"type":"order.paid","stream":"ord_1","version":2,"data":{}}"#,
            at(5_000),
        );
        seen.note(r#"{"stream":"ord_1","version":3}"#, at(9_000));
        seen.note("no event", at(9_000));
        assert_eq!(seen.count(), 2);
        let commits = Commits(HashMap::from([(("ord_1".to_owned(), 2), at(2_000))]));
        let lag = seen.lag(&commits);
        assert_eq!(lag.count(), 1);
        assert!((lag.ms(0.5) - 3.0).abs() < 0.01);
    }
}
