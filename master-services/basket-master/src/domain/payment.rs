//! The life of a payment: which step is due now, and what an answer of the provider means.
//!
//! One call in flight at most. Every event that leaves a step due also sets the timer `drive`,
//! so whatever dies, the step is taken.
//!
//! Money is driven towards the newest amount due: a promise is captured once and never again, what was taken above
//! it goes back, and what is due for good and was not taken is booked as a debt.

use std::borrow::Cow;

use jiff::Timestamp;
use mesh_contracts::id::{OrderId, PaymentId, UserId};
use mesh_contracts::money::Money;
use mesh_contracts::order::{Liable, Method};
use mesh_contracts::payment::{Event, Operation};
use mesh_contracts::view::payment::{Call, Payment, Status, Target, fold};
use mesh_eventstore::Effect;

use super::{Policy, Rejection};

#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

/// The one timer of a payment: a step is due.
pub const DRIVE: &str = "drive";

/// Cards a customer may try; order-master ends the order at the last refusal.
pub const DECLINES_MAX: u32 = 3;

/// Refunds that fail in a row before somebody should look: half a minute of tries, so no passing trouble.
const REFUND_ALERT_AFTER: u32 = 5;

/// What a payment can be asked or told.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// order-master wants the money promised.
    Open {
        order: OrderId,
        customer: UserId,
        method: Method,
        amount: Money,
        pay_by: Timestamp,
    },
    /// order-master says what is due.
    Due { amount: Money, is_final: bool, seq: u32 },
    /// The order ended by somebody's fault.
    Blame { liable: Liable, borne: Option<Money> },
    /// The customer tries another card; `key` finds its token.
    PayAgain { customer: UserId, key: String },
    /// Take the step that is due.
    Drive,
    /// What came of a call.
    Answered { attempt: u32, answer: Answer },
}

/// What the provider said about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Yes; `provider_id` names the promise.
    Done { provider_id: String },
    /// No, for good.
    Refused { code: String },
    /// Nothing: it may or may not have happened.
    Lost,
}

/// What is due now.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Record the intent of a call, then ask.
    Intend { operation: Operation, amount: Money },
    /// Ask the provider about the call in flight, under its key.
    Ask(Call),
    /// Book it; nobody needs to be asked.
    Book(Event),
}

/// The provider's idempotency key of a payment's n-th call.
pub fn key(payment: PaymentId, attempt: u32) -> String {
    format!("{payment}-{attempt}")
}

/// Whether a call of ours was answered before: attempts count up and have one call in flight at most.
pub fn is_answered(payment: &Payment, key: &str) -> bool {
    let attempt = key.rsplit_once('-').and_then(|(_, attempt)| attempt.parse().ok());
    let is_in_flight = payment.call.as_ref().is_some_and(|call| call.key == key);
    attempt.is_some_and(|attempt: u32| attempt <= payment.attempt) && !is_in_flight
}

/// What follows from a command in a state. Facts are never refused: late and repeated ones are no news.
pub fn decide(
    payment: Option<&Payment>,
    command: &Command,
    now: Timestamp,
    policy: &Policy,
) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::Open {
            order,
            customer,
            method,
            amount,
            pay_by,
        } => Ok(match payment {
            Some(_) => Vec::new(),
            None => vec![Event::Opened {
                order: *order,
                customer: *customer,
                method: *method,
                amount: *amount,
                pay_by: *pay_by,
            }],
        }),
        Command::Due { amount, is_final, seq } => Ok(due(payment, *amount, *is_final, *seq)),
        Command::Blame { liable, borne } => Ok(blame(payment, *liable, *borne)),
        Command::PayAgain { customer, key } => pay_again(payment, *customer, key, now, policy),
        Command::Drive => Ok(payment.map(|payment| drive(payment, now, policy)).unwrap_or_default()),
        Command::Answered { attempt, answer } => {
            let call = payment.and_then(|payment| Some((payment, payment.call.as_ref()?)));
            Ok(match call {
                Some((payment, call)) if call.attempt == *attempt => answered(payment, call, answer, now, policy),
                Some(_) | None => Vec::new(),
            })
        }
    }
}

/// As [`decide`], and the intent that follows with it: a commit less on the way to the provider.
pub fn decide_and_drive(
    payment: Option<&Payment>,
    command: &Command,
    now: Timestamp,
    policy: &Policy,
) -> Result<Vec<Event>, Rejection> {
    let mut events = decide(payment, command, now, policy)?;
    if !events.is_empty() {
        let after = events
            .iter()
            .fold(payment.cloned(), |payment, event| fold(payment, event, now));
        events.extend(after.map(|payment| drive(&payment, now, policy)).unwrap_or_default());
    }
    Ok(events)
}

/// The timer `drive` stands exactly when a step is due.
pub fn react(payment: &Payment, _event: &Event, at: Timestamp) -> Vec<Effect> {
    let kind = Cow::Borrowed(DRIVE);
    vec![match due_at(payment, at) {
        Some(due) => Effect::SetTimer { kind, due },
        None => Effect::ClearTimer { kind },
    }]
}

/// When the next step is due: now, unless it has to wait.
pub fn due_at(payment: &Payment, now: Timestamp) -> Option<Timestamp> {
    let not_before = match next_step(payment)? {
        Step::Ask(call) => return Some(call.ask_again_at),
        Step::Intend {
            operation: Operation::Refund,
            ..
        } => payment.refund_after,
        // An order that ended waits for no other card.
        Step::Book(Event::CollectionFailed { .. }) if !is_final(payment) => payment.recover_by,
        Step::Intend { .. } | Step::Book(_) => None,
    };
    Some(not_before.map_or(now, |not_before| not_before.max(now)))
}

/// What follows when a timer passes: the intent or booking that is due. A call in flight is the driver's affair.
pub fn fire(payment: Option<&Payment>, kind: &str, now: Timestamp, policy: &Policy) -> Vec<Event> {
    match (payment, kind) {
        (Some(payment), DRIVE) => drive(payment, now, policy),
        (Some(_) | None, _) => Vec::new(),
    }
}

/// What is due now, towards the newest amount that order-master named.
pub fn next_step(payment: &Payment) -> Option<Step> {
    if let Some(call) = &payment.call {
        return Some(Step::Ask(call.clone()));
    }
    if let Some(event) = booking(payment) {
        return Some(Step::Book(event));
    }
    match payment.status {
        Status::None if is_final(payment) && payment.due() == 0 => Some(close(payment)),
        Status::None => Some(match payment.method {
            Method::Card => promise(payment),
            Method::Cash => Step::Book(Event::CashAgreed { amount: payment.amount }),
        }),
        Status::Declined if is_recovering(payment) => recover(payment),
        Status::Declined => is_final(payment).then(|| close(payment)),
        // A promise that cannot be taken is worth nothing: it must not stay open, nor bar the way for another.
        Status::Authorized if payment.capture_failed => Some(take_back(payment)),
        Status::Authorized => settle_promise(payment, payment.target?),
        Status::Captured | Status::PartiallyRefunded | Status::Refunded => give_back(payment, payment.target?),
        Status::Voided if is_recovering(payment) => recover(payment),
        Status::Voided => None,
        // Only ever with a call in flight.
        Status::Authorizing | Status::Capturing | Status::Voiding | Status::Refunding | Status::Unknown => None,
    }
}

/// Whether a card may still be asked for a promise, so that its token must be kept.
pub fn may_need_a_card(payment: &Payment) -> bool {
    match payment.status {
        Status::None | Status::Authorizing | Status::Declined | Status::Unknown => true,
        // A capture may fail, and then the card is asked for a new promise.
        Status::Authorized | Status::Capturing => true,
        Status::Voiding | Status::Voided => payment.capture_failed && !payment.collection_failed && !is_final(payment),
        Status::Captured | Status::Refunding | Status::PartiallyRefunded | Status::Refunded => false,
    }
}

fn is_final(payment: &Payment) -> bool {
    payment.target.is_some_and(|target| target.is_final)
}

/// Whether a capture failed and the money may still come by another promise.
fn is_recovering(payment: &Payment) -> bool {
    payment.capture_failed && !payment.collection_failed && payment.due() > 0
}

/// The same card once more without being asked, then any card the customer brings, then the end of it.
fn recover(payment: &Payment) -> Option<Step> {
    let failed = Event::CollectionFailed {
        amount: payment.target?.amount,
    };
    let may_try = !payment.asked_anew && payment.recover_by.is_some() && !is_final(payment);
    Some(if may_try { promise(payment) } else { Step::Book(failed) })
}

/// What only needs writing down: once nothing more can be taken, what is due for good and was not is a debt,
/// and what the customer need not pay is borne by who is at fault.
fn booking(payment: &Payment) -> Option<Event> {
    let is_settled = match payment.status {
        Status::Voided => !is_recovering(payment),
        Status::Captured | Status::PartiallyRefunded | Status::Refunded => true,
        Status::None | Status::Declined | Status::Authorized => false,
        Status::Authorizing | Status::Capturing | Status::Voiding | Status::Refunding | Status::Unknown => false,
    };
    if !is_settled || !is_final(payment) {
        return None;
    }
    let cents = |cents: i64| Money::new(cents, payment.amount.currency);
    let debt = (payment.due() - payment.kept()).max(0);
    if debt != payment.owed() {
        return Some(Event::DebtBooked { amount: cents(debt) });
    }
    let was_due = payment.liable_for.map_or(0, |was_due| was_due.amount);
    let given_up = (was_due - payment.due()).max(0);
    let borne = payment.liable_share.map_or(given_up, |share| share.amount);
    match payment.liable {
        Some(liable) if borne != payment.borne() => Some(Event::LiabilityBooked {
            liable,
            amount: cents(borne),
        }),
        Some(_) | None => None,
    }
}

fn promise(payment: &Payment) -> Step {
    Step::Intend {
        operation: Operation::Authorize,
        amount: payment.amount,
    }
}

/// Nothing was promised, and nothing will be.
fn close(payment: &Payment) -> Step {
    Step::Book(Event::Voided {
        attempt: payment.attempt,
    })
}

/// The provider never hears of cash.
fn take_back(payment: &Payment) -> Step {
    match payment.method {
        Method::Card => Step::Intend {
            operation: Operation::Void,
            amount: payment.authorized,
        },
        Method::Cash => close(payment),
    }
}

fn settle_promise(payment: &Payment, target: Target) -> Option<Step> {
    if payment.due() == 0 {
        return target.is_final.then(|| take_back(payment));
    }
    let amount = at_most(target.amount, payment.authorized);
    match payment.method {
        Method::Card => Some(Step::Intend {
            operation: Operation::Capture,
            amount,
        }),
        // Cash is taken at the door, which is when the amount is final.
        Method::Cash => target.is_final.then_some(Step::Book(Event::CashCollected { amount })),
    }
}

fn give_back(payment: &Payment, target: Target) -> Option<Step> {
    let kept = payment.captured.minus(payment.refunded).ok()?;
    let excess = kept
        .minus(at_least_nothing(target.amount))
        .ok()
        .filter(|excess| excess.amount > 0)?;
    Some(match payment.method {
        Method::Card => Step::Intend {
            operation: Operation::Refund,
            amount: excess,
        },
        Method::Cash => Step::Book(Event::Refunded {
            attempt: payment.attempt,
            amount: excess,
        }),
    })
}

fn at_most(amount: Money, bound: Money) -> Money {
    Money::new(amount.amount.min(bound.amount), amount.currency)
}

fn at_least_nothing(amount: Money) -> Money {
    Money::new(amount.amount.max(0), amount.currency)
}

fn drive(payment: &Payment, now: Timestamp, policy: &Policy) -> Vec<Event> {
    let is_early = due_at(payment, now).is_some_and(|due| due > now);
    match next_step(payment) {
        None | Some(Step::Ask(_)) => Vec::new(),
        Some(Step::Book(_) | Step::Intend { .. }) if is_early => Vec::new(),
        Some(Step::Book(event)) => vec![event],
        Some(Step::Intend { operation, amount }) => {
            let key = key(payment.order.payment(), payment.attempt + 1);
            vec![intended(payment, operation, amount, key, now, policy)]
        }
    }
}

fn intended(
    payment: &Payment,
    operation: Operation,
    amount: Money,
    key: String,
    now: Timestamp,
    policy: &Policy,
) -> Event {
    let attempt = payment.attempt + 1;
    Event::Intended {
        attempt,
        operation,
        amount,
        key,
        answer_by: now + policy.answer_within,
    }
}

fn due(payment: Option<&Payment>, amount: Money, is_final: bool, seq: u32) -> Vec<Event> {
    // Without a payment nothing was promised, so nothing can be owed: the order ended before it got that far.
    let newer = payment.is_some_and(|payment| {
        payment.amount.currency == amount.currency && payment.target.is_none_or(|target| target.seq < seq)
    });
    if newer {
        vec![Event::Due { amount, is_final, seq }]
    } else {
        Vec::new()
    }
}

/// The first word counts: an order ends once.
fn blame(payment: Option<&Payment>, liable: Liable, borne: Option<Money>) -> Vec<Event> {
    match payment {
        Some(payment) if payment.liable.is_none() => vec![Event::LiableNamed {
            liable,
            amount: Money::new(payment.due(), payment.amount.currency),
            borne,
        }],
        Some(_) | None => Vec::new(),
    }
}

/// A card instead of one that was refused, or of one whose money could not be taken.
fn pay_again(
    payment: Option<&Payment>,
    customer: UserId,
    key: &str,
    now: Timestamp,
    policy: &Policy,
) -> Result<Vec<Event>, Rejection> {
    let payment = payment
        .filter(|payment| payment.customer == customer)
        .ok_or(Rejection::NoSuchPayment)?;
    let until = match is_recovering(payment) {
        true => payment.recover_by.unwrap_or(payment.pay_by),
        false => payment.pay_by,
    };
    let open = payment.method == Method::Card && payment.declines < DECLINES_MAX && now < until && !is_final(payment);
    match payment.status {
        Status::None | Status::Authorizing | Status::Unknown if open => Err(Rejection::PaymentInProgress),
        Status::Voiding if open && is_recovering(payment) => Err(Rejection::PaymentInProgress),
        Status::Declined | Status::Voided if open && (payment.status == Status::Declined || is_recovering(payment)) => {
            let amount = payment.amount;
            Ok(vec![intended(
                payment,
                Operation::Authorize,
                amount,
                key.to_owned(),
                now,
                policy,
            )])
        }
        Status::None
        | Status::Authorizing
        | Status::Unknown
        | Status::Declined
        | Status::Authorized
        | Status::Capturing
        | Status::Captured
        | Status::Voiding
        | Status::Voided
        | Status::Refunding
        | Status::PartiallyRefunded
        | Status::Refunded => Err(Rejection::PaymentNotOpen),
    }
}

fn answered(payment: &Payment, call: &Call, answer: &Answer, now: Timestamp, policy: &Policy) -> Vec<Event> {
    let (attempt, amount) = (call.attempt, call.amount);
    let lost = Event::Unknown {
        attempt,
        operation: call.operation,
        retry_at: now + policy.retry(call.lost),
    };
    vec![match (call.operation, answer) {
        (_, Answer::Lost) => lost,
        (Operation::Authorize, Answer::Done { provider_id }) => Event::Authorized {
            attempt,
            amount,
            provider_id: provider_id.clone(),
        },
        (Operation::Authorize, Answer::Refused { code }) => Event::Declined {
            attempt,
            code: code.clone(),
            count: payment.declines + 1,
        },
        (Operation::Capture, Answer::Done { .. }) => Event::Captured { attempt, amount },
        // A second failure does not begin the time anew.
        (Operation::Capture, Answer::Refused { code }) => Event::CaptureFailed {
            attempt,
            code: code.clone(),
            recover_by: Some(payment.recover_by.unwrap_or(now + policy.recover_within)),
        },
        (Operation::Void, Answer::Done { .. }) => Event::Voided { attempt },
        // There is no other way to close a promise: asked again and again, and seen in the log.
        (Operation::Void, Answer::Refused { .. }) => lost,
        (Operation::Refund, Answer::Done { .. }) => Event::Refunded { attempt, amount },
        (Operation::Refund, Answer::Refused { code }) => {
            return refund_failed(payment, call, code, now, policy);
        }
    }]
}

/// Tried again with a new call, ever more slowly; from some try on somebody is told.
fn refund_failed(payment: &Payment, call: &Call, code: &str, now: Timestamp, policy: &Policy) -> Vec<Event> {
    let failures = payment.refund_failures + 1;
    let mut events = vec![Event::RefundFailed {
        attempt: call.attempt,
        code: code.to_owned(),
        retry_at: now + policy.refund_retry(payment.refund_failures),
    }];
    if failures == REFUND_ALERT_AFTER {
        events.push(Event::RefundOverdue {
            amount: call.amount,
            failures,
        });
    }
    events
}
