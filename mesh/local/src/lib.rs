//! A whole region on one machine: servers, certificates, supervised processes; used by `tiffin up` and by tests.
//!
//! Knows nothing of orders, and speaks to the services only through their environment and their admin ports.

pub mod services;

pub mod platform;
pub mod running;

pub mod certificates;
mod edge;
mod environment;
pub mod regions;
mod restart;

pub use environment::REGION;

pub mod servers;

pub mod clock;
pub mod data_dir;
pub mod disk;
pub mod exec;
pub mod install;
pub mod link;
pub mod ports;
pub mod probe;
pub mod secrets;
pub mod supervise;

use std::sync::Arc;

/// Told what is being done, in a few words, whenever it changes; prints it, or not.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// A progress that nobody watches.
pub fn unwatched() -> Progress {
    Arc::new(|_| {})
}
