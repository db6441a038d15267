//! The rules of baskets and payments, pure. Nothing here awaits, reads a clock, or knows SQL, NATS, HTTP or the provider.
//!
//! States are the folds in `contracts::view::{basket, payment}`.

pub mod basket;
pub mod payment;

use http::StatusCode;
use jiff::SignedDuration;
use mesh_contracts::envelope::{BadBody, Envelope};
use mesh_contracts::id::{OrderId, PaymentId};
use mesh_contracts::menu::Slug;
use mesh_contracts::order;

/// A quote's life, on the wall clock: checkout and placing follow each other within a second,
/// and a client gets several retries besides.
pub const QUOTE_VALID: SignedDuration = SignedDuration::from_secs(60);

/// Between a quote's end and the look at the order's feed, on the wall clock: what order-master decided
/// in the quote's last moment is committed by then.
pub const REOPEN_AFTER: SignedDuration = SignedDuration::from_secs(15);

/// Until a provider call counts as lost, on the wall clock: its own time-out of 5 s and time to record the answer.
const ANSWER_WITHIN: SignedDuration = SignedDuration::from_secs(8);

/// First pause before a lost call is asked again, on the wall clock.
const RETRY_FIRST: SignedDuration = SignedDuration::from_secs(1);

/// Longest such pause: an order that ended has no open authorisation 60 s later, so two tries must fit.
const RETRY_MAX: SignedDuration = SignedDuration::from_secs(30);

/// Longest pause before a refused refund is tried with a new call, on the wall clock: a bank's no rarely
/// changes within minutes, and every try stays in the log for good.
const REFUND_RETRY_MAX: SignedDuration = SignedDuration::from_hours(1);

/// After a failed capture, until the collection has failed: the customer may still bring another card,
/// and a kitchen that has not begun waits no longer. Business time, as the design has it.
const RECOVER_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// The shortest deadline for people, on the wall clock, however fast business time runs.
const DEADLINE_MIN: SignedDuration = SignedDuration::from_secs(10);

/// Spans of wall time, as the business clock counts them, and one of business time.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// From intent to the first question after a lost answer.
    pub answer_within: SignedDuration,
    /// From a failed capture to the end of all tries.
    pub recover_within: SignedDuration,
    retry_first: SignedDuration,
    retry_max: SignedDuration,
    refund_retry_max: SignedDuration,
}

impl Default for Policy {
    fn default() -> Self {
        Self::floored(1.0)
    }
}

impl Policy {
    /// At a clock rate of N, a wall second is N business seconds. Spans between machines are no deadlines
    /// of people: they follow the wall clock and need no floor. The time to bring another card does.
    pub fn floored(rate: f64) -> Self {
        Self {
            answer_within: ANSWER_WITHIN.mul_f64(rate),
            recover_within: RECOVER_WITHIN.max(DEADLINE_MIN.mul_f64(rate)),
            retry_first: RETRY_FIRST.mul_f64(rate),
            retry_max: RETRY_MAX.mul_f64(rate),
            refund_retry_max: REFUND_RETRY_MAX.mul_f64(rate),
        }
    }

    /// The pause after this many lost answers: 1, 2, 4 … 30 s.
    pub fn retry(&self, lost: u32) -> SignedDuration {
        doubled(self.retry_first, lost, self.retry_max)
    }

    /// The pause after this many refused refunds: 1, 2, 4 … 3,600 s.
    pub fn refund_retry(&self, failures: u32) -> SignedDuration {
        doubled(self.retry_first, failures, self.refund_retry_max)
    }
}

fn doubled(first: SignedDuration, times: u32, max: SignedDuration) -> SignedDuration {
    // Beyond 2^16 the bound has been reached long ago.
    first.saturating_mul(1 << times.min(16)).min(max)
}

/// Why the answer is no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such product on the menu")]
    UnknownProduct,
    #[error("the product is not sold in that country")]
    NotSoldHere,
    #[error("the product has no such option")]
    UnknownOption { at: usize },
    #[error("the option is chosen twice")]
    OptionTwice { at: usize },
    #[error("the product needs another number of choices")]
    OptionCount { group: Slug, min: u8, max: u8 },
    #[error("the basket holds products of another country")]
    ForeignCurrency,
    #[error("the basket holds {} different products already", basket::LINES_MAX)]
    TooManyLines,
    #[error("the total is out of range")]
    TotalOutOfRange,
    #[error("the basket has changed")]
    BasketChanged { version: u64 },
    #[error("the basket is empty")]
    BasketEmpty,
    #[error("there is no such payment")]
    NoSuchPayment,
    #[error("the payment takes no card any more")]
    PaymentNotOpen,
    #[error("a payment is under way")]
    PaymentInProgress,
}

impl Rejection {
    /// The stable end of the problem's `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UnknownProduct => "unknown_product",
            Self::NotSoldHere => "not_sold_here",
            Self::UnknownOption { .. } => "unknown_option",
            Self::OptionTwice { .. } => "option_chosen_twice",
            Self::OptionCount { .. } => "option_count",
            Self::ForeignCurrency => "foreign_currency",
            Self::TooManyLines => "basket_full",
            Self::TotalOutOfRange => "total_out_of_range",
            Self::BasketChanged { .. } => "basket_changed",
            Self::BasketEmpty => "basket_empty",
            Self::NoSuchPayment => "not_found",
            Self::PaymentNotOpen => "payment_not_open",
            Self::PaymentInProgress => "payment_in_progress",
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::UnknownProduct
            | Self::NotSoldHere
            | Self::UnknownOption { .. }
            | Self::OptionTwice { .. }
            | Self::OptionCount { .. }
            | Self::ForeignCurrency
            | Self::TooManyLines
            | Self::TotalOutOfRange
            | Self::BasketEmpty => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BasketChanged { .. } | Self::PaymentNotOpen | Self::PaymentInProgress => StatusCode::CONFLICT,
            Self::NoSuchPayment => StatusCode::NOT_FOUND,
        }
    }
}

/// What an order's event asks of its payment; `None` for what means nothing to payments.
pub fn hear(envelope: &Envelope) -> Result<Option<(PaymentId, payment::Command)>, BadBody> {
    let Ok(order) = envelope.stream.parse::<OrderId>() else {
        return Ok(None);
    };
    let command = match envelope.body::<order::Event>()? {
        Some(order::Event::PaymentRequested {
            customer,
            method,
            amount,
            pay_by,
        }) => Some(payment::Command::Open {
            order,
            customer,
            method,
            amount,
            pay_by,
        }),
        Some(order::Event::SettlementDue {
            amount, is_final, seq, ..
        }) => Some(payment::Command::Due { amount, is_final, seq }),
        Some(
            order::Event::Cancelled {
                liable: Some(liable),
                borne,
                ..
            }
            | order::Event::Undelivered {
                liable: Some(liable),
                borne,
                ..
            },
        ) => Some(payment::Command::Blame {
            liable,
            borne: borne.map(|borne| borne.amount),
        }),
        // A few of an order's many events concern money; the rest is other masters' business.
        Some(_) | None => None,
    };
    Ok(command.map(|command| (order.payment(), command)))
}
