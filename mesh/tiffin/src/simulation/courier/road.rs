//! Where a courier is: on the bee line between two places, at the courier's speed, in business time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    /// The courier's own time: until when it is spent.
    spent: Mutex<Timestamp>,
    /// The courier's phone is off.
    silent: AtomicBool,
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
            spent: Mutex::new(now),
            silent: AtomicBool::new(false),
        }
    }

    /// Whether the courier's phone is off: no position is reported and no offer seen.
    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Turns the phone off or on.
    pub(super) fn fall_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }

    /// Where the courier is now.
    pub(super) fn here(&self) -> Coordinates {
        let leg = *self.leg.lock().unwrap_or_else(PoisonError::into_inner);
        leg.at(self.clock.now())
    }

    /// What the courier does next does not begin before that.
    pub(super) fn not_before(&self, at: Timestamp) {
        let mut spent = self.spent();
        *spent = at.max(*spent);
    }

    /// Rides there.
    pub(super) async fn go(&self, to: Coordinates, speed_m_per_min: u32) {
        let ends = {
            let mut leg = self.leg.lock().unwrap_or_else(PoisonError::into_inner);
            let mut spent = self.spent();
            // Whoever spends own time has been through with the leg before.
            let from = leg.to;
            let starts = *spent;
            let ends = starts + takes(from.distance_m(to), speed_m_per_min);
            *leg = Leg { from, to, starts, ends };
            *spent = ends;
            ends
        };
        self.clock.sleep_until(ends).await;
    }

    /// Stays where the courier is.
    pub(super) async fn stay(&self, span: SignedDuration) {
        let until = {
            let mut spent = self.spent();
            *spent += span;
            *spent
        };
        self.clock.sleep_until(until).await;
    }

    fn spent(&self) -> MutexGuard<'_, Timestamp> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
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
            if !is_due || self.is_silent() {
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

    #[tokio::test]
    async fn the_next_leg_begins_when_the_last_thing_was_done() {
        let place = |lat_e6| Coordinates::new(lat_e6, 0).expect("on earth");
        let clock = Clock::new(1000.0, Timestamp::now(), Timestamp::now());
        let road = Road::at(place(0), clock.clone());
        let begun = *road.spent();
        road.not_before(begun + SignedDuration::from_secs(5));
        road.stay(SignedDuration::from_secs(10)).await;
        // However late the answer comes.
        clock.sleep_until(clock.now() + SignedDuration::from_secs(60)).await;
        road.go(place(1_000), 600).await;
        let way = takes(place(0).distance_m(place(1_000)), 600);
        assert_eq!(*road.spent(), begun + SignedDuration::from_secs(15) + way);
        assert_eq!(road.here(), place(1_000));
    }

    #[test]
    fn a_kilometre_takes_what_the_speed_says() {
        assert_eq!(takes(640, 320), SignedDuration::from_mins(2));
    }
}
