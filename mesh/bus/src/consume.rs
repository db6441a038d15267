//! Supervised durable consumers: whatever ends them, they come back and go on.
//!
//! Knows no handler's meaning. An event may be handed over twice or out of order, never not at
//! all while the broker has it; versions are the handler's affair.

mod session;
mod settle;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::ConsumerInfoErrorKind;
use futures::future::BoxFuture;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::subject::Context;
use mesh_runtime::Shutdown;
use tokio::sync::watch;

use crate::{BoxError, Bus, Poisoned, StreamsError};
use session::Session;

/// Events handed over at once unless told otherwise: enough to make one pipeline worth it,
/// few enough that the last of them does not wait long.
const BATCH_MAX: usize = 128;

/// Batches of one consumer come this far apart under load: what shows events may be late by so
/// much, and what reacts to them has reacted when a person looks.
const BATCH_PERIOD: Duration = Duration::from_millis(12);

/// Pause before a broken consumer is made again, at first.
const REVIVE_PAUSE_MIN: Duration = Duration::from_millis(50);

/// And at most.
const REVIVE_PAUSE_MAX: Duration = Duration::from_secs(1);

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Handled, or nothing to do: acknowledge it.
    Done,
    /// Something the handler depends on is away (its database, Redis, a feed). The event is not
    /// to blame: it is handed over again, with pauses, until it is done.
    Later(String),
    /// It failed and the event may be the cause: three tries in place, then as poison.
    Retry(String),
    /// No try can help: dead letter and quarantine of its stream at once.
    Poison(String),
}

type Quarantine = dyn Fn(Poisoned) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync + 'static;

/// What to consume, as whom, and whom to tell about poison.
pub struct Subscription {
    pub(crate) context: Context,
    pub(crate) durable: String,
    pub(crate) stream_prefix: &'static str,
    pub(crate) batch_max: usize,
    pub(crate) period: Duration,
    pub(crate) quarantine: Option<Arc<Quarantine>>,
    pub(crate) drained: watch::Sender<bool>,
    pub(crate) is_temporary: bool,
}

impl Subscription {
    /// All of a context's events, from the first that the broker has, for the durable consumer
    /// of this name (without prefix). Replicas of one service share the name and the work.
    pub fn new(context: Context, durable: impl Into<String>) -> Self {
        Self {
            context,
            durable: durable.into(),
            stream_prefix: "",
            batch_max: BATCH_MAX,
            period: BATCH_PERIOD,
            quarantine: None,
            drained: watch::channel(false).0,
            is_temporary: false,
        }
    }

    /// Only events that the broker takes after [`Bus::prepare`], for a while: the broker forgets
    /// the consumer when nobody has asked it for an hour.
    pub fn temporary(mut self) -> Self {
        self.is_temporary = true;
        self
    }

    /// Only events of streams whose ids begin so (`pay_`); the others are acknowledged unread.
    pub fn only_streams_of(mut self, prefix: &'static str) -> Self {
        self.stream_prefix = prefix;
        self
    }

    /// Hands over at most `batch_max` events at once.
    pub fn batch_max(mut self, batch_max: usize) -> Self {
        self.batch_max = batch_max.max(1);
        self
    }

    /// Hands over at most one batch per `period` under load; the first few always at once.
    pub fn paced(mut self, period: Duration) -> Self {
        self.period = period;
        self
    }

    /// `quarantine` is awaited, again until it succeeds, before a poison event is acknowledged.
    /// From then on the handler must answer later events of that stream with `Done`, unapplied.
    pub fn on_poison<F, Fut>(mut self, quarantine: F) -> Self
    where
        F: Fn(Poisoned) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.quarantine = Some(Arc::new(move |poisoned| Box::pin(quarantine(poisoned))));
        self
    }

    /// The durable consumer's name, without prefix.
    pub fn durable(&self) -> &str {
        &self.durable
    }

    /// Turns true once, when everything the broker had is handled and acknowledged.
    pub fn drained(&self) -> watch::Receiver<bool> {
        self.drained.subscribe()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Subscription")
            .field("context", &self.context)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

/// Where a durable consumer stands, as the broker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerState {
    /// Messages not delivered yet.
    pub pending: u64,
    /// Messages delivered and not acknowledged.
    pub ack_pending: u64,
    /// Everything up to this message of the stream is acknowledged.
    pub acknowledged: u64,
}

impl ConsumerState {
    /// Nothing is under way.
    pub fn is_drained(self) -> bool {
        self.pending == 0 && self.ack_pending == 0
    }
}

impl Bus {
    /// Hands every event of the subscription to `handle` in the order of the broker, one batch
    /// at a time, and acknowledges each by its verdict (`handle` answers with one verdict per
    /// event, in order). Survives errors, a restarted or wiped broker and a deleted consumer;
    /// returns only on shutdown.
    pub async fn consume<H, Fut>(&self, subscription: Subscription, shutdown: Shutdown, handle: H)
    where
        H: Fn(Vec<Envelope>) -> Fut + Send + Sync,
        Fut: Future<Output = Vec<Verdict>> + Send,
    {
        let mut pause = REVIVE_PAUSE_MIN;
        while !shutdown.is_triggered() {
            tokio::select! {
                () = shutdown.triggered() => return,
                () = self.connected() => {}
            }
            let session = Session {
                bus: self,
                subscription: &subscription,
                shutdown: &shutdown,
                handle: &handle,
                connection: *self.connections().borrow(),
            };
            let err = match session.run(|| pause = REVIVE_PAUSE_MIN).await {
                Ok(()) => return,
                Err(err) => err,
            };
            tracing::warn!(consumer = %subscription.durable, error = %err, "consumer broke, making it again");
            metrics::counter!("consumer_revived_total", "consumer" => subscription.durable.clone()).increment(1);
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(REVIVE_PAUSE_MAX);
        }
    }

    /// Makes the durable consumer, so that the broker keeps events for it before anyone consumes.
    pub async fn prepare(&self, subscription: &Subscription) -> Result<(), BoxError> {
        session::consumer(self, subscription).await?;
        Ok(())
    }

    /// Takes a durable consumer off the broker; one that is not there is gone already.
    pub async fn forget(&self, context: Context, durable: &str) -> Result<(), BoxError> {
        let stream = self.jetstream.get_stream_no_info(self.names.stream(context)).await?;
        match stream.delete_consumer(&self.names.durable(durable)).await {
            Ok(_) => Ok(()),
            Err(_) if self.consumer_state(context, durable).await?.is_none() => Ok(()),
            Err(err) => Err(err.into()),
        }
    }

    /// The number of a context's newest message.
    pub async fn head(&self, context: Context) -> Result<u64, StreamsError> {
        let stream = self.jetstream.get_stream(self.names.stream(context)).await;
        let stream = stream.map_err(|err| StreamsError::Unavailable(err.into()))?;
        Ok(stream.cached_info().state.last_sequence)
    }

    /// Where a durable consumer stands; `None` if the broker does not know it.
    pub async fn consumer_state(&self, context: Context, durable: &str) -> Result<Option<ConsumerState>, StreamsError> {
        let stream = self
            .jetstream
            .get_stream_no_info(self.names.stream(context))
            .await
            .map_err(|err| StreamsError::Unavailable(err.into()))?;
        match stream.consumer_info(self.names.durable(durable)).await {
            Ok(info) => Ok(Some(state_of(&info))),
            Err(err) => match err.kind() {
                ConsumerInfoErrorKind::NotFound | ConsumerInfoErrorKind::StreamNotFound => Ok(None),
                _ => Err(StreamsError::Unavailable(err.into())),
            },
        }
    }
}

fn state_of(info: &async_nats::jetstream::consumer::Info) -> ConsumerState {
    ConsumerState {
        pending: info.num_pending,
        ack_pending: info.num_ack_pending as u64,
        acknowledged: info.ack_floor.stream_sequence,
    }
}
