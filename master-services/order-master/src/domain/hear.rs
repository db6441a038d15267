//! What the other masters' events mean for an order.

use mesh_contracts::envelope::{BadBody, Envelope, EventBody as _};
use mesh_contracts::id::{DeliveryId, FoodPointId, OrderId, PaymentId};
use mesh_contracts::subject::Context;
use mesh_contracts::{delivery, payment, point};

use super::{Attempt, Command};

/// The order concerned and the command for it; `None` for what means nothing to orders.
pub fn hear(envelope: &Envelope) -> Result<Option<(OrderId, Command)>, BadBody> {
    match Context::of_stream(&envelope.stream) {
        Some(Context::Point) => hear_point(envelope),
        Some(Context::Basket) => hear_payment(envelope),
        Some(Context::Courier) => hear_delivery(envelope),
        Some(Context::Order | Context::Menu | Context::User | Context::Notify) | None => Ok(None),
    }
}

/// The food point whose people closed it: what it has not begun to cook goes elsewhere. One that is paused because it
/// missed two tickets cooks on what it accepted.
pub fn closed(envelope: &Envelope) -> Result<Option<FoodPointId>, BadBody> {
    let closed = point::Event::Closed {
        by: point::ClosedBy::Staff,
    };
    // By name first: a busy point's stream is full of holds, and each body is parsed once already.
    if envelope.event_type != closed.event_type() || envelope.body::<point::Event>()? != Some(closed) {
        return Ok(None);
    }
    Ok(envelope.stream.parse().ok())
}

fn hear_point(envelope: &Envelope) -> Result<Option<(OrderId, Command)>, BadBody> {
    let Ok(food_point) = envelope.stream.parse() else {
        return Ok(None);
    };
    let answer = |attempt: u32| Attempt { attempt, food_point };
    Ok(envelope.body::<point::Event>()?.and_then(|event| match event {
        point::Event::HoldHeld { order, attempt, .. } => Some((order, Command::HoldHeld(answer(attempt)))),
        point::Event::HoldFailed { order, attempt, reason } => {
            Some((order, Command::HoldFailed(answer(attempt), reason)))
        }
        point::Event::HoldConfirmed { order, attempt } => Some((order, Command::HoldConfirmed(answer(attempt)))),
        point::Event::HoldExpired { order, attempt } => Some((order, Command::HoldExpired(answer(attempt)))),
        point::Event::HoldConsumed { .. }
        | point::Event::HoldReleased { .. }
        | point::Event::HoldWasted { .. }
        | point::Event::Registered { .. }
        | point::Event::Changed { .. }
        | point::Event::Opened {}
        | point::Event::Closed { .. }
        | point::Event::StockOpened { .. }
        | point::Event::StockUnneeded { .. }
        | point::Event::StockClosed { .. }
        | point::Event::Received { .. }
        | point::Event::Counted { .. }
        | point::Event::Gone { .. }
        | point::Event::Restored { .. }
        | point::Event::Wasted { .. }
        | point::Event::StockSettingsChanged { .. } => None,
    }))
}

fn hear_payment(envelope: &Envelope) -> Result<Option<(OrderId, Command)>, BadBody> {
    let Ok(payment) = envelope.stream.parse::<PaymentId>() else {
        return Ok(None);
    };
    let order = payment.order();
    Ok(envelope.body::<payment::Event>()?.and_then(|event| match event {
        payment::Event::Authorized { amount, .. } => Some((
            order,
            Command::PaymentPromised(amount, mesh_contracts::order::Method::Card),
        )),
        payment::Event::CashAgreed { amount } => Some((
            order,
            Command::PaymentPromised(amount, mesh_contracts::order::Method::Cash),
        )),
        payment::Event::Declined { count, .. } => Some((order, Command::PaymentDeclined(count))),
        payment::Event::CollectionFailed { .. } => Some((order, Command::CollectionFailed)),
        payment::Event::Opened { .. }
        | payment::Event::Intended { .. }
        | payment::Event::Due { .. }
        | payment::Event::Unknown { .. }
        | payment::Event::Captured { .. }
        | payment::Event::CaptureFailed { .. }
        | payment::Event::Voided { .. }
        | payment::Event::Refunded { .. }
        | payment::Event::RefundFailed { .. }
        | payment::Event::RefundOverdue { .. }
        | payment::Event::CashCollected { .. }
        | payment::Event::DebtBooked { .. }
        | payment::Event::LiableNamed { .. }
        | payment::Event::LiabilityBooked { .. } => None,
    }))
}

fn hear_delivery(envelope: &Envelope) -> Result<Option<(OrderId, Command)>, BadBody> {
    let Ok(delivery) = envelope.stream.parse::<DeliveryId>() else {
        return Ok(None);
    };
    let order = delivery.order();
    Ok(envelope.body::<delivery::Event>()?.and_then(|event| match event {
        delivery::Event::Assigned { courier, .. } => Some((order, Command::CourierAssigned(courier))),
        delivery::Event::Dropped { courier, .. } => Some((order, Command::CourierDropped(courier))),
        delivery::Event::PickedUp { courier, eta } => Some((order, Command::PickedUp { courier, eta })),
        delivery::Event::Attempted { courier, reason } => Some((order, Command::Attempted { courier, reason })),
        delivery::Event::HandedOver { from, to } => Some((order, Command::CourierChanged { from, to })),
        delivery::Event::Returned { courier, reason } => Some((order, Command::Returned { courier, reason })),
        delivery::Event::Lost { courier } => Some((order, Command::Lost { courier })),
        delivery::Event::Delivered { courier, proof } => Some((order, Command::Delivered { courier, proof })),
        delivery::Event::Opened { .. }
        | delivery::Event::Offered { .. }
        | delivery::Event::Declined { .. }
        | delivery::Event::OfferLapsed { .. }
        | delivery::Event::FoodReady { .. }
        | delivery::Event::Moved { .. }
        | delivery::Event::HandOverOffered { .. }
        | delivery::Event::HandOverEnded { .. }
        | delivery::Event::Cancelled { .. } => None,
    }))
}
