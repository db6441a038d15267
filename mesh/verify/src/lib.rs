//! The platform's invariants: counts what does not hold, by reading the stores of a running platform and what its
//! clients noted.
//!
//! `collect` reads, and knows no rule; every rule is a pure function in a file of its own, so that models of the platform
//! are asked the same. Nothing is repaired.

pub mod collect;
pub mod findings;
pub mod freshness;
pub mod history;

pub mod books;
pub mod documents;
pub mod keys;
pub mod lateness;
pub mod money;
pub mod orders;
pub mod readers;
pub mod stamps;
pub mod stock;

pub mod dice;

mod pass;

#[cfg(test)]
mod log;

use mesh_local::running::Running;

pub use findings::{Breach, Invariant, Report};

use collect::Stores;

/// Counts what does not hold in a platform that runs.
///
/// # Errors
/// When a store cannot be read: then nothing is known, which is not the same as nothing being wrong.
pub async fn check(running: &Running) -> anyhow::Result<Report> {
    let stores = Stores::of(running).await?;
    let report = pass::over(&stores).await;
    stores.close().await;
    report
}

/// Counts what does not hold in stores that are open already.
///
/// # Errors
/// As [`check`].
pub async fn check_stores(stores: &Stores) -> anyhow::Result<Report> {
    pass::over(stores).await
}
