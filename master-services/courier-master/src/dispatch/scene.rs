//! The board and the positions as what `assign` asks about: who waits, who could go, who has fallen silent.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use mesh_contracts::id::{CourierId, DeliveryId};
use mesh_contracts::view::courier::{Courier, Status as Shift};
use mesh_contracts::view::delivery::{Delivery, Status};

use super::{Available, Doing, Waiting};
use crate::domain::{Policy, later};
use crate::positions::Seen;

/// Everything at one moment.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    /// That have not ended.
    pub deliveries: Vec<Arc<Delivery>>,
    /// On shift.
    pub couriers: Vec<(CourierId, Arc<Courier>)>,
    /// Where they and those with a job in hand are.
    pub seen: HashMap<CourierId, Seen>,
}

impl Scene {
    /// Deliveries that nobody is asked for.
    pub fn waiting(&self) -> Vec<Waiting> {
        let waiting = self
            .deliveries
            .iter()
            .filter(|delivery| delivery.status == Status::Waiting);
        waiting
            .map(|delivery| Waiting {
                delivery: delivery.order.delivery(),
                food_point: delivery.food_point,
                pickup: delivery.pickup,
                dropoff: delivery.destination.place.at,
                ready_by: ready_from(delivery),
                since: delivery.updated_at,
                passed: delivery.passed.clone(),
            })
            .collect()
    }

    /// Couriers who may be asked.
    pub fn available(&self, policy: &Policy) -> Vec<Available> {
        let asked: HashSet<CourierId> = self
            .deliveries
            .iter()
            .filter_map(|delivery| delivery.offer)
            .map(|offer| offer.courier)
            .collect();
        let in_hand = self.in_hand();
        let may_be_asked = |id: &CourierId, courier: &Courier| {
            courier.status == Shift::On && courier.jobs.len() < policy.jobs_max && !asked.contains(id)
        };
        let available = |(id, courier): &(CourierId, Arc<Courier>)| {
            if !may_be_asked(id, courier) {
                return None;
            }
            let jobs = in_hand.get(id).map(Vec::as_slice).unwrap_or_default();
            Some(Available {
                courier: *id,
                speed_m_per_min: courier.speed_m_per_min,
                doing: doing(courier, jobs)?,
                at: self.seen.get(id)?.place,
            })
        };
        self.couriers.iter().filter_map(available).collect()
    }

    /// Jobs whose couriers have sent no position for too long, and have not picked up yet.
    pub fn silent(&self, listening_since: Timestamp, now: Timestamp, policy: &Policy) -> Vec<(DeliveryId, CourierId)> {
        let fetching = self
            .deliveries
            .iter()
            .filter(|delivery| delivery.status == Status::Assigned);
        fetching
            .filter_map(|delivery| {
                let courier = delivery.courier?;
                let taken_at = delivery.assigned_at?;
                let seen_at = self.seen.get(&courier).map_or(taken_at, |seen| seen.at.max(taken_at));
                let silent_from = later(seen_at.max(listening_since), policy.silent_after);
                (silent_from <= now).then(|| (delivery.order.delivery(), courier))
            })
            .collect()
    }

    fn in_hand(&self) -> HashMap<CourierId, Vec<&Delivery>> {
        let mut in_hand: HashMap<CourierId, Vec<&Delivery>> = HashMap::new();
        for delivery in &self.deliveries {
            if let Some(courier) = delivery.active_courier() {
                in_hand.entry(courier).or_default().push(delivery);
            }
        }
        in_hand
    }
}

/// From when there is something to fetch: food that is called before its time waits from then on.
fn ready_from(delivery: &Delivery) -> Timestamp {
    if delivery.food_ready {
        delivery.ready_by.min(delivery.updated_at)
    } else {
        delivery.ready_by
    }
}

/// `None` for someone who can't say when the next job could begin: at a closed door, or with jobs not shown yet.
fn doing(courier: &Courier, jobs: &[&Delivery]) -> Option<Doing> {
    if jobs.len() != courier.jobs.len() {
        return None;
    }
    let Some(job) = jobs.iter().min_by_key(|job| job.status) else {
        return Some(Doing::Idle);
    };
    let dropoff = job.destination.place.at;
    match job.status {
        Status::Assigned => Some(Doing::Fetching {
            food_point: job.food_point,
            ready_by: ready_from(job),
            dropoff,
        }),
        Status::PickedUp => Some(Doing::Bringing { dropoff }),
        Status::Waiting
        | Status::Offered
        | Status::Attempted
        | Status::Delivered
        | Status::Cancelled
        | Status::Returned
        | Status::Lost => None,
    }
}

#[cfg(test)]
mod tests;
