//! A payment, folded from its events: what was promised, taken and given back, what is due, and the call in flight.
//!
//! Knows the truth only as far as it was recorded; what to do about it is basket-master's rule.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{OrderId, UserId};
use crate::money::Money;
use crate::order::{Liable, Method};
use crate::payment::{Event, Operation};

/// Where a payment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[schema(as = PaymentStatus)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Asked for; nothing was tried yet.
    None,
    /// The provider is asked for its promise.
    Authorizing,
    /// Promised by the provider, or cash agreed.
    Authorized,
    /// The provider is asked for the money.
    Capturing,
    /// The money is ours.
    Captured,
    /// The promise is being given back.
    Voiding,
    /// Nothing was taken and nothing will be.
    Voided,
    /// Money is on its way back.
    Refunding,
    /// Some of it went back.
    PartiallyRefunded,
    /// All of it went back.
    Refunded,
    /// The provider refused; another card may do.
    Declined,
    /// The provider's last answer was lost; it will be asked again.
    Unknown,
}

impl Status {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Authorizing => "authorizing",
            Self::Authorized => "authorized",
            Self::Capturing => "capturing",
            Self::Captured => "captured",
            Self::Voiding => "voiding",
            Self::Voided => "voided",
            Self::Refunding => "refunding",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Refunded => "refunded",
            Self::Declined => "declined",
            Self::Unknown => "unknown",
        }
    }
}

/// A provider call without an answer yet; there is never more than one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Call {
    /// Counts over all operations of this payment.
    pub attempt: u32,
    /// What was asked.
    pub operation: Operation,
    /// About how much.
    pub amount: Money,
    /// The provider's idempotency key.
    pub key: String,
    /// Answers that did not come.
    pub lost: u32,
    /// When to ask again, on the business clock.
    pub ask_again_at: Timestamp,
}

/// What should have been captured and not refunded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Target {
    /// The amount.
    pub amount: Money,
    /// Nothing will change it any more.
    pub is_final: bool,
    /// Counts up; the newest counts.
    pub seq: u32,
}

/// The payment of one order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Payment {
    /// Where it stands.
    pub status: Status,
    /// Version of its last change of status.
    pub status_version: u64,
    /// Version of its last event.
    pub version: u64,
    /// For which order.
    pub order: OrderId,
    /// Who pays.
    pub customer: UserId,
    /// How.
    pub method: Method,
    /// What the order costs.
    pub amount: Money,
    /// End of the payment window.
    pub pay_by: Timestamp,
    /// Provider calls intended so far.
    pub attempt: u32,
    /// The one under way.
    pub call: Option<Call>,
    /// What is promised and neither taken nor given back.
    pub authorized: Money,
    /// What was taken.
    pub captured: Money,
    /// What of it went back.
    pub refunded: Money,
    /// The provider's id of the promise.
    pub provider_id: Option<String>,
    /// Cards refused so far.
    pub declines: u32,
    /// The provider's last code for a refusal.
    pub failure: Option<String>,
    /// The money could not be taken under the newest promise.
    pub capture_failed: bool,
    /// A new promise was asked for after a failed capture.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked_anew: bool,
    /// Until when a new promise may take the place of the one that failed, on the business clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recover_by: Option<Timestamp>,
    /// No new promise came in time: nothing will be taken from a card any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub collection_failed: bool,
    /// The provider's idempotency key of the call that got the newest promise: it finds the card again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promised_under: Option<String>,
    /// Refunds that failed in a row.
    pub refund_failures: u32,
    /// No refund before this, on the business clock.
    pub refund_after: Option<Timestamp>,
    /// Refunds failed so often that somebody should look.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refund_overdue: bool,
    /// What order-master last said is due.
    pub target: Option<Target>,
    /// What is due for good and was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debt: Option<Money>,
    /// By whose fault the order ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liable: Option<Liable>,
    /// What was due when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liable_for: Option<Money>,
    /// What that party bears, as order-master said; absent, it is what was due and is not any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liable_share: Option<Money>,
    /// What is booked on that party.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liability: Option<Money>,
    /// When it was asked for.
    pub opened_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Payment {
    /// What was taken and not given back, in minor units.
    pub fn kept(&self) -> i64 {
        self.captured.amount - self.refunded.amount
    }

    /// What should be kept, in minor units: nothing until order-master has said so, and never less than nothing.
    pub fn due(&self) -> i64 {
        self.target.map_or(0, |target| target.amount.amount.max(0))
    }

    /// What the customer owes, in minor units.
    pub fn owed(&self) -> i64 {
        self.debt.map_or(0, |debt| debt.amount)
    }

    /// What the party at fault bears, in minor units.
    pub fn borne(&self) -> i64 {
        self.liability.map_or(0, |liability| liability.amount)
    }

    fn moved(&mut self, status: Status) {
        if self.status != status {
            self.status = status;
            self.status_version = self.version;
        }
    }

    fn answered(&mut self, status: Status) {
        self.call = None;
        self.moved(status);
    }

    fn after_refund(&self) -> Status {
        if self.refunded.is_zero() {
            Status::Captured
        } else if self.refunded == self.captured {
            Status::Refunded
        } else {
            Status::PartiallyRefunded
        }
    }
}

/// The next state; `None` only for a stream that does not start with `payment.opened`.
pub fn fold(payment: Option<Payment>, event: &Event, at: Timestamp) -> Option<Payment> {
    let Some(mut payment) = payment else {
        return match event {
            Event::Opened {
                order,
                customer,
                method,
                amount,
                pay_by,
            } => Some(opened(*order, *customer, *method, *amount, *pay_by, at)),
            _ => None,
        };
    };
    payment.version += 1;
    payment.updated_at = at;
    apply(&mut payment, event);
    Some(payment)
}

/// An event that this build does not know: only the version moves.
pub fn skip(payment: &mut Payment, at: Timestamp) {
    payment.version += 1;
    payment.updated_at = at;
}

fn opened(
    order: OrderId,
    customer: UserId,
    method: Method,
    amount: Money,
    pay_by: Timestamp,
    at: Timestamp,
) -> Payment {
    let nothing = Money::zero(amount.currency);
    Payment {
        status: Status::None,
        status_version: 1,
        version: 1,
        order,
        customer,
        method,
        amount,
        pay_by,
        attempt: 0,
        call: None,
        authorized: nothing,
        captured: nothing,
        refunded: nothing,
        provider_id: None,
        declines: 0,
        failure: None,
        capture_failed: false,
        asked_anew: false,
        recover_by: None,
        collection_failed: false,
        promised_under: None,
        refund_failures: 0,
        refund_after: None,
        refund_overdue: false,
        target: None,
        debt: None,
        liable: None,
        liable_for: None,
        liable_share: None,
        liability: None,
        opened_at: at,
        updated_at: at,
    }
}

fn apply(payment: &mut Payment, event: &Event) {
    let nothing = Money::zero(payment.amount.currency);
    match event {
        Event::Opened { .. } => {}
        Event::Intended {
            attempt,
            operation,
            amount,
            key,
            answer_by,
        } => {
            payment.attempt = *attempt;
            payment.asked_anew |= payment.capture_failed && *operation == Operation::Authorize;
            payment.call = Some(Call {
                attempt: *attempt,
                operation: *operation,
                amount: *amount,
                key: key.clone(),
                lost: 0,
                ask_again_at: *answer_by,
            });
            payment.moved(asking(*operation));
        }
        Event::Authorized {
            amount, provider_id, ..
        } => {
            payment.authorized = *amount;
            payment.provider_id = Some(provider_id.clone());
            payment.promised_under = payment.call.as_ref().map(|call| call.key.clone());
            payment.capture_failed = false;
            payment.failure = None;
            payment.answered(Status::Authorized);
        }
        Event::Declined { code, count, .. } => {
            payment.declines = *count;
            payment.failure = Some(code.clone());
            payment.answered(Status::Declined);
        }
        Event::CashAgreed { amount } => {
            payment.authorized = *amount;
            payment.moved(Status::Authorized);
        }
        Event::Due { amount, is_final, seq } => aim(payment, *amount, *is_final, *seq),
        Event::Unknown { retry_at, .. } => {
            if let Some(call) = &mut payment.call {
                call.lost += 1;
                call.ask_again_at = *retry_at;
            }
            payment.moved(Status::Unknown);
        }
        Event::Captured { amount, .. } | Event::CashCollected { amount } => {
            payment.authorized = nothing;
            payment.captured = *amount;
            payment.answered(Status::Captured);
        }
        Event::CaptureFailed { code, recover_by, .. } => {
            payment.capture_failed = true;
            payment.recover_by = *recover_by;
            payment.failure = Some(code.clone());
            payment.answered(Status::Authorized);
        }
        Event::Voided { .. } => {
            payment.authorized = nothing;
            payment.answered(Status::Voided);
        }
        Event::Refunded { amount, .. } => {
            payment.refunded = payment.refunded.plus(*amount).unwrap_or(payment.captured);
            payment.refund_failures = 0;
            payment.refund_after = None;
            payment.refund_overdue = false;
            payment.answered(payment.after_refund());
        }
        Event::RefundFailed { code, retry_at, .. } => {
            payment.refund_failures += 1;
            payment.refund_after = Some(*retry_at);
            payment.failure = Some(code.clone());
            payment.answered(payment.after_refund());
        }
        Event::RefundOverdue { .. } => payment.refund_overdue = true,
        Event::CollectionFailed { .. } => {
            payment.collection_failed = true;
            payment.moved(Status::Voided);
        }
        Event::DebtBooked { amount } => payment.debt = Some(*amount),
        Event::LiableNamed { liable, amount, borne } => {
            payment.liable_share = *borne;
            payment.liable = Some(*liable);
            payment.liable_for = Some(*amount);
        }
        Event::LiabilityBooked { amount, .. } => payment.liability = Some(*amount),
    }
}

fn asking(operation: Operation) -> Status {
    match operation {
        Operation::Authorize => Status::Authorizing,
        Operation::Capture => Status::Capturing,
        Operation::Void => Status::Voiding,
        Operation::Refund => Status::Refunding,
    }
}

fn aim(payment: &mut Payment, amount: Money, is_final: bool, seq: u32) {
    if payment.target.is_none_or(|target| target.seq < seq) {
        payment.target = Some(Target { amount, is_final, seq });
    }
}

#[cfg(test)]
#[path = "payment/tests.rs"]
mod tests;
