//! Group commit: what arrives while one batch commits is the next batch.
//!
//! Each batcher owns a connection and heals it. They take turns at one queue: whoever is free
//! takes what has come, so little work keeps one of them busy and much work all. The runs of one
//! stream keep their order because its mailbox sends the next when the last is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_runtime::{Pace, failpoint};
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::append::{Append, AppendError};
use crate::read::signed;
use crate::statement;
use crate::store::Signals;

type Verdict = Result<(), AppendError>;

/// Requests in one statement: beyond this, larger batches only add latency.
const BATCH_MAX: usize = 128;

/// Batches come this far apart under load. A commit costs Postgres about half a millisecond of
/// a core whatever is in it, and a person does not notice twelve.
const BATCH_PERIOD: Duration = Duration::from_millis(12);

/// A batch of reactions alone comes later: nobody waits for its answer, and whoever looks does not
/// notice thirty either. It goes with the next command if one comes sooner.
const REACTION_PERIOD: Duration = Duration::from_millis(30);

/// So many requests are worth a commit of their own: they do not wait for the period to end.
const BATCH_WORTH: usize = 32;

/// Runs that may wait for a batcher. A full queue makes its callers wait, not fail.
const QUEUE_MAX: usize = 1_024;

/// The server gives up a statement after 10 s; one that is silent for longer is gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(12);

/// How long requests wait for a lost database: a restarted Postgres is back within it.
const RECONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Between two attempts to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// The batchers of one store.
pub(crate) struct Batchers {
    queue: mpsc::Sender<Run>,
}

/// Appends in their order, to be committed together.
struct Run {
    appends: Vec<Append>,
    reply: oneshot::Sender<Vec<Verdict>>,
}

impl Run {
    /// Whether anything but an event or a timer asked for it.
    fn is_awaited(&self) -> bool {
        self.appends
            .iter()
            .any(|append| append.mark.is_none() && append.fired.is_none())
    }
}

impl Batchers {
    pub fn start(count: usize, options: &PgConnectOptions, signals: &Arc<Signals>) -> Self {
        let (queue, runs) = mpsc::channel(QUEUE_MAX);
        let runs = Arc::new(Mutex::new(Queue {
            runs,
            commands: Pace::every(BATCH_PERIOD),
            reactions: Pace::every(REACTION_PERIOD),
        }));
        for _ in 0..count.max(1) {
            let batcher = Batcher {
                queue: Arc::clone(&runs),
                options: options.clone(),
                connection: None,
                signals: Arc::clone(signals),
            };
            tokio::spawn(batcher.run());
        }
        Self { queue }
    }

    /// One verdict per append, in order.
    pub async fn append(&self, appends: Vec<Append>) -> Vec<Verdict> {
        let count = appends.len();
        if count == 0 {
            return Vec::new();
        }
        let (reply, verdicts) = oneshot::channel();
        let sent = self.queue.send(Run { appends, reply }).await;
        match (sent, verdicts.await) {
            (Ok(()), Ok(verdicts)) => verdicts,
            (_, _) => vec![unavailable("batcher ended"); count],
        }
    }
}

/// What waits to be committed, and when the next batch may go.
struct Queue {
    runs: mpsc::Receiver<Run>,
    commands: Pace,
    reactions: Pace,
}

impl Queue {
    /// The next batch; `None` when the store was dropped.
    async fn next(&mut self) -> Option<Vec<Run>> {
        let first = self.runs.recv().await?;
        let mut is_awaited = first.is_awaited();
        let mut turn = match is_awaited {
            true => self.commands.turn(),
            false => self.reactions.turn(),
        };
        let mut size = first.appends.len();
        let mut runs = vec![first];
        while size < BATCH_WORTH {
            let Ok(Some(run)) = tokio::time::timeout_at(turn, self.runs.recv()).await else {
                break;
            };
            if run.is_awaited() && !is_awaited {
                is_awaited = true;
                turn = turn.min(self.commands.turn());
            }
            size += run.appends.len();
            runs.push(run);
        }
        while size < BATCH_MAX {
            let Ok(run) = self.runs.try_recv() else { break };
            size += run.appends.len();
            runs.push(run);
        }
        Some(runs)
    }
}

struct Batcher {
    queue: Arc<Mutex<Queue>>,
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    signals: Arc<Signals>,
}

/// What one attempt at a batch came to.
enum Attempt {
    Done(Vec<Verdict>),
    /// The database refused the statement as a whole; nothing is stored.
    Refused(sqlx::Error),
    /// The connection broke; whether it is stored is not known.
    Lost(String),
    /// There was no connection; nothing is stored.
    Away(String),
}

impl Batcher {
    /// Ends when the store is dropped and its last run has its verdicts.
    async fn run(mut self) {
        loop {
            // Held until the batch is complete: two that gather at once would share out what fits in one.
            let Some(runs) = self.queue.lock().await.next().await else {
                return;
            };
            let batch: Vec<&Append> = runs.iter().flat_map(|run| &run.appends).collect();
            let started = Instant::now();
            let verdicts = self.commit(&batch).await;
            metrics::histogram!("append_batch_size").record(batch.len() as f64);
            metrics::histogram!("append_seconds").record(started.elapsed().as_secs_f64());
            for (append, verdict) in batch.iter().zip(&verdicts) {
                if verdict.is_ok() {
                    self.signals.committed(append);
                }
            }
            reply(runs, verdicts);
        }
    }

    async fn commit(&mut self, batch: &[&Append]) -> Vec<Verdict> {
        match self.attempt(batch).await {
            Attempt::Done(verdicts) => verdicts,
            Attempt::Refused(err) => self.after_refusal(batch, &err).await,
            Attempt::Lost(why) => self.after_loss(batch, &why).await,
            Attempt::Away(why) => all_unavailable(batch, &why),
        }
    }

    /// One bad request must not fail the others: each on its own.
    async fn after_refusal(&mut self, batch: &[&Append], err: &sqlx::Error) -> Vec<Verdict> {
        if is_timeout(err) {
            return all_unavailable(batch, &err.to_string());
        }
        if let ([_], false) = (batch, is_transient(err)) {
            return vec![Err(AppendError::Refused(err.to_string()))];
        }
        tracing::warn!(error = %err, batch.size = batch.len(), "batch refused, storing one by one");
        let mut verdicts = Vec::with_capacity(batch.len());
        for append in batch {
            verdicts.push(match self.attempt(&[append]).await {
                Attempt::Done(mut one) => one.pop().unwrap_or_else(|| unavailable("no verdict")),
                Attempt::Refused(err) if is_transient(&err) || is_timeout(&err) => unavailable(&err.to_string()),
                Attempt::Refused(err) => {
                    tracing::error!(error = %err, "append refused");
                    Err(AppendError::Refused(err.to_string()))
                }
                Attempt::Lost(why) => self
                    .after_loss(&[append], &why)
                    .await
                    .pop()
                    .unwrap_or_else(|| unavailable("no verdict")),
                Attempt::Away(why) => unavailable(&why),
            });
        }
        verdicts
    }

    /// Versions, command ids and marks make a second sending harmless: if the first one was
    /// stored, this one conflicts, and the stored event ids show whose they are.
    async fn after_loss(&mut self, batch: &[&Append], why: &str) -> Vec<Verdict> {
        tracing::warn!(
            error = why,
            batch.size = batch.len(),
            "connection lost during an append, sending again"
        );
        let verdicts = match self.attempt(batch).await {
            Attempt::Done(verdicts) => verdicts,
            Attempt::Refused(err) => return all_unavailable(batch, &err.to_string()),
            Attempt::Lost(why) | Attempt::Away(why) => return all_unavailable(batch, &why),
        };
        let mut settled = Vec::with_capacity(verdicts.len());
        for (append, verdict) in batch.iter().zip(verdicts) {
            settled.push(match verdict {
                Ok(()) => Ok(()),
                Err(refusal) => match self.holds(append).await {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(refusal),
                    Err(why) => unavailable(&why),
                },
            });
        }
        settled
    }

    /// Whether the store has this very append.
    async fn holds(&mut self, append: &Append) -> Result<bool, String> {
        let Some(stream) = append.streams.iter().find(|stream| !stream.events.is_empty()) else {
            return Ok(false);
        };
        let connection = self.connected().await.map_err(|err| err.to_string())?;
        let asking = sqlx::query_scalar(
            "select exists (select from events where stream_id = $1 and version = $2 and event_id = $3)",
        )
        .bind(&stream.stream)
        .bind(signed(stream.expected + 1))
        .bind(stream.events[0].event_id)
        .fetch_one(connection)
        .await;
        asking.map_err(|err| {
            self.connection = None;
            err.to_string()
        })
    }

    async fn attempt(&mut self, batch: &[&Append]) -> Attempt {
        let connection = match self.connected().await {
            Ok(connection) => connection,
            Err(err) => return Attempt::Away(err.to_string()),
        };
        failpoint::reach(failpoint::COMMIT_BEFORE);
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, statement::execute(connection, batch)).await;
        failpoint::reach(failpoint::COMMIT_AFTER);
        match answer {
            Ok(Ok(verdicts)) => Attempt::Done(verdicts),
            Ok(Err(err)) if keeps_connection(&err) => Attempt::Refused(err),
            Ok(Err(err)) => {
                self.connection = None;
                Attempt::Lost(err.to_string())
            }
            Err(_) => {
                self.connection = None;
                Attempt::Lost("no answer".into())
            }
        }
    }

    async fn connected(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        if self.connection.is_none() {
            self.connection = Some(connect(&self.options).await?);
        }
        Ok(self.connection.as_mut().expect("just connected"))
    }
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let started = Instant::now();
    loop {
        let remaining = RECONNECT_DEADLINE.saturating_sub(started.elapsed());
        let connecting = PgConnection::connect_with(options);
        let err = match tokio::time::timeout(remaining, connecting).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(err)) => err,
            Err(_) => sqlx::Error::PoolTimedOut,
        };
        if started.elapsed() + RECONNECT_PAUSE >= RECONNECT_DEADLINE {
            return Err(err);
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

fn reply(runs: Vec<Run>, verdicts: Vec<Verdict>) {
    let mut verdicts = verdicts.into_iter();
    for run in runs {
        let own = verdicts.by_ref().take(run.appends.len()).collect();
        // Whoever asked may have gone; what is stored is stored.
        let _ = run.reply.send(own);
    }
}

/// The server answered with an error and goes on serving: not shutting down (57P), no broken
/// protocol (08).
fn keeps_connection(err: &sqlx::Error) -> bool {
    code(err).is_some_and(|code| !code.starts_with("57P") && !code.starts_with("08"))
}

/// `query_canceled`: the statement timeout.
fn is_timeout(err: &sqlx::Error) -> bool {
    code(err).as_deref() == Some("57014")
}

/// Two replicas met: class 40 (serialization, deadlock) or a key that both inserted.
pub(crate) fn is_transient(err: &sqlx::Error) -> bool {
    code(err).is_some_and(|code| code.starts_with("40") || code == "23505")
}

fn code(err: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    err.as_database_error().and_then(|err| err.code())
}

fn all_unavailable(batch: &[&Append], why: &str) -> Vec<Verdict> {
    vec![unavailable(why); batch.len()]
}

fn unavailable(why: &str) -> Verdict {
    Err(AppendError::Unavailable(why.to_owned()))
}
