//! The payment methods this provider knows, and what each one does.
//! There are no card numbers, holders or banks behind them: the name alone decides the outcome.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Everything succeeds.
pub const VISA: &str = "pm_card_visa";
/// The authorisation is declined.
pub const DECLINED: &str = "pm_card_declined";
/// The authorisation is declined for lack of funds.
pub const INSUFFICIENT_FUNDS: &str = "pm_card_insufficient_funds";
/// The authorisation succeeds, but its first answer never arrives.
pub const TIMEOUT_AFTER_SUCCESS: &str = "pm_card_timeout_after_success";
/// The authorisation succeeds, every capture is declined; the payment stays open until cancelled.
pub const CAPTURE_FAILS: &str = "pm_card_capture_fails";
/// Authorisation and capture succeed, every refund ends as `failed`.
pub const REFUND_FAILS: &str = "pm_card_refund_fails";
/// Everything succeeds, each webhook is sent [`LATE_BY`] later.
pub const WEBHOOK_LATE: &str = "pm_card_webhook_late";
/// Everything succeeds, each webhook is sent [`REPEATS`] times.
pub const WEBHOOK_REPEATED: &str = "pm_card_webhook_repeated";

/// Long enough that a caller who waits for the webhook has given up and asked again.
pub const LATE_BY: SignedDuration = SignedDuration::from_secs(5);
/// A webhook comes by another way than the answer to the call, and mostly after it.
pub const USUALLY_AFTER: SignedDuration = SignedDuration::from_millis(200);
/// Stripe promises "at least once"; five copies make sure that somebody notices.
pub const REPEATS: u8 = 5;

/// A payment method, named on the wire and in the journal by its `pm_card_…` constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Card {
    #[serde(rename = "pm_card_visa")]
    Visa,
    #[serde(rename = "pm_card_declined")]
    Declined,
    #[serde(rename = "pm_card_insufficient_funds")]
    InsufficientFunds,
    #[serde(rename = "pm_card_timeout_after_success")]
    TimeoutAfterSuccess,
    #[serde(rename = "pm_card_capture_fails")]
    CaptureFails,
    #[serde(rename = "pm_card_refund_fails")]
    RefundFails,
    #[serde(rename = "pm_card_webhook_late")]
    WebhookLate,
    #[serde(rename = "pm_card_webhook_repeated")]
    WebhookRepeated,
}

impl Card {
    /// Every card there is.
    pub const ALL: [Card; 8] = [
        Card::Visa,
        Card::Declined,
        Card::InsufficientFunds,
        Card::TimeoutAfterSuccess,
        Card::CaptureFails,
        Card::RefundFails,
        Card::WebhookLate,
        Card::WebhookRepeated,
    ];

    /// The card of that name; none other is known.
    pub fn named(name: &str) -> Option<Card> {
        Card::ALL.into_iter().find(|card| card.name() == name)
    }

    /// Its `pm_card_…` constant.
    pub fn name(self) -> &'static str {
        match self {
            Card::Visa => VISA,
            Card::Declined => DECLINED,
            Card::InsufficientFunds => INSUFFICIENT_FUNDS,
            Card::TimeoutAfterSuccess => TIMEOUT_AFTER_SUCCESS,
            Card::CaptureFails => CAPTURE_FAILS,
            Card::RefundFails => REFUND_FAILS,
            Card::WebhookLate => WEBHOOK_LATE,
            Card::WebhookRepeated => WEBHOOK_REPEATED,
        }
    }

    /// Why the bank says no to an authorisation, in Stripe's `decline_code` words.
    pub fn decline(self) -> Option<&'static str> {
        match self {
            Card::Declined => Some("generic_decline"),
            Card::InsufficientFunds => Some("insufficient_funds"),
            Card::Visa
            | Card::TimeoutAfterSuccess
            | Card::CaptureFails
            | Card::RefundFails
            | Card::WebhookLate
            | Card::WebhookRepeated => None,
        }
    }

    /// From what happened to the first attempt to tell it.
    pub fn webhook_delay(self) -> SignedDuration {
        if self == Card::WebhookLate {
            LATE_BY
        } else {
            USUALLY_AFTER
        }
    }

    /// How often each webhook must be confirmed.
    pub fn webhook_copies(self) -> u8 {
        if self == Card::WebhookRepeated { REPEATS } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_has_one_name_on_the_wire_and_in_the_journal() {
        for card in Card::ALL {
            assert_eq!(serde_json::to_value(card).unwrap(), card.name());
            assert_eq!(Card::named(card.name()), Some(card));
        }
    }
}
