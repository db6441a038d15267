//! I4: an order's events are a path in the table. I1: an order that was acknowledged ends, or waits with a live deadline.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::order::{Event, Status};
use mesh_contracts::table;

use crate::findings::Breach;
use crate::lateness::Moment;

/// An order as I1 sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Where it stands; `None` if its events say nothing of it.
    pub status: Option<Status>,
    /// When its timers are due.
    pub deadlines: Vec<Timestamp>,
}

/// I1. `acknowledged` are orders that some client or stored answer was told of.
pub fn ended_or_waiting(
    acknowledged: &BTreeSet<String>,
    orders: &BTreeMap<String, Standing>,
    moment: &Moment,
) -> Vec<Breach> {
    let missing = acknowledged
        .iter()
        .filter(|id| !orders.contains_key(*id))
        .map(|id| Breach::of(id, "acknowledged, and there is no such order"));
    let stuck = orders.iter().filter_map(|(id, order)| {
        let status = order.status?;
        if status.is_terminal() || order.deadlines.iter().any(|due| !moment.is_late(*due)) {
            return None;
        }
        let what = if order.deadlines.is_empty() {
            "waits without a deadline"
        } else {
            "waits, and all its deadlines have passed"
        };
        Some(Breach::of(id, format!("{}: {what}", status.as_str())))
    });
    missing.chain(stuck).collect()
}

/// I4. `head` is what the table of streams says; `events` are all of the order, as stored.
pub fn path(id: &str, head: u64, events: &[Envelope]) -> Vec<Breach> {
    let mut breaches = versions(id, head, events);
    let mut status = None;
    for envelope in events {
        let event = match envelope.body::<Event>() {
            Ok(Some(event)) => event,
            Ok(None) => continue,
            Err(err) => {
                breaches.push(Breach::of(id, err.to_string()));
                continue;
            }
        };
        let wrong = match step(&event) {
            Step::To(next) if table::allows(status, next) => {
                status = Some(next);
                None
            }
            Step::To(next) => {
                let from = status.map_or("nothing", Status::as_str);
                let what = format!("the table has no way from {from} to {}", next.as_str());
                status = Some(next);
                Some(what)
            }
            Step::Within if status.is_none() => Some(format!("{} before order.created", envelope.event_type)),
            Step::Within if status.is_some_and(Status::is_terminal) => {
                Some(format!("{} after the end", envelope.event_type))
            }
            Step::Within | Step::Money => None,
        };
        breaches.extend(wrong.map(|what| Breach::of(id, format!("version {}: {what}", envelope.version))));
    }
    breaches
}

/// Where an order stands after its events.
pub fn status(events: &[Envelope]) -> Option<Status> {
    events
        .iter()
        .filter_map(|envelope| envelope.body::<Event>().ok().flatten())
        .filter_map(|event| match step(&event) {
            Step::To(status) => Some(status),
            Step::Within | Step::Money => None,
        })
        .next_back()
}

/// 1, 2, 3 … up to the head, each once.
fn versions(id: &str, head: u64, events: &[Envelope]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut next = 1;
    for envelope in events {
        if envelope.version != next {
            let what = format!("version {} where {next} should be", envelope.version);
            breaches.push(Breach::of(id, what));
        }
        next = envelope.version + 1;
    }
    if next != head + 1 {
        let what = format!("events end at version {}, the stream stands at {head}", next - 1);
        breaches.push(Breach::of(id, what));
    }
    breaches
}

/// What an event does to the status.
enum Step {
    To(Status),
    /// It stays.
    Within,
    /// It stays, and may also be said of an order that ended.
    Money,
}

fn step(event: &Event) -> Step {
    match event {
        Event::Created(_) => Step::To(Status::Created),
        Event::Paid { .. } => Step::To(Status::Paid),
        Event::Assigned { .. } => Step::To(Status::Assigned),
        Event::Ready { .. } => Step::To(Status::Ready),
        Event::InDelivery { .. } => Step::To(Status::InDelivery),
        Event::Completed { .. } => Step::To(Status::Completed),
        Event::Rejected { .. } => Step::To(Status::Rejected),
        Event::Expired { .. } => Step::To(Status::Expired),
        Event::Cancelled { .. } => Step::To(Status::Cancelled),
        Event::Undelivered { .. } => Step::To(Status::Undelivered),
        Event::SettlementDue { .. } => Step::Money,
        Event::HoldRequested { .. }
        | Event::HoldHeld { .. }
        | Event::HoldFailed { .. }
        | Event::HoldTimedOut { .. }
        | Event::HoldAbandoned { .. }
        | Event::PaymentRequested { .. }
        | Event::PaymentDeclined { .. }
        | Event::TicketOffered { .. }
        | Event::TicketAccepted { .. }
        | Event::TicketRejected { .. }
        | Event::TicketTimedOut { .. }
        | Event::TicketStopped { .. }
        | Event::CookingStarted {}
        | Event::ReadyOverdue { .. }
        | Event::DeliveryRequested { .. }
        | Event::CourierAssigned { .. }
        | Event::CourierUnassigned { .. }
        | Event::CourierMissing {}
        | Event::DeliveryOverdue {}
        | Event::CourierChanged { .. }
        | Event::DeliveryAttempted { .. } => Step::Within,
    }
}

#[cfg(test)]
mod tests;
