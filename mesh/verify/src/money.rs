//! I2: an order's money is what is due, taken once, promised no longer than needed, and the provider's ledger agrees.
//!
//! Three witnesses: order-master says what is due, basket-master says what it did, the provider says what happened.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::OrderId;
use mesh_contracts::money::Money;
use mesh_contracts::order::{self, Method};
use mesh_contracts::payment;
use mesh_contracts::view::payment::{Payment, fold, skip};
use serde::Deserialize;

use crate::findings::Breach;
use crate::orders::status;

/// How long the money of an ended order may still move, in wall time.
const SETTLE_WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// What an order says about money.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Money was asked for.
    pub requested: bool,
    /// What is due, by the newest word.
    pub due: Option<Due>,
    /// When the order ended, on the wall clock.
    pub ended_at: Option<Timestamp>,
}

/// What should have been captured and not refunded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub amount: Money,
    pub is_final: bool,
    pub seq: u32,
}

/// What basket-master did.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Folded from its events.
    pub payment: Payment,
    /// How often the money was taken.
    pub captures: usize,
    /// When anything was last written, on the wall clock.
    pub written_at: Timestamp,
}

/// One payment as the provider has it; an order may have several, one for each card.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Entry {
    /// The provider's id of it.
    pub id: String,
    /// For which order.
    pub order_id: Option<String>,
    /// In lower case.
    pub currency: String,
    /// Minor units, as all amounts here.
    pub captured: i64,
    pub refunded: i64,
    /// Promised, and neither taken nor given back.
    pub open: i64,
    /// How often money was taken.
    pub captures: u32,
}

/// The provider's whole ledger at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    /// Every payment.
    pub entries: Vec<Entry>,
    /// When we began to ask, on the wall clock. It was asked before the payments were read.
    pub asked_at: Timestamp,
}

/// What an order's events say; `None` if there are none.
pub fn claim(events: &[Envelope]) -> Option<Claim> {
    events.first()?;
    let mut claim = Claim {
        requested: false,
        due: None,
        ended_at: None,
    };
    for envelope in events {
        match envelope.body::<order::Event>() {
            Ok(Some(order::Event::PaymentRequested { .. })) => claim.requested = true,
            Ok(Some(order::Event::SettlementDue { amount, is_final, seq })) => {
                if claim.due.is_none_or(|due| due.seq < seq) {
                    claim.due = Some(Due { amount, is_final, seq });
                }
            }
            // The other events say nothing of money; I4 finds those that cannot be read.
            Ok(Some(_) | None) | Err(_) => {}
        }
    }
    if status(events).is_some_and(order::Status::is_terminal) {
        claim.ended_at = events.last().map(|last| last.recorded_at);
    }
    Some(claim)
}

/// What a payment's events say; `None` if they do not start with its opening.
pub fn account(events: &[Envelope]) -> Option<Account> {
    let mut payment: Option<Payment> = None;
    let mut captures = 0;
    for envelope in events {
        let event = envelope.body::<payment::Event>().ok().flatten();
        captures += usize::from(matches!(
            event,
            Some(payment::Event::Captured { .. } | payment::Event::CashCollected { .. })
        ));
        payment = match event {
            Some(event) => fold(payment, &event, envelope.at),
            None => payment.map(|mut payment| {
                skip(&mut payment, envelope.at);
                payment
            }),
        };
    }
    Some(Account {
        payment: payment?,
        captures,
        written_at: events.last()?.recorded_at,
    })
}

/// I2. Claims and accounts are by order.
pub fn settled(
    claims: &BTreeMap<String, Claim>,
    accounts: &BTreeMap<String, Account>,
    ledger: &Ledger,
    wall: Timestamp,
) -> Vec<Breach> {
    let mut provider: BTreeMap<&str, Total> = BTreeMap::new();
    let mut breaches = Vec::new();
    for entry in &ledger.entries {
        match entry.order_id.as_deref() {
            Some(order) if accounts.contains_key(order) => provider.entry(order).or_default().add(entry),
            _ if entry.captured == 0 && entry.open == 0 => {}
            _ => breaches.push(Breach::of(
                &entry.id,
                "the provider has money of an order without a payment",
            )),
        }
    }
    for (order, account) in accounts {
        let total = provider.get(order.as_str()).copied().unwrap_or_default();
        let what = taken_twice(account, total).or_else(|| disagreement(account, total, ledger.asked_at));
        breaches.extend(what.map(|what| Breach::of(order, what)));
    }
    for (order, claim) in claims {
        let is_over = claim.ended_at.is_some_and(|ended| ended + SETTLE_WITHIN < wall);
        if is_over {
            let what = unsettled(claim, accounts.get(order));
            breaches.extend(what.map(|what| Breach::of(order, what)));
        }
    }
    breaches
}

/// Orders that ended so lately that their money may still move, and is not where it is due.
pub fn pending(
    claims: &BTreeMap<String, Claim>,
    accounts: &BTreeMap<String, Account>,
    wall: Timestamp,
) -> Vec<OrderId> {
    let is_pending = |(order, claim): (&String, &Claim)| {
        let is_young = claim.ended_at.is_some_and(|ended| ended + SETTLE_WITHIN >= wall);
        let is_unsettled = is_young && unsettled(claim, accounts.get(order)).is_some();
        is_unsettled.then(|| order.parse().ok()).flatten()
    };
    claims.iter().filter_map(is_pending).collect()
}

/// The provider's payments for one order, in one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Total {
    captured: i64,
    refunded: i64,
    open: i64,
    captures: u32,
}

impl Total {
    fn add(&mut self, entry: &Entry) {
        self.captured += entry.captured;
        self.refunded += entry.refunded;
        self.open += entry.open;
        self.captures += entry.captures;
    }
}

fn taken_twice(account: &Account, total: Total) -> Option<String> {
    if account.captures > 1 {
        Some(format!("the money was taken {} times", account.captures))
    } else if total.captures > 1 {
        Some(format!("the provider took the money {} times", total.captures))
    } else {
        None
    }
}

/// Only where nothing was under way when the provider was asked: no call, and nothing written since.
fn disagreement(account: &Account, total: Total, asked_at: Timestamp) -> Option<String> {
    let payment = &account.payment;
    if payment.call.is_some() || account.written_at >= asked_at {
        return None;
    }
    let ours = match payment.method {
        Method::Card => (
            payment.captured.amount,
            payment.refunded.amount,
            payment.authorized.amount,
        ),
        // The provider never hears of cash.
        Method::Cash => (0, 0, 0),
    };
    let theirs = (total.captured, total.refunded, total.open);
    (ours != theirs).then(|| format!("captured, refunded, promised: {ours:?} here, {theirs:?} at the provider"))
}

/// What is wrong with the money of an order that ended.
fn unsettled(claim: &Claim, account: Option<&Account>) -> Option<String> {
    let Some(account) = account else {
        let owed = claim.due.filter(|due| due.amount.amount > 0)?;
        return Some(format!("{} is due, and there is no payment", owed.amount.amount));
    };
    let payment = &account.payment;
    let Some(due) = claim.due.filter(|due| due.is_final) else {
        return claim
            .requested
            .then(|| "ended, and nobody said what is due for good".to_owned());
    };
    if payment.authorized.amount != 0 {
        return Some(format!("{} is still promised", payment.authorized.amount));
    }
    let kept = payment.kept();
    // What could not be taken is booked as a debt of the customer, who has the food.
    if kept + payment.owed() == due.amount.amount && payment.amount.currency == due.amount.currency {
        return None;
    }
    // The provider refuses to give it back and is asked again; the timer for it is I8's affair.
    let is_retried = payment.refund_after.is_some() && kept > due.amount.amount;
    (!is_retried).then(|| {
        let (due, owed) = (due.amount.amount, payment.owed());
        format!("{due} is due, {kept} is kept, {owed} is owed")
    })
}

#[cfg(test)]
mod tests;
