//! The kitchen's ticket: rows 5, 10 and 11.

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::order::{Event, Kind, Proof, Status};
use mesh_contracts::view::order::{Order, Ticket};

use super::{Attempt, Policy, Rejection, end, is_brought, is_current, is_offered, pickup_place};

/// Offers the ticket; a kitchen that accepts everything is not asked.
pub(super) fn offer(order: &Order, attempt: Attempt, now: Timestamp, policy: &Policy) -> Vec<Event> {
    let Attempt { attempt, food_point } = attempt;
    let auto = order
        .candidates
        .iter()
        .any(|candidate| candidate.food_point == food_point && candidate.auto_accept);
    // A kitchen that takes over another's order has the rest of that order's time.
    let rest = order.deadlines.assign_by.filter(|_| order.is_rerouting());
    let accept_by = now + policy.accept;
    let mut events = vec![Event::TicketOffered {
        attempt,
        food_point,
        accept_by: rest.map_or(accept_by, |rest| rest.min(accept_by)),
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

/// Rows 5 and 10: the kitchen's word and the stock are both there. Capture is due, and somebody has to bring it.
pub(super) fn hold_confirmed(order: &Order, answer: Attempt, now: Timestamp, policy: &Policy) -> Vec<Event> {
    let is_waited_for = order.status == Status::Paid || order.is_rerouting();
    if !is_waited_for || order.ticket != Ticket::Accepted || !is_current(order, answer) {
        return Vec::new();
    }
    let Attempt { attempt, food_point } = answer;
    let ready_by = order.ready_by.unwrap_or(now);
    let start_by = (ready_by - preparation(order)).max(now);
    let base = ready_by.max(now);
    let mut events = vec![Event::Assigned {
        attempt,
        food_point,
        ready_by,
        start_by,
        late_at: base + policy.ready_late,
        give_up_at: base + policy.ready_give_up,
    }];
    // What another kitchen had accepted is due already.
    if order.settlement.is_none() {
        events.push(end::settle(order, order.total, false));
    }
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
        Status::Assigned if order.is_rerouting() => Err(Rejection::TooEarly(order.status)),
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
        Status::Assigned if order.is_rerouting() => Err(Rejection::TooEarly(order.status)),
        Status::Assigned => {
            let food_point = order.food_point.ok_or(Rejection::TooEarly(order.status))?;
            let (alert_at, give_up_at) = waits_for(order, now, policy);
            Ok(vec![Event::Ready {
                food_point,
                attempt: order.attempt,
                alert_at,
                give_up_at,
            }])
        }
        Status::Ready | Status::InDelivery => Err(Rejection::TooLate(order.status)),
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => {
            Err(Rejection::AlreadyEnded(order.status))
        }
    }
}

/// When operators hear that nobody fetches it, and when it is given up: a courier's time after it is ready, or the
/// customer's until the point has closed.
fn waits_for(order: &Order, now: Timestamp, policy: &Policy) -> (Timestamp, Timestamp) {
    match order.kind {
        Kind::Delivery => (now + policy.courier_missing, now + policy.pickup_give_up),
        Kind::PickUp => {
            let closes_at = order
                .candidates
                .iter()
                .find(|candidate| Some(candidate.food_point) == order.food_point)
                .and_then(|candidate| candidate.closes_at);
            let give_up_at = match closes_at {
                // Food that is ready only after closing is kept as long, too.
                Some(closes_at) => closes_at.max(now) + policy.collect_after_closing,
                None => now + policy.collect_anytime,
            };
            (give_up_at, give_up_at)
        }
    }
}

/// Row 19: the customer is at the counter and told the PIN; without proof if it was wrong.
pub(super) fn collect(order: &Order, proof: Option<Proof>) -> Result<Vec<Event>, Rejection> {
    match order.kind {
        Kind::PickUp => {}
        Kind::Delivery => return Err(Rejection::NotPickUp),
    }
    match order.status {
        Status::Created | Status::Paid | Status::Assigned => Err(Rejection::TooEarly(order.status)),
        Status::Ready => {
            let proof = proof.ok_or(Rejection::WrongPin)?;
            Ok(vec![Event::Completed { proof }, end::settle(order, order.total, true)])
        }
        Status::InDelivery => Err(Rejection::TooLate(order.status)),
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => {
            Err(Rejection::AlreadyEnded(order.status))
        }
    }
}

/// The longest preparation time of the lines.
fn preparation(order: &Order) -> SignedDuration {
    SignedDuration::from_mins(i64::from(order.prep_minutes))
}
