//! Asking food points, one after the other: rows 2, 6, 7 and 10.

use jiff::Timestamp;
use mesh_contracts::id::FoodPointId;
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

/// The next candidate, or the end of an order that nobody can cook: row 7, or row 9 if a kitchen had accepted it.
pub(super) fn next(order: &Order, now: Timestamp, policy: &Policy) -> Vec<Event> {
    let is_over = order.is_rerouting() && order.deadlines.assign_by.is_none_or(|assign_by| assign_by <= now);
    match ask_next(order, now, policy).filter(|_| !is_over) {
        Some(request) => vec![request],
        None if order.is_rerouting() => end::nobody_took_over(order, None, policy),
        None => end::reject(order, None),
    }
}

fn ask_next(order: &Order, now: Timestamp, policy: &Policy) -> Option<Event> {
    let candidate = order.next_candidate()?;
    let attempt = Attempt {
        attempt: order.attempt + 1,
        food_point: candidate.food_point,
    };
    Some(request(attempt, order.kind, order.needs.clone(), now, policy))
}

/// Row 10: the kitchen has accepted, has not begun, and can't. Where nobody else can be asked, row 9.
pub(super) fn stop(order: &Order, reason: Reason, now: Timestamp, policy: &Policy) -> Result<Vec<Event>, Rejection> {
    match order.status {
        Status::Created | Status::Paid => Err(Rejection::TooEarly(order.status)),
        Status::Assigned if order.is_rerouting() => Err(Rejection::TooEarly(order.status)),
        Status::Assigned if order.ticket == Ticket::Queued => Ok(stopped(order, reason, now, policy)),
        Status::Assigned | Status::Ready | Status::InDelivery => Err(Rejection::TooLate(order.status)),
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => {
            Err(Rejection::AlreadyEnded(order.status))
        }
    }
}

fn stopped(order: &Order, reason: Reason, now: Timestamp, policy: &Policy) -> Vec<Event> {
    let Some((food_point, request)) = order.food_point.zip(ask_next(order, now, policy)) else {
        return end::kitchen_cannot(order, reason, policy);
    };
    let stopped = Event::TicketStopped {
        attempt: order.attempt,
        food_point,
        reason,
        assign_by: now + policy.reroute,
    };
    vec![stopped, request]
}

/// Rows 6 and 10: a point that closes cooks nothing that is not on the stove yet. A point elsewhere is no news.
pub(super) fn point_closed(order: &Order, food_point: FoodPointId, now: Timestamp, policy: &Policy) -> Vec<Event> {
    if order.food_point != Some(food_point) {
        return Vec::new();
    }
    let (attempt, reason) = (order.attempt, Reason::ClosingEarly);
    let is_asked = order.status == Status::Paid || order.is_rerouting();
    let given_back = match order.ticket {
        Ticket::Queued if order.status == Status::Assigned => return stopped(order, reason, now, policy),
        Ticket::Offered if is_asked => Event::TicketRejected {
            attempt,
            food_point,
            reason,
        },
        Ticket::Accepted if is_asked => Event::HoldAbandoned { attempt, food_point },
        // Not asked yet, since the customer is still paying: a kitchen that accepts by itself would never notice.
        Ticket::None if order.status == Status::Created && order.hold == Hold::Held => {
            Event::HoldAbandoned { attempt, food_point }
        }
        Ticket::None
        | Ticket::Offered
        | Ticket::Accepted
        | Ticket::Queued
        | Ticket::Cooking
        | Ticket::Ready
        | Ticket::HandedOver
        | Ticket::Rejected
        | Ticket::TimedOut
        | Ticket::Cancelled => return Vec::new(),
    };
    let mut events = vec![given_back];
    events.extend(next(order, now, policy));
    events
}

/// The time for another kitchen to accept is over. One that has accepted has only its hold to be confirmed.
pub(super) fn nobody_in_time(order: &Order, policy: &Policy) -> Vec<Event> {
    match order.status {
        Status::Paid => end::reject(order, order.held_at()),
        Status::Assigned if order.is_rerouting() && order.ticket != Ticket::Accepted => {
            end::nobody_took_over(order, order.held_at(), policy)
        }
        Status::Created | Status::Assigned | Status::Ready | Status::InDelivery => Vec::new(),
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => Vec::new(),
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
        Status::Assigned => order.is_rerouting() && order.hold != Hold::Gone,
        Status::Ready | Status::InDelivery => false,
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
    let is_asked = order.status == Status::Paid || order.is_rerouting();
    let Some(food_point) = order.food_point.filter(|_| is_asked) else {
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
