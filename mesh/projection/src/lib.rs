//! How events are shown: one Redis document per event stream, written through a version gate,
//! with its indexes and live topics; rebuilt from the masters' feeds whenever Redis lost it.
//!
//! Knows no document by name and no caller. Redis is a view: nothing here is the only copy.

mod view;

mod audit;
mod connection;
pub mod keys;
mod library;
mod memory;

pub mod progress;
mod refill;
mod run;
mod write;

pub mod control;
pub mod freshness;
mod live;
mod read;

pub use connection::{ConnectError, Projection, RedisConfig};
pub use live::{Live, RESUME_HEADER, Stamp};
pub use read::{ListError, Page, Read, Unavailable};
pub use view::{Placement, View, fold_all};

/// The cause inside a typed error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
