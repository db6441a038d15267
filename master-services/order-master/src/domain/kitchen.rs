//! The kitchen's ticket: rows 5 and 11.

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::order::{Event, Status};
use mesh_contracts::view::order::{Order, Ticket};

use super::{Attempt, Policy, Rejection, end, is_brought, is_current, is_offered, pickup_place};

/// Offers the ticket; a kitchen that accepts everything is not asked.
pub(super) fn offer(order: &Order, attempt: Attempt, now: Timestamp, policy: &Policy) -> Vec<Event> {
    let Attempt { attempt, food_point } = attempt;
    let auto = order
        .candidates
        .iter()
        .any(|candidate| candidate.food_point == food_point && candidate.auto_accept);
    let mut events = vec![Event::TicketOffered {
        attempt,
        food_point,
        accept_by: now + policy.accept,
    }];
    if auto {
        let ready_by = now + preparation(order);
        events.push(Event::TicketAccepted {
            attempt,
            food_point,
            ready_by,
            confirm_by: now + policy.confirm,
        });
    }
    events
}

pub(super) fn accept(
    order: &Order,
    ready_by: Option<Timestamp>,
    now: Timestamp,
    policy: &Policy,
) -> Result<Vec<Event>, Rejection> {
    if order.status.is_terminal() {
        return Err(Rejection::AlreadyEnded(order.status));
    }
    let Some(food_point) = order.food_point.filter(|_| is_offered(order)) else {
        return Err(Rejection::NotOffered(order.status));
    };
    let ready_by = ready_by.unwrap_or(now + preparation(order));
    if ready_by < now || ready_by > now + policy.ready_by_max {
        return Err(Rejection::BadReadyBy);
    }
    Ok(vec![Event::TicketAccepted {
        attempt: order.attempt,
        food_point,
        ready_by,
        confirm_by: now + policy.confirm,
    }])
}

/// Row 5: the kitchen's word and the stock are both there. Capture is due, and somebody has to bring it.
pub(super) fn hold_confirmed(order: &Order, answer: Attempt, now: Timestamp, policy: &Policy) -> Vec<Event> {
    if order.status != Status::Paid || order.ticket != Ticket::Accepted || !is_current(order, answer) {
        return Vec::new();
    }
    let Attempt { attempt, food_point } = answer;
    let ready_by = order.ready_by.unwrap_or(now);
    let start_by = (ready_by - preparation(order)).max(now);
    let base = ready_by.max(now);
    let mut events = vec![
        Event::Assigned {
            attempt,
            food_point,
            ready_by,
            start_by,
            late_at: base + policy.ready_late,
            give_up_at: base + policy.ready_give_up,
        },
        end::settle(order, order.total, false),
    ];
    if is_brought(order)
        && let (Some(destination), Some(pickup)) = (order.destination, pickup_place(order, food_point))
    {
        events.push(Event::DeliveryRequested {
            customer: order.customer,
            food_point,
            pickup,
            destination,
            ready_by,
        });
    }
    events
}

pub(super) fn start(order: &Order) -> Result<Vec<Event>, Rejection> {
    match order.status {
        Status::Created | Status::Paid => Err(Rejection::TooEarly(order.status)),
        Status::Assigned if order.ticket == Ticket::Queued => Ok(vec![Event::CookingStarted {}]),
        Status::Assigned | Status::Ready | Status::InDelivery => Err(Rejection::TooLate(order.status)),
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => {
            Err(Rejection::AlreadyEnded(order.status))
        }
    }
}

/// Row 11.
pub(super) fn ready(order: &Order, now: Timestamp, policy: &Policy) -> Result<Vec<Event>, Rejection> {
    match order.status {
        Status::Created | Status::Paid => Err(Rejection::TooEarly(order.status)),
        Status::Assigned => {
            let food_point = order.food_point.ok_or(Rejection::TooEarly(order.status))?;
            Ok(vec![Event::Ready {
                food_point,
                attempt: order.attempt,
                alert_at: now + policy.courier_missing,
                give_up_at: now + policy.pickup_give_up,
            }])
        }
        Status::Ready | Status::InDelivery => Err(Rejection::TooLate(order.status)),
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => {
            Err(Rejection::AlreadyEnded(order.status))
        }
    }
}

/// The longest preparation time of the lines.
fn preparation(order: &Order) -> SignedDuration {
    SignedDuration::from_mins(i64::from(order.prep_minutes))
}
