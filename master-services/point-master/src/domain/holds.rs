//! Stock and slots set aside for orders: one hold per order at a point, named by (order, attempt).
//!
//! Everything here may be told twice or too late and then changes nothing.

use jiff::Timestamp;
use mesh_contracts::id::OrderId;
use mesh_contracts::point::{ClosedBy, Event, HoldRefusal, ReleaseCause};
use mesh_contracts::view::point::{FoodPoint, Hold, HoldState, fold};
use mesh_eventstore::Effect;

use super::Wanted;
use super::needs::{self, NEEDS_TIMER};

/// Tickets in a row that a kitchen may leave unanswered; with the last of them the point pauses itself, so that
/// customers do not wait for a kitchen without people.
const MISSES_MAX: u32 = 2;

/// A hold's timer is named after its order: a point has one for each.
const TIMER: &str = "hold:";

/// All or nothing; the first rule that fails is the reason.
pub(super) fn hold(point: &FoodPoint, wanted: Wanted, now: Timestamp) -> Vec<Event> {
    match point.holds.get(&wanted.order) {
        None => vec![answer(point, wanted, now)],
        Some(older) if older.attempt < wanted.attempt => {
            let freed = released(wanted.order, older.attempt, ReleaseCause::Abandoned);
            let point = fold(Some(point.clone()), &freed, now).expect("a registered point stays one");
            vec![freed, answer(&point, wanted, now)]
        }
        Some(_) => Vec::new(),
    }
}

/// A hold that ended is answered: whoever accepted relies on it. One of a newer attempt says it all.
pub(super) fn confirm(point: &FoodPoint, order: OrderId, attempt: u32) -> Vec<Event> {
    match point.holds.get(&order) {
        None => vec![Event::HoldFailed {
            order,
            attempt,
            reason: HoldRefusal::Ended,
        }],
        Some(hold) if hold.attempt != attempt => Vec::new(),
        Some(hold) => match hold.state {
            HoldState::Held => vec![Event::HoldConfirmed { order, attempt }],
            HoldState::Confirmed => Vec::new(),
        },
    }
}

pub(super) fn consume(point: &FoodPoint, order: OrderId, attempt: u32) -> Vec<Event> {
    match point.hold(order, attempt) {
        Some(_) => vec![Event::HoldConsumed { order, attempt }],
        None => Vec::new(),
    }
}

pub(super) fn release(point: &FoodPoint, order: OrderId, attempt: u32, cause: ReleaseCause) -> Vec<Event> {
    let Some(hold) = point.hold(order, attempt) else {
        return Vec::new();
    };
    let mut events = vec![released(order, attempt, cause)];
    if point.open && is_miss(hold, cause) && point.misses + 1 >= MISSES_MAX {
        events.push(Event::Closed {
            by: ClosedBy::MissedTickets,
        });
    }
    events
}

pub(super) fn end_order(point: &FoodPoint, order: OrderId, cooking_began: bool) -> Vec<Event> {
    match point.holds.get(&order) {
        None => Vec::new(),
        Some(Hold { attempt, .. }) if cooking_began => vec![Event::HoldWasted {
            order,
            attempt: *attempt,
        }],
        Some(Hold { attempt, .. }) => {
            vec![released(order, *attempt, ReleaseCause::OrderEnded)]
        }
    }
}

/// What an event does to the point's timers.
pub fn react(_point: &FoodPoint, event: &Event, at: Timestamp) -> Vec<Effect> {
    match event {
        Event::HoldHeld { order, expires_at, .. } => vec![Effect::SetTimer {
            kind: timer(*order).into(),
            due: *expires_at,
        }],
        Event::HoldConfirmed { order, .. }
        | Event::HoldConsumed { order, .. }
        | Event::HoldReleased { order, .. }
        | Event::HoldWasted { order, .. }
        | Event::HoldExpired { order, .. } => vec![Effect::ClearTimer {
            kind: timer(*order).into(),
        }],
        // What products need is known outside the rules: `reactions` looks, and brings the point in line.
        Event::Registered { .. } | Event::Changed { .. } => vec![Effect::set(NEEDS_TIMER, at)],
        Event::Opened {}
        | Event::Closed { .. }
        | Event::StockOpened { .. }
        | Event::StockUnneeded { .. }
        | Event::StockClosed { .. }
        | Event::Received { .. }
        | Event::Counted { .. }
        | Event::Gone { .. }
        | Event::Restored { .. }
        | Event::Wasted { .. }
        | Event::StockSettingsChanged { .. }
        | Event::HoldFailed { .. } => Vec::new(),
    }
}

/// What follows when a timer passes: the hold expires, unless it was confirmed or has ended.
pub fn fire(point: Option<&FoodPoint>, kind: &str, now: Timestamp) -> Vec<Event> {
    let order = kind.strip_prefix(TIMER).and_then(|id| id.parse().ok());
    let Some((point, order)) = point.zip(order) else {
        return Vec::new();
    };
    match point.holds.get(&order) {
        Some(hold) if hold.state == HoldState::Held && hold.expires_at <= now => {
            let expired = Event::HoldExpired {
                order,
                attempt: hold.attempt,
            };
            needs::close_unheld(point, vec![expired], now)
        }
        Some(_) | None => Vec::new(),
    }
}

fn answer(point: &FoodPoint, wanted: Wanted, now: Timestamp) -> Event {
    let Wanted {
        order,
        attempt,
        kind,
        needs,
        expires_at,
    } = wanted;
    let refusal = if expires_at <= now {
        Some(HoldRefusal::Ended)
    } else {
        point.passes(kind, &needs, now)
    };
    match refusal {
        Some(reason) => Event::HoldFailed { order, attempt, reason },
        None => Event::HoldHeld {
            order,
            attempt,
            needs,
            expires_at,
        },
    }
}

/// As the fold counts it: a confirmed hold was answered by the kitchen.
fn is_miss(hold: &Hold, cause: ReleaseCause) -> bool {
    match cause {
        ReleaseCause::TimedOut => hold.state == HoldState::Held,
        ReleaseCause::Abandoned | ReleaseCause::Rejected | ReleaseCause::OrderEnded => false,
    }
}

fn released(order: OrderId, attempt: u32, cause: ReleaseCause) -> Event {
    Event::HoldReleased { order, attempt, cause }
}

fn timer(order: OrderId) -> String {
    format!("{TIMER}{order}")
}
