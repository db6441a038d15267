//! Work that comes in batches, kept from coming in too many small ones.
//!
//! Every batch costs a round trip, a commit or a wake-up, however little is in it. While there is
//! little to do, each is taken at once; under load they come a period apart, and what arrives in
//! between shares the next one. So load makes batches larger instead of more.

use std::time::Duration;

use tokio::time::Instant;

/// Turns taken at once after a time of rest, before they come a period apart: one person's
/// request moves an order through a few batches of the same service.
const BURST: u32 = 8;

/// A gate that lets through at most one batch per period on average.
///
/// The generic cell rate algorithm (ITU-T I.371) with a burst of eight.
#[derive(Debug)]
pub struct Pace {
    period: Duration,
    /// When the next turn would be if nobody had ever rested.
    next: Instant,
}

impl Pace {
    /// One batch per `period`, the first eight at once.
    pub fn every(period: Duration) -> Self {
        Self {
            period,
            next: Instant::now(),
        }
    }

    /// Takes the next turn, and says when it is: at once after a time of rest.
    pub fn turn(&mut self) -> Instant {
        self.turn_at(Instant::now())
    }

    /// Waits for the next turn.
    pub async fn wait(&mut self) {
        let now = Instant::now();
        let turn = self.turn_at(now);
        if turn > now {
            tokio::time::sleep_until(turn).await;
        }
    }

    fn turn_at(&mut self, now: Instant) -> Instant {
        let rested = now.checked_sub(self.period * (BURST - 1)).unwrap_or(now);
        // Whoever does not wait for its turn leaves no debt beyond one period to the next.
        let turn = self.next.max(rested).min(now + self.period);
        self.next = turn + self.period;
        turn.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(10);

    #[test]
    fn after_a_rest_a_burst_goes_at_once_and_then_one_per_period() {
        let mut pace = Pace::every(PERIOD);
        let now = Instant::now() + PERIOD * 100;
        for _ in 0..BURST {
            assert_eq!(pace.turn_at(now), now);
        }
        for nth in 0..5 {
            let then = now + PERIOD * nth;
            assert_eq!(pace.turn_at(then), then + PERIOD);
        }
    }

    #[test]
    fn turns_that_were_not_waited_for_are_forgotten() {
        let mut pace = Pace::every(PERIOD);
        let now = Instant::now();
        for _ in 0..1_000 {
            pace.turn_at(now);
        }
        assert_eq!(pace.turn_at(now), now + PERIOD);
    }

    #[test]
    fn work_that_is_rarer_than_the_period_never_waits() {
        let mut pace = Pace::every(PERIOD);
        for nth in 1..100 {
            let now = Instant::now() + PERIOD * nth;
            assert_eq!(pace.turn_at(now), now);
        }
    }
}
