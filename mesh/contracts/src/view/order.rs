//! An order, folded from its events: status, ticket, hold, payment and delivery as order-master knows them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::geo::Country;
use crate::id::{CourierId, FoodPointId, UserId};
use crate::money::Money;
use crate::order::{
    Borne, Candidate, Destination, EndedBy, Event, Kind, Liable, Method, Need, Placed, Proof, QuoteLine, Reason, Status,
};

/// The kitchen's side of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ticket {
    /// Not asked yet.
    None,
    /// Waits for the kitchen's answer.
    Offered,
    /// Accepted; waits for the hold to be confirmed.
    Accepted,
    /// Confirmed; not on the stove yet.
    Queued,
    /// On the stove.
    Cooking,
    /// Done.
    Ready,
    /// With the courier or the customer.
    HandedOver,
    /// Refused by the kitchen.
    Rejected,
    /// Not answered.
    TimedOut,
    /// The order ended first.
    Cancelled,
}

/// The newest hold, as order-master knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = OrderHold)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Asked for.
    Requested,
    /// Stock and slot are set aside.
    Held,
    /// Refused, timed out, given back or lost.
    #[default]
    Gone,
}

/// What order-master last said is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settlement {
    /// What should have been captured and not refunded.
    pub amount: Money,
    /// Nothing will change it any more.
    pub is_final: bool,
    /// Counts up.
    pub seq: u32,
}

/// A kitchen that had accepted and could not after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stopped {
    /// Whose.
    pub food_point: FoodPointId,
    /// Why.
    pub reason: Reason,
}

/// Deadlines that still matter, for people and checkers to see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deadlines {
    /// End of the payment window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pay_by: Option<Timestamp>,
    /// The hold must be answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_by: Option<Timestamp>,
    /// The kitchen must answer, or its hold be confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_by: Option<Timestamp>,
    /// Some kitchen must have accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assign_by: Option<Timestamp>,
    /// The order ends if nothing moves it until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub give_up_at: Option<Timestamp>,
}

/// An order. What is the chain's affair has defaults, so that others can read and fold what they are shown of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Order {
    /// Short human number.
    pub number: String,
    /// Where it stands.
    pub status: Status,
    /// Version of its last change of status.
    pub status_version: u64,
    /// Version of its last event.
    pub version: u64,
    /// Who ordered.
    pub customer: UserId,
    /// Brought or collected.
    pub kind: Kind,
    /// Where it is sold.
    pub country: Country,
    /// What was ordered.
    pub lines: Vec<QuoteLine>,
    /// What the customer pays.
    pub total: Money,
    /// How.
    pub method: Method,
    /// Where to.
    pub destination: Option<Destination>,
    /// What the recipes take.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Longest preparation time, in minutes.
    pub prep_minutes: u16,
    /// Points considered, nearest first.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
    /// The point that holds or cooks it.
    pub food_point: Option<FoodPointId>,
    /// Counts the holds asked for.
    #[serde(default)]
    pub attempt: u32,
    /// The newest hold.
    #[serde(default)]
    pub hold: Hold,
    /// Points that were asked and are out.
    #[serde(default)]
    pub tried: Vec<FoodPointId>,
    /// The payment was asked for.
    pub payment_requested: bool,
    /// Cards declined so far.
    pub declines: u32,
    /// The money is promised, or cash agreed.
    pub paid: bool,
    /// The kitchen's side.
    pub ticket: Ticket,
    /// The kitchen that stopped, while another one is looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// When the food is or was to be ready.
    pub ready_by: Option<Timestamp>,
    /// Who brings it.
    pub courier: Option<CourierId>,
    /// When it should be at the door.
    pub eta: Option<Timestamp>,
    /// The courier stood before a closed door.
    pub attempted: bool,
    /// Why it was not handed over there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempted_because: Option<Reason>,
    /// How the hand-over was proven.
    pub proof: Option<Proof>,
    /// Why it ended, if badly.
    pub reason: Option<Reason>,
    /// Who ended it.
    pub ended_by: Option<EndedBy>,
    /// Who bears the cost.
    pub liable: Option<Liable>,
    /// What that comes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub borne: Option<Borne>,
    /// What was last said to be due.
    pub settlement: Option<Settlement>,
    /// What it waits for.
    pub deadlines: Deadlines,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Order {
    /// Candidates that may still be asked, nearest first.
    pub fn next_candidate(&self) -> Option<&Candidate> {
        self.candidates
            .iter()
            .find(|candidate| candidate.passed_over.is_none() && !self.tried.contains(&candidate.food_point))
    }

    /// The point whose hold still stands: asked for, held or confirmed, and neither consumed nor given back.
    pub fn held_at(&self) -> Option<FoodPointId> {
        match self.hold {
            Hold::Requested | Hold::Held => self.food_point,
            Hold::Gone => None,
        }
    }

    /// Whether the kitchen has begun: from here the stock is lost with the order.
    pub fn cooking_began(&self) -> bool {
        match self.ticket {
            Ticket::Cooking | Ticket::Ready | Ticket::HandedOver => true,
            Ticket::None
            | Ticket::Offered
            | Ticket::Accepted
            | Ticket::Queued
            | Ticket::Rejected
            | Ticket::TimedOut
            | Ticket::Cancelled => false,
        }
    }

    /// Whether another kitchen is being looked for after the first one stopped.
    pub fn is_rerouting(&self) -> bool {
        match self.ticket {
            Ticket::None | Ticket::Offered | Ticket::Accepted | Ticket::Rejected | Ticket::TimedOut => {
                self.status == Status::Assigned
            }
            Ticket::Queued | Ticket::Cooking | Ticket::Ready | Ticket::HandedOver | Ticket::Cancelled => false,
        }
    }

    fn placed(placed: &Placed, at: Timestamp) -> Self {
        Self {
            number: placed.number.clone(),
            status: Status::Created,
            status_version: 1,
            version: 1,
            customer: placed.customer,
            kind: placed.kind,
            country: placed.quote.country,
            lines: placed.quote.lines.clone(),
            total: placed.quote.total,
            method: placed.quote.method,
            destination: placed.destination,
            needs: placed.needs.clone(),
            prep_minutes: placed.prep_minutes,
            candidates: placed.candidates.clone(),
            food_point: None,
            attempt: 0,
            hold: Hold::Gone,
            tried: Vec::new(),
            payment_requested: false,
            declines: 0,
            paid: false,
            ticket: Ticket::None,
            stopped: None,
            ready_by: None,
            courier: None,
            eta: None,
            attempted: false,
            attempted_because: None,
            proof: None,
            reason: None,
            ended_by: None,
            liable: None,
            borne: None,
            settlement: None,
            deadlines: Deadlines {
                pay_by: Some(placed.pay_by),
                ..Deadlines::default()
            },
            placed_at: at,
            updated_at: at,
        }
    }

    fn moved(&mut self, status: Status) {
        self.status = status;
        self.status_version = self.version;
        if status.is_terminal() {
            self.deadlines = Deadlines::default();
            match self.ticket {
                Ticket::Offered | Ticket::Accepted | Ticket::Queued | Ticket::Cooking => {
                    self.ticket = Ticket::Cancelled
                }
                Ticket::None
                | Ticket::Ready
                | Ticket::HandedOver
                | Ticket::Rejected
                | Ticket::TimedOut
                | Ticket::Cancelled => {}
            }
        }
    }

    fn ended(&mut self, status: Status, by: EndedBy, reason: Reason) {
        self.moved(status);
        self.ended_by = Some(by);
        self.reason = Some(reason);
    }

    fn costs(&mut self, liable: Option<Liable>, borne: Option<Borne>) {
        self.liable = liable;
        self.borne = borne;
    }

    fn hold_gone(&mut self, ticket: Ticket) {
        self.hold = Hold::Gone;
        self.ticket = ticket;
        self.deadlines.hold_by = None;
        self.deadlines.accept_by = None;
    }
}

/// The next state; `None` only for a stream that does not start with `order.created`.
pub fn fold(order: Option<Order>, event: &Event, at: Timestamp) -> Option<Order> {
    let Some(mut order) = order else {
        return match event {
            Event::Created(placed) => Some(Order::placed(placed, at)),
            _ => None,
        };
    };
    order.version += 1;
    order.updated_at = at;
    apply(&mut order, event);
    Some(order)
}

/// An event that this build does not know: only the version moves.
pub fn skip(order: &mut Order, at: Timestamp) {
    order.version += 1;
    order.updated_at = at;
}

fn apply(order: &mut Order, event: &Event) {
    match event {
        Event::Created(_) => {}
        Event::HoldRequested {
            attempt,
            food_point,
            answer_by,
            ..
        } => {
            order.attempt = *attempt;
            order.food_point = Some(*food_point);
            order.tried.push(*food_point);
            order.hold = Hold::Requested;
            order.ticket = Ticket::None;
            order.deadlines.hold_by = Some(*answer_by);
        }
        Event::HoldHeld { .. } => {
            order.hold = Hold::Held;
            order.deadlines.hold_by = None;
        }
        Event::HoldFailed { .. } | Event::HoldTimedOut { .. } => order.hold_gone(Ticket::None),
        Event::HoldAbandoned { attempt, .. } => {
            if *attempt == order.attempt {
                order.hold_gone(Ticket::None);
            }
        }
        Event::PaymentRequested { .. } => order.payment_requested = true,
        Event::PaymentDeclined { count } => order.declines = *count,
        Event::Paid { assign_by, .. } => {
            order.paid = true;
            order.moved(Status::Paid);
            order.deadlines.pay_by = None;
            order.deadlines.assign_by = Some(*assign_by);
        }
        Event::TicketOffered { accept_by, .. } => {
            order.ticket = Ticket::Offered;
            order.deadlines.accept_by = Some(*accept_by);
        }
        Event::TicketAccepted {
            ready_by, confirm_by, ..
        } => {
            order.ticket = Ticket::Accepted;
            order.ready_by = Some(*ready_by);
            order.deadlines.accept_by = Some(*confirm_by);
        }
        Event::TicketRejected { .. } => order.hold_gone(Ticket::Rejected),
        Event::TicketTimedOut { .. } => order.hold_gone(Ticket::TimedOut),
        Event::TicketStopped {
            food_point,
            reason,
            assign_by,
            ..
        } => {
            order.hold_gone(Ticket::Rejected);
            order.stopped = Some(Stopped {
                food_point: *food_point,
                reason: *reason,
            });
            order.deadlines.assign_by = Some(*assign_by);
        }
        Event::Assigned {
            ready_by, give_up_at, ..
        } => {
            order.moved(Status::Assigned);
            order.ticket = Ticket::Queued;
            order.stopped = None;
            order.ready_by = Some(*ready_by);
            order.deadlines = Deadlines {
                give_up_at: Some(*give_up_at),
                ..Deadlines::default()
            };
        }
        Event::CookingStarted {} => order.ticket = Ticket::Cooking,
        Event::ReadyOverdue { ready_by } => order.ready_by = Some(*ready_by),
        Event::DeliveryRequested { .. } | Event::CourierMissing {} | Event::DeliveryOverdue {} => {}
        Event::Ready { give_up_at, .. } => {
            order.moved(Status::Ready);
            order.ticket = Ticket::Ready;
            order.hold = Hold::Gone;
            order.deadlines.give_up_at = Some(*give_up_at);
        }
        Event::CourierAssigned { courier } => order.courier = Some(*courier),
        Event::CourierUnassigned { .. } => order.courier = None,
        Event::CourierChanged { courier, .. } => order.courier = Some(*courier),
        Event::InDelivery {
            courier,
            eta,
            give_up_at,
            ..
        } => {
            order.moved(Status::InDelivery);
            order.ticket = Ticket::HandedOver;
            order.courier = Some(*courier);
            order.eta = Some(*eta);
            order.deadlines.give_up_at = Some(*give_up_at);
        }
        Event::DeliveryAttempted { reason, give_up_at, .. } => {
            order.attempted = true;
            order.attempted_because = Some(*reason);
            order.deadlines.give_up_at = Some(*give_up_at);
        }
        Event::Completed { proof } => {
            order.moved(Status::Completed);
            order.ticket = Ticket::HandedOver;
            order.proof = Some(proof.clone());
        }
        Event::Rejected { reason, .. } => order.ended(Status::Rejected, EndedBy::Timer, *reason),
        Event::Expired { reason, .. } => order.ended(Status::Expired, EndedBy::Timer, *reason),
        Event::Cancelled {
            by,
            reason,
            liable,
            borne,
            ..
        } => {
            order.ended(Status::Cancelled, *by, *reason);
            order.costs(*liable, *borne);
        }
        Event::Undelivered {
            by,
            reason,
            liable,
            borne,
            ..
        } => {
            order.ended(Status::Undelivered, *by, *reason);
            order.costs(*liable, *borne);
        }
        Event::SettlementDue {
            amount, is_final, seq, ..
        } => {
            order.settlement = Some(Settlement {
                amount: *amount,
                is_final: *is_final,
                seq: *seq,
            });
        }
    }
}
