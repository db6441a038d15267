//! Payments: what was promised, taken and given back for one order.
//!
//! Each provider call is an intent event before and a result event after; `key` is the provider's idempotency key.
//! Times are on the business clock. Card data and payment tokens are never in an event.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::envelope::events;
use crate::id::{OrderId, UserId};
use crate::money::Money;
use crate::order::{Liable, Method};

/// A call to the payment provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Promise the amount.
    Authorize,
    /// Take it.
    Capture,
    /// Give the promise back.
    Void,
    /// Give taken money back.
    Refund,
}

events! {
    /// The life of a payment.
    pub enum Event {
        /// order-master asked for the money.
        "payment.opened" Opened { order: OrderId, customer: UserId, method: Method, amount: Money, pay_by: Timestamp }
        /// Intent: about to call the provider. `attempt` counts over all operations of this payment.
        /// Without an answer by `answer_by`, the provider is asked again under the same key.
        "payment.intended" Intended { attempt: u32, operation: Operation, amount: Money, key: String, answer_by: Timestamp }
        /// The provider promised the amount.
        "payment.authorized" Authorized { attempt: u32, amount: Money, provider_id: String }
        /// The provider refused to promise.
        "payment.declined" Declined { attempt: u32, code: String, count: u32 }
        /// Cash at the door was agreed.
        "payment.cash_agreed" CashAgreed { amount: Money }
        /// order-master said what is due; the newest `seq` counts.
        "payment.due" Due { amount: Money, is_final: bool, seq: u32 }
        /// The answer did not come; the provider will be asked again under the same key.
        "payment.unknown" Unknown { attempt: u32, operation: Operation, retry_at: Timestamp }
        /// The money is ours.
        "payment.captured" Captured { attempt: u32, amount: Money }
        /// It could not be taken under this promise. Until `recover_by`, a new promise may take its place.
        "payment.capture_failed" CaptureFailed { attempt: u32, code: String, #[serde(default, skip_serializing_if = "Option::is_none")] recover_by: Option<Timestamp> }
        /// No promise took its place in time: `amount` will not be taken from a card any more.
        /// order-master ends the order if nothing is cooked yet (row 9); later the order goes on.
        "payment.collection_failed" CollectionFailed { amount: Money }
        /// No promise is open any more.
        "payment.voided" Voided { attempt: u32 }
        /// That much went back.
        "payment.refunded" Refunded { attempt: u32, amount: Money }
        /// It could not go back; it will be tried again.
        "payment.refund_failed" RefundFailed { attempt: u32, code: String, retry_at: Timestamp }
        /// Tried so often that somebody should look; it is tried on.
        "payment.refund_overdue" RefundOverdue { amount: Money, failures: u32 }
        /// The courier took the cash.
        "payment.cash_collected" CashCollected { amount: Money }
        /// What is due for good and was not taken: the customer owes so much in all, from now on.
        "payment.debt_booked" DebtBooked { amount: Money }
        /// The order ended by somebody's fault while so much was due, recorded.
        "payment.liable_named" LiableNamed { liable: Liable, amount: Money, #[serde(default, skip_serializing_if = "Option::is_none")] borne: Option<Money> }
        /// What the customer was to pay then and need not: that party bears so much in all, from now on.
        "payment.liability_booked" LiabilityBooked { liable: Liable, amount: Money }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use uuid::Uuid;

    use super::*;
    use crate::money::Currency;

    #[test]
    fn the_wire_is_pinned() {
        let amount = Money::new(1290, Currency::EUR);
        let at = Timestamp::UNIX_EPOCH;
        let code = || "generic_decline".to_owned();
        let events = [
            Event::Opened {
                order: OrderId(Uuid::from_u128(1)),
                customer: UserId(Uuid::from_u128(2)),
                method: Method::Card,
                amount,
                pay_by: at,
            },
            Event::Intended {
                attempt: 1,
                operation: Operation::Authorize,
                amount,
                key: "pay_00000000000000000000000001-1".into(),
                answer_by: at,
            },
            Event::Authorized {
                attempt: 1,
                amount,
                provider_id: "pi_1".into(),
            },
            Event::Declined {
                attempt: 1,
                code: code(),
                count: 1,
            },
            Event::CashAgreed { amount },
            Event::Due {
                amount,
                is_final: true,
                seq: 2,
            },
            Event::Unknown {
                attempt: 1,
                operation: Operation::Capture,
                retry_at: at,
            },
            Event::Captured { attempt: 2, amount },
            Event::CaptureFailed {
                attempt: 2,
                code: code(),
                recover_by: None,
            },
            Event::CaptureFailed {
                attempt: 2,
                code: code(),
                recover_by: Some(at),
            },
            Event::CollectionFailed { amount },
            Event::Voided { attempt: 2 },
            Event::Refunded { attempt: 3, amount },
            Event::RefundFailed {
                attempt: 3,
                code: code(),
                retry_at: at,
            },
            Event::RefundOverdue { amount, failures: 5 },
            Event::CashCollected { amount },
            Event::DebtBooked { amount },
            Event::LiableNamed {
                liable: Liable::Point,
                amount,
                borne: None,
            },
            Event::LiabilityBooked {
                liable: Liable::Point,
                amount,
            },
        ];
        let lines: Vec<_> = events
            .iter()
            .map(|event| serde_json::to_string(event).expect("plain data"))
            .collect();
        assert_snapshot!(lines.join("\n"), @r#"
        {"type":"payment.opened","data":{"order":"ord_00000000000000000000000001","customer":"usr_00000000000000000000000002","method":"card","amount":{"amount":1290,"currency":"EUR"},"pay_by":"1970-01-01T00:00:00Z"}}
        {"type":"payment.intended","data":{"attempt":1,"operation":"authorize","amount":{"amount":1290,"currency":"EUR"},"key":"pay_00000000000000000000000001-1","answer_by":"1970-01-01T00:00:00Z"}}
        {"type":"payment.authorized","data":{"attempt":1,"amount":{"amount":1290,"currency":"EUR"},"provider_id":"pi_1"}}
        {"type":"payment.declined","data":{"attempt":1,"code":"generic_decline","count":1}}
        {"type":"payment.cash_agreed","data":{"amount":{"amount":1290,"currency":"EUR"}}}
        {"type":"payment.due","data":{"amount":{"amount":1290,"currency":"EUR"},"is_final":true,"seq":2}}
        {"type":"payment.unknown","data":{"attempt":1,"operation":"capture","retry_at":"1970-01-01T00:00:00Z"}}
        {"type":"payment.captured","data":{"attempt":2,"amount":{"amount":1290,"currency":"EUR"}}}
        {"type":"payment.capture_failed","data":{"attempt":2,"code":"generic_decline"}}
        {"type":"payment.capture_failed","data":{"attempt":2,"code":"generic_decline","recover_by":"1970-01-01T00:00:00Z"}}
        {"type":"payment.collection_failed","data":{"amount":{"amount":1290,"currency":"EUR"}}}
        {"type":"payment.voided","data":{"attempt":2}}
        {"type":"payment.refunded","data":{"attempt":3,"amount":{"amount":1290,"currency":"EUR"}}}
        {"type":"payment.refund_failed","data":{"attempt":3,"code":"generic_decline","retry_at":"1970-01-01T00:00:00Z"}}
        {"type":"payment.refund_overdue","data":{"amount":{"amount":1290,"currency":"EUR"},"failures":5}}
        {"type":"payment.cash_collected","data":{"amount":{"amount":1290,"currency":"EUR"}}}
        {"type":"payment.debt_booked","data":{"amount":{"amount":1290,"currency":"EUR"}}}
        {"type":"payment.liable_named","data":{"liable":"point","amount":{"amount":1290,"currency":"EUR"}}}
        {"type":"payment.liability_booked","data":{"liable":"point","amount":{"amount":1290,"currency":"EUR"}}}
        "#);
    }
}
