//! Every way an order ends badly, and what is due then: rows 2, 4, 7, 8, 9, 17, 18 and 20.

use mesh_contracts::id::{CourierId, FoodPointId};
use mesh_contracts::money::Money;
use mesh_contracts::order::{Borne, EndedBy, Event, Kind, Liable, Method, Reason, Status};
use mesh_contracts::view::order::Order;

use super::policy::{Refund, Stage};
use super::{Policy, Rejection};

/// What basket-master has to reach; a higher `seq` replaces a lower one.
pub(super) fn settle(order: &Order, amount: Money, is_final: bool) -> Event {
    let seq = order.settlement.map_or(1, |settlement| settlement.seq + 1);
    Event::SettlementDue { amount, is_final, seq }
}

/// Rows 2 and 7: nobody can cook it. The last hold may have gone in the same breath, so the caller says what stands.
pub(super) fn reject(order: &Order, held_at: Option<FoodPointId>) -> Vec<Event> {
    let reason = Reason::NoCandidate;
    ended(order, Event::Rejected { reason, held_at }, nothing(order))
}

/// Row 4.
pub(super) fn expire(order: &Order) -> Vec<Event> {
    let (reason, held_at) = (Reason::Payment, order.held_at());
    ended(order, Event::Expired { reason, held_at }, nothing(order))
}

/// Rows 8 and 9: free until it is on the stove, then for the policy's fee.
pub(super) fn cancel(order: &Order, reason: Reason, policy: &Policy) -> Result<Vec<Event>, Rejection> {
    match order.status {
        Status::Created | Status::Paid | Status::Assigned => {
            Ok(cancelled(order, End::by(EndedBy::Customer, reason), policy))
        }
        Status::Ready | Status::InDelivery => Err(Rejection::TooLate(order.status)),
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => {
            Err(Rejection::AlreadyEnded(order.status))
        }
    }
}

/// Row 9. What a kitchen has not accepted it rejects, and what it has made it does not take back.
pub(super) fn cancel_by_kitchen(order: &Order, reason: Reason, policy: &Policy) -> Result<Vec<Event>, Rejection> {
    match order.status {
        Status::Created | Status::Paid => Err(Rejection::TooEarly(order.status)),
        Status::Assigned if order.is_rerouting() => Err(Rejection::TooEarly(order.status)),
        Status::Assigned => Ok(kitchen_cannot(order, reason, policy)),
        Status::Ready | Status::InDelivery => Err(Rejection::TooLate(order.status)),
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => {
            Err(Rejection::AlreadyEnded(order.status))
        }
    }
}

/// Row 9: the kitchen that accepted can't, and nobody else is asked.
pub(super) fn kitchen_cannot(order: &Order, reason: Reason, policy: &Policy) -> Vec<Event> {
    cancelled(order, End::by(EndedBy::Kitchen, reason), policy)
}

/// Row 10 without an end in another kitchen: row 9, on the one that stopped. The caller says which hold stands.
pub(super) fn nobody_took_over(order: &Order, held_at: Option<FoodPointId>, policy: &Policy) -> Vec<Event> {
    let reason = order.stopped.map_or(Reason::Late, |stopped| stopped.reason);
    let end = End {
        held_at,
        ..End::by(EndedBy::Timer, reason).of(order)
    };
    cancelled_with(order, end, false, policy)
}

/// Row 9: the money could not be taken after all. What is on the stove goes on, and basket-master books the debt.
pub(super) fn uncollected(order: &Order, policy: &Policy) -> Vec<Event> {
    match order.status {
        Status::Assigned if !order.cooking_began() => {
            cancelled(order, End::by(EndedBy::Timer, Reason::Payment), policy)
        }
        Status::Created | Status::Paid | Status::Assigned | Status::Ready | Status::InDelivery => Vec::new(),
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => Vec::new(),
    }
}

/// Row 18.
pub(super) fn overridden(order: &Order, reason: Reason, policy: &Policy) -> Result<Vec<Event>, Rejection> {
    let end = End::by(EndedBy::Operator, reason);
    match order.status {
        Status::Created | Status::Paid | Status::Assigned | Status::Ready => Ok(cancelled(order, end, policy)),
        Status::InDelivery => Ok(undelivered(order, end, policy)),
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => {
            Err(Rejection::AlreadyEnded(order.status))
        }
    }
}

/// Row 17: the courier has brought it back.
pub(super) fn returned(order: &Order, reason: Reason, policy: &Policy) -> Vec<Event> {
    let end = End {
        stage: Some(Stage::Returned),
        ..End::by(EndedBy::Courier, reason)
    };
    undelivered(order, end, policy)
}

/// Row 17: the courier does not have it any more.
pub(super) fn lost(order: &Order, policy: &Policy) -> Vec<Event> {
    let end = End {
        stage: Some(Stage::Lost),
        ..End::by(EndedBy::Courier, Reason::Other)
    };
    undelivered(order, end, policy)
}

/// The last deadline passed: rows 11, 13, 15, 17 and 20.
pub(super) fn give_up(order: &Order, policy: &Policy) -> Vec<Event> {
    let by_timer = |reason| End::by(EndedBy::Timer, reason);
    match order.status {
        Status::Assigned if order.is_rerouting() => nobody_took_over(order, order.held_at(), policy),
        // A kitchen that let its time run out has the food on the stove or nothing at all: the stock counts as lost.
        Status::Assigned => cancelled_with(order, by_timer(Reason::Late).of(order), true, policy),
        Status::Ready => match order.kind {
            Kind::Delivery => cancelled(order, by_timer(Reason::CourierNotFound), policy),
            Kind::PickUp => undelivered(order, by_timer(Reason::CustomerNotFound), policy),
        },
        Status::InDelivery if order.attempted => {
            let reason = order.attempted_because.unwrap_or(Reason::CustomerNotFound);
            undelivered(order, by_timer(reason), policy)
        }
        Status::InDelivery => undelivered(order, by_timer(Reason::Late), policy),
        Status::Created | Status::Paid => Vec::new(),
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => Vec::new(),
    }
}

/// Who ended it and why; the rest follows from the order unless it is said.
struct End {
    by: EndedBy,
    reason: Reason,
    /// Where the food is.
    stage: Option<Stage>,
    /// The point whose hold still stands.
    held_at: Option<FoodPointId>,
}

impl End {
    fn by(by: EndedBy, reason: Reason) -> Self {
        Self {
            by,
            reason,
            stage: None,
            held_at: None,
        }
    }

    fn of(self, order: &Order) -> Self {
        Self {
            stage: self.stage.or(Some(stage(order))),
            held_at: order.held_at(),
            ..self
        }
    }
}

fn stage(order: &Order) -> Stage {
    match order.status {
        Status::Created | Status::Paid => Stage::NotBegun,
        Status::Assigned if order.cooking_began() => Stage::Cooking,
        Status::Assigned => Stage::NotBegun,
        Status::Ready => Stage::Ready,
        Status::InDelivery => Stage::OnTheRoad,
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => {
            Stage::NotBegun
        }
    }
}

fn cancelled(order: &Order, end: End, policy: &Policy) -> Vec<Event> {
    cancelled_with(order, end.of(order), order.cooking_began(), policy)
}

fn cancelled_with(order: &Order, end: End, cooking_began: bool, policy: &Policy) -> Vec<Event> {
    let reckoning = reckon(order, &end, policy);
    let cancelled = Event::Cancelled {
        by: end.by,
        reason: end.reason,
        liable: reckoning.liable,
        held_at: end.held_at,
        cooking_began,
        borne: reckoning.borne,
    };
    ended(order, cancelled, reckoning.due)
}

fn undelivered(order: &Order, end: End, policy: &Policy) -> Vec<Event> {
    let end = end.of(order);
    let reckoning = reckon(order, &end, policy);
    let undelivered = Event::Undelivered {
        by: end.by,
        reason: end.reason,
        liable: reckoning.liable,
        held_at: end.held_at,
        borne: reckoning.borne,
    };
    ended(order, undelivered, reckoning.due)
}

/// What an end comes to.
struct Reckoning {
    /// What the customer still pays.
    due: Money,
    liable: Option<Liable>,
    borne: Option<Borne>,
}

/// What was due before is divided by the policy. Cash changes hands at the door only: the customer cannot be made to pay
/// after a bad end, so the chain bears what the customer should.
fn reckon(order: &Order, end: &End, policy: &Policy) -> Reckoning {
    let was_due = order.settlement.map_or(nothing(order), |settlement| settlement.amount);
    let stage = end.stage.unwrap_or(stage(order));
    let refund = policy.refund(end.by, stage, end.reason);
    let kept = kept(was_due, refund);
    let back = Money::new(was_due.amount - kept.amount, was_due.currency);
    let (due, liable, lost) = match (order.method, refund.liable) {
        (Method::Card, liable) => (kept, liable, back),
        (Method::Cash, Some(liable)) => (nothing(order), Some(liable), was_due),
        (Method::Cash, None) if kept.is_zero() => (nothing(order), None, back),
        (Method::Cash, None) => (nothing(order), Some(Liable::Platform), kept),
    };
    let borne = liable
        .filter(|_| !lost.is_zero())
        .map(|liable| borne(order, liable, lost));
    Reckoning { due, liable, borne }
}

/// Cents that do not divide go to the customer.
fn kept(was_due: Money, refund: Refund) -> Money {
    let percent = i128::from(100 - refund.back_percent.min(100));
    let kept = i128::from(was_due.amount) * percent / 100;
    let kept = i64::try_from(kept).expect("a part of 64 bits fits into 64 bits");
    Money::new(kept, was_due.currency)
}

fn borne(order: &Order, liable: Liable, amount: Money) -> Borne {
    let point = order.stopped.map(|stopped| stopped.food_point).or(order.food_point);
    let (food_point, courier): (Option<FoodPointId>, Option<CourierId>) = match liable {
        Liable::Point => (point, None),
        Liable::Courier => (None, order.courier),
        Liable::Platform => (None, None),
    };
    Borne {
        amount,
        food_point,
        courier,
    }
}

fn nothing(order: &Order) -> Money {
    Money::zero(order.total.currency)
}

/// The end itself and, if anyone was asked for money, what is due for good.
fn ended(order: &Order, end: Event, due: Money) -> Vec<Event> {
    let mut events = vec![end];
    if order.payment_requested {
        events.push(settle(order, due, true));
    }
    events
}
