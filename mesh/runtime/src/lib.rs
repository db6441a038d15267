//! What every process of the platform needs to run, as small functions rather than a framework:
//! settings, clocks, telemetry, an accept loop, problem answers, an orderly end.
//!
//! Knows nothing of orders, of certificates' meaning, of Postgres, NATS or Redis.

pub mod settings;

pub mod audit;
pub mod clock;
pub mod coalesce;
pub mod failpoint;
pub mod handover;
pub mod pace;
pub mod process;
pub mod shutdown;
pub mod telemetry;

pub mod admin;
pub mod server;

pub mod consistency;
pub mod deadline;
pub mod extract;
pub mod headers;
pub mod json;
pub mod problem;

/// Every event is parsed, folded and printed a few times, in small pieces: under the system's own
/// allocator that took a fifth of each service's time (`tiffin bench order`, profiled).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub use clock::Clock;
pub use coalesce::{Coalesce, CoalesceError};
pub use pace::Pace;
pub use problem::Problem;
pub use settings::Settings;
pub use shutdown::Shutdown;
