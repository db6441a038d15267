//! Who is served when not everybody can be: places for what is under way, and what may take the last of them.
//!
//! Nobody waits for a seat: who gets none is told when to come back.
//!
//! How many there are is a limit on memory. How many are worth filling depends on what the platform manages: more under way
//! than it can answer in time is answered too late, all of it. So customers have fewer seats while they are answered
//! late, and more again while they are not.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Method;
use mesh_contracts::user::Role;
use mesh_runtime::Problem;

/// When whoever was turned away should come back.
pub(crate) const COME_BACK_AFTER: Duration = Duration::from_secs(1);

/// Whoever is answered later than this waited for others: a quarter of the two seconds after which an answer is too late.
const LATE: Duration = Duration::from_millis(500);

/// It is judged at most this often, and by so many answers at least.
const JUDGED_EVERY: Duration = Duration::from_millis(500);
const JUDGED_BY_MIN: usize = 8;

/// As many as keep a few cores busy are let in however late they are answered.
const OPEN_MIN: usize = 16;

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
    browsing: Tide,
    purchases: Tide,
}

/// How many seats one class is let have.
#[derive(Debug)]
struct Tide {
    open: AtomicUsize,
    /// Somebody was turned away since it was judged.
    refused: AtomicBool,
    judged: Mutex<Judged>,
}

/// What came of those answered since.
#[derive(Debug)]
struct Judged {
    at: Instant,
    /// When it was last let more or fewer in.
    moved: Instant,
    answered: usize,
    late: usize,
    /// Seats that were taken at once, at most.
    taken: usize,
}

/// One place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    seats: &'a Seats,
    urgency: Urgency,
    since: Instant,
}

impl Seats {
    pub(crate) fn new(of: impl Into<String>, all: usize) -> Self {
        Self {
            of: of.into(),
            all,
            taken: AtomicUsize::new(0),
            browsing: Tide::high(all),
            purchases: Tide::high(all),
        }
    }

    /// A place for as long as it is kept.
    ///
    /// # Errors
    /// 503 `overloaded` when those that are open to this urgency are taken.
    pub(crate) fn take(&self, urgency: Urgency) -> Result<Seat<'_>, Problem> {
        let open = self.open_to(urgency);
        let one_more = |taken| (taken < open).then_some(taken + 1);
        let Err(taken) = self.taken.try_update(Ordering::Relaxed, Ordering::Relaxed, one_more) else {
            return Ok(Seat {
                seats: self,
                urgency,
                since: Instant::now(),
            });
        };
        if let Some(tide) = self.tide(urgency) {
            tide.refused.store(true, Ordering::Relaxed);
        }
        metrics::counter!("requests_shed_total", "of" => self.of.clone()).increment(1);
        let overloaded = Problem::overloaded("there is too much to do right now", COME_BACK_AFTER);
        Err(overloaded.because(format_args!("{taken} of {} under way at {}", self.all, self.of)))
    }

    /// Each step leaves a quarter of all seats to what is more urgent.
    fn open_to(&self, urgency: Urgency) -> usize {
        let open = match urgency {
            Urgency::Browsing => self.all / 2,
            Urgency::Purchase => self.all * 3 / 4,
            Urgency::Work => self.all,
        };
        let tide = self.tide(urgency);
        tide.map_or(open, |tide| open.min(tide.open.load(Ordering::Relaxed)))
    }

    /// Work has none: there is no more of it than people who do it.
    fn tide(&self, urgency: Urgency) -> Option<&Tide> {
        match urgency {
            Urgency::Browsing => Some(&self.browsing),
            Urgency::Purchase => Some(&self.purchases),
            Urgency::Work => None,
        }
    }
}

impl Tide {
    fn high(all: usize) -> Self {
        Self {
            open: AtomicUsize::new(all),
            refused: AtomicBool::new(false),
            judged: Mutex::new(Judged::at(Instant::now())),
        }
    }

    /// Half of those who were in are let in when most were answered late; an eighth more when somebody was turned away
    /// although most were not. Whoever came in before that was last changed says nothing about how it is now: those who
    /// were too many are answered late for a while, and would have it halved again and again.
    fn learn(&self, is_late: bool, since: Instant, taken: usize, all: usize, now: Instant) {
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if since < judged.moved {
            return;
        }
        judged.answered += 1;
        judged.late += usize::from(is_late);
        judged.taken = judged.taken.max(taken);
        if now.duration_since(judged.at) < JUDGED_EVERY || judged.answered < JUDGED_BY_MIN {
            return;
        }
        let open = self.open.load(Ordering::Relaxed);
        let refused = self.refused.swap(false, Ordering::Relaxed);
        let next = match 2 * judged.late > judged.answered {
            true => (open.min(judged.taken) / 2).max(OPEN_MIN),
            false if refused => open + (open / 8).max(1),
            false => open,
        };
        let next = next.min(all);
        self.open.store(next, Ordering::Relaxed);
        let moved = if next == open { judged.moved } else { now };
        *judged = Judged {
            moved,
            ..Judged::at(now)
        };
    }
}

impl Judged {
    fn at(at: Instant) -> Self {
        Self {
            at,
            moved: at,
            answered: 0,
            late: 0,
            taken: 0,
        }
    }
}

impl Seat<'_> {
    /// Gives it back and says whether a good answer came of it. How late that is decides how many are let in.
    pub(crate) fn answered(self, is_good: bool) {
        let (seats, now) = (self.seats, Instant::now());
        if let Some(tide) = seats.tide(self.urgency) {
            let is_late = !is_good || now.duration_since(self.since) > LATE;
            tide.learn(is_late, self.since, seats.taken.load(Ordering::Relaxed), seats.all, now);
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.seats.taken.fetch_sub(1, Ordering::Relaxed);
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
    fn fewer_are_let_in_while_most_are_answered_late_and_more_again_while_they_are_not() {
        let seats = Seats::new("gateway", 1_024);
        let start = Instant::now();
        let judged_by = |since, nth: u32, is_late, taken| {
            let now = start + nth * JUDGED_EVERY;
            (0..JUDGED_BY_MIN).for_each(|_| seats.purchases.learn(is_late, since, taken, seats.all, now));
            seats.open_to(Urgency::Purchase)
        };
        let judge = |nth: u32, is_late, taken| judged_by(start + nth * JUDGED_EVERY, nth, is_late, taken);
        assert_eq!(judge(1, true, 600), 300, "half of those who were in");
        assert_eq!(judged_by(start, 2, true, 600), 300, "they came in before");
        assert_eq!(judge(2, true, 300), 150);
        assert_eq!(judge(3, false, 150), 150, "nobody was turned away");
        let _taken = fill(&seats, Urgency::Purchase);
        assert_eq!(judge(4, false, 150), 168);
        (5..20).for_each(|nth| {
            judge(nth, true, 40);
        });
        assert_eq!(seats.open_to(Urgency::Purchase), OPEN_MIN);
        assert_eq!(seats.open_to(Urgency::Work), 1_024);
        assert_eq!(seats.open_to(Urgency::Browsing), 512, "each class by its own answers");
    }

    #[test]
    fn a_refused_call_and_a_finished_one_leave_no_seat_taken() {
        let seats = Seats::new("order-master", 256);
        drop(fill(&seats, Urgency::Work));
        assert_eq!(seats.taken.load(Ordering::Relaxed), 0);
        assert!(seats.take(Urgency::Browsing).is_ok());
    }
}
