//! The life of a payment: which step is due now, and what an answer of the provider means.
//!
//! One call in flight at most. Every event that leaves a step due also sets the timer `drive`,
//! so whatever dies, the step is taken.

use std::borrow::Cow;

use jiff::Timestamp;
use mesh_contracts::id::{OrderId, PaymentId, UserId};
use mesh_contracts::money::Money;
use mesh_contracts::order::Method;
use mesh_contracts::payment::{Event, Operation};
use mesh_contracts::view::payment::{Call, Payment, Status, Target, fold};
use mesh_eventstore::Effect;

use super::{Policy, Rejection};

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

/// The one timer of a payment: a step is due.
pub const DRIVE: &str = "drive";

/// Cards a customer may try; order-master ends the order at the last refusal.
pub const DECLINES_MAX: u32 = 3;

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
    let due = next_step(payment).map(|step| match step {
        Step::Ask(call) => call.ask_again_at,
        Step::Intend {
            operation: Operation::Refund,
            ..
        } => payment.refund_after.map_or(at, |after| after.max(at)),
        Step::Intend { .. } | Step::Book(_) => at,
    });
    vec![match due {
        Some(due) => Effect::SetTimer { kind, due },
        None => Effect::ClearTimer { kind },
    }]
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
    match payment.status {
        Status::None if ended_free(payment) => Some(close(payment)),
        Status::None => Some(match payment.method {
            Method::Card => Step::Intend {
                operation: Operation::Authorize,
                amount: payment.amount,
            },
            Method::Cash => Step::Book(Event::CashAgreed { amount: payment.amount }),
        }),
        Status::Declined => payment.target.filter(|target| target.is_final).map(|_| close(payment)),
        Status::Authorized => settle_promise(payment, payment.target?),
        Status::Captured | Status::PartiallyRefunded | Status::Refunded => give_back(payment, payment.target?),
        Status::Voided => None,
        // Only ever with a call in flight.
        Status::Authorizing | Status::Capturing | Status::Voiding | Status::Refunding | Status::Unknown => None,
    }
}

/// Whether nothing is due, for good.
fn ended_free(payment: &Payment) -> bool {
    payment
        .target
        .is_some_and(|target| target.is_final && target.amount.amount <= 0)
}

/// Nothing was promised, and nothing will be.
fn close(payment: &Payment) -> Step {
    Step::Book(Event::Voided {
        attempt: payment.attempt,
    })
}

fn settle_promise(payment: &Payment, target: Target) -> Option<Step> {
    if target.amount.amount <= 0 || payment.capture_failed {
        // A promise that cannot be taken is worth nothing either: it must not stay open.
        return target.is_final.then(|| match payment.method {
            Method::Card => Step::Intend {
                operation: Operation::Void,
                amount: payment.authorized,
            },
            Method::Cash => close(payment),
        });
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
    match next_step(payment) {
        None | Some(Step::Ask(_)) => Vec::new(),
        Some(Step::Book(event)) => vec![event],
        Some(Step::Intend {
            operation: Operation::Refund,
            ..
        }) if payment.refund_after.is_some_and(|after| after > now) => Vec::new(),
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
    let settled = payment.target.is_some_and(|target| target.is_final);
    let open = payment.method == Method::Card && payment.declines < DECLINES_MAX && now < payment.pay_by && !settled;
    match payment.status {
        Status::None | Status::Authorizing | Status::Unknown if open => Err(Rejection::PaymentInProgress),
        Status::Declined if open => {
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
        (Operation::Capture, Answer::Refused { code }) => Event::CaptureFailed {
            attempt,
            code: code.clone(),
        },
        (Operation::Void, Answer::Done { .. }) => Event::Voided { attempt },
        // There is no other way to close a promise: asked again and again, and seen in the log.
        (Operation::Void, Answer::Refused { .. }) => lost,
        (Operation::Refund, Answer::Done { .. }) => Event::Refunded { attempt, amount },
        (Operation::Refund, Answer::Refused { code }) => {
            let retry_at = now + policy.refund_retry(payment.refund_failures);
            Event::RefundFailed {
                attempt,
                code: code.clone(),
                retry_at,
            }
        }
    }]
}
