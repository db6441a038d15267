//! What was paid: payments, refunds, used keys and webhooks still to be sent, as a pure state machine.
//! Nothing here does I/O, reads a clock or draws a number; it does not know HTTP, Stripe's JSON or files.
//!
//! [`Ledger::decide`] says what a call would do without doing it, the journal makes the
//! [`Record`] durable, [`Ledger::apply`] takes it in, at start and in service alike.
//! A record holds the payment as it is afterwards, so that applying needs no rules.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::cards::Card;

#[cfg(test)]
mod tests;

/// One request to move money, under the caller's idempotency key.
#[derive(Debug, Clone)]
pub struct Call {
    /// Chosen by the caller, unique for what it wants done once.
    pub key: String,
    /// Digest of route and parameters: what "the same request" means.
    pub fingerprint: String,
    pub command: Command,
}

/// What may be done to money. Amounts are minor units and never zero.
#[derive(Debug, Clone)]
pub enum Command {
    /// Holds the amount on a new payment.
    Authorize {
        amount: u64,
        currency: String,
        card: Card,
        metadata: Metadata,
    },
    /// `None`: all of it. Less than all gives the rest back at once.
    Capture { payment: String, amount: Option<u64> },
    /// Gives back everything that is held; only before a capture.
    Cancel { payment: String, reason: Option<String> },
    /// `None`: all that is left.
    Refund {
        payment: String,
        amount: Option<u64>,
        metadata: Metadata,
    },
}

/// The caller's own names and values, in an order that makes equal answers equal bytes.
pub type Metadata = BTreeMap<String, String>;

/// The outside world's part of a decision: when, and a unique number to make ids from.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    pub at: Timestamp,
    pub nonce: Uuid,
}

/// Stripe's status of a PaymentIntent, as far as this provider gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Declined. Stripe would let the caller try another card; here a new payment is made instead.
    RequiresPaymentMethod,
    RequiresCapture,
    Succeeded,
    Canceled,
}

/// All amounts are minor units of `currency`; `authorized = captured + voided + open`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    pub id: String,
    pub created: Timestamp,
    pub amount: u64,
    pub currency: String,
    pub card: Card,
    pub metadata: Metadata,
    pub status: Status,
    pub authorized: u64,
    pub captured: u64,
    pub voided: u64,
    pub captures: u32,
    pub refunds: Vec<Refund>,
    pub canceled_at: Option<Timestamp>,
    pub cancellation_reason: Option<String>,
}

impl Payment {
    /// What went back; failed refunds do not count.
    pub fn refunded(&self) -> u64 {
        self.refunds
            .iter()
            .filter(|refund| !refund.failed)
            .map(|refund| refund.amount)
            .sum()
    }

    /// What is still held and could be captured.
    pub fn open(&self) -> u64 {
        self.authorized - self.captured - self.voided
    }

    /// The order it was made for, if the caller said so.
    pub fn order_id(&self) -> Option<&str> {
        self.metadata.get(ORDER_ID).map(String::as_str)
    }
}

/// The one metadata key that payments can be looked up by.
pub const ORDER_ID: &str = "order_id";

/// Money on its way back, or, failed, not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    pub id: String,
    pub created: Timestamp,
    pub amount: u64,
    pub failed: bool,
    pub metadata: Metadata,
}

/// The answer to a call, kept for good: whoever brings the key again gets it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The payment as it was right after the call.
    pub payment: Arc<Payment>,
    pub outcome: Outcome,
}

/// Which part of the payment the answer shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Payment,
    /// The payment's newest refund.
    Refund,
    Refused(Refusal),
}

/// A no that belongs to the payment, and is therefore remembered under its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    Declined,
    CaptureDeclined,
    /// The payment is in a status from which this cannot be done.
    UnexpectedState,
    AmountTooLarge {
        max: u64,
    },
    AlreadyRefunded,
}

/// What a call would come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// To be made durable, then applied, then answered.
    New(Arc<Settled>),
    /// Settled before under this key.
    Replayed(Answer),
    /// The key belongs to another request; nothing happens.
    KeyReused,
    /// Nothing happens and nothing is remembered.
    NoSuchPayment,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    Settled(Arc<Settled>),
    /// The receiver confirmed one copy of this webhook.
    Delivered {
        event: String,
    },
    /// Nobody confirmed this webhook for so long that we stop asking.
    Abandoned {
        event: String,
    },
}

/// A call and all it did: key, payment afterwards, answer and webhook are durable together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    pub key: String,
    pub fingerprint: String,
    pub payment: Arc<Payment>,
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
}

/// A webhook to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub event: String,
    pub kind: NoticeKind,
    pub created: Timestamp,
    pub due: Timestamp,
    pub copies: u8,
}

/// What a webhook tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    Authorized,
    Declined,
    Captured,
    Canceled,
    Refunded,
    RefundFailed,
}

/// A webhook with what it speaks about; the same bytes are sent however often it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub notice: Notice,
    pub key: String,
    pub payment: Arc<Payment>,
}

/// Everything that is known, in memory; the journal can rebuild it.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Whether anybody listens to webhooks; if not, none are recorded.
    announces: bool,
    /// In the order of creation.
    payments: Vec<Arc<Payment>>,
    by_id: HashMap<String, usize>,
    by_order: HashMap<String, Vec<usize>>,
    keys: HashMap<String, (String, Answer)>,
    pending: HashMap<String, Pending>,
}

impl Ledger {
    /// An empty ledger. `announces`: whether webhooks are recorded from now on.
    pub fn new(announces: bool) -> Ledger {
        Ledger {
            announces,
            ..Ledger::default()
        }
    }

    /// What `call` comes to now. Changes nothing; a new verdict counts once its record is applied.
    pub fn decide(&self, call: Call, stamp: Stamp) -> Verdict {
        if let Some((fingerprint, answer)) = self.keys.get(&call.key) {
            return if *fingerprint == call.fingerprint {
                Verdict::Replayed(answer.clone())
            } else {
                Verdict::KeyReused
            };
        }
        let Some((payment, outcome, kind)) = self.carry_out(call.command, stamp) else {
            return Verdict::NoSuchPayment;
        };
        let notice = kind.filter(|_| self.announces).map(|kind| Notice {
            event: id("evt", stamp),
            kind,
            created: stamp.at,
            due: stamp.at + payment.card.webhook_delay(),
            copies: payment.card.webhook_copies(),
        });
        Verdict::New(Arc::new(Settled {
            key: call.key,
            fingerprint: call.fingerprint,
            payment: Arc::new(payment),
            outcome,
            notice,
        }))
    }

    /// Takes in what is durable. Answers with the webhook that is now due, if there is one.
    pub fn apply(&mut self, record: Record) -> Option<Pending> {
        match record {
            Record::Settled(settled) => self.settle(Arc::unwrap_or_clone(settled)),
            Record::Delivered { event } => {
                if let Some(pending) = self.pending.get_mut(&event) {
                    pending.notice.copies -= 1;
                    if pending.notice.copies == 0 {
                        self.pending.remove(&event);
                    }
                }
                None
            }
            Record::Abandoned { event } => {
                self.pending.remove(&event);
                None
            }
        }
    }

    /// A payment as it is now.
    pub fn payment(&self, id: &str) -> Option<Arc<Payment>> {
        self.by_id.get(id).map(|&index| self.payments[index].clone())
    }

    /// The payments of an order, oldest first.
    pub fn payments_of(&self, order_id: &str) -> Vec<Arc<Payment>> {
        let indexes = self.by_order.get(order_id).map(Vec::as_slice).unwrap_or_default();
        indexes.iter().map(|&index| self.payments[index].clone()).collect()
    }

    /// Up to `limit` payments in the order of creation, after the one named; and whether there are more.
    pub fn page(&self, after: Option<&str>, limit: usize) -> Option<(Vec<Arc<Payment>>, bool)> {
        let start = match after {
            Some(id) => self.by_id.get(id)? + 1,
            None => 0,
        };
        let rest = &self.payments[start..];
        Some((rest.iter().take(limit).cloned().collect(), rest.len() > limit))
    }

    /// Webhooks nobody has confirmed yet, in no particular order.
    pub fn pending(&self) -> impl Iterator<Item = &Pending> {
        self.pending.values()
    }

    /// Whether a webhook still has to be confirmed.
    pub fn is_pending(&self, event: &str) -> bool {
        self.pending.contains_key(event)
    }

    fn carry_out(&self, command: Command, stamp: Stamp) -> Option<(Payment, Outcome, Option<NoticeKind>)> {
        let find = |id: &str| self.payment(id).map(Arc::unwrap_or_clone);
        Some(match command {
            Command::Authorize {
                amount,
                currency,
                card,
                metadata,
            } => authorize(amount, currency, card, metadata, stamp),
            Command::Capture { payment, amount } => capture(find(&payment)?, amount),
            Command::Cancel { payment, reason } => cancel(find(&payment)?, reason, stamp),
            Command::Refund {
                payment,
                amount,
                metadata,
            } => refund(find(&payment)?, amount, metadata, stamp),
        })
    }

    fn settle(&mut self, settled: Settled) -> Option<Pending> {
        let Settled {
            key,
            fingerprint,
            payment,
            outcome,
            notice,
        } = settled;
        match self.by_id.get(&payment.id) {
            Some(&index) => self.payments[index] = payment.clone(),
            None => {
                let index = self.payments.len();
                self.by_id.insert(payment.id.clone(), index);
                if let Some(order_id) = payment.order_id() {
                    self.by_order.entry(order_id.to_owned()).or_default().push(index);
                }
                self.payments.push(payment.clone());
            }
        }
        let pending = notice.map(|notice| Pending {
            notice,
            key: key.clone(),
            payment: payment.clone(),
        });
        if let Some(pending) = &pending {
            self.pending.insert(pending.notice.event.clone(), pending.clone());
        }
        self.keys.insert(key, (fingerprint, Answer { payment, outcome }));
        pending
    }
}

type Effect = (Payment, Outcome, Option<NoticeKind>);

fn authorize(amount: u64, currency: String, card: Card, metadata: Metadata, stamp: Stamp) -> Effect {
    let declined = card.decline().is_some();
    let payment = Payment {
        id: id("pi", stamp),
        created: stamp.at,
        amount,
        currency,
        card,
        metadata,
        status: if declined {
            Status::RequiresPaymentMethod
        } else {
            Status::RequiresCapture
        },
        authorized: if declined { 0 } else { amount },
        captured: 0,
        voided: 0,
        captures: 0,
        refunds: Vec::new(),
        canceled_at: None,
        cancellation_reason: None,
    };
    if declined {
        (payment, Outcome::Refused(Refusal::Declined), Some(NoticeKind::Declined))
    } else {
        (payment, Outcome::Payment, Some(NoticeKind::Authorized))
    }
}

fn capture(payment: Payment, amount: Option<u64>) -> Effect {
    match payment.status {
        Status::RequiresCapture => {}
        Status::RequiresPaymentMethod | Status::Succeeded | Status::Canceled => {
            return refused(payment, Refusal::UnexpectedState);
        }
    }
    let amount = amount.unwrap_or(payment.authorized);
    if amount > payment.authorized {
        let max = payment.authorized;
        return refused(payment, Refusal::AmountTooLarge { max });
    }
    if payment.card == Card::CaptureFails {
        return refused(payment, Refusal::CaptureDeclined);
    }
    let payment = Payment {
        status: Status::Succeeded,
        captured: amount,
        voided: payment.authorized - amount,
        captures: payment.captures + 1,
        ..payment
    };
    (payment, Outcome::Payment, Some(NoticeKind::Captured))
}

fn cancel(payment: Payment, reason: Option<String>, stamp: Stamp) -> Effect {
    match payment.status {
        Status::RequiresCapture | Status::RequiresPaymentMethod => {}
        Status::Succeeded | Status::Canceled => return refused(payment, Refusal::UnexpectedState),
    }
    let payment = Payment {
        status: Status::Canceled,
        voided: payment.authorized,
        canceled_at: Some(stamp.at),
        cancellation_reason: reason,
        ..payment
    };
    (payment, Outcome::Payment, Some(NoticeKind::Canceled))
}

fn refund(mut payment: Payment, amount: Option<u64>, metadata: Metadata, stamp: Stamp) -> Effect {
    match payment.status {
        Status::Succeeded => {}
        Status::RequiresPaymentMethod | Status::RequiresCapture | Status::Canceled => {
            return refused(payment, Refusal::UnexpectedState);
        }
    }
    let left = payment.captured - payment.refunded();
    if left == 0 {
        return refused(payment, Refusal::AlreadyRefunded);
    }
    let amount = amount.unwrap_or(left);
    if amount > left {
        return refused(payment, Refusal::AmountTooLarge { max: left });
    }
    let failed = payment.card == Card::RefundFails;
    payment.refunds.push(Refund {
        id: id("re", stamp),
        created: stamp.at,
        amount,
        failed,
        metadata,
    });
    let kind = if failed {
        NoticeKind::RefundFailed
    } else {
        NoticeKind::Refunded
    };
    (payment, Outcome::Refund, Some(kind))
}

fn refused(payment: Payment, refusal: Refusal) -> Effect {
    (payment, Outcome::Refused(refusal), None)
}

fn id(prefix: &str, stamp: Stamp) -> String {
    format!("{prefix}_{}", stamp.nonce.simple())
}
