//! Asking food points, one after the other: rows 2, 6 and 7.

use jiff::Timestamp;
use mesh_contracts::order::{Event, Kind, Need, Reason, Status};
use mesh_contracts::point::HoldRefusal;
use mesh_contracts::view::order::{Hold, Order, Ticket};

use super::{Attempt, Policy, Rejection, end, is_current, is_offered};

pub(super) fn request(attempt: Attempt, kind: Kind, needs: Vec<Need>, now: Timestamp, policy: &Policy) -> Event {
    Event::HoldRequested {
        attempt: attempt.attempt,
        food_point: attempt.food_point,
        kind,
        needs,
        answer_by: now + policy.hold,
        expires_at: now + policy.hold_life(),
    }
}

/// The next candidate, or the end of an order that nobody can cook.
pub(super) fn next(order: &Order, now: Timestamp, policy: &Policy) -> Vec<Event> {
    match order.next_candidate() {
        Some(candidate) => {
            let attempt = Attempt {
                attempt: order.attempt + 1,
                food_point: candidate.food_point,
            };
            vec![request(attempt, order.kind, order.needs.clone(), now, policy)]
        }
        None => end::reject(order, None),
    }
}

/// No hold, or no confirmation of it. Only while somebody waits for it: later it is no news.
pub(super) fn hold_failed(
    order: &Order,
    answer: Attempt,
    reason: HoldRefusal,
    now: Timestamp,
    policy: &Policy,
) -> Vec<Event> {
    let waiting = match order.status {
        Status::Created | Status::Paid => order.hold != Hold::Gone,
        Status::Assigned | Status::Ready | Status::InDelivery => false,
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => false,
    };
    if !waiting || !is_current(order, answer) {
        return Vec::new();
    }
    let mut events = vec![Event::HoldFailed {
        attempt: answer.attempt,
        food_point: answer.food_point,
        reason,
    }];
    events.extend(next(order, now, policy));
    events
}

/// The kitchen said no.
pub(super) fn ticket_rejected(
    order: &Order,
    reason: Reason,
    now: Timestamp,
    policy: &Policy,
) -> Result<Vec<Event>, Rejection> {
    if order.status.is_terminal() {
        return Err(Rejection::AlreadyEnded(order.status));
    }
    let Some(food_point) = order.food_point.filter(|_| is_offered(order)) else {
        return Err(Rejection::NotOffered(order.status));
    };
    let mut events = vec![Event::TicketRejected {
        attempt: order.attempt,
        food_point,
        reason,
    }];
    events.extend(next(order, now, policy));
    Ok(events)
}

/// point-master did not answer in time.
pub(super) fn hold_overdue(order: &Order, now: Timestamp, policy: &Policy) -> Vec<Event> {
    let Some(food_point) = order.food_point.filter(|_| order.hold == Hold::Requested) else {
        return Vec::new();
    };
    let attempt = order.attempt;
    let mut events = vec![
        Event::HoldTimedOut { attempt, food_point },
        Event::HoldAbandoned { attempt, food_point },
    ];
    events.extend(next(order, now, policy));
    events
}

/// The kitchen did not answer in time, or its hold was not confirmed in time; only the first is a miss.
pub(super) fn ticket_overdue(order: &Order, now: Timestamp, policy: &Policy) -> Vec<Event> {
    let Some(food_point) = order.food_point.filter(|_| order.status == Status::Paid) else {
        return Vec::new();
    };
    let attempt = order.attempt;
    let ended = match order.ticket {
        Ticket::Offered => Event::TicketTimedOut { attempt, food_point },
        Ticket::Accepted => Event::HoldAbandoned { attempt, food_point },
        Ticket::None
        | Ticket::Queued
        | Ticket::Cooking
        | Ticket::Ready
        | Ticket::HandedOver
        | Ticket::Rejected
        | Ticket::TimedOut
        | Ticket::Cancelled => return Vec::new(),
    };
    let mut events = vec![ended];
    events.extend(next(order, now, policy));
    events
}
