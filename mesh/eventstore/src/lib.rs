//! How a master remembers: append with group commit, streams with mailboxes, idempotency,
//! inbox, outbox relay, timers, feed.
//!
//! Knows no aggregate by name: a master brings its [`Aggregate`] and its rules. Knows Postgres;
//! the bus only through `mesh-bus`, and never trusts it to keep anything.

pub mod migrate;

mod aggregate;
mod answer;
mod request;
mod streams;
pub use aggregate::{Aggregate, AlsoAppend, Decided, Effect, Recorded, SnapshotForm};
pub use answer::{Answer, Outcome};
pub use request::{Cause, CommandKey, Request, RequestHash, TimerKey};
pub use streams::{Pending, Streams, SubmitError};

mod append;
mod batcher;
mod read;
mod sql_time;
mod statement;
mod store;
pub use append::{Append, AppendError, Aside, Fired, Mark, NewEvent, StoredCommand, StreamAppend, TimerChange};
pub use sql_time::SqlTime;
pub use store::{Store, StoreConfig};

pub mod feed;
pub mod http;
pub mod inbox;
mod leader;
pub mod relay;
pub mod timers;

/// The cause inside an error that only says who failed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
