//! Where a courier is: on the bee line between two places, at the courier's speed, in business time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::geo::Coordinates;
use mesh_runtime::Clock;
use tokio::time::MissedTickBehavior;

use crate::client::Person;

/// Positions are reported at most once per wall second.
const TICK: Duration = Duration::from_secs(1);

/// On the way, every other second shows the way well enough.
const RIDING_TICKS: u32 = 2;

/// Whoever stands still says so every so many seconds: the shortest silence that counts as gone is ten.
const STANDING_TICKS: u32 = 4;

/// A courier's way.
pub(super) struct Road {
    clock: Clock,
    leg: Mutex<Leg>,
}

#[derive(Debug, Clone, Copy)]
struct Leg {
    from: Coordinates,
    to: Coordinates,
    starts: Timestamp,
    ends: Timestamp,
}

impl Road {
    pub(super) fn at(place: Coordinates, clock: Clock) -> Self {
        let now = clock.now();
        let leg = Leg {
            from: place,
            to: place,
            starts: now,
            ends: now,
        };
        Self {
            clock,
            leg: Mutex::new(leg),
        }
    }

    /// Where the courier is now.
    pub(super) fn here(&self) -> Coordinates {
        let leg = *self.leg.lock().unwrap_or_else(PoisonError::into_inner);
        leg.at(self.clock.now())
    }

    /// Rides there.
    pub(super) async fn go(&self, to: Coordinates, speed_m_per_min: u32) {
        let from = self.here();
        let now = self.clock.now();
        let leg = Leg {
            from,
            to,
            starts: now,
            ends: now + takes(from.distance_m(to), speed_m_per_min),
        };
        *self.leg.lock().unwrap_or_else(PoisonError::into_inner) = leg;
        self.clock.sleep_until(leg.ends).await;
    }

    /// Stays where the courier is.
    pub(super) async fn stay(&self, span: SignedDuration) {
        self.clock.sleep_until(self.clock.now() + span).await;
    }

    /// Keeps saying where the courier is; what is lost is said again soon enough.
    pub(super) async fn report(&self, person: &Person) -> Result<()> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut said, mut silent) = (None, 0);
        loop {
            ticks.tick().await;
            silent += 1;
            let here = self.here();
            let is_due = match said {
                Some(said) if said == here => silent >= STANDING_TICKS,
                // Whoever has arrived may be asked for the next job from there.
                Some(_) => silent >= RIDING_TICKS || self.has_arrived(),
                None => true,
            };
            if !is_due {
                continue;
            }
            match person.report_position(here).await {
                Ok(_) => (said, silent) = (Some(here), 0),
                Err(failure) => tracing::debug!(%failure, "a position was lost"),
            }
        }
    }

    fn has_arrived(&self) -> bool {
        let ends = self.leg.lock().unwrap_or_else(PoisonError::into_inner).ends;
        ends <= self.clock.now()
    }
}

impl Leg {
    fn at(&self, now: Timestamp) -> Coordinates {
        let whole = self.ends.duration_since(self.starts).as_secs_f64();
        let done = now.duration_since(self.starts).as_secs_f64();
        let part = if whole > 0.0 {
            (done / whole).clamp(0.0, 1.0)
        } else {
            1.0
        };
        let between = |from: i32, to: i32| from + (f64::from(to - from) * part).round() as i32;
        Coordinates {
            lat_e6: between(self.from.lat_e6, self.to.lat_e6),
            lon_e6: between(self.from.lon_e6, self.to.lon_e6),
        }
    }
}

/// How long a way takes.
fn takes(distance_m: u32, speed_m_per_min: u32) -> SignedDuration {
    let minutes = f64::from(distance_m) / f64::from(speed_m_per_min.max(1));
    SignedDuration::from_secs_f64(minutes * 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_courier_is_on_the_line_between_two_places() {
        let place = |lat_e6| Coordinates::new(lat_e6, 0).expect("on earth");
        let second = |second| Timestamp::from_second(second).expect("in range");
        let leg = Leg {
            from: place(0),
            to: place(1_000),
            starts: second(100),
            ends: second(200),
        };
        assert_eq!(leg.at(second(50)), place(0));
        assert_eq!(leg.at(second(150)), place(500));
        assert_eq!(leg.at(second(300)), place(1_000));
    }

    #[test]
    fn a_kilometre_takes_what_the_speed_says() {
        assert_eq!(takes(640, 320), SignedDuration::from_mins(2));
    }
}
