//! From the outbox to the bus: every committed event, at least once, in the order of positions.
//!
//! One per master. The bus may lose what it acknowledged; `heal` notices and sends it again.
//! Never reads "events after the last position": positions are not the order of commits.

mod heal;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::Timestamp;
use mesh_bus::{Bus, PublishError, Published, batches, message_id};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::subject::Context;
use mesh_runtime::{Pace, Shutdown, failpoint};
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use tokio::sync::watch;
use uuid::Uuid;

use crate::BoxError;
use crate::leader;
use crate::read::{envelope, envelope_columns, signed, unsigned};
use crate::sql_time::SqlTime;
use crate::store::Store;

/// Events on their way to the broker at once.
const WINDOW: usize = 256;

/// Windows come this far apart under load, since each costs a statement and a commit.
const WINDOW_PERIOD: Duration = Duration::from_millis(24);

/// What the broker acknowledged is settled with the next look, which comes by then if nothing new does.
const SETTLE_WITHIN: Duration = Duration::from_millis(50);

/// Look into the outbox this often even if nobody in this process woke us.
const IDLE_POLL: Duration = Duration::from_millis(500);

/// Ask the broker this often whether it still has what it acknowledged: nobody else notices a
/// wiped store while nothing is written.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A new checkpoint this often …
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// … or after this many events. In between the newest one is moved along.
const CHECKPOINT_EVENTS: usize = 1_000;

/// After the broker failed us.
const BUS_PAUSE: Duration = Duration::from_millis(200);

/// How often old commands and checkpoints are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);

/// The pending rows are counted up to here; beyond it "very many" is enough to know.
const PENDING_COUNT_MAX: i64 = 100_000;

/// Publishes this master's events until shutdown, on one replica at a time. Makes the context's
/// stream if the broker has none.
pub async fn run(store: Store, bus: Bus, context: Context, shutdown: Shutdown) {
    while let Some(connection) = leader::lead(&store, "relay", &shutdown).await {
        let mut relay = Relay {
            store: &store,
            bus: &bus,
            context,
            connection,
            checkpoint: None,
            acked: Acked::default(),
            stream_created: Timestamp::UNIX_EPOCH,
        };
        match relay.work(&shutdown).await {
            Ok(()) => return,
            Err(err) => tracing::warn!(error = %err, "outbox cannot be read, leading again"),
        }
    }
}

struct Relay<'a> {
    store: &'a Store,
    bus: &'a Bus,
    context: Context,
    connection: PgConnection,
    checkpoint: Option<Checkpoint>,
    acked: Acked,
    /// When the broker made the stream that we publish to.
    stream_created: Timestamp,
}

/// The newest message that the broker is known to have.
struct Checkpoint {
    id: i64,
    position: u64,
    js_seq: u64,
    /// The column calls it `event_id`, which it is for an event that travels alone.
    message_id: Uuid,
    started: Instant,
    events: usize,
}

/// What the broker has acknowledged since the last look into the outbox. Forgotten by a crash,
/// it is sent again, and the broker drops it.
#[derive(Default)]
struct Acked {
    /// Rows to delete.
    rows: Vec<i64>,
    /// Where the newest checkpoint moves.
    moved: Option<Moved>,
}

/// A checkpoint's new place.
struct Moved {
    id: i64,
    position: u64,
    js_seq: u64,
    message_id: Uuid,
    at: SqlTime,
}

/// Why the relay stops sending.
enum Pause {
    Shutdown,
    /// The broker may have lost something: heal, then go on.
    Doubt,
}

/// What one look into the outbox came to.
enum Round {
    /// It was looked at to its end; what came since has left a signal.
    Idle,
    /// There may be more.
    Sent,
    Doubt,
}

impl Relay<'_> {
    async fn work(&mut self, shutdown: &Shutdown) -> Result<(), sqlx::Error> {
        let mut connections = self.bus.connections();
        let mut swept = None;
        loop {
            tokio::select! {
                () = shutdown.triggered() => return Ok(()),
                () = self.bus.connected() => {}
            }
            connections.mark_unchanged();
            // Whether it stands is what healing finds out.
            self.acked = Acked::default();
            match self.heal().await? {
                Ok(()) => {}
                Err(err) => {
                    tracing::warn!(context = self.context.as_str(), error = %err, "bus does not answer, trying again");
                    tokio::time::sleep(BUS_PAUSE).await;
                    continue;
                }
            }
            match self.send(&mut connections, &mut swept, shutdown).await? {
                Pause::Shutdown => return Ok(()),
                Pause::Doubt => tokio::time::sleep(BUS_PAUSE).await,
            }
        }
    }

    async fn send(
        &mut self,
        connections: &mut watch::Receiver<u64>,
        swept: &mut Option<Instant>,
        shutdown: &Shutdown,
    ) -> Result<Pause, sqlx::Error> {
        let mut looked = Instant::now();
        let mut pace = Pace::every(WINDOW_PERIOD);
        loop {
            if shutdown.is_triggered() {
                self.read_outbox().await?;
                return Ok(Pause::Shutdown);
            }
            if connections.has_changed().unwrap_or(true) {
                return Ok(Pause::Doubt);
            }
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                self.count_pending().await?;
                if swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
                    *swept = Some(Instant::now());
                    self.sweep().await?;
                }
                if !self.is_intact().await {
                    return Ok(Pause::Doubt);
                }
            }
            pace.wait().await;
            match self.round().await? {
                Round::Sent => {}
                Round::Doubt => return Ok(Pause::Doubt),
                Round::Idle => {
                    let nap = match self.acked.rows.is_empty() {
                        true => IDLE_POLL,
                        false => SETTLE_WITHIN,
                    };
                    tokio::select! {
                        () = shutdown.triggered() => {}
                        () = self.store.inner.signals.appended.notified() => {}
                        _ = connections.changed() => return Ok(Pause::Doubt),
                        () = tokio::time::sleep(nap) => {}
                    }
                }
            }
        }
    }

    /// Settles the last window and publishes the oldest one of the outbox.
    async fn round(&mut self) -> Result<Round, sqlx::Error> {
        let look = self.read_outbox().await?;
        if look.window.is_empty() {
            return Ok(Round::Idle);
        }
        let mut settled = Settled::new(self.checkpoint.as_ref());
        let mut rows = look.rows.as_slice();
        for (batch, ack) in self.publish(&look.window).await {
            let (own, rest) = rows.split_at(batch.len());
            settled.note(own, batch, ack);
            rows = rest;
        }
        self.settle(&settled, &look).await?;
        if let Some(why) = settled.failure {
            tracing::warn!(context = self.context.as_str(), error = %why, "event not published, trying again");
            return Ok(Round::Doubt);
        }
        Ok(if settled.is_other_stream {
            Round::Doubt
        } else if look.is_last() {
            Round::Idle
        } else {
            Round::Sent
        })
    }

    /// Deletes what the broker acknowledged, moves the checkpoint, and reads what comes next: whole rows, until a
    /// window is full.
    async fn read_outbox(&mut self) -> Result<Look, sqlx::Error> {
        let Acked { rows, moved } = std::mem::take(&mut self.acked);
        let moved = moved.as_ref();
        let found = sqlx::query(concat!(
            "with gone as (delete from outbox where first = any($1)),
             moved as (update relay_checkpoints set position = $3, js_seq = $4, event_id = $5, at = $6 where id = $2)
             ",
            // The statement's own start comes before its snapshot, as a checkpoint must.
            "select statement_timestamp() as read_at, o.first, ",
            envelope_columns!(),
            // Its snapshot still has what it deletes. Lateral, with its fence: read the other way round, from the
            // events to the outbox, this would walk through all that ever happened.
            " from (
                 select first, positions, sum(cardinality(positions)) over (order by first) as up_to
                 from (select first, positions from outbox where first <> all($1) order by first limit $7) oldest
             ) o
             cross join lateral unnest(o.positions) p (position)
             cross join lateral (select * from events where position = p.position offset 0) e
             where o.up_to - cardinality(o.positions) < $7
             order by e.position"
        ))
        .bind(rows)
        .bind(moved.map(|moved| moved.id))
        .bind(moved.map(|moved| signed(moved.position)))
        .bind(moved.map(|moved| signed(moved.js_seq)))
        .bind(moved.map(|moved| moved.message_id))
        .bind(moved.map(|moved| moved.at))
        .bind(WINDOW as i64)
        .fetch_all(&mut self.connection)
        .await?;
        let read_at = match found.first() {
            Some(row) => row.try_get("read_at")?,
            None => SqlTime(Timestamp::UNIX_EPOCH),
        };
        Ok(Look {
            read_at,
            rows: found.iter().map(|row| row.try_get("first")).collect::<Result<_, _>>()?,
            window: found.iter().map(envelope).collect::<Result<_, _>>()?,
        })
    }

    /// Sends all in order, as few messages, then awaits all answers.
    async fn publish<'w>(&self, window: &'w [Envelope]) -> Vec<(&'w [Envelope], Result<Published, PublishError>)> {
        let mut sent = Vec::new();
        for batch in batches(window) {
            failpoint::reach(failpoint::PUBLISH_BEFORE);
            sent.push((batch, self.bus.publish_batch(batch).await));
        }
        let acks = join_all(sent.into_iter().map(async |(batch, sent)| match sent {
            Ok(publishing) => (batch, publishing.await),
            Err(err) => (batch, Err(err)),
        }))
        .await;
        failpoint::reach(failpoint::PUBLISH_AFTER);
        acks
    }

    /// Notes what to settle with the next look; once in a while makes a new checkpoint at once.
    async fn settle(&mut self, settled: &Settled, look: &Look) -> Result<(), sqlx::Error> {
        metrics::counter!("relay_published_total").increment(settled.acked as u64);
        let rows = settled.rows();
        let Some((js_seq, message_id)) = settled.newest.filter(|_| !settled.is_other_stream) else {
            self.acked.rows = rows;
            return Ok(());
        };
        let last = look.window.last().map_or(0, |event| event.position);
        let known = self.checkpoint.as_ref().map_or(0, |known| known.position);
        let position = match settled.first_failed {
            Some(failed) => look.newest_row().min(failed - 1),
            None if look.is_last() => last.max(known),
            None => look.newest_row(),
        };
        let is_due =
            |known: &Checkpoint| known.started.elapsed() >= CHECKPOINT_EVERY || known.events >= CHECKPOINT_EVENTS;
        let next = match self.checkpoint.take().filter(|known| !is_due(known)) {
            Some(current) => {
                self.acked = Acked {
                    rows,
                    moved: Some(Moved {
                        id: current.id,
                        position,
                        js_seq,
                        message_id,
                        at: look.read_at,
                    }),
                };
                Checkpoint {
                    position,
                    js_seq,
                    message_id,
                    events: current.events + settled.acked,
                    ..current
                }
            }
            None => {
                self.add_checkpoint(settled, position, js_seq, message_id, look.read_at)
                    .await?
            }
        };
        self.checkpoint = Some(next);
        Ok(())
    }

    async fn add_checkpoint(
        &mut self,
        settled: &Settled,
        position: u64,
        js_seq: u64,
        message_id: Uuid,
        read_at: SqlTime,
    ) -> Result<Checkpoint, sqlx::Error> {
        let id = sqlx::query_scalar(
            "with gone as (delete from outbox where first = any($1))
             insert into relay_checkpoints (context, position, js_seq, event_id, at, stream_created)
             values ($2, $3, $4, $5, $6, $7) returning id",
        )
        .bind(settled.rows())
        .bind(self.context.as_str())
        .bind(signed(position))
        .bind(signed(js_seq))
        .bind(message_id)
        .bind(read_at)
        .bind(SqlTime(self.stream_created))
        .fetch_one(&mut self.connection)
        .await?;
        Ok(Checkpoint {
            id,
            position,
            js_seq,
            message_id,
            started: Instant::now(),
            events: settled.acked,
        })
    }

    async fn count_pending(&mut self) -> Result<(), sqlx::Error> {
        let pending: i64 = sqlx::query_scalar("select count(*) from (select from outbox limit $1) pending")
            .bind(PENDING_COUNT_MAX)
            .fetch_one(&mut self.connection)
            .await?;
        metrics::gauge!("outbox_pending").set(pending as f64);
        Ok(())
    }

    /// Commands are remembered for 7 days, and so are checkpoints, as long as the broker keeps
    /// its messages.
    async fn sweep(&mut self) -> Result<(), sqlx::Error> {
        for sweep in [
            "delete from commands where at < now() - interval '7 days'",
            "delete from relay_checkpoints where at < now() - interval '7 days'
             and id < (select max(id) from relay_checkpoints)",
        ] {
            sqlx::query(sweep).execute(&mut self.connection).await?;
        }
        Ok(())
    }
}

/// What waits, as one look found it.
struct Look {
    read_at: SqlTime,
    /// The row of each event of the window.
    rows: Vec<i64>,
    window: Vec<Envelope>,
}

impl Look {
    /// Nothing waited but this.
    fn is_last(&self) -> bool {
        self.window.len() < WINDOW
    }

    /// Whatever waits in later rows has a higher position than this: what was committed at the same time lies between
    /// each other.
    fn newest_row(&self) -> u64 {
        self.rows.iter().max().map_or(0, |row| unsigned(*row))
    }
}

/// The broker's answers to one window.
struct Settled {
    /// Events.
    acked: usize,
    /// Rows with an event that it took, and those with one that it did not.
    taken: BTreeSet<i64>,
    failed: BTreeSet<i64>,
    newest: Option<(u64, Uuid)>,
    first_failed: Option<u64>,
    failure: Option<BoxError>,
    /// A new message got a number that was given before: this is not the stream we knew.
    is_other_stream: bool,
    known_seq: u64,
}

impl Settled {
    fn new(checkpoint: Option<&Checkpoint>) -> Self {
        Self {
            acked: 0,
            taken: BTreeSet::new(),
            failed: BTreeSet::new(),
            newest: checkpoint.map(|known| (known.js_seq, known.message_id)),
            first_failed: None,
            failure: None,
            is_other_stream: false,
            known_seq: checkpoint.map_or(0, |known| known.js_seq),
        }
    }

    fn note(&mut self, rows: &[i64], batch: &[Envelope], ack: Result<Published, PublishError>) {
        match ack {
            Ok(published) => {
                self.acked += batch.len();
                self.taken.extend(rows);
                self.is_other_stream |= !published.duplicate && published.sequence <= self.known_seq;
                if self.newest.is_none_or(|(seq, _)| published.sequence > seq) {
                    self.newest = Some((published.sequence, message_id(batch)));
                }
            }
            Err(err) => {
                self.failed.extend(rows);
                self.first_failed.get_or_insert(batch[0].position);
                self.failure.get_or_insert(err.into());
            }
        }
    }

    /// Those that can go. A row of which only some events were taken is sent again whole.
    fn rows(&self) -> Vec<i64> {
        self.taken.difference(&self.failed).copied().collect()
    }
}

fn checkpoint_of(row: &PgRow) -> Result<Checkpoint, sqlx::Error> {
    Ok(Checkpoint {
        id: row.try_get("id")?,
        position: unsigned(row.try_get("position")?),
        js_seq: unsigned(row.try_get("js_seq")?),
        message_id: row.try_get("event_id")?,
        started: Instant::now(),
        // The next window starts a new one, so that this one stays to step back to.
        events: CHECKPOINT_EVENTS,
    })
}
