//! The delivery of an order, folded from its events: who is asked, who has it, where it stands.
//!
//! Knows no positions: they are ephemeral and stay with courier-master.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::delivery::Event;
use crate::geo::Coordinates;
use crate::id::{CourierId, FoodPointId, OrderId, UserId};
use crate::order::{Destination, Proof, Reason};

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = DeliveryStatus)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody is asked and nobody has it.
    Waiting,
    /// A courier is asked.
    Offered,
    /// A courier has the job and not yet the food.
    Assigned,
    /// On its way.
    PickedUp,
    /// At the door, and nobody opened; the courier may still hand it over.
    Attempted,
    /// Handed over.
    Delivered,
    /// The order ended otherwise.
    Cancelled,
    /// Back at the counter.
    Returned,
    /// Gone on the way.
    Lost,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Waiting,
        Self::Offered,
        Self::Assigned,
        Self::PickedUp,
        Self::Attempted,
        Self::Delivered,
        Self::Cancelled,
        Self::Returned,
        Self::Lost,
    ];

    /// Whether something may still happen.
    pub fn is_open(self) -> bool {
        match self {
            Self::Waiting | Self::Offered | Self::Assigned | Self::PickedUp | Self::Attempted => true,
            Self::Delivered | Self::Cancelled | Self::Returned | Self::Lost => false,
        }
    }

    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Offered => "offered",
            Self::Assigned => "assigned",
            Self::PickedUp => "picked_up",
            Self::Attempted => "attempted",
            Self::Delivered => "delivered",
            Self::Cancelled => "cancelled",
            Self::Returned => "returned",
            Self::Lost => "lost",
        }
    }
}

/// The offer that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Offer {
    /// Counts the offers of this delivery.
    pub attempt: u32,
    /// Who is asked.
    pub courier: CourierId,
    /// Silence after this passes it on.
    pub answer_by: Timestamp,
}

/// A courier is asked to go on with what another one has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PendingHandOver)]
pub struct HandOver {
    /// Who is asked.
    pub to: CourierId,
    /// Silence after this leaves it with the first.
    pub answer_by: Timestamp,
}

/// A delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// Where it stands.
    pub status: Status,
    /// Version of its last change of status.
    pub status_version: u64,
    /// Version of its last event.
    pub version: u64,
    /// What is brought.
    pub order: OrderId,
    /// The order's short human number.
    pub number: String,
    /// For whom.
    pub customer: UserId,
    /// Who cooks it.
    pub food_point: FoodPointId,
    /// Where the food is.
    pub pickup: Coordinates,
    /// Where it goes: the address by reference, the place rounded to 100 m.
    pub destination: Destination,
    /// When the food is to be ready.
    pub ready_by: Timestamp,
    /// No courier is asked before.
    pub offer_from: Timestamp,
    /// The kitchen said so.
    pub food_ready: bool,
    /// Offers made so far.
    pub attempt: u32,
    /// The open offer.
    pub offer: Option<Offer>,
    /// How far the newest offer's courier had to go to the food, in metres.
    pub pickup_distance_m: u32,
    /// Who has the job.
    pub courier: Option<CourierId>,
    /// When that courier took it.
    pub assigned_at: Option<Timestamp>,
    /// The courier loses the job if it is not picked up until then.
    pub pick_up_by: Option<Timestamp>,
    /// When it should be at the door.
    pub eta: Option<Timestamp>,
    /// Another courier is asked to go on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_over: Option<HandOver>,
    /// Couriers who declined, let lapse, dropped or lost this job, or were still asked when it ended: asked again only if
    /// there is nobody else.
    #[serde(default)]
    pub passed: Vec<CourierId>,
    /// Why it was not handed over at the door.
    pub attempted_because: Option<Reason>,
    /// How the hand-over was proven.
    pub proof: Option<Proof>,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Delivery {
    /// The courier whose screen shows it: asked, or on the job.
    pub fn concerns(&self) -> Option<CourierId> {
        match self.status {
            Status::Offered => self.offer.map(|offer| offer.courier),
            Status::Assigned | Status::PickedUp | Status::Attempted => self.courier,
            Status::Waiting | Status::Delivered | Status::Cancelled | Status::Returned | Status::Lost => None,
        }
    }

    /// The courier who has the job now and so may see the address.
    pub fn active_courier(&self) -> Option<CourierId> {
        match self.status {
            Status::Assigned | Status::PickedUp | Status::Attempted => self.courier,
            Status::Waiting
            | Status::Offered
            | Status::Delivered
            | Status::Cancelled
            | Status::Returned
            | Status::Lost => None,
        }
    }

    /// The other courier who is asked to go on with it, while the first one still has it.
    pub fn invited(&self) -> Option<CourierId> {
        self.hand_over.map(|hand_over| hand_over.to)
    }

    fn moved(&mut self, status: Status) {
        self.status = status;
        self.status_version = self.version;
        self.offer = None;
        self.pick_up_by = None;
    }

    fn ended(&mut self, status: Status) {
        self.moved(status);
        // Whoever was asked to go on with it may still hear what became of it.
        if let Some(hand_over) = self.hand_over.take() {
            self.pass(hand_over.to);
        }
    }

    fn waits_again(&mut self, passed: CourierId) {
        self.moved(Status::Waiting);
        self.courier = None;
        self.assigned_at = None;
        self.pass(passed);
    }

    fn pass(&mut self, courier: CourierId) {
        if !self.passed.contains(&courier) {
            self.passed.push(courier);
        }
    }
}

/// The next state; `None` only for a stream that does not start with `delivery.opened`.
pub fn fold(delivery: Option<Delivery>, event: &Event, at: Timestamp) -> Option<Delivery> {
    let Some(mut delivery) = delivery else {
        return opened(event, at);
    };
    delivery.version += 1;
    delivery.updated_at = at;
    apply(&mut delivery, event, at);
    Some(delivery)
}

/// An event that this build does not know: only the version moves.
pub fn skip(delivery: &mut Delivery, at: Timestamp) {
    delivery.version += 1;
    delivery.updated_at = at;
}

fn opened(event: &Event, at: Timestamp) -> Option<Delivery> {
    let Event::Opened {
        order,
        customer,
        food_point,
        pickup,
        destination,
        ready_by,
        offer_from,
    } = event
    else {
        return None;
    };
    Some(Delivery {
        status: Status::Waiting,
        status_version: 1,
        version: 1,
        order: *order,
        number: order.number(),
        customer: *customer,
        food_point: *food_point,
        pickup: *pickup,
        destination: *destination,
        ready_by: *ready_by,
        offer_from: *offer_from,
        food_ready: false,
        attempt: 0,
        offer: None,
        pickup_distance_m: 0,
        courier: None,
        assigned_at: None,
        pick_up_by: None,
        eta: None,
        hand_over: None,
        passed: Vec::new(),
        attempted_because: None,
        proof: None,
        updated_at: at,
    })
}

fn apply(delivery: &mut Delivery, event: &Event, at: Timestamp) {
    match event {
        Event::Opened { .. } => {}
        Event::Offered {
            attempt,
            courier,
            pickup_distance_m,
            answer_by,
            considered: _,
        } => {
            delivery.moved(Status::Offered);
            delivery.attempt = *attempt;
            delivery.pickup_distance_m = *pickup_distance_m;
            delivery.offer = Some(Offer {
                attempt: *attempt,
                courier: *courier,
                answer_by: *answer_by,
            });
        }
        Event::Declined { courier, .. } | Event::OfferLapsed { courier, .. } => {
            delivery.waits_again(*courier);
        }
        Event::Assigned { courier, pick_up_by } => {
            delivery.moved(Status::Assigned);
            delivery.courier = Some(*courier);
            delivery.assigned_at = Some(at);
            delivery.pick_up_by = *pick_up_by;
        }
        Event::FoodReady { pick_up_by } => {
            delivery.food_ready = true;
            delivery.pick_up_by = *pick_up_by;
        }
        Event::Dropped { courier, .. } => delivery.waits_again(*courier),
        Event::PickedUp { courier, eta } => {
            delivery.moved(Status::PickedUp);
            delivery.courier = Some(*courier);
            delivery.eta = Some(*eta);
        }
        Event::Moved {
            food_point,
            pickup,
            ready_by,
            offer_from,
        } => {
            if delivery.status != Status::Waiting {
                delivery.moved(Status::Waiting);
            }
            delivery.courier = None;
            delivery.assigned_at = None;
            delivery.food_point = *food_point;
            delivery.pickup = *pickup;
            delivery.ready_by = *ready_by;
            delivery.offer_from = *offer_from;
            // Another place is another question.
            delivery.passed.clear();
        }
        Event::HandOverOffered { to, answer_by, .. } => {
            delivery.hand_over = Some(HandOver {
                to: *to,
                answer_by: *answer_by,
            });
        }
        Event::HandOverEnded { to, .. } => {
            delivery.hand_over = None;
            delivery.pass(*to);
        }
        Event::HandedOver { from, to } => {
            delivery.hand_over = None;
            delivery.pass(*from);
            delivery.courier = Some(*to);
            delivery.assigned_at = Some(at);
        }
        Event::Returned { reason, .. } => {
            delivery.ended(Status::Returned);
            delivery.attempted_because = Some(*reason);
        }
        Event::Lost { .. } => delivery.ended(Status::Lost),
        Event::Attempted { reason, .. } => {
            delivery.moved(Status::Attempted);
            delivery.attempted_because = Some(*reason);
        }
        Event::Delivered { proof, .. } => {
            delivery.ended(Status::Delivered);
            delivery.proof = Some(proof.clone());
        }
        Event::Cancelled { .. } => {
            if let Some(offer) = delivery.offer {
                delivery.passed.push(offer.courier);
            }
            delivery.ended(Status::Cancelled);
        }
    }
}

#[cfg(test)]
mod tests;
