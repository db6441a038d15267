//! Every way an order ends badly, and what is due then: rows 2, 4, 7, 8, 9, 17 and 18.

use mesh_contracts::id::FoodPointId;
use mesh_contracts::money::Money;
use mesh_contracts::order::{EndedBy, Event, Liable, Reason, Status};
use mesh_contracts::view::order::Order;

use super::Rejection;

/// What basket-master has to reach; a higher `seq` replaces a lower one.
pub(super) fn settle(order: &Order, amount: Money, is_final: bool) -> Event {
    let seq = order.settlement.map_or(1, |settlement| settlement.seq + 1);
    Event::SettlementDue { amount, is_final, seq }
}

/// Rows 2 and 7: nobody can cook it. The last hold may have gone in the same breath, so the caller says what stands.
pub(super) fn reject(order: &Order, held_at: Option<FoodPointId>) -> Vec<Event> {
    let reason = Reason::NoCandidate;
    ended(order, Event::Rejected { reason, held_at })
}

/// Row 4.
pub(super) fn expire(order: &Order) -> Vec<Event> {
    let (reason, held_at) = (Reason::Payment, order.held_at());
    ended(order, Event::Expired { reason, held_at })
}

/// Row 8. From `assigned` on the customer's way out is row 9, whose policy decides about the money.
pub(super) fn cancel(order: &Order, reason: Reason) -> Result<Vec<Event>, Rejection> {
    match order.status {
        Status::Created | Status::Paid => Ok(cancelled(order, EndedBy::Customer, reason, None)),
        Status::Assigned | Status::Ready | Status::InDelivery => Err(Rejection::TooLate(order.status)),
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => {
            Err(Rejection::AlreadyEnded(order.status))
        }
    }
}

/// Row 18.
pub(super) fn overridden(order: &Order, reason: Reason) -> Result<Vec<Event>, Rejection> {
    match order.status {
        Status::Created | Status::Paid | Status::Assigned | Status::Ready => {
            Ok(cancelled(order, EndedBy::Operator, reason, Some(Liable::Platform)))
        }
        Status::InDelivery => Ok(undelivered(order, EndedBy::Operator, reason, Some(Liable::Platform))),
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => {
            Err(Rejection::AlreadyEnded(order.status))
        }
    }
}

/// The last deadline passed: rows 11, 13, 15 and 17. The customer gets everything back.
pub(super) fn give_up(order: &Order) -> Vec<Event> {
    match order.status {
        Status::Assigned => cancelled(order, EndedBy::Timer, Reason::Late, Some(Liable::Point)),
        Status::Ready => cancelled(order, EndedBy::Timer, Reason::CourierNotFound, Some(Liable::Platform)),
        Status::InDelivery if order.attempted => undelivered(order, EndedBy::Timer, Reason::CustomerNotFound, None),
        Status::InDelivery => undelivered(order, EndedBy::Timer, Reason::Late, Some(Liable::Platform)),
        Status::Created | Status::Paid => Vec::new(),
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => Vec::new(),
    }
}

fn cancelled(order: &Order, by: EndedBy, reason: Reason, liable: Option<Liable>) -> Vec<Event> {
    // A kitchen that let its time run out has the food on the stove or nothing at all: the stock counts as lost.
    let cooking_began = order.cooking_began() || (by == EndedBy::Timer && order.status == Status::Assigned);
    ended(
        order,
        Event::Cancelled {
            by,
            reason,
            liable,
            held_at: order.held_at(),
            cooking_began,
        },
    )
}

fn undelivered(order: &Order, by: EndedBy, reason: Reason, liable: Option<Liable>) -> Vec<Event> {
    let held_at = order.held_at();
    ended(
        order,
        Event::Undelivered {
            by,
            reason,
            liable,
            held_at,
        },
    )
}

/// The end itself and, if anyone was asked for money, that nothing is due.
fn ended(order: &Order, end: Event) -> Vec<Event> {
    let mut events = vec![end];
    if order.payment_requested {
        events.push(settle(order, Money::zero(order.total.currency), true));
    }
    events
}
