//! The two clocks. The business clock gives domain code its `now` and can run faster than life;
//! the wall clock serves security, transport and telemetry.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::failpoint;
use crate::settings::Settings;

/// No deadline is shorter than this in wall time, however fast the business clock runs:
/// below it, scheduling and networks decide instead of people.
pub const MIN_DEADLINE_WALL: SignedDuration = SignedDuration::from_secs(10);

/// The fastest rate allowed: a day in under a minute and a half.
pub const RATE_MAX: f64 = 1000.0;

/// The longest nap between two looks at the clock, so that a step of the wall clock
/// delays a timer by no more than this.
const NAP_MAX: Duration = Duration::from_secs(1);

/// Wall time, as this process's clock shows it: the machine's, unless `tiffin fault` makes it wrong. Certificates are
/// judged by the machine's.
pub fn wall() -> Timestamp {
    Timestamp::now()
        .saturating_add(failpoint::clock_wrong_by())
        .expect("a signed duration only saturates")
}

/// Business and wall time of one process. Clones share the monotone mark.
#[derive(Debug, Clone)]
pub struct Clock {
    rate: f64,
    origin_wall: Timestamp,
    origin_business: Timestamp,
    /// The newest business instant handed out, in microseconds since 1970.
    newest_us: Arc<AtomicI64>,
}

impl Clock {
    /// Real time: rate 1, no offset.
    pub fn real() -> Self {
        Self::new(1.0, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH)
    }

    /// A business clock that showed `origin_business` at `origin_wall` and runs `rate` times
    /// as fast as the wall clock since.
    ///
    /// # Panics
    /// Unless `1 ≤ rate ≤ RATE_MAX`.
    pub fn new(rate: f64, origin_wall: Timestamp, origin_business: Timestamp) -> Self {
        assert!((1.0..=RATE_MAX).contains(&rate), "clock rate out of range");
        Self {
            rate,
            origin_wall,
            origin_business,
            newest_us: Arc::new(AtomicI64::new(i64::MIN)),
        }
    }

    /// The clock that the three `TIFFIN_CLOCK_*` settings describe; real time when they are unset.
    pub fn from_settings(settings: &mut Settings) -> Self {
        let rate: Rate = settings.parse(
            "TIFFIN_CLOCK_RATE",
            "1",
            "how many times faster than life business time runs; anything but 1 is for demonstrations and tests",
        );
        let origin_wall: Timestamp = settings.parse(
            "TIFFIN_CLOCK_ORIGIN_WALL",
            "1970-01-01T00:00:00Z",
            "a wall instant at which business time is known; the same for all services of a platform",
        );
        let origin_business: Timestamp = settings.parse(
            "TIFFIN_CLOCK_ORIGIN_BUSINESS",
            "1970-01-01T00:00:00Z",
            "business time at that wall instant; equal origins at rate 1 make both clocks one",
        );
        Self::new(rate.0, origin_wall, origin_business)
    }

    /// Business time, in whole microseconds (Postgres keeps no more) and never going back,
    /// not even when the wall clock is set back.
    pub fn now(&self) -> Timestamp {
        let now_us = self.business_at(self.wall()).as_microsecond();
        let newest_us = self.newest_us.fetch_max(now_us, Ordering::Relaxed).max(now_us);
        Timestamp::from_microsecond(newest_us).expect("a timestamp's own microseconds are in range")
    }

    /// As [`wall`].
    pub fn wall(&self) -> Timestamp {
        wall()
    }

    /// How many times faster than the wall clock business time runs.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// What the business clock shows at a wall instant.
    pub fn business_at(&self, wall: Timestamp) -> Timestamp {
        let elapsed = wall.duration_since(self.origin_wall);
        // Rate 1 stays exact: a float holds 50 years only to about 200 ns.
        #[expect(clippy::float_cmp, reason = "1 is exact, and the only rate that needs no scaling")]
        let scaled = if self.rate == 1.0 {
            elapsed
        } else {
            elapsed.mul_f64(self.rate)
        };
        self.origin_business
            .saturating_add(scaled)
            .expect("a signed duration only saturates")
    }

    /// A business deadline `span` from `now`, moved out to [`MIN_DEADLINE_WALL`] where the rate
    /// would make it shorter than that in wall time.
    pub fn deadline(&self, now: Timestamp, span: SignedDuration) -> Timestamp {
        let shortest = MIN_DEADLINE_WALL.mul_f64(self.rate);
        now.saturating_add(span.max(shortest))
            .expect("a signed duration only saturates")
    }

    /// How long until a business instant, in wall time; zero if it has passed.
    pub fn wall_until(&self, due: Timestamp) -> Duration {
        let remaining = due.duration_since(self.now());
        Duration::try_from(remaining)
            .unwrap_or(Duration::ZERO)
            .div_f64(self.rate)
    }

    /// How long ago a business instant was, in wall time; zero if it is yet to come.
    pub fn wall_since(&self, then: Timestamp) -> Duration {
        let gone = self.now().duration_since(then);
        Duration::try_from(gone).unwrap_or(Duration::ZERO).div_f64(self.rate)
    }

    /// Sleeps until the business clock shows `due` or more.
    pub async fn sleep_until(&self, due: Timestamp) {
        loop {
            let remaining = self.wall_until(due);
            if remaining.is_zero() {
                return;
            }
            // A little more than asked, for the truncation to microseconds.
            tokio::time::sleep(remaining.min(NAP_MAX) + Duration::from_micros(1)).await;
        }
    }
}

/// A rate as the setting spells it.
struct Rate(f64);

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .ok()
            .filter(|rate| (1.0..=RATE_MAX).contains(rate))
            .map(Self)
            .ok_or_else(|| format!("expected a number from 1 to {RATE_MAX}"))
    }
}
