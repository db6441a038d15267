//! What an order's events mean for the food point that holds its stock.

use mesh_contracts::envelope::{BadBody, Envelope};
use mesh_contracts::id::{FoodPointId, OrderId};
use mesh_contracts::order::Event;
use mesh_contracts::point::ReleaseCause;

use super::{Command, Wanted};

/// The food point concerned and the command for it; `None` for what means nothing to food points.
pub fn hear(envelope: &Envelope) -> Result<Option<(FoodPointId, Command)>, BadBody> {
    let Ok(order) = envelope.stream.parse::<OrderId>() else {
        return Ok(None);
    };
    Ok(envelope.body::<Event>()?.and_then(|event| meaning(order, event)))
}

fn meaning(order: OrderId, event: Event) -> Option<(FoodPointId, Command)> {
    let release = |food_point, attempt, cause| {
        let command = Command::Release { order, attempt, cause };
        Some((food_point, command))
    };
    let end = |held_at: Option<FoodPointId>, cooking_began| {
        held_at.map(|food_point| (food_point, Command::EndOrder { order, cooking_began }))
    };
    match event {
        Event::HoldRequested {
            attempt,
            food_point,
            kind,
            needs,
            expires_at,
            ..
        } => {
            let wanted = Wanted {
                order,
                attempt,
                kind,
                needs,
                expires_at,
            };
            Some((food_point, Command::Hold(wanted)))
        }
        Event::TicketAccepted {
            attempt, food_point, ..
        } => Some((food_point, Command::Confirm { order, attempt })),
        Event::Ready {
            food_point, attempt, ..
        } => Some((food_point, Command::Consume { order, attempt })),
        Event::TicketRejected {
            attempt, food_point, ..
        } => release(food_point, attempt, ReleaseCause::Rejected),
        Event::TicketStopped {
            attempt, food_point, ..
        } => release(food_point, attempt, ReleaseCause::Rejected),
        Event::TicketTimedOut { attempt, food_point } => release(food_point, attempt, ReleaseCause::TimedOut),
        Event::HoldAbandoned { attempt, food_point } => release(food_point, attempt, ReleaseCause::Abandoned),
        Event::Cancelled {
            held_at, cooking_began, ..
        } => end(held_at, cooking_began),
        Event::Rejected { held_at, .. } | Event::Expired { held_at, .. } => end(held_at, false),
        // What could not be handed over was cooked.
        Event::Undelivered { held_at, .. } => end(held_at, true),
        Event::Created(_)
        | Event::HoldHeld { .. }
        | Event::HoldFailed { .. }
        | Event::HoldTimedOut { .. }
        | Event::PaymentRequested { .. }
        | Event::PaymentDeclined { .. }
        | Event::Paid { .. }
        | Event::TicketOffered { .. }
        | Event::Assigned { .. }
        | Event::CookingStarted {}
        | Event::ReadyOverdue { .. }
        | Event::DeliveryRequested { .. }
        | Event::CourierAssigned { .. }
        | Event::CourierUnassigned { .. }
        | Event::CourierMissing {}
        | Event::InDelivery { .. }
        | Event::DeliveryOverdue {}
        | Event::CourierChanged { .. }
        | Event::DeliveryAttempted { .. }
        | Event::Completed { .. }
        | Event::SettlementDue { .. } => None,
    }
}
