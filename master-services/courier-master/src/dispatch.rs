//! Whom to ask next: all waiting deliveries against all couriers who could take one, as a function from data to data.
//!
//! Knows no SQL and no streams; what it proposes is checked again when it is offered.
//!
//! Greedy over all pairs, nearest in time first. A delivery is offered when its best courier, leaving now, would
//! arrive with the food: earlier, a better one may still come free; later, the food waits. Jobs that are late already
//! come forward, so that a busy hour starves nobody.

pub mod scene;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::delivery::{Considered, NotAsked};
use mesh_contracts::geo::Coordinates;
use mesh_contracts::id::{CourierId, DeliveryId, FoodPointId};

use crate::domain::{Policy, later};

/// A late job counts as this many percent of its lateness nearer than it is.
const LATENESS_PERCENT: i32 = 25;

/// How many others are recorded with an offer: enough to explain it, and few, since every offer repeats them.
const CONSIDERED_MAX: usize = 4;

/// A delivery that nobody is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Which.
    pub delivery: DeliveryId,
    /// Who cooks it.
    pub food_point: FoodPointId,
    /// Where the food is.
    pub pickup: Coordinates,
    /// Where it goes.
    pub dropoff: Coordinates,
    /// When the food is ready.
    pub ready_by: Timestamp,
    /// Since when nobody is asked.
    pub since: Timestamp,
    /// Couriers who had it and passed.
    pub passed: Vec<CourierId>,
}

/// A courier on shift, below the maximum of jobs and without an open offer.
#[derive(Debug, Clone, PartialEq)]
pub struct Available {
    /// Who.
    pub courier: CourierId,
    /// How fast.
    pub speed_m_per_min: u32,
    /// Doing what.
    pub doing: Doing,
    /// Where the courier is.
    pub at: Coordinates,
}

/// What a courier is at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Doing {
    /// Nothing: may go at once.
    Idle,
    /// On the way to food, which is ready then and goes there: may only take more of the same counter.
    Fetching {
        food_point: FoodPointId,
        ready_by: Timestamp,
        dropoff: Coordinates,
    },
    /// On the way to a door: may go on from there.
    Bringing { dropoff: Coordinates },
}

/// A courier to ask for a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// For which delivery.
    pub delivery: DeliveryId,
    /// Whom.
    pub courier: CourierId,
    /// The whole way to the food, in metres.
    pub pickup_distance_m: u32,
    /// Some who could have been asked as well, the best first.
    pub considered: Vec<Considered>,
}

/// What to do now, and when to look again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Offers to make now.
    pub offers: Vec<Offer>,
    /// When the next one is due, if nothing changes before.
    pub again_at: Option<Timestamp>,
}

/// The best offers to make now.
pub fn assign(waiting: &[Waiting], couriers: &[Available], now: Timestamp, policy: &Policy) -> Plan {
    // Each of the other jobs takes at most one courier away, so none gets further down its own list than this.
    let mut pairs: Vec<Pair> = waiting
        .iter()
        .flat_map(|job| best(pairs_of(job, couriers, now, policy), waiting.len()))
        .collect();
    pairs.sort_by_key(Pair::rank);
    let mut settled = HashSet::new();
    let mut taken = HashSet::new();
    let mut plan = Plan::default();
    for pair in pairs {
        if settled.contains(&pair.job.delivery) || taken.contains(&pair.courier) {
            continue;
        }
        settled.insert(pair.job.delivery);
        if pair.due_at > now {
            plan.again_at = Some(plan.again_at.map_or(pair.due_at, |at| at.min(pair.due_at)));
            // Someone else's longer job can wait for the next one who comes free; this one's time is near.
            if pair.due_at <= later(now, policy.reserve_ahead) {
                taken.insert(pair.courier);
            }
            continue;
        }
        taken.insert(pair.courier);
        plan.offers.push(Offer {
            delivery: pair.job.delivery,
            courier: pair.courier,
            pickup_distance_m: pair.pickup_distance_m,
            considered: considered(&pair, couriers, &taken, now, policy),
        });
    }
    plan
}

/// The others who could take the job of `asked`, the best first, and why they are not asked.
fn considered(
    asked: &Pair,
    couriers: &[Available],
    taken: &HashSet<CourierId>,
    now: Timestamp,
    policy: &Policy,
) -> Vec<Considered> {
    let others = couriers.iter().filter(|courier| courier.courier != asked.courier);
    let others = others.filter_map(|courier| pair(asked.job, courier, now, policy));
    let mut others = best(others.collect(), CONSIDERED_MAX);
    others.sort_by_key(Pair::rank);
    let considered = |other: Pair| Considered {
        courier: other.courier,
        pickup_distance_m: other.pickup_distance_m,
        not_asked: if asked.job.passed.contains(&other.courier) {
            NotAsked::Passed
        } else if taken.contains(&other.courier) {
            NotAsked::Taken
        } else {
            NotAsked::Slower
        },
    };
    others.into_iter().map(considered).collect()
}

struct Pair<'a> {
    job: &'a Waiting,
    courier: CourierId,
    /// Less is better.
    cost: SignedDuration,
    /// When to ask this courier for this job.
    due_at: Timestamp,
    pickup_distance_m: u32,
}

impl Pair<'_> {
    /// The first is the best.
    fn rank(&self) -> (SignedDuration, u32, DeliveryId, CourierId) {
        (self.cost, self.pickup_distance_m, self.job.delivery, self.courier)
    }
}

/// So many of them, or all if there are fewer, in no order: of thousands only the best few need be put in one.
fn best(mut pairs: Vec<Pair<'_>>, count: usize) -> Vec<Pair<'_>> {
    if pairs.len() > count {
        pairs.select_nth_unstable_by_key(count, Pair::rank);
        pairs.truncate(count);
    }
    pairs
}

/// Everyone who could take the job; those who passed it only if that leaves nobody.
fn pairs_of<'a>(job: &'a Waiting, couriers: &[Available], now: Timestamp, policy: &Policy) -> Vec<Pair<'a>> {
    let fit = |passed: bool| {
        couriers
            .iter()
            .filter(move |courier| job.passed.contains(&courier.courier) == passed)
            .filter_map(|courier| pair(job, courier, now, policy))
    };
    let fresh: Vec<Pair> = fit(false).collect();
    if !fresh.is_empty() {
        return fresh;
    }
    let again_from = later(job.since, policy.reask_after);
    fit(true)
        .map(|pair| Pair {
            due_at: pair.due_at.max(again_from),
            ..pair
        })
        .collect()
}

fn pair<'a>(job: &'a Waiting, courier: &Available, now: Timestamp, policy: &Policy) -> Option<Pair<'a>> {
    let way = way(job, courier, now, policy)?;
    let in_time = later(job.ready_by, -(way.takes + policy.margin));
    let earliest = later(job.ready_by, -policy.offer_ahead);
    let due_at = in_time.max(earliest).max(later(earliest, way.takes - policy.reach));
    let lateness = now.duration_since(job.ready_by).max(SignedDuration::ZERO);
    Some(Pair {
        job,
        courier: courier.courier,
        cost: way.takes + way.burden - lateness * LATENESS_PERCENT / 100,
        due_at,
        pickup_distance_m: way.distance_m,
    })
}

/// How a courier gets to the food.
struct Way {
    distance_m: u32,
    /// Until the courier is there.
    takes: SignedDuration,
    /// What the job delays beside itself.
    burden: SignedDuration,
}

fn way(job: &Waiting, courier: &Available, now: Timestamp, policy: &Policy) -> Option<Way> {
    let travel = |distance_m| policy.travel(distance_m, courier.speed_m_per_min);
    match courier.doing {
        Doing::Idle => {
            let distance_m = courier.at.distance_m(job.pickup);
            Some(Way {
                distance_m,
                takes: travel(distance_m),
                burden: SignedDuration::ZERO,
            })
        }
        Doing::Fetching {
            food_point,
            ready_by,
            dropoff,
        } => {
            // What is ready already is as ready as what will be ready now.
            let apart = job.ready_by.max(now).duration_since(ready_by.max(now)).abs();
            if food_point != job.food_point || apart > policy.same_point_within {
                return None;
            }
            let distance_m = courier.at.distance_m(job.pickup);
            let burden = travel(dropoff.distance_m(job.dropoff)) + policy.service;
            Some(Way {
                distance_m,
                takes: travel(distance_m),
                burden,
            })
        }
        Doing::Bringing { dropoff } => {
            let distance_m = courier
                .at
                .distance_m(dropoff)
                .saturating_add(dropoff.distance_m(job.pickup));
            Some(Way {
                distance_m,
                takes: travel(distance_m) + policy.service,
                burden: SignedDuration::ZERO,
            })
        }
    }
}
