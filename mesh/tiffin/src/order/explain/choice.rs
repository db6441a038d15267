//! What an automatic decision chose from: food points for a hold, couriers for an offer.

use std::collections::BTreeMap;
use std::fmt;

use mesh_contracts::delivery;
use mesh_contracts::envelope::{BadBody, Envelope};
use mesh_contracts::id::{DeliveryId, FoodPointId};
use mesh_contracts::order::{Candidate, Event};
use mesh_contracts::view::order::Order;
use serde::Serialize;

use super::words::code;

/// One that could have been chosen.
#[derive(Debug, PartialEq, Serialize)]
pub struct Considered {
    /// A food point or a courier.
    pub who: String,
    /// To the customer, or to the food.
    pub distance_m: u32,
    /// Chosen, or why not.
    pub verdict: String,
}

impl fmt::Display for Considered {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:>7} m  {}  {}", self.distance_m, self.who, self.verdict)
    }
}

/// What is known of the food points so far.
#[derive(Debug, Default)]
pub struct Choice {
    /// The customer wants this one and no other.
    pinned: Option<FoodPointId>,
    /// What became of those that were asked.
    outcomes: BTreeMap<FoodPointId, String>,
}

impl Choice {
    /// The candidates that a hold was asked for among, nearest first; none for any other event. `order` is as it
    /// stood before.
    pub fn of_food_points(&mut self, event: &Event, order: Option<&Order>) -> Vec<Considered> {
        let (food_point, outcome) = match event {
            Event::Created(placed) => {
                self.pinned = placed.pinned;
                return Vec::new();
            }
            Event::HoldRequested { food_point, .. } => {
                return order.map_or_else(Vec::new, |order| self.candidates(order, *food_point));
            }
            Event::HoldFailed { food_point, reason, .. } => (food_point, format!("it cannot: {}", code(reason))),
            Event::HoldTimedOut { food_point, .. } => (food_point, "it did not answer".to_owned()),
            Event::TicketRejected { food_point, reason, .. } => {
                (food_point, format!("its kitchen rejected: {}", code(reason)))
            }
            Event::TicketTimedOut { food_point, .. } => (food_point, "its kitchen did not answer".to_owned()),
            Event::TicketStopped { food_point, reason, .. } => {
                (food_point, format!("its kitchen stopped: {}", code(reason)))
            }
            // Nothing else takes a food point out of the choice.
            _ => return Vec::new(),
        };
        self.outcomes.insert(*food_point, outcome);
        Vec::new()
    }

    fn candidates(&self, order: &Order, asked: FoodPointId) -> Vec<Considered> {
        let outcome = |food_point: FoodPointId| self.outcomes.get(&food_point);
        let verdict = |candidate: &Candidate| match (outcome(candidate.food_point), candidate.passed_over) {
            _ if self.pinned == Some(asked) => "asked: the customer wants no other".to_owned(),
            _ if candidate.food_point == asked => "asked: the nearest that is left".to_owned(),
            (Some(outcome), _) => format!("asked before: {outcome}"),
            (None, Some(why)) => format!("passed over: {}", code(&why)),
            (None, None) if order.tried.contains(&candidate.food_point) => "asked before".to_owned(),
            (None, None) => "not asked: farther".to_owned(),
        };
        let considered = order.candidates.iter().map(|candidate| Considered {
            who: candidate.food_point.to_string(),
            distance_m: candidate.distance_m,
            verdict: verdict(candidate),
        });
        considered.collect()
    }
}

/// The couriers that an offer was made among, the best first; none for any other event.
pub fn of_couriers(event: &Envelope) -> Result<Vec<Considered>, BadBody> {
    if event.stream.parse::<DeliveryId>().is_err() {
        return Ok(Vec::new());
    }
    let Some(delivery::Event::Offered {
        courier,
        pickup_distance_m,
        considered,
        ..
    }) = event.body()?
    else {
        return Ok(Vec::new());
    };
    let asked = Considered {
        who: courier.to_string(),
        distance_m: pickup_distance_m,
        verdict: "asked: the best who is free".to_owned(),
    };
    let others = considered.iter().map(|other| Considered {
        who: other.courier.to_string(),
        distance_m: other.pickup_distance_m,
        verdict: format!("not asked: {}", code(&other.not_asked)),
    });
    Ok(std::iter::once(asked).chain(others).collect())
}
