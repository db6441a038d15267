//! What each event says, in words.

use jiff::Timestamp;
use mesh_contracts::delivery::HandOverEnd;
use mesh_contracts::envelope::{BadBody, Envelope, EventBody};
use mesh_contracts::order::{Kind, Method, Placed, Proof};
use mesh_contracts::subject::Context;
use mesh_contracts::{delivery, notification, order, payment, point};
use serde::Serialize;
use serde_json::Value;

use crate::order::seconds;

/// What happened; of an event that this build does not know, its body.
pub fn what(event: &Envelope) -> Result<String, BadBody> {
    let said = match Context::of_stream(&event.stream) {
        Some(Context::Order) => said(event, of_order)?,
        Some(Context::Basket) => said(event, of_payment)?,
        Some(Context::Courier) => said(event, of_delivery)?,
        Some(Context::Point) => said(event, of_point)?,
        Some(Context::Notify) => said(event, of_notification)?,
        Some(Context::Menu | Context::User) | None => None,
    };
    Ok(said.unwrap_or_else(|| event.data.to_string()))
}

/// A word of the wire as people write it.
pub fn code(word: &impl Serialize) -> String {
    match serde_json::to_value(word) {
        Ok(Value::String(word)) => word.replace('_', " "),
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

fn said<E: EventBody>(event: &Envelope, words: fn(E) -> String) -> Result<Option<String>, BadBody> {
    Ok(event.body::<E>()?.map(words))
}

fn of_order(event: order::Event) -> String {
    use order::Event;
    match event {
        Event::Created(placed) => of_placed(&placed),
        Event::HoldRequested {
            attempt,
            food_point,
            answer_by,
            ..
        } => format!(
            "{food_point} is asked to hold it (attempt {attempt}) {}",
            until(answer_by)
        ),
        Event::HoldHeld { food_point, .. } => format!("{food_point} has stock and a slot set aside"),
        Event::HoldFailed { food_point, reason, .. } => format!("{food_point} cannot: {}", code(&reason)),
        Event::HoldTimedOut { food_point, .. } => format!("{food_point} has not answered"),
        Event::HoldAbandoned { food_point, .. } => format!("{food_point} is to give its hold back"),
        Event::PaymentRequested { method, amount, .. } => format!("{amount} is asked for, by {}", code(&method)),
        Event::PaymentDeclined { count } => format!("declined ({count} so far)"),
        Event::Paid {
            amount,
            method,
            assign_by,
        } => format!(
            "{amount} is promised, by {}; a kitchen is looked for {}",
            code(&method),
            until(assign_by)
        ),
        Event::TicketOffered {
            food_point, accept_by, ..
        } => format!("the kitchen of {food_point} is asked {}", until(accept_by)),
        Event::TicketAccepted {
            food_point, ready_by, ..
        } => format!("the kitchen of {food_point} will, ready by {}", seconds(ready_by)),
        Event::TicketRejected { food_point, reason, .. } => {
            format!("the kitchen of {food_point} will not: {}", code(&reason))
        }
        Event::TicketTimedOut { food_point, .. } => format!("the kitchen of {food_point} has not answered"),
        Event::TicketStopped {
            food_point,
            reason,
            assign_by,
            ..
        } => format!(
            "the kitchen of {food_point} cannot after all: {}; another is looked for {}",
            code(&reason),
            until(assign_by)
        ),
        Event::Assigned {
            food_point, ready_by, ..
        } => format!("{food_point} cooks it, ready by {}", seconds(ready_by)),
        Event::CookingStarted {} => "on the stove".to_owned(),
        Event::ReadyOverdue { ready_by } => format!("not ready in time, now expected by {}", seconds(ready_by)),
        Event::DeliveryRequested {
            food_point, ready_by, ..
        } => format!("a courier is looked for, at {food_point} by {}", seconds(ready_by)),
        Event::Ready { food_point, .. } => format!("ready at {food_point}"),
        Event::CourierAssigned { courier } => format!("{courier} will bring it"),
        Event::CourierUnassigned { courier } => format!("{courier} will not bring it after all"),
        Event::CourierMissing {} => "ready, and nobody to bring it: operators are told".to_owned(),
        Event::InDelivery { courier, eta, .. } => format!("{courier} has it, at the door by {}", seconds(eta)),
        Event::DeliveryOverdue {} => "not at the door in time: operators are told".to_owned(),
        Event::CourierChanged { from, courier } => format!("{courier} has it from {from}"),
        Event::DeliveryAttempted {
            courier,
            reason,
            give_up_at,
        } => format!(
            "{courier} could not hand it over: {}; kept {}",
            code(&reason),
            until(give_up_at)
        ),
        Event::Completed { proof } => format!("handed over, proven by {}", proven(&proof)),
        Event::Rejected { reason, .. } => format!("nobody could cook it: {}", code(&reason)),
        Event::Expired { reason, .. } => format!("not paid in time: {}", code(&reason)),
        Event::Cancelled { by, reason, .. } => format!("cancelled by {}: {}", code(&by), code(&reason)),
        Event::Undelivered { by, reason, .. } => format!("not handed over, by {}: {}", code(&by), code(&reason)),
        Event::SettlementDue { amount, is_final, .. } => due(&amount, is_final),
    }
}

fn of_placed(placed: &Placed) -> String {
    let method = match placed.quote.method {
        Method::Card => "by card",
        Method::Cash => "in cash",
    };
    let kind = match placed.kind {
        Kind::Delivery => "to be brought",
        Kind::PickUp => "to be collected",
    };
    let pinned = placed.pinned.map(|point| format!(", by {point} alone"));
    format!(
        "placed, {} {method}, {kind}{}; to be paid {}",
        placed.quote.total,
        pinned.unwrap_or_default(),
        until(placed.pay_by)
    )
}

fn of_payment(event: payment::Event) -> String {
    use payment::Event;
    match event {
        Event::Opened { method, amount, .. } => format!("{amount} is to be paid, by {}", code(&method)),
        Event::Intended {
            operation, amount, key, ..
        } => format!("the provider is asked to {} {amount} under {key}", code(&operation)),
        Event::Authorized { amount, .. } => format!("the provider promises {amount}"),
        Event::Declined { code, count, .. } => format!("the provider declines: {code} ({count} so far)"),
        Event::CashAgreed { amount } => format!("{amount} in cash is agreed"),
        Event::Due { amount, is_final, .. } => due(&amount, is_final),
        Event::Unknown {
            operation, retry_at, ..
        } => format!(
            "no answer to {}; asked again at {}",
            code(&operation),
            seconds(retry_at)
        ),
        Event::Captured { amount, .. } => format!("{amount} is taken"),
        Event::CaptureFailed { code, recover_by, .. } => {
            let recovery = recover_by.map(|by| format!("; another promise counts {}", until(by)));
            format!(
                "not to be taken under this promise: {code}{}",
                recovery.unwrap_or_default()
            )
        }
        Event::CollectionFailed { amount } => format!("{amount} will not be taken from a card any more"),
        Event::Voided { .. } => "the promise is given back".to_owned(),
        Event::Refunded { amount, .. } => format!("{amount} is given back"),
        Event::RefundFailed { code, retry_at, .. } => {
            format!("not to be given back: {code}; tried again at {}", seconds(retry_at))
        }
        Event::RefundOverdue { amount, failures } => {
            format!("{amount} could not be given back {failures} times: somebody should look")
        }
        Event::CashCollected { amount } => format!("the courier has {amount} in cash"),
        Event::DebtBooked { amount } => format!("the customer owes {amount}"),
        Event::LiableNamed { liable, amount, .. } => {
            format!("the {} is named as liable, when {amount} was due", code(&liable))
        }
        Event::LiabilityBooked { liable, amount } => format!("the {} bears {amount}", code(&liable)),
    }
}

fn of_delivery(event: delivery::Event) -> String {
    use delivery::Event;
    match event {
        Event::Opened {
            ready_by, offer_from, ..
        } => format!(
            "couriers are asked from {} on, for food ready by {}",
            seconds(offer_from),
            seconds(ready_by)
        ),
        Event::Offered {
            attempt,
            courier,
            answer_by,
            ..
        } => format!("{courier} is asked (attempt {attempt}) {}", until(answer_by)),
        Event::Declined { courier, .. } => format!("{courier} will not"),
        Event::OfferLapsed { courier, .. } => format!("{courier} has not answered, or cannot any more"),
        Event::Assigned { courier, .. } => format!("{courier} takes it"),
        Event::FoodReady { .. } => "it can be picked up".to_owned(),
        Event::Dropped { courier, cause } => format!("{courier} is off it: {}", code(&cause)),
        Event::PickedUp { courier, eta } => format!("{courier} has it, at the door by {}", seconds(eta)),
        Event::Attempted { courier, reason } => format!("{courier} could not hand it over: {}", code(&reason)),
        Event::Moved { food_point, .. } => format!("cooked at {food_point} now: others are asked"),
        Event::HandOverOffered { from, to, answer_by } => {
            format!("{to} is asked to take it from {from} {}", until(answer_by))
        }
        Event::HandOverEnded { to, cause } => {
            let why = match cause {
                HandOverEnd::Declined => "will not",
                HandOverEnd::Lapsed => "has not answered",
                HandOverEnd::Replaced => "is not asked any more",
            };
            format!("{to} {why}: it stays where it is")
        }
        Event::HandedOver { from, to } => format!("{to} has it from {from}"),
        Event::Returned { courier, reason } => format!("{courier} has brought it back: {}", code(&reason)),
        Event::Lost { courier } => format!("{courier} does not have it any more"),
        Event::Delivered { courier, proof } => format!("{courier} has handed it over, proven by {}", proven(&proof)),
        Event::Cancelled { courier: Some(courier) } => format!("the order has ended: {courier} is free"),
        Event::Cancelled { courier: None } => "the order has ended: nobody is asked any more".to_owned(),
    }
}

fn of_point(event: point::Event) -> String {
    use point::Event;
    match event {
        Event::HoldHeld {
            attempt, expires_at, ..
        } => format!(
            "stock and a slot are set aside (attempt {attempt}) {}",
            until(expires_at)
        ),
        Event::HoldFailed { reason, .. } => format!("it cannot: {}", code(&reason)),
        Event::HoldConfirmed { .. } => "the hold does not expire any more".to_owned(),
        Event::HoldConsumed { .. } => "the stock is used, the slot free".to_owned(),
        Event::HoldReleased { cause, .. } => format!("stock and slot are free again: {}", code(&cause)),
        Event::HoldWasted { .. } => "the slot is free, the stock lost".to_owned(),
        Event::HoldExpired { .. } => "nobody confirmed in time: stock and slot are free again".to_owned(),
        // Nothing else that happens at a food point is about one order.
        other => other.event_type().to_owned(),
    }
}

fn of_notification(event: notification::Event) -> String {
    use notification::Event;
    match event {
        Event::Sent { occasion } => format!("the customer is written to: {occasion}"),
        Event::Failed { occasion, reason } => {
            format!("the customer cannot be written to ({occasion}): {}", code(&reason))
        }
    }
}

fn until(at: Timestamp) -> String {
    format!("until {}", seconds(at))
}

fn due(amount: &impl std::fmt::Display, is_final: bool) -> String {
    let for_good = if is_final { ", for good" } else { "" };
    format!("{amount} is due{for_good}")
}

fn proven(proof: &Proof) -> &'static str {
    match proof {
        Proof::Pin => "PIN",
        Proof::Photo(_) => "photo",
    }
}
