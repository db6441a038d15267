//! The streams of one aggregate: decide in turn, store, answer.
//!
//! Requests for one stream queue in its mailbox and are decided on the evolving state, so a hot
//! stream does not conflict with itself. The version check only guards against other replicas.

mod job;
mod mailbox;
mod run;
mod snapshot;
mod within;

pub use within::Pending;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use mesh_contracts::envelope::{BadBody, Envelope};
use mesh_runtime::Shutdown;
use moka::ops::compute::Op;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::BoxError;
use crate::aggregate::{Aggregate, Decided, Recorded};
use crate::answer::{Answer, Outcome};
use crate::inbox::Drained;
use crate::read::FEW;
use crate::request::Request;
use crate::store::Store;
use crate::timers::{self, Timer};
use job::{Job, Typed};
use snapshot::Snapshots;

/// Requests that may wait for one stream. Beyond it the caller is told to come again.
const MAILBOX_MAX: usize = 256;

/// States kept in memory; the least used go first and are read again from their events.
const STATES_MAX: u64 = 10_000;

/// How long a repeated command waits for its first sending.
const DUPLICATE_WAIT: Duration = Duration::from_secs(2);

/// Longest wait of any request: a statement may take 10 s, and a restart of Postgres some more.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

/// The streams of one aggregate. Clones share mailboxes and states; make one per store.
pub struct Streams<A: Aggregate> {
    inner: Arc<Inner<A>>,
}

impl<A: Aggregate> Clone for Streams<A> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

struct Inner<A: Aggregate> {
    store: Store,
    /// Committed states only; what is decided and not stored yet lives in its run.
    states: moka::sync::Cache<String, Arc<Standing<A>>>,
    /// A stream with an entry has a task that works through it.
    mailboxes: Mutex<HashMap<String, Waiting<A>>>,
    commands_under_way: Mutex<HashSet<Uuid>>,
    snapshots: Snapshots<A>,
}

/// The requests that wait for one stream.
type Waiting<A> = VecDeque<Box<dyn Job<A>>>;

/// A stream as it stands.
struct Standing<A: Aggregate> {
    state: Option<A::State>,
    version: u64,
}

impl<A: Aggregate> Clone for Standing<A> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            version: self.version,
        }
    }
}

impl<A: Aggregate> Standing<A> {
    fn nothing() -> Self {
        Self {
            state: None,
            version: 0,
        }
    }

    fn apply(&mut self, event: &A::Event, at: Timestamp) {
        self.version += 1;
        let recorded = Recorded {
            version: self.version,
            at,
        };
        self.state = A::evolve(self.state.take(), event, recorded);
    }

    fn catch_up(&mut self, newer: Vec<Envelope>) -> Result<(), BadBody> {
        for envelope in newer {
            match envelope.body::<A::Event>()? {
                Some(event) => self.apply(&event, envelope.at),
                // A newer build wrote it; this one keeps count.
                None => self.version = envelope.version,
            }
        }
        Ok(())
    }

    fn status_version(&self) -> u64 {
        self.state.as_ref().map_or(0, A::status_version)
    }

    fn answer(&self, status: u16, stream: &str) -> Answer {
        Answer::showing::<A>(status, stream, self.state.as_ref(), self.version)
    }
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError<R> {
    /// The rules say no.
    #[error("refused")]
    Rejected(R),
    /// `If-Match` names another status version; this is how the stream stands.
    #[error("stream has changed")]
    Stale(Answer),
    /// Others changed the stream again and again.
    #[error("stream keeps changing")]
    Conflict,
    /// The command id was used to ask for something else.
    #[error("idempotency key was used for another request")]
    KeyReused,
    /// The same command is still under way.
    #[error("the same command is still under way")]
    InFlight,
    /// Too many requests wait for this stream.
    #[error("too many requests for this stream")]
    Overloaded,
    /// The database is away, or too slow. The command may have been carried out.
    #[error("store unavailable: {0}")]
    Unavailable(String),
}

impl<A: Aggregate> Streams<A> {
    /// The streams of `A` in this store. Where states are kept (see [`Aggregate::SNAPSHOT`]), a task writes them.
    pub fn new(store: Store) -> Self {
        Self {
            inner: Arc::new(Inner {
                snapshots: Snapshots::start(&store),
                store,
                states: moka::sync::Cache::new(STATES_MAX),
                mailboxes: Mutex::default(),
                commands_under_way: Mutex::default(),
            }),
        }
    }

    /// Their store.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// A stream as it stands now, with its version; `None` if there is no such stream.
    pub async fn load(&self, stream: impl ToString) -> Result<Option<(A::State, u64)>, BoxError> {
        let standing = self.inner.fresh(&stream.to_string()).await?;
        Ok(standing.state.clone().map(|state| (state, standing.version)))
    }

    /// A stream as this process last knew it, with its version: from memory if it is there, even
    /// if another replica has moved it on since. For what `submit` checks against the database
    /// anyway.
    pub async fn recent(&self, stream: impl ToString) -> Result<Option<(A::State, u64)>, BoxError> {
        let stream = stream.to_string();
        let standing = match self.inner.states.get(&stream) {
            Some(kept) => kept,
            None => self.inner.fresh(&stream).await?,
        };
        Ok(standing.state.clone().map(|state| (state, standing.version)))
    }

    /// A stream in this version or a later one, with its version: from memory if that has come so far, else as
    /// [`Streams::load`]. For whoever was told that it moved.
    pub async fn at_least(&self, stream: impl ToString, version: u64) -> Result<Option<(A::State, u64)>, BoxError> {
        let stream = stream.to_string();
        match self.inner.states.get(&stream) {
            Some(kept) if kept.version >= version => Ok(kept.state.clone().map(|state| (state, kept.version))),
            Some(_) | None => self.load(stream).await,
        }
    }

    /// Queues the request, decides it on the stream's state, stores what was decided together
    /// with timers, command and inbox mark, and answers once that is durable. `decide` may be
    /// run more than once; a command that was carried out before gets its stored answer.
    ///
    /// Dropping the returned future does not take the request back.
    pub async fn submit<D, R, F>(
        &self,
        stream: impl ToString,
        request: Request,
        decide: F,
    ) -> Result<Outcome, SubmitError<R>>
    where
        F: Fn(Option<&A::State>, Timestamp) -> Result<D, R> + Send + 'static,
        D: Into<Decided<A::Event>>,
        R: Send + 'static,
    {
        let (under_way, wait) = match &request.command {
            Some(command) => match self.inner.enter(command.id) {
                Some(under_way) => (Some(under_way), ANSWER_DEADLINE),
                None => (None, DUPLICATE_WAIT),
            },
            None => (None, ANSWER_DEADLINE),
        };
        let is_repeat = under_way.is_none() && request.command.is_some();
        let (reply, settled) = oneshot::channel();
        // The mark of being under way goes with the job, not with a caller who may hang up.
        let job = Typed::<A, F, R>::new(request, decide, reply, under_way);
        if !self.inner.post(stream.to_string(), Box::new(job)) {
            return Err(SubmitError::Overloaded);
        }
        match tokio::time::timeout(wait, settled).await {
            Ok(Ok(settled)) => settled,
            Ok(Err(_)) => Err(SubmitError::Unavailable("request was dropped".into())),
            Err(_) if is_repeat => Err(SubmitError::InFlight),
            Err(_) => Err(SubmitError::Unavailable("no answer in time".into())),
        }
    }

    /// Fires due timers of these streams through their mailboxes: `fire` says what happens.
    /// No events: the timer goes and nothing else happens. Waits until `drained`; returns on
    /// shutdown.
    pub async fn fire_timers<F>(&self, drained: Drained, shutdown: Shutdown, fire: F)
    where
        F: Fn(Option<&A::State>, &str, Timestamp) -> Vec<A::Event> + Clone + Send + Sync + 'static,
    {
        let handle = |timer: Timer| {
            let streams = self.clone();
            let fire = fire.clone();
            async move {
                let request = Request::timer(streams.store().service(), &timer);
                let kind = timer.kind;
                streams
                    .submit(timer.stream, request, move |state, now| {
                        Ok::<_, std::convert::Infallible>(fire(state, &kind, now))
                    })
                    .await
                    .map(|_| ())
                    .map_err(BoxError::from)
            }
        };
        timers::run(self.store(), A::CATEGORY, drained, shutdown, handle).await;
    }
}

/// Takes a command's mark of being under way with it when it goes.
struct UnderWay<A: Aggregate> {
    inner: Arc<Inner<A>>,
    command: Uuid,
}

impl<A: Aggregate> Drop for UnderWay<A> {
    fn drop(&mut self) {
        lock(&self.inner.commands_under_way).remove(&self.command);
    }
}

impl<A: Aggregate> Inner<A> {
    /// `None` if the command is under way already.
    fn enter(self: &Arc<Self>, command: Uuid) -> Option<UnderWay<A>> {
        lock(&self.commands_under_way).insert(command).then(|| UnderWay {
            inner: Arc::clone(self),
            command,
        })
    }

    /// The stream as the database has it now: the kept state and what came after it.
    async fn fresh(&self, stream: &str) -> Result<Arc<Standing<A>>, BoxError> {
        let Some(kept) = self.states.get(stream) else {
            return self.cold(stream).await;
        };
        let newer = self.after(stream, kept.version).await?;
        if newer.is_empty() {
            return Ok(kept);
        }
        self.caught_up(stream, Arc::unwrap_or_clone(kept), newer)
    }

    /// Every event of a stream after `version`.
    async fn after(&self, stream: &str, version: u64) -> Result<Vec<Envelope>, BoxError> {
        let mut events = self.store.few_after(stream, version).await?;
        if events.len() as u64 == FEW {
            let last = events.last().map_or(version, |event| event.version);
            events.extend(self.store.history_after(stream, last).await?);
        }
        Ok(events)
    }

    /// A stream of which this process knows nothing. One that is too short for a snapshot comes whole with the first
    /// page, so only for a longer one its snapshot is looked for.
    async fn cold(&self, stream: &str) -> Result<Arc<Standing<A>>, BoxError> {
        if A::SNAPSHOT.is_none() {
            let events = self.after(stream, 0).await?;
            return self.caught_up(stream, Standing::nothing(), events);
        }
        let mut events = self.store.few_after(stream, 0).await?;
        if (events.len() as u64) < FEW {
            return self.caught_up(stream, Standing::nothing(), events);
        }
        match self.snapshot(stream).await {
            Some(known) => {
                let since = self.after(stream, known.version).await?;
                self.caught_up(stream, known, since)
            }
            None => {
                let rest = self.store.history_after(stream, FEW).await?;
                events.extend(rest);
                self.caught_up(stream, Standing::nothing(), events)
            }
        }
    }

    fn caught_up(
        &self,
        stream: &str,
        mut standing: Standing<A>,
        newer: Vec<Envelope>,
    ) -> Result<Arc<Standing<A>>, BoxError> {
        let before = standing.version;
        standing.catch_up(newer)?;
        let standing = Arc::new(standing);
        self.keep(stream, &standing);
        // Here too: what transactions and other replicas append passes by this process's own runs.
        self.snapshots.moved(stream, before, &standing);
        Ok(standing)
    }

    /// The stream as its newest snapshot has it, if there is one to read.
    async fn snapshot(&self, stream: &str) -> Option<Standing<A>> {
        let stream = stream.to_owned();
        let found = snapshot::newest(self.store.pool(), std::slice::from_ref(&stream)).await;
        let mut found = found.unwrap_or_else(|err| {
            tracing::warn!(error = %err, "snapshots cannot be read, folding the events");
            HashMap::new()
        });
        found.remove(&stream)
    }

    fn keep(&self, stream: &str, standing: &Arc<Standing<A>>) {
        // Asking for streams that are not there must not push out those that are.
        if standing.version == 0 {
            return;
        }
        // A slow reader must not put what it read over what was committed since.
        self.states.entry_by_ref(stream).and_compute_with(|kept| match kept {
            Some(kept) if kept.value().version >= standing.version => Op::Nop,
            Some(_) | None => Op::Put(Arc::clone(standing)),
        });
    }
}

/// A panic elsewhere leaves these maps whole: nothing panics while they are held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
