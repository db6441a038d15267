//! One life of a consumer: from making it on the broker to the first error.
//!
//! Does not decide what becomes of an event; `settle` does.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Config, Stream};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use async_nats::jetstream::{self};
use futures::{FutureExt as _, StreamExt as _};
use mesh_contracts::envelope::Envelope;
use mesh_runtime::{Pace, Shutdown};

use super::{Subscription, Verdict, state_of};
use crate::{BoxError, Bus};

/// The broker hands an event out again if it heard nothing of it for so long. What a killed
/// process had in hand is late by this much, so it is short. A handler that needs longer says so
/// meanwhile (`settle`), and what is handed out again while it waits for its turn is a duplicate,
/// which versions tell apart.
pub(super) const ACK_WAIT: Duration = Duration::from_secs(5);

/// Events out at once per consumer, several batches of the largest size in use.
const UNACKED_MAX: i64 = 1_024;

/// How long one pull request stays open on the broker. Messages come at once all the same.
const PULL_EXPIRES: Duration = Duration::from_secs(10);

/// The broker shows signs of life this often; two missed ones end the session.
const PULL_HEARTBEAT: Duration = Duration::from_secs(2);

/// A temporary consumer that nobody asked for so long is left over from a process that died. Reading
/// a long history comes before the first question.
const TEMPORARY_IDLE_MAX: Duration = Duration::from_secs(3600);

/// How often an idle consumer that was never drained looks whether it is.
const DRAINED_POLL: Duration = Duration::from_millis(100);

pub(super) struct Session<'a, H> {
    pub bus: &'a Bus,
    pub subscription: &'a Subscription,
    pub shutdown: &'a Shutdown,
    pub handle: &'a H,
    /// How often a connection had been made when this session began.
    pub connection: u64,
}

impl<H, Fut> Session<'_, H>
where
    H: Fn(Vec<Envelope>) -> Fut + Send + Sync,
    Fut: Future<Output = Vec<Verdict>> + Send,
{
    /// Ends with `Ok` only on shutdown. Calls `alive` whenever the broker has shown that it is.
    pub async fn run(&self, mut alive: impl FnMut()) -> Result<(), BoxError> {
        let consumer = consumer(self.bus, self.subscription).await?;
        let mut messages = self.messages(&consumer).await?;
        let mut pace = Pace::every(self.subscription.period);
        loop {
            if self.is_reconnected() {
                return self.finish(&mut messages).await;
            }
            if !*self.subscription.drained.borrow() {
                self.look_whether_drained(&consumer).await?;
            }
            let first = tokio::select! {
                () = self.shutdown.triggered() => return Ok(()),
                () = tokio::time::sleep(DRAINED_POLL), if !*self.subscription.drained.borrow() => continue,
                message = messages.next() => message.ok_or("message stream ended")??,
            };
            alive();
            pace.wait().await;
            let (batch, broken) = self.gather(first, &mut messages);
            self.settle(batch).await;
            if let Some(err) = broken {
                return Err(err);
            }
        }
    }

    /// The client asks for the next batch while the former is handled, so that a message never
    /// waits for a round trip; batches are still handled one after another, in order.
    async fn messages(&self, consumer: &PullConsumer) -> Result<Stream, BoxError> {
        let messages = consumer
            .stream()
            .max_messages_per_batch(self.subscription.batch_max)
            .expires(PULL_EXPIRES)
            .heartbeat(PULL_HEARTBEAT)
            .messages()
            .await?;
        Ok(messages)
    }

    /// Whatever has arrived by now, without waiting for more.
    fn gather(&self, first: jetstream::Message, messages: &mut Stream) -> (Vec<jetstream::Message>, Option<BoxError>) {
        let mut batch = vec![first];
        while batch.len() < self.subscription.batch_max {
            match messages.next().now_or_never() {
                None => break,
                Some(Some(Ok(message))) => batch.push(message),
                Some(Some(Err(err))) => return (batch, Some(err.into())),
                Some(None) => return (batch, Some("message stream ended".into())),
            }
        }
        (batch, None)
    }

    /// The broker behind a new connection may have fallen back to an older state. Then it gives the numbers of what we
    /// have in hand to other events, and an acknowledgement of ours would be taken for theirs: they would be lost.
    pub(super) fn is_reconnected(&self) -> bool {
        *self.bus.connections().borrow() != self.connection
    }

    /// What has arrived is handled, not acknowledged, and comes again as a duplicate.
    async fn finish(&self, messages: &mut Stream) -> Result<(), BoxError> {
        while let Some(Some(Ok(first))) = messages.next().now_or_never() {
            let (batch, broken) = self.gather(first, messages);
            self.settle(batch).await;
            if broken.is_some() {
                break;
            }
        }
        Err("connected anew".into())
    }

    async fn look_whether_drained(&self, consumer: &PullConsumer) -> Result<(), BoxError> {
        let info = consumer.get_info().await?;
        if state_of(&info).is_drained() {
            self.subscription.drained.send_replace(true);
        }
        Ok(())
    }
}

/// Makes the durable consumer or finds it. On a wiped broker it starts from the first message
/// there is: what was handled before is a duplicate, and harmless.
pub(super) async fn consumer(bus: &Bus, subscription: &Subscription) -> Result<PullConsumer, BoxError> {
    let (deliver_policy, inactive_threshold) = match subscription.is_temporary {
        false => (DeliverPolicy::All, Duration::ZERO),
        true => (DeliverPolicy::New, TEMPORARY_IDLE_MAX),
    };
    let stream = bus.names.stream(subscription.context);
    let stream = bus.jetstream.get_stream_no_info(stream).await?;
    let consumer = stream
        .create_consumer(Config {
            durable_name: Some(bus.names.durable(&subscription.durable)),
            deliver_policy,
            inactive_threshold,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: UNACKED_MAX,
            ..Config::default()
        })
        .await?;
    Ok(consumer)
}
