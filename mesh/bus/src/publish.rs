//! Sending events, and learning that the broker has them.
//!
//! Knows no outbox: the relay decides what to send, in which order and how often.

use std::future::IntoFuture;
use std::slice;

use async_nats::jetstream::context::PublishAckFuture;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::subject::Context;

use crate::{Bus, wire};

/// What the broker answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Where the message stands in the context's stream.
    pub sequence: u64,
    /// The broker had this event already and kept the first.
    pub duplicate: bool,
}

/// The broker may or may not have the event: publish it again.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The stream's prefix belongs to no context. Only a bug can cause this.
    #[error("stream {0} belongs to no context")]
    NoContext(String),
    /// Not sent, not answered, or refused.
    #[error("bus did not take the event")]
    Failed(#[from] async_nats::jetstream::context::PublishError),
}

impl PublishError {
    /// No stream listens on the subject: the broker's store was wiped, or never had it.
    pub fn is_stream_missing(&self) -> bool {
        use async_nats::jetstream::context::PublishErrorKind;
        match self {
            Self::NoContext(_) => false,
            Self::Failed(err) => err.kind() == PublishErrorKind::StreamNotFound,
        }
    }
}

/// A sent event. Awaiting it gives the broker's answer; dropping it forgets the answer.
pub struct Publishing(PublishAckFuture);

impl IntoFuture for Publishing {
    type Output = Result<Published, PublishError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            let ack = self.0.await?;
            Ok(Published {
                sequence: ack.sequence,
                duplicate: ack.duplicate,
            })
        }
        .boxed()
    }
}

impl Bus {
    /// Sends an event, as a message of its own.
    pub async fn publish(&self, envelope: &Envelope) -> Result<Publishing, PublishError> {
        self.publish_batch(slice::from_ref(envelope)).await
    }

    /// Sends events of one context as one message, as [`batches`](crate::batches) cuts them. Calls one after another
    /// arrive in their order on this connection, so a window may be open; only the awaited answer says that the broker
    /// has them.
    ///
    /// # Panics
    /// Without an event.
    pub async fn publish_batch(&self, events: &[Envelope]) -> Result<Publishing, PublishError> {
        let stream = &events.first().expect("a message has an event").stream;
        let context = Context::of_stream(stream).ok_or_else(|| PublishError::NoContext(stream.clone()))?;
        let subject = match events.len() {
            1 => self.names.event_subject(context, stream),
            _ => self.names.batch_subject(context),
        };
        let (headers, body) = wire::encode(events);
        let ack = self.jetstream.publish_with_headers(subject, headers, body).await?;
        Ok(Publishing(ack))
    }
}
