//! How far everyone is behind on the bus, and what was given up: for people to look at.

use std::collections::BTreeMap;

use async_nats::jetstream::context::GetStreamErrorKind;
use futures::TryStreamExt as _;
use mesh_contracts::subject::Context;

use crate::{BoxError, Bus, DeadLetter};

/// Newest dead letters shown.
const LETTERS_MAX: u64 = 5;

/// What the broker knows of its readers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Events not yet taken in, by the durable consumer's name without prefix; only those that have any.
    pub behind: BTreeMap<String, u64>,
    /// Dead letters kept.
    pub dead_letters: u64,
    /// The newest of them, newest first.
    pub newest: Vec<DeadLetter>,
}

impl Bus {
    /// Asks the broker: a request per context and a few for the dead letters. `last` is what it said before, whose
    /// letters need not be read again if there are no more.
    pub async fn health(&self, last: &Health) -> Result<Health, BoxError> {
        let mut health = Health::default();
        for context in Context::ALL {
            let stream = match self.jetstream.get_stream(self.names.stream(context)).await {
                Ok(stream) => stream,
                // Nobody has said anything there yet.
                Err(err) if is_missing(&err) => continue,
                Err(err) => return Err(err.into()),
            };
            let mut consumers = stream.consumers();
            while let Some(info) = consumers.try_next().await? {
                let behind = info.num_pending + info.num_ack_pending as u64;
                let name = info.name.strip_prefix(self.names.prefix.as_str());
                if let Some(name) = name.filter(|_| behind > 0) {
                    *health.behind.entry(name.to_owned()).or_default() += behind;
                }
            }
        }
        let dead = match self.jetstream.get_stream(self.names.dead_stream()).await {
            Ok(dead) => dead,
            // Nobody has given anything up yet.
            Err(err) if is_missing(&err) => return Ok(health),
            Err(err) => return Err(err.into()),
        };
        let state = &dead.cached_info().state;
        health.dead_letters = state.messages;
        if health.dead_letters == last.dead_letters {
            health.newest.clone_from(&last.newest);
            return Ok(health);
        }
        let first = state
            .first_sequence
            .max((state.last_sequence + 1).saturating_sub(LETTERS_MAX));
        for sequence in (first..=state.last_sequence).rev() {
            // One in between may have aged out.
            if let Ok(message) = dead.get_raw_message(sequence).await {
                health
                    .newest
                    .extend(serde_json::from_slice::<DeadLetter>(&message.payload));
            }
        }
        Ok(health)
    }
}

fn is_missing(err: &async_nats::jetstream::context::GetStreamError) -> bool {
    match err.kind() {
        GetStreamErrorKind::JetStream(err) => err.error_code() == async_nats::jetstream::ErrorCode::STREAM_NOT_FOUND,
        _ => false,
    }
}
