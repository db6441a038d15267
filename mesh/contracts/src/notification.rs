//! Notifications: the job that asks for one, and what became of it.
//!
//! Ids, a code and an amount; whom to write to, where and in which language is asked of user-master at sending.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::envelope::events;
use crate::id::{OrderId, UserId};
use crate::money::Money;

/// What a customer is written to about; each at most once per order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// The money is promised, or cash agreed.
    Paid,
    /// Handed over.
    Completed,
    /// Nobody could cook it.
    Rejected,
    /// Not paid in time.
    Expired,
    /// Somebody decided to end it.
    Cancelled,
    /// Cooked, not handed over.
    Undelivered,
}

impl Occasion {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Paid,
        Self::Completed,
        Self::Rejected,
        Self::Expired,
        Self::Cancelled,
        Self::Undelivered,
    ];

    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Undelivered => "undelivered",
        }
    }
}

impl fmt::Display for Occasion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The body of a job on `JOBS_NOTIFY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// About which order.
    pub order: OrderId,
    /// Its short human number.
    pub number: String,
    /// To whom.
    pub customer: UserId,
    /// What happened.
    pub occasion: Occasion,
    /// What the customer pays, as far as that is known at this occasion.
    pub amount: Money,
}

/// Why a customer could not be written to. Trying again does not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// There is no such person any more.
    NoRecipient,
    /// The mail server refuses the address, or the mail to it, for good.
    Refused,
    /// The mail server put it off again and again.
    PutOff,
}

events! {
    /// What became of the notifications of one order.
    pub enum Event {
        /// The mail server has taken the mail.
        "notification.sent" Sent { occasion: Occasion }
        /// It will not be sent.
        "notification.failed" Failed { occasion: Occasion, reason: Failure }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use uuid::Uuid;

    use super::*;
    use crate::envelope::EventBody;
    use crate::money::Currency;

    fn every_event() -> Vec<Event> {
        vec![
            Event::Sent {
                occasion: Occasion::Paid,
            },
            Event::Failed {
                occasion: Occasion::Undelivered,
                reason: Failure::Refused,
            },
        ]
    }

    #[test]
    fn every_event_reads_back_what_it_wrote() {
        for event in every_event() {
            let read = Event::decode(event.event_type(), &event.encode());
            assert_eq!(read.expect("same shape"), Some(event));
        }
        assert_eq!(every_event().len(), Event::TYPES.len());
    }

    #[test]
    fn the_wire_is_pinned() {
        let lines: Vec<_> = every_event()
            .iter()
            .map(|event| serde_json::to_string(event).expect("plain data"))
            .collect();
        assert_snapshot!(lines.join("\n"), @r#"
        {"type":"notification.sent","data":{"occasion":"paid"}}
        {"type":"notification.failed","data":{"occasion":"undelivered","reason":"refused"}}
        "#);
    }

    #[test]
    fn a_job_has_ids_a_code_and_an_amount_and_nothing_else() {
        let order = OrderId(Uuid::from_u128(1));
        let job = Job {
            order,
            number: order.number(),
            customer: UserId(Uuid::from_u128(2)),
            occasion: Occasion::Completed,
            amount: Money::new(1290, Currency::EUR),
        };
        assert_snapshot!(serde_json::to_string(&job).expect("plain data"), @r#"{"order":"ord_00000000000000000000000001","number":"000001","customer":"usr_00000000000000000000000002","occasion":"completed","amount":{"amount":1290,"currency":"EUR"}}"#);
    }

    #[test]
    fn an_occasion_is_called_the_same_on_the_wire_and_in_the_log() {
        for occasion in Occasion::ALL {
            let wire = serde_json::to_value(occasion).expect("plain data");
            assert_eq!(wire, occasion.as_str());
        }
    }
}
