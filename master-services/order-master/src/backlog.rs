//! How far behind the orders that were taken are, so that no more are taken than are worked off.
//!
//! Taking an order is the smaller part of the work that it makes. Where that part is all that is looked at, a rush takes
//! more and more orders that nobody gets to, and everyone waits long after it is over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mesh_runtime::Problem;

/// An order waits for its place in a kitchen some tenths of a second. By then the kitchens' screens and the couriers are
/// as far behind, and whoever orders now had better try again.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// What was heard longer ago says nothing about now: then one is taken, and shows how it stands.
const SAYS_SO_FOR: Duration = Duration::from_secs(1);

/// One answer counts for an eighth of what is known, so a single late one is no backlog.
const WEIGHT: u32 = 8;

/// When whoever was turned away should come back.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);

/// How long orders wait for the first answer that others give. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Backlog(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    wait: Duration,
    heard: Option<Instant>,
}

impl Backlog {
    /// An order's hold was answered after `waited`, wall time.
    pub fn heard(&self, waited: Duration) {
        self.heard_at(waited, Instant::now());
    }

    /// # Errors
    /// 503 `overloaded` when those who ordered before wait too long already.
    pub fn let_in(&self) -> Result<(), Problem> {
        match self.is_too_long(Instant::now()) {
            false => Ok(()),
            true => Err(Problem::overloaded(
                "too many orders wait for a kitchen",
                COME_BACK_AFTER,
            )),
        }
    }

    fn heard_at(&self, waited: Duration, now: Instant) {
        let mut known = self.lock();
        known.wait = (known.wait * (WEIGHT - 1) + waited) / WEIGHT;
        known.heard = Some(now);
    }

    fn is_too_long(&self, now: Instant) -> bool {
        let known = self.lock();
        known.wait > WAIT_MAX && known.heard.is_some_and(|at| now.duration_since(at) < SAYS_SO_FOR)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_let_in_while_those_before_wait_too_long() {
        let (backlog, start) = (Backlog::default(), Instant::now());
        assert!(!backlog.is_too_long(start), "nothing is known");
        backlog.heard_at(WAIT_MAX * 7, start);
        assert!(!backlog.is_too_long(start), "one late answer");
        (0..16).for_each(|_| backlog.heard_at(WAIT_MAX * 2, start));
        assert!(backlog.is_too_long(start));
        assert!(!backlog.is_too_long(start + SAYS_SO_FOR), "that was long ago");
        (0..16).for_each(|_| backlog.heard_at(Duration::ZERO, start));
        assert!(!backlog.is_too_long(start));
    }
}
