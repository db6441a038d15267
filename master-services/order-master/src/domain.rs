//! The life of an order. Nothing here awaits, reads a clock, or knows SQL, NATS or HTTP.
//!
//! The state is the fold in `contracts::view::order`; rows are those of the table in the design.

mod candidates;
mod end;
mod hear;
mod kitchen;
mod notices;
mod policy;
mod reroute;
mod timers;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use mesh_contracts::geo::Coordinates;
use mesh_contracts::id::{CourierId, FoodPointId};
use mesh_contracts::money::Money;
use mesh_contracts::order::{Event, Kind, Method, PassedOver, Placed, Proof, Reason, Status};
use mesh_contracts::point::HoldRefusal;
use mesh_contracts::view::order::{Hold, Order, Ticket};

pub use candidates::{Work, candidates, work};
pub use hear::{closed, hear};
pub use notices::{answered, job, kind_of, notice, occasion_of, shows};
pub use policy::{Policy, Refund, RefundRule, Stage};
pub use timers::{fire, react};

/// Cards a customer may try before the order expires (row 4).
const DECLINES_MAX: u32 = 3;

/// What order-master can be asked or told.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A customer orders; candidates are chosen already.
    Place(Box<Placed>),
    /// point-master set stock and slot aside.
    HoldHeld(Attempt),
    /// point-master could not, or could not confirm.
    HoldFailed(Attempt, HoldRefusal),
    /// point-master confirmed after the kitchen accepted.
    HoldConfirmed(Attempt),
    /// point-master's backstop gave the hold back.
    HoldExpired(Attempt),
    /// basket-master has the promise of a card, or the agreement to pay in cash.
    PaymentPromised(Money, Method),
    /// A card was declined, so many so far.
    PaymentDeclined(u32),
    /// The promise could not be turned into money, and no other card was given in time.
    CollectionFailed,
    /// The kitchen will.
    Accept { ready_by: Option<Timestamp> },
    /// The kitchen won't.
    RejectTicket(Reason),
    /// The kitchen begins.
    StartCooking,
    /// The kitchen is done.
    MarkReady,
    /// The customer does not want it any more.
    Cancel(Reason),
    /// The kitchen that accepted can't, and says that nobody should.
    CancelByKitchen(Reason),
    /// The kitchen that accepted can't; another one may.
    Stop(Reason),
    /// A food point takes no more orders.
    PointClosed(FoodPointId),
    /// The customer is at the counter; without proof if the PIN was wrong.
    Collect(Option<Proof>),
    /// An operator ends it.
    Override(Reason),
    /// A courier has the job.
    CourierAssigned(CourierId),
    /// The courier is off the job before pick-up.
    CourierDropped(CourierId),
    /// The courier has the food.
    PickedUp { courier: CourierId, eta: Timestamp },
    /// The courier stood before a closed door.
    Attempted { courier: CourierId, reason: Reason },
    /// Another courier has the food now.
    CourierChanged { from: CourierId, to: CourierId },
    /// The food is back at the counter.
    Returned { courier: CourierId, reason: Reason },
    /// The food is gone.
    Lost { courier: CourierId },
    /// The customer has the food.
    Delivered { courier: CourierId, proof: Proof },
}

impl Command {
    /// Whether it is the first thing that anybody says to an order.
    pub fn is_first_answer(&self) -> bool {
        matches!(self, Self::HoldHeld(answer) | Self::HoldFailed(answer, _) if answer.attempt == 1)
    }
}

/// One request for a hold, as both sides name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Counts up over an order.
    pub attempt: u32,
    /// Who was asked.
    pub food_point: FoodPointId,
}

/// Why the answer is no.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Rejection {
    #[error("no such order")]
    NoSuchOrder,
    #[error("the order is placed already")]
    AlreadyPlaced,
    #[error("the quote is no longer valid")]
    QuoteExpired,
    #[error("no food point delivers there")]
    OutOfZone,
    #[error("the food point is closed")]
    PointClosed,
    #[error("the food point does not deliver that far")]
    PointTooFar,
    #[error("the food point does not take this kind of order")]
    PointKind,
    #[error("no food point can make this now")]
    NothingAvailable,
    #[error("the kitchen is not being asked for this order")]
    NotOffered(Status),
    #[error("it is too late for that: the order is {}", .0.as_str())]
    TooLate(Status),
    #[error("it is too early for that: the order is {}", .0.as_str())]
    TooEarly(Status),
    #[error("the order has ended: {}", .0.as_str())]
    AlreadyEnded(Status),
    #[error("a product of the quote is not known")]
    UnknownProduct,
    #[error("no such food point")]
    UnknownPoint,
    #[error("nobody collects that at the counter: a courier brings it")]
    NotPickUp,
    #[error("the PIN is wrong")]
    WrongPin,
    #[error("ready_by must lie within the next four hours")]
    BadReadyBy,
}

/// What follows from a command in a state. Facts told by other masters are never refused: too late is no news.
pub fn decide(
    order: Option<&Order>,
    command: Command,
    now: Timestamp,
    policy: &Policy,
) -> Result<Vec<Event>, Rejection> {
    let Some(order) = order else {
        return match command {
            Command::Place(placed) => place(*placed, now, policy),
            _ => Err(Rejection::NoSuchOrder),
        };
    };
    match command {
        Command::Place(_) => Err(Rejection::AlreadyPlaced),
        Command::HoldHeld(attempt) => Ok(hold_held(order, attempt, now, policy)),
        Command::HoldFailed(attempt, reason) => Ok(reroute::hold_failed(order, attempt, reason, now, policy)),
        Command::HoldConfirmed(attempt) => Ok(kitchen::hold_confirmed(order, attempt, now, policy)),
        Command::HoldExpired(attempt) => Ok(reroute::hold_failed(order, attempt, HoldRefusal::Ended, now, policy)),
        Command::PaymentPromised(amount, method) => Ok(payment_promised(order, amount, method, now, policy)),
        Command::PaymentDeclined(count) => Ok(payment_declined(order, count)),
        Command::CollectionFailed => Ok(end::uncollected(order, policy)),
        Command::Accept { ready_by } => kitchen::accept(order, ready_by, now, policy),
        Command::RejectTicket(reason) => reroute::ticket_rejected(order, reason, now, policy),
        Command::StartCooking => kitchen::start(order),
        Command::MarkReady => kitchen::ready(order, now, policy),
        Command::Cancel(reason) => end::cancel(order, reason, policy),
        Command::CancelByKitchen(reason) => end::cancel_by_kitchen(order, reason, policy),
        Command::Stop(reason) => reroute::stop(order, reason, now, policy),
        Command::PointClosed(food_point) => Ok(reroute::point_closed(order, food_point, now, policy)),
        Command::Collect(proof) => kitchen::collect(order, proof),
        Command::Override(reason) => end::overridden(order, reason, policy),
        Command::CourierAssigned(courier) => Ok(courier_assigned(order, courier)),
        Command::CourierDropped(courier) => Ok(courier_dropped(order, courier)),
        Command::PickedUp { courier, eta } => Ok(picked_up(order, courier, eta, policy)),
        Command::Attempted { courier, reason } => Ok(attempted(order, courier, reason, now, policy)),
        Command::CourierChanged { from, to } => Ok(courier_changed(order, from, to)),
        Command::Returned { courier, reason } if is_with(order, courier) => Ok(end::returned(order, reason, policy)),
        Command::Lost { courier } if is_with(order, courier) => Ok(end::lost(order, policy)),
        Command::Returned { .. } | Command::Lost { .. } => Ok(Vec::new()),
        Command::Delivered { courier, proof } => Ok(delivered(order, courier, proof)),
    }
}

/// Row 1. An order that nobody could even be asked to cook is refused, not created.
fn place(placed: Placed, now: Timestamp, policy: &Policy) -> Result<Vec<Event>, Rejection> {
    let Some(candidate) = placed
        .candidates
        .iter()
        .find(|candidate| candidate.passed_over.is_none())
    else {
        return Err(refusal(&placed));
    };
    let attempt = Attempt {
        attempt: 1,
        food_point: candidate.food_point,
    };
    let request = reroute::request(attempt, placed.kind, placed.needs.clone(), now, policy);
    Ok(vec![Event::Created(placed), request])
}

/// Why nobody can be asked: the reason of the nearest point in reach, since that one the customer can act on.
fn refusal(placed: &Placed) -> Rejection {
    let mut reasons = placed.candidates.iter().filter_map(|candidate| candidate.passed_over);
    let reason = match placed.pinned {
        Some(_) => reasons.next(),
        None => reasons.find(|reason| *reason != PassedOver::TooFar),
    };
    match reason {
        None => Rejection::OutOfZone,
        Some(PassedOver::TooFar) => Rejection::PointTooFar,
        Some(PassedOver::Closed) => Rejection::PointClosed,
        Some(PassedOver::Kind) => Rejection::PointKind,
        Some(PassedOver::Full | PassedOver::Stock | PassedOver::BeyondLimit) => Rejection::NothingAvailable,
    }
}

/// The payment is not asked for before the hold is held; a paid order offers its ticket at once.
fn hold_held(order: &Order, answer: Attempt, now: Timestamp, policy: &Policy) -> Vec<Event> {
    if order.status.is_terminal() {
        return Vec::new();
    }
    if !is_current(order, answer) || order.hold != Hold::Requested {
        // A late answer: whatever it set aside goes back. point-master ignores what it gave back already.
        return if order.hold == Hold::Held && is_current(order, answer) {
            Vec::new()
        } else {
            vec![Event::HoldAbandoned {
                attempt: answer.attempt,
                food_point: answer.food_point,
            }]
        };
    }
    let mut events = vec![Event::HoldHeld {
        attempt: answer.attempt,
        food_point: answer.food_point,
    }];
    match order.status {
        Status::Created if !order.payment_requested => events.push(Event::PaymentRequested {
            customer: order.customer,
            method: order.method,
            amount: order.total,
            pay_by: order.deadlines.pay_by.unwrap_or(now),
        }),
        Status::Created => {}
        Status::Paid => events.extend(kitchen::offer(order, answer, now, policy)),
        Status::Assigned if order.is_rerouting() => events.extend(kitchen::offer(order, answer, now, policy)),
        Status::Assigned | Status::Ready | Status::InDelivery => {}
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => {}
    }
    events
}

/// Row 3. A promise of another amount is no payment: the order expires and the promise is voided.
fn payment_promised(order: &Order, amount: Money, method: Method, now: Timestamp, policy: &Policy) -> Vec<Event> {
    if order.status != Status::Created || order.paid {
        return Vec::new();
    }
    if amount != order.total {
        return end::expire(order);
    }
    let mut events = vec![Event::Paid {
        amount,
        method,
        assign_by: now + policy.assign,
    }];
    if order.hold == Hold::Held
        && let Some(food_point) = order.food_point
    {
        events.extend(kitchen::offer(
            order,
            Attempt {
                attempt: order.attempt,
                food_point,
            },
            now,
            policy,
        ));
    }
    events
}

fn payment_declined(order: &Order, count: u32) -> Vec<Event> {
    if order.status != Status::Created || count <= order.declines {
        return Vec::new();
    }
    let mut events = vec![Event::PaymentDeclined { count }];
    if count >= DECLINES_MAX {
        events.extend(end::expire(order));
    }
    events
}

fn courier_assigned(order: &Order, courier: CourierId) -> Vec<Event> {
    match order.status {
        Status::Assigned | Status::Ready if order.courier != Some(courier) => vec![Event::CourierAssigned { courier }],
        Status::Assigned | Status::Ready | Status::Created | Status::Paid | Status::InDelivery => Vec::new(),
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => Vec::new(),
    }
}

fn courier_dropped(order: &Order, courier: CourierId) -> Vec<Event> {
    match order.status {
        Status::Assigned | Status::Ready if order.courier == Some(courier) => {
            vec![Event::CourierUnassigned { courier }]
        }
        Status::Assigned | Status::Ready | Status::Created | Status::Paid | Status::InDelivery => Vec::new(),
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => Vec::new(),
    }
}

/// Row 14; courier-master lets only the assigned courier pick up, and only food that is ready.
fn picked_up(order: &Order, courier: CourierId, eta: Timestamp, policy: &Policy) -> Vec<Event> {
    if order.status != Status::Ready {
        return Vec::new();
    }
    let late_at = eta + policy.delivery_late;
    vec![Event::InDelivery {
        courier,
        eta,
        late_at,
        give_up_at: eta + policy.delivery_give_up,
    }]
}

fn attempted(order: &Order, courier: CourierId, reason: Reason, now: Timestamp, policy: &Policy) -> Vec<Event> {
    if !is_with(order, courier) {
        return Vec::new();
    }
    vec![Event::DeliveryAttempted {
        courier,
        reason,
        give_up_at: now + policy.after_attempt,
    }]
}

/// Row 16.
fn courier_changed(order: &Order, from: CourierId, to: CourierId) -> Vec<Event> {
    if !is_with(order, from) {
        return Vec::new();
    }
    vec![Event::CourierChanged { from, courier: to }]
}

/// Whether this courier is on the way with it.
fn is_with(order: &Order, courier: CourierId) -> bool {
    order.status == Status::InDelivery && order.courier == Some(courier)
}

/// Row 15.
fn delivered(order: &Order, courier: CourierId, proof: Proof) -> Vec<Event> {
    if !is_with(order, courier) {
        return Vec::new();
    }
    vec![Event::Completed { proof }, end::settle(order, order.total, true)]
}

fn is_current(order: &Order, attempt: Attempt) -> bool {
    order.attempt == attempt.attempt && order.food_point == Some(attempt.food_point)
}

/// Where a courier picks up: the place of the point that cooks.
fn pickup_place(order: &Order, food_point: FoodPointId) -> Option<Coordinates> {
    order
        .candidates
        .iter()
        .find(|candidate| candidate.food_point == food_point)
        .map(|candidate| candidate.at)
}

/// Whether a delivery has to be asked for.
fn is_brought(order: &Order) -> bool {
    match order.kind {
        Kind::Delivery => true,
        Kind::PickUp => false,
    }
}

/// Whether the kitchen is being asked right now.
fn is_offered(order: &Order) -> bool {
    (order.status == Status::Paid || order.is_rerouting()) && order.ticket == Ticket::Offered
}
