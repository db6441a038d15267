//! Deadlines as durable timers: which event sets or clears which, and what follows when one passes.

use jiff::Timestamp;
use mesh_contracts::order::{Event, Kind, Status};
use mesh_contracts::view::order::{Order, Ticket};
use mesh_eventstore::Effect;

use super::{Policy, end, is_brought, reroute};

const PAY: &str = "pay";
const HOLD: &str = "hold";
const TICKET: &str = "ticket";
const ASSIGN: &str = "assign";
const START: &str = "start";
const LATE: &str = "late";
const COURIER: &str = "courier";
const GIVE_UP: &str = "give_up";

const ALL: [&str; 8] = [PAY, HOLD, TICKET, ASSIGN, START, LATE, COURIER, GIVE_UP];

/// What an event does to the order's timers. One of each kind per order: setting replaces.
pub fn react(order: &Order, event: &Event, _at: Timestamp) -> Vec<Effect> {
    match event {
        Event::Created(placed) => vec![set(PAY, placed.pay_by)],
        Event::HoldRequested { answer_by, .. } => vec![set(HOLD, *answer_by)],
        Event::HoldHeld { .. } => vec![clear(HOLD)],
        Event::HoldFailed { .. } | Event::HoldTimedOut { .. } | Event::HoldAbandoned { .. } => {
            vec![clear(HOLD), clear(TICKET)]
        }
        Event::Paid { assign_by, .. } => vec![clear(PAY), set(ASSIGN, *assign_by)],
        Event::TicketOffered { accept_by, .. } => vec![set(TICKET, *accept_by)],
        Event::TicketAccepted { confirm_by, .. } => vec![set(TICKET, *confirm_by)],
        Event::TicketRejected { .. } | Event::TicketTimedOut { .. } => vec![clear(TICKET)],
        Event::TicketStopped { assign_by, .. } => vec![clear(START), clear(LATE), set(ASSIGN, *assign_by)],
        Event::Assigned {
            start_by,
            late_at,
            give_up_at,
            ..
        } => vec![
            clear(TICKET),
            clear(ASSIGN),
            set(START, *start_by),
            set(LATE, *late_at),
            set(GIVE_UP, *give_up_at),
        ],
        Event::CookingStarted {} => vec![clear(START)],
        Event::Ready {
            alert_at, give_up_at, ..
        } => {
            let mut effects = vec![clear(START), clear(LATE), set(GIVE_UP, *give_up_at)];
            match order.kind {
                Kind::Delivery => effects.push(set(COURIER, *alert_at)),
                Kind::PickUp => {}
            }
            effects
        }
        Event::InDelivery {
            late_at, give_up_at, ..
        } => {
            vec![clear(COURIER), set(LATE, *late_at), set(GIVE_UP, *give_up_at)]
        }
        Event::DeliveryAttempted { give_up_at, .. } => vec![clear(LATE), set(GIVE_UP, *give_up_at)],
        Event::Completed { .. }
        | Event::Rejected { .. }
        | Event::Expired { .. }
        | Event::Cancelled { .. }
        | Event::Undelivered { .. } => ALL.into_iter().map(clear).collect(),
        Event::PaymentRequested { .. }
        | Event::PaymentDeclined { .. }
        | Event::ReadyOverdue { .. }
        | Event::DeliveryRequested { .. }
        | Event::CourierAssigned { .. }
        | Event::CourierUnassigned { .. }
        | Event::CourierMissing {}
        | Event::DeliveryOverdue {}
        | Event::CourierChanged { .. }
        | Event::SettlementDue { .. } => Vec::new(),
    }
}

/// What follows when a timer of this kind passes; nothing if the order has moved on.
pub fn fire(order: Option<&Order>, kind: &str, now: Timestamp, policy: &Policy) -> Vec<Event> {
    let Some(order) = order else { return Vec::new() };
    match kind {
        PAY if order.status == Status::Created => end::expire(order),
        HOLD => reroute::hold_overdue(order, now, policy),
        TICKET => reroute::ticket_overdue(order, now, policy),
        ASSIGN => reroute::nobody_in_time(order, policy),
        START if order.status == Status::Assigned && order.ticket == Ticket::Queued => vec![Event::CookingStarted {}],
        LATE if order.status == Status::Assigned && !order.is_rerouting() => vec![Event::ReadyOverdue {
            ready_by: now + policy.ready_late,
        }],
        LATE if order.status == Status::InDelivery => vec![Event::DeliveryOverdue {}],
        COURIER if order.status == Status::Ready && order.courier.is_none() && is_brought(order) => {
            vec![Event::CourierMissing {}]
        }
        GIVE_UP => end::give_up(order, policy),
        _ => Vec::new(),
    }
}

fn set(kind: &'static str, due: Timestamp) -> Effect {
    Effect::set(kind, due)
}

fn clear(kind: &'static str) -> Effect {
    Effect::clear(kind)
}
