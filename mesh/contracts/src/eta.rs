//! When food will be at the door: a range, learnt from how late this kitchen and this courier were of late.
//!
//! A pure function of what is known; nobody stores what it says, since it is another one a second later.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::geo::{Coordinates, travel};
use crate::view::delivery::{Delivery, Status};

/// Parking, stairs, bell, hand-over.
pub const SERVICE: SignedDuration = SignedDuration::from_mins(4);

/// A courier's own bicycle, of a courier who did not say, in metres per minute.
pub const SPEED_M_PER_MIN: u32 = 320;

/// How many times are remembered of each: an evening's work, so that a bad one is over tomorrow.
pub const REMEMBERED_MAX: usize = 20;

/// Below so many times, nothing is learnt yet.
const LEARNT_FROM: usize = 4;

/// Off by so much, early and late, until something is learnt.
const UNLEARNT: (SignedDuration, SignedDuration) = (SignedDuration::from_mins(-2), SignedDuration::from_mins(6));

/// One that was hours late had a breakdown, and says nothing of the next.
const LESSON_MAX: SignedDuration = SignedDuration::from_hours(1);

/// No range is narrower: traffic lights alone make that much.
const NARROWEST: SignedDuration = SignedDuration::from_mins(2);

/// From when to when to expect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eta {
    /// Nine times out of ten not before.
    pub earliest: Timestamp,
    /// Nine times out of ten not after.
    pub latest: Timestamp,
}

/// How late somebody was, the newest first, in seconds; less than zero is early.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recent(Vec<i64>);

impl Recent {
    /// Of these.
    pub fn of(late_s: impl IntoIterator<Item = i64>) -> Self {
        Self(late_s.into_iter().take(REMEMBERED_MAX).collect())
    }

    /// The first and the last decile, or a guess while little is known.
    fn usual(&self) -> (SignedDuration, SignedDuration) {
        if self.0.len() < LEARNT_FROM {
            return UNLEARNT;
        }
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len() - 1;
        let at = |index: usize| SignedDuration::from_secs(sorted[index]);
        (at(last / 10), at(last - last / 10))
    }
}

/// How late something was, as it is remembered; `None` if that says nothing of the next time.
pub fn lesson(due: Timestamp, done: Timestamp) -> Option<i64> {
    let late = done.duration_since(due);
    (late.abs() <= LESSON_MAX).then(|| late.as_secs())
}

/// What is known of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rider {
    /// Where the courier was last seen.
    pub at: Coordinates,
    /// In metres per minute; 0 if the courier did not say.
    pub speed_m_per_min: u32,
}

/// When a delivery is at the door; `None` while nobody has the job, and once somebody stands before the door.
pub fn estimate(
    delivery: &Delivery,
    rider: Option<Rider>,
    kitchen: &Recent,
    courier: &Recent,
    now: Timestamp,
) -> Option<Eta> {
    let (soon, late) = courier.usual();
    let door = delivery.destination.place.at;
    let speed = rider.map_or(SPEED_M_PER_MIN, |rider| match rider.speed_m_per_min {
        0 => SPEED_M_PER_MIN,
        speed => speed,
    });
    let way = |from: Coordinates, to: Coordinates| travel(from.distance_m(to), speed);
    let (earliest, latest) = match delivery.status {
        Status::Assigned => {
            let (food_soon, food_late) = match delivery.food_ready {
                true => (now, now),
                false => {
                    let (soon, late) = kitchen.usual();
                    (
                        later(delivery.ready_by, soon).max(now),
                        later(delivery.ready_by, late).max(now),
                    )
                }
            };
            let there = rider.map_or(now, |rider| later(now, way(rider.at, delivery.pickup)));
            let rest = way(delivery.pickup, door) + SERVICE;
            (
                later(food_soon.max(there), rest + soon),
                later(food_late.max(there), rest + late),
            )
        }
        Status::PickedUp => {
            let base = match (rider, delivery.eta) {
                (Some(rider), _) => later(now, way(rider.at, door) + SERVICE),
                (None, Some(eta)) => eta,
                (None, None) => return None,
            };
            (later(base, soon), later(base, late))
        }
        Status::Waiting
        | Status::Offered
        | Status::Attempted
        | Status::Delivered
        | Status::Cancelled
        | Status::Returned
        | Status::Lost => return None,
    };
    let earliest = earliest.max(now);
    Some(Eta {
        earliest,
        latest: latest.max(later(earliest, NARROWEST)),
    })
}

fn later(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.saturating_add(span).expect("a signed duration only saturates")
}

#[cfg(test)]
mod tests;
