//! Due timers, handed to whoever decides what they mean.
//!
//! Reads only. The append that carries the effect deletes the timer, so a timer that is handed
//! over twice, by two leaders or after a crash, still has one effect.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use mesh_runtime::{Pace, Shutdown};
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use crate::BoxError;
use crate::inbox::Drained;
use crate::leader;
use crate::sql_time::SqlTime;
use crate::store::Store;

/// Timers handed over at the same time.
const IN_FLIGHT_MAX: usize = 32;

/// Timers read at once; those that find no room now are read again.
const READ_MAX: i64 = 256;

/// Longest wait, in wall time, until timers that others set are noticed.
const POLL: Duration = Duration::from_millis(250);

/// Reads come this far apart under load: timers that are due at once come in numbers then.
const READ_PERIOD: Duration = Duration::from_millis(50);

/// A timer that could not be handled is handed over again after this, doubling …
const RETRY_MIN: Duration = Duration::from_millis(250);

/// … up to this: half of what a deadline may be late.
const RETRY_MAX: Duration = Duration::from_secs(15);

/// A deadline of a stream, as it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// Whose.
    pub stream: String,
    /// Which.
    pub kind: String,
    /// When it was due, business time.
    pub due: Timestamp,
    /// The event that set it.
    pub dedup: Uuid,
}

/// Hands the due timers of a category (the prefix of its streams) to `handle`, at most 32 at a
/// time, on one replica at a time, from when the inbox is `drained` until shutdown. `handle`
/// submits `Request::timer`, which makes the timer go; one that stays is handed over again, with
/// growing pauses.
pub async fn run<H, Fut>(store: &Store, category: &str, drained: Drained, shutdown: Shutdown, handle: H)
where
    H: Fn(Timer) -> Fut + Sync,
    Fut: Future<Output = Result<(), BoxError>> + Send,
{
    tokio::select! {
        () = shutdown.triggered() => return,
        () = drained.wait() => {}
    }
    let work = format!("timers {category}");
    while let Some(connection) = leader::lead(store, &work, &shutdown).await {
        let mut watch = Watch {
            store,
            category,
            connection,
            handle: &handle,
            in_flight: FuturesUnordered::new(),
            held: HashMap::new(),
        };
        match watch.work(&shutdown).await {
            Ok(()) => return,
            Err(err) => tracing::warn!(work, error = %err, "timers cannot be read, leading again"),
        }
    }
}

type Key = (String, String);

struct Watch<'a, H> {
    store: &'a Store,
    category: &'a str,
    connection: PgConnection,
    handle: &'a H,
    in_flight: FuturesUnordered<BoxFuture<'a, (Timer, Result<(), BoxError>)>>,
    /// Timers that are not to be handed over now.
    held: HashMap<Key, Held>,
}

/// Why a timer is not handed over now.
struct Held {
    dedup: Uuid,
    tries: u32,
    /// `None` while it is being handled.
    until: Option<Instant>,
}

impl<'a, H, Fut> Watch<'a, H>
where
    H: Fn(Timer) -> Fut + Sync,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'a,
{
    async fn work(&mut self, shutdown: &Shutdown) -> Result<(), sqlx::Error> {
        let mut timer_set = self.store.inner.signals.timer_set.subscribe();
        let mut pace = Pace::every(READ_PERIOD);
        loop {
            pace.wait().await;
            let (look_again, is_more_due) = self.hand_over().await?;
            let nap = tokio::time::sleep_until(look_again.into());
            tokio::pin!(nap);
            loop {
                tokio::select! {
                    () = shutdown.triggered() => return Ok(()),
                    () = &mut nap => break,
                    Some((timer, result)) = self.in_flight.next() => {
                        self.settle(timer, result);
                        if is_more_due && self.in_flight.len() <= IN_FLIGHT_MAX / 2 {
                            break;
                        }
                    }
                    Ok(()) = timer_set.changed() => {
                        let due = *timer_set.borrow_and_update();
                        let wait = due.map_or(POLL, |due| self.store.clock().wall_until(due));
                        if Instant::now() + wait < look_again {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Hands over what is due; says when to look again, and whether more is due than can be
    /// handled at once.
    async fn hand_over(&mut self) -> Result<(Instant, bool), sqlx::Error> {
        let started = Instant::now();
        let clock = self.store.clock();
        let now = clock.now();
        let poll = SignedDuration::try_from(POLL).expect("a quarter of a second");
        let horizon = clock.business_at(clock.wall().saturating_add(poll).expect("only saturates"));
        let read = self.read(horizon).await?;
        self.held
            .retain(|_, held| held.until.is_none_or(|until| until + RETRY_MAX > started));
        for timer in read {
            if timer.due > now {
                return Ok((started + clock.wall_until(timer.due).min(POLL), false));
            }
            if self.in_flight.len() == IN_FLIGHT_MAX {
                return Ok((started + POLL, true));
            }
            self.start(timer, started);
        }
        Ok((started + POLL, false))
    }

    fn start(&mut self, timer: Timer, now: Instant) {
        let key = (timer.stream.clone(), timer.kind.clone());
        let mut tries = 0;
        if let Some(held) = self.held.get(&key)
            && held.dedup == timer.dedup
        {
            if held.until.is_none_or(|until| until > now) {
                return;
            }
            tries = held.tries;
        }
        let held = Held {
            dedup: timer.dedup,
            tries,
            until: None,
        };
        self.held.insert(key, held);
        let handling = (self.handle)(timer.clone());
        self.in_flight.push(Box::pin(async move { (timer, handling.await) }));
    }

    fn settle(&mut self, timer: Timer, result: Result<(), BoxError>) {
        if let Err(err) = &result {
            tracing::warn!(stream = %timer.stream, timer.kind = %timer.kind, error = %err, "timer not handled, coming again");
        }
        metrics::counter!("timers_fired_total", "ok" => if result.is_ok() { "true" } else { "false" }).increment(1);
        // Also after success: a handler that left the timer standing must not make us spin.
        if let Some(held) = self.held.get_mut(&(timer.stream, timer.kind)) {
            let pause = RETRY_MIN.saturating_mul(1 << held.tries.min(6)).min(RETRY_MAX);
            held.tries += 1;
            held.until = Some(Instant::now() + pause);
        }
    }

    /// The timers due up to `horizon` that are not held, the oldest first.
    async fn read(&mut self, horizon: Timestamp) -> Result<Vec<Timer>, sqlx::Error> {
        let now = Instant::now();
        let waits = |held: &Held| held.until.is_none_or(|until| until > now);
        let (streams, kinds): (Vec<&str>, Vec<&str>) = self
            .held
            .iter()
            .filter(|(_, held)| waits(held))
            .map(|((stream, kind), _)| (stream.as_str(), kind.as_str()))
            .unzip();
        sqlx::query(
            "select t.stream_id, t.kind, t.due_at, t.dedup from timers t
             where t.category = $1 and t.due_at <= $2
               and not exists (
                   select from unnest($3::text[], $4::text[]) as h (stream_id, kind)
                   where h.stream_id = t.stream_id and h.kind = t.kind
               )
             order by t.due_at limit $5",
        )
        .bind(self.category)
        .bind(SqlTime(horizon))
        .bind(streams)
        .bind(kinds)
        .bind(READ_MAX)
        .try_map(|row: PgRow| {
            let SqlTime(due) = row.try_get(2)?;
            Ok(Timer {
                stream: row.try_get(0)?,
                kind: row.try_get(1)?,
                due,
                dedup: row.try_get(3)?,
            })
        })
        .fetch_all(&mut self.connection)
        .await
    }
}
