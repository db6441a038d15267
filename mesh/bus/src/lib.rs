//! How events travel: JetStream streams, publishing, supervised consumers, dead letters, work queues,
//! and the client of the masters' feeds that fills what the bus has lost.
//!
//! Knows no event by name and no database. The bus is transport: it may lose everything,
//! and whoever listens heals from the owner's feed.

mod connection;
mod consume;
mod dead_letter;
pub mod feed;
mod health;
mod jobs;
mod passing;
mod publish;
mod streams;
mod wire;

pub use connection::{Bus, BusConfig, ConnectError};
pub use consume::{ConsumerState, Subscription, Verdict};
pub use dead_letter::{DeadLetter, Poisoned};
pub use health::Health;
pub use jobs::{Job, NewJob, Work};
pub use publish::{PublishError, Published, Publishing};
pub use streams::{Kept, StreamInfo, StreamsError};
pub use wire::{Malformed, batches, decode, encode, message_id};

/// The cause inside a typed error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
