//! Documents as they are answered: what a customer sees of a basket and a payment.

use jiff::Timestamp;
use mesh_contracts::id::{OrderId, PaymentId};
use mesh_contracts::money::Money;
use mesh_contracts::order::Method;
use mesh_contracts::view::basket::Basket;
use mesh_contracts::view::payment::{self, Status};
use serde::Serialize;

/// The basket of somebody who never put anything into it.
pub fn empty() -> Basket {
    Basket {
        version: 0,
        country: None,
        lines: Vec::new(),
        total: None,
        changes: Vec::new(),
        checkout: None,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// A payment without the calls to the provider behind it.
#[derive(Debug, Serialize)]
pub struct Payment {
    pub id: PaymentId,
    pub order: OrderId,
    pub status: Status,
    pub status_version: u64,
    pub version: u64,
    pub method: Method,
    /// What the order costs.
    pub amount: Money,
    /// What is promised and neither taken nor given back.
    pub authorized: Money,
    pub captured: Money,
    pub refunded: Money,
    /// Cards refused so far; another may do until `pay_by`.
    pub declines: u32,
    /// Why the last one was refused, in the provider's word.
    pub failure: Option<String>,
    pub pay_by: Timestamp,
    /// The money could not be taken: until then another card may pay.
    pub recover_by: Option<Timestamp>,
    /// What was due and could not be taken.
    pub debt: Option<Money>,
    /// Money is to go back, and the bank refuses it again and again.
    pub refund_overdue: bool,
    pub opened_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<payment::Payment> for Payment {
    fn from(payment: payment::Payment) -> Self {
        Self {
            id: payment.order.payment(),
            order: payment.order,
            status: payment.status,
            status_version: payment.status_version,
            version: payment.version,
            method: payment.method,
            amount: payment.amount,
            authorized: payment.authorized,
            captured: payment.captured,
            refunded: payment.refunded,
            declines: payment.declines,
            failure: payment.failure,
            pay_by: payment.pay_by,
            recover_by: payment
                .recover_by
                .filter(|_| payment.capture_failed && !payment.collection_failed),
            debt: payment.debt,
            refund_overdue: payment.refund_overdue,
            opened_at: payment.opened_at,
            updated_at: payment.updated_at,
        }
    }
}
