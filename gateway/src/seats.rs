//! Who is served when not everybody can be: places for what is under way, and what may take the last of them.
//!
//! Nobody waits for a seat: who gets none is told when to come back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use mesh_contracts::user::Role;
use mesh_runtime::Problem;

/// When whoever was turned away should come back.
pub(crate) const COME_BACK_AFTER: Duration = Duration::from_secs(1);

/// What is served first when not everything can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// A customer who looks around can do so again in a moment.
    Browsing,
    /// A customer who orders, pays or cancels, somebody who comes in, and whoever works and looks at what there is.
    Purchase,
    /// What kitchens, couriers and operators do, and what the payment provider reports: food and money that are there.
    Work,
}

impl Urgency {
    /// Of a request by somebody, if it is known who.
    pub(crate) fn of(method: &Method, role: Option<Role>) -> Self {
        match (method.is_safe(), role) {
            (true, Some(Role::Customer) | None) => Self::Browsing,
            (true, Some(Role::Kitchen | Role::Courier | Role::Operator)) => Self::Purchase,
            (false, Some(Role::Customer) | None) => Self::Purchase,
            (false, Some(Role::Kitchen | Role::Courier | Role::Operator)) => Self::Work,
        }
    }
}

/// A limit on what is under way at once.
#[derive(Debug)]
pub(crate) struct Seats {
    /// What the limit is about, for logs and metrics.
    of: String,
    all: usize,
    taken: AtomicUsize,
}

/// One place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Seat<'a>(&'a AtomicUsize);

impl Seats {
    pub(crate) fn new(of: impl Into<String>, all: usize) -> Self {
        let (of, taken) = (of.into(), AtomicUsize::new(0));
        Self { of, all, taken }
    }

    /// A place for as long as it is kept.
    ///
    /// # Errors
    /// 503 `overloaded` when those that are open to this urgency are taken.
    pub(crate) fn take(&self, urgency: Urgency) -> Result<Seat<'_>, Problem> {
        let open = self.open_to(urgency);
        let one_more = |taken| (taken < open).then_some(taken + 1);
        let Err(taken) = self.taken.try_update(Ordering::Relaxed, Ordering::Relaxed, one_more) else {
            return Ok(Seat(&self.taken));
        };
        metrics::counter!("requests_shed_total", "of" => self.of.clone()).increment(1);
        Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "there is too much to do right now",
        )
        .retry_after(COME_BACK_AFTER)
        .because(format_args!("{taken} of {} under way at {}", self.all, self.of)))
    }

    /// Each step leaves a quarter of all seats to what is more urgent.
    fn open_to(&self, urgency: Urgency) -> usize {
        match urgency {
            Urgency::Browsing => self.all / 2,
            Urgency::Purchase => self.all * 3 / 4,
            Urgency::Work => self.all,
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(seats: &Seats, urgency: Urgency) -> Vec<Seat<'_>> {
        std::iter::from_fn(|| seats.take(urgency).ok()).collect()
    }

    #[test]
    fn browsing_is_turned_away_before_purchases_and_those_before_work() {
        let seats = Seats::new("order-master", 256);
        let browsing = fill(&seats, Urgency::Browsing);
        let purchases = fill(&seats, Urgency::Purchase);
        let work = fill(&seats, Urgency::Work);
        assert_eq!((browsing.len(), purchases.len(), work.len()), (128, 64, 64));
        assert!(seats.take(Urgency::Browsing).is_err() && seats.take(Urgency::Work).is_err());
    }

    #[test]
    fn a_refused_call_and_a_finished_one_leave_no_seat_taken() {
        let seats = Seats::new("order-master", 256);
        drop(fill(&seats, Urgency::Work));
        assert_eq!(seats.taken.load(Ordering::Relaxed), 0);
        assert!(seats.take(Urgency::Browsing).is_ok());
    }
}
