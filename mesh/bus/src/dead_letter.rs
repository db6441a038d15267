//! Where an event goes that a consumer cannot handle: what it was and why, never its body.

use jiff::Timestamp;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::subject::Context;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{BoxError, Bus};

/// Longest error text kept; a longer one repeats itself or quotes data.
const ERROR_CHARS_MAX: usize = 300;

/// A poison event, told to whoever must stop applying its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poisoned {
    /// The aggregate to quarantine.
    pub stream: String,
    /// The event's version in it.
    pub version: u64,
    /// The event.
    pub event_id: Uuid,
    /// Its type.
    pub event_type: String,
    /// Why it could not be handled.
    pub error: String,
}

/// A letter on the `DEAD` stream. It has no body: the owner's feed does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The context it came from.
    pub context: Context,
    /// The durable consumer that gave up, without prefix.
    pub consumer: String,
    /// The event, if the message could be read so far.
    pub event_id: Option<String>,
    /// Its aggregate.
    pub stream: Option<String>,
    /// Its type.
    pub event_type: Option<String>,
    /// Its version in the aggregate.
    pub version: Option<u64>,
    /// Its position at the owner.
    pub position: Option<u64>,
    /// Why, cut to 300 characters.
    pub error: String,
    /// When the consumer gave up, by the wall clock.
    pub at: Timestamp,
}

impl DeadLetter {
    pub(crate) fn of(context: Context, consumer: &str, envelope: &Envelope, error: &str) -> Self {
        Self {
            event_id: Some(envelope.event_id.to_string()),
            stream: Some(envelope.stream.clone()),
            event_type: Some(envelope.event_type.clone()),
            version: Some(envelope.version),
            position: Some(envelope.position),
            ..Self::unreadable(context, consumer, error)
        }
    }

    pub(crate) fn unreadable(context: Context, consumer: &str, error: &str) -> Self {
        Self {
            context,
            consumer: consumer.into(),
            event_id: None,
            stream: None,
            event_type: None,
            version: None,
            position: None,
            error: error.chars().take(ERROR_CHARS_MAX).collect(),
            at: mesh_runtime::clock::wall(),
        }
    }
}

impl Bus {
    /// Keeps a dead letter; `message_id` makes a repeated attempt one letter.
    pub(crate) async fn bury(&self, letter: &DeadLetter, message_id: String) -> Result<(), BoxError> {
        self.ensure_dead_stream().await?;
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id);
        let subject = self.names.dead_subject(&letter.consumer);
        let body = serde_json::to_vec(letter)?;
        self.jetstream
            .publish_with_headers(subject, headers, body.into())
            .await?
            .await?;
        metrics::counter!("dead_letters_total", "consumer" => letter.consumer.clone()).increment(1);
        Ok(())
    }
}
