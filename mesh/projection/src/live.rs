//! Live topics: one subscription per process, fanned out in memory to every client.
//!
//! Entries are stamped by the function that writes the document. A stamp that is missing is read
//! from the topic's capped stream, so the subscription may break at any time. Ephemeral news goes
//! the same way to the clients, and no other.

mod client;
mod passing;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use mesh_runtime::Shutdown;
use tokio::sync::broadcast;

use crate::connection::{Inner, Projection};
use crate::{BoxError, keys};

pub use client::{Live, RESUME_HEADER};

/// Entries that a client may be behind before it gets a fresh snapshot instead.
const CLIENT_BACKLOG_MAX: usize = 64;

/// How often the subscription's connection is asked for a sign of life.
const PING_PERIOD: Duration = Duration::from_secs(2);

/// Longest wait for that sign.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause before a broken subscription is made again.
const REVIVE_PAUSE: Duration = Duration::from_millis(100);

/// Where a topic stands: the life of the data, and a number that counts up within it.
/// It is the entry's id in the topic's Redis stream, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Milliseconds at which this life of the data began.
    pub generation: u64,
    /// Ascends by one with every entry of the topic.
    pub sequence: u64,
}

impl Stamp {
    fn is_followed_by(self, next: Self) -> bool {
        self.generation == next.generation && self.sequence + 1 == next.sequence
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.generation, self.sequence)
    }
}

/// Not `<generation>-<sequence>`.
#[derive(Debug, thiserror::Error)]
#[error("not a stamp")]
pub struct BadStamp;

impl FromStr for Stamp {
    type Err = BadStamp;

    fn from_str(text: &str) -> Result<Self, BadStamp> {
        let (generation, sequence) = text.split_once('-').ok_or(BadStamp)?;
        Ok(Self {
            generation: generation.parse().map_err(|_| BadStamp)?,
            sequence: sequence.parse().map_err(|_| BadStamp)?,
        })
    }
}

/// What the subscription tells a client.
#[derive(Clone)]
enum Signal {
    /// A stamped event.
    Entry(Stamp, Arc<str>),
    /// Ephemeral news under this name: no stamp, and nobody misses it.
    Passing(&'static str, Arc<str>),
    /// The subscription was broken or the view filled anew; something may be missing.
    Gap,
}

/// The topics that somebody in this process listens to.
#[derive(Default)]
pub(crate) struct Hub {
    topics: Mutex<HashMap<String, broadcast::Sender<Signal>>>,
}

impl Hub {
    fn subscribe(&self, topic: &str) -> broadcast::Receiver<Signal> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics
            .entry(topic.to_owned())
            .or_insert_with(|| broadcast::channel(CLIENT_BACKLOG_MAX).0)
            .subscribe()
    }

    /// Forgets the topic if its last client is gone.
    fn leave(&self, topic: &str, receiver: broadcast::Receiver<Signal>) {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        drop(receiver);
        if topics.get(topic).is_some_and(|sender| sender.receiver_count() == 0) {
            topics.remove(topic);
        }
    }

    fn send(&self, topic: &str, signal: Signal) {
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = topics.get(topic) {
            // No receiver is left only while the last one leaves.
            let _ = sender.send(signal);
        }
    }

    /// The topics with this beginning that somebody listens to.
    fn listened(&self, beginning: &str) -> Vec<String> {
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let topics = topics.keys().filter(|topic| topic.starts_with(beginning));
        topics.cloned().collect()
    }

    /// Something may be missing on every topic.
    pub fn announce_gap(&self) {
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in topics.values() {
            let _ = sender.send(Signal::Gap);
        }
    }
}

impl Projection {
    /// Holds this process's one subscription to the live topics, making it again whenever it
    /// breaks. Without it, live streams give a snapshot and then nothing but heartbeats. Returns
    /// only on shutdown.
    pub async fn listen(&self, shutdown: Shutdown) {
        loop {
            let broken = tokio::select! {
                () = shutdown.triggered() => return,
                broken = self.inner.subscription() => broken,
            };
            if let Err(err) = broken {
                tracing::warn!(error = %err, "live subscription broke, making it again");
            }
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep(REVIVE_PAUSE) => {}
            }
        }
    }
}

impl Inner {
    async fn subscription(&self) -> Result<(), BoxError> {
        let (mut sink, mut messages) = self.client.get_async_pubsub().await?.split();
        let channels = keys::live(&self.prefix, "");
        // Redis lets a user subscribe only to the very pattern that its ACL names: our prefix.
        sink.psubscribe(format!("{}*", escape(&self.prefix))).await?;
        self.hub.announce_gap();
        let mut ping = tokio::time::interval(PING_PERIOD);
        loop {
            tokio::select! {
                message = messages.next() => {
                    let message = message.ok_or("connection closed")?;
                    let topic = message.get_channel_name().strip_prefix(&channels);
                    let payload: String = message.get_payload()?;
                    let entry = payload.split_once('\n').and_then(|(stamp, text)| {
                        Some(Signal::Entry(stamp.parse().ok()?, text.into()))
                    });
                    if let (Some(topic), Some(entry)) = (topic, entry) {
                        self.hub.send(topic, entry);
                    }
                }
                _ = ping.tick() => {
                    tokio::time::timeout(PING_TIMEOUT, sink.ping::<redis::Value>()).await??;
                }
            }
        }
    }
}

/// A prefix is meant literally in a pattern.
pub(crate) fn escape(prefix: &str) -> String {
    prefix
        .chars()
        .flat_map(|char| {
            let special = matches!(char, '*' | '?' | '[' | ']' | '\\' | '^');
            special.then_some('\\').into_iter().chain([char])
        })
        .collect()
}
