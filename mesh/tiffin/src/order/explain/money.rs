//! What decided about an order's money, read off the events: who ended it, where the food was, and why.

use mesh_contracts::envelope::Envelope;
use mesh_contracts::money::Money;
use mesh_contracts::order::{Borne, EndedBy, Event, Liable, Reason, Status};
use mesh_contracts::view::order::Order;

use super::words::code;

/// What the next settlement in the order's own stream says is due; one decision says both.
pub fn due_after(event: &Envelope, own: &[Envelope]) -> Option<Money> {
    let later = own.iter().filter(|later| later.version > event.version);
    let mut together = later.take_while(|later| later.recorded_at == event.recorded_at);
    together.find_map(|later| match later.body::<Event>() {
        Ok(Some(Event::SettlementDue { amount, .. })) => Some(amount),
        Ok(Some(_) | None) | Err(_) => None,
    })
}

/// The rule behind an event that decides about money, in words; nothing for any other. `order` is as it stood before.
pub fn policy(order: &Order, event: &Event, cause: Option<&Envelope>, due: Option<Money>) -> Option<String> {
    match event {
        Event::Cancelled {
            by,
            reason,
            liable,
            borne,
            ..
        }
        | Event::Undelivered {
            by,
            reason,
            liable,
            borne,
            ..
        } => Some(ended(order, cause, (*by, *reason), (*liable, *borne), due)),
        Event::Rejected { .. } | Event::Expired { .. } => {
            Some("no kitchen has accepted, so nothing is due and any promise is given back".to_owned())
        }
        Event::Assigned { .. } if order.settlement.is_none() => {
            Some("a kitchen has accepted, so all of it is due".to_owned())
        }
        Event::Completed { .. } => Some("handed over, so what is due stays due for good".to_owned()),
        // No other event decides about money: `settlement.due` passes on what these did.
        _ => None,
    }
}

fn ended(
    order: &Order,
    cause: Option<&Envelope>,
    (by, reason): (EndedBy, Reason),
    (liable, borne): (Option<Liable>, Option<Borne>),
    due: Option<Money>,
) -> String {
    let was_due = order.settlement.map_or(0, |settlement| settlement.amount.amount);
    let back = was_due - due.map_or(was_due, |due| due.amount);
    let share = if was_due == 0 {
        "nothing was due".to_owned()
    } else {
        let percent = i128::from(back) * 100 / i128::from(was_due);
        format!("{back} of {was_due} {} back ({percent} %)", order.total.currency)
    };
    let bearer = match (liable, borne) {
        (Some(liable), Some(borne)) => format!("{} borne by the {}", borne.amount, code(&liable)),
        (Some(liable), None) => format!("liable: the {}", code(&liable)),
        (None, _) => "borne by nobody".to_owned(),
    };
    let (by, stage, reason) = (code(&by), stage(order, cause), code(&reason));
    format!("ended by {by} {stage} ({reason}): {share}, {bearer}")
}

/// Where the food was.
fn stage(order: &Order, cause: Option<&Envelope>) -> &'static str {
    match cause.map(|cause| cause.event_type.as_str()) {
        Some("delivery.returned") => return "when it was back at the counter",
        Some("delivery.lost") => return "when it was lost",
        Some(_) | None => {}
    }
    match order.status {
        Status::Created | Status::Paid => "before a kitchen had accepted",
        Status::Assigned if order.cooking_began() => "while it was cooked",
        Status::Assigned => "before it was on the stove",
        Status::Ready => "when it was ready",
        Status::InDelivery => "on the road",
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => {
            "after its end"
        }
    }
}
