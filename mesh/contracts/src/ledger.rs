//! The double-entry ledger of payments: what each event posts, to which accounts, summing to nothing.
//!
//! Derived from the events and from nothing else, so that it can be made anew and audited at any time.
//! A promise moves no money and posts nothing; so do intents and answers that settle nothing.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::money::{Currency, Money};
use crate::order::{Liable, Method};
use crate::payment::Event;
use crate::view::payment::{Payment, fold, skip};

/// Where money stands. A positive balance is a debit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// What customers are to pay and have not yet.
    CustomerReceivable,
    /// What the payment provider took for us and has not given back.
    ProviderClearing,
    /// What couriers took at doors and kitchens at their counters, and have not handed in.
    CashOnHand,
    /// What was due, at its highest.
    Revenue,
    /// What ceased to be due, less what somebody else bears.
    Refunds,
    /// What is due for good and could not be taken.
    Debts,
    /// What a food point bears.
    LiablePoint,
    /// What a courier bears.
    LiableCourier,
    /// What the chain bears.
    LiablePlatform,
}

impl Account {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::CustomerReceivable,
        Self::ProviderClearing,
        Self::CashOnHand,
        Self::Revenue,
        Self::Refunds,
        Self::Debts,
        Self::LiablePoint,
        Self::LiableCourier,
        Self::LiablePlatform,
    ];

    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CustomerReceivable => "customer_receivable",
            Self::ProviderClearing => "provider_clearing",
            Self::CashOnHand => "cash_on_hand",
            Self::Revenue => "revenue",
            Self::Refunds => "refunds",
            Self::Debts => "debts",
            Self::LiablePoint => "liable_point",
            Self::LiableCourier => "liable_courier",
            Self::LiablePlatform => "liable_platform",
        }
    }

    /// The account of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|account| account.as_str() == name)
    }

    fn of(liable: Liable) -> Self {
        match liable {
            Liable::Point => Self::LiablePoint,
            Liable::Courier => Self::LiableCourier,
            Liable::Platform => Self::LiablePlatform,
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// One line of the ledger: a debit above zero, a credit below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    /// Where.
    pub account: Account,
    /// How much.
    pub amount: Money,
}

/// What an event posts to a payment as it stood before; the sum is zero in every currency.
/// Events that tell a new level (what is due, owed, borne) post the difference.
pub fn postings(before: Option<&Payment>, event: &Event) -> Vec<Posting> {
    let taken_by = before.map_or(Account::ProviderClearing, |payment| match payment.method {
        Method::Card => Account::ProviderClearing,
        Method::Cash => Account::CashOnHand,
    });
    let level = |of: fn(&Payment) -> i64| before.map_or(0, of);
    match event {
        Event::Due { amount, seq, .. } => {
            let is_news = before.is_some_and(|payment| payment.target.is_none_or(|target| target.seq < *seq));
            if is_news {
                due(level(Payment::due), *amount)
            } else {
                Vec::new()
            }
        }
        Event::Captured { amount, .. } => moved(Account::CustomerReceivable, Account::ProviderClearing, *amount),
        Event::CashCollected { amount } => moved(Account::CustomerReceivable, Account::CashOnHand, *amount),
        Event::Refunded { amount, .. } => moved(taken_by, Account::CustomerReceivable, *amount),
        Event::DebtBooked { amount } => {
            let more = Money::new(amount.amount.saturating_sub(level(Payment::owed)), amount.currency);
            moved(Account::CustomerReceivable, Account::Debts, more)
        }
        Event::LiabilityBooked { liable, amount } => {
            let more = Money::new(amount.amount.saturating_sub(level(Payment::borne)), amount.currency);
            moved(Account::Refunds, Account::of(*liable), more)
        }
        Event::Opened { .. }
        | Event::Intended { .. }
        | Event::Authorized { .. }
        | Event::Declined { .. }
        | Event::CashAgreed { .. }
        | Event::Unknown { .. }
        | Event::CaptureFailed { .. }
        | Event::CollectionFailed { .. }
        | Event::Voided { .. }
        | Event::RefundFailed { .. }
        | Event::RefundOverdue { .. }
        | Event::LiableNamed { .. } => Vec::new(),
    }
}

/// More due is revenue; less due is a refund, which keeps what was once due in sight.
fn due(before: i64, now: Money) -> Vec<Posting> {
    let change = now.amount.max(0).saturating_sub(before);
    let amount = Money::new(change, now.currency);
    if change > 0 {
        moved(Account::Revenue, Account::CustomerReceivable, amount)
    } else {
        moved(Account::Refunds, Account::CustomerReceivable, amount)
    }
}

/// Credits one account and debits another; nothing for nothing.
fn moved(from: Account, to: Account, amount: Money) -> Vec<Posting> {
    if amount.is_zero() {
        return Vec::new();
    }
    let credit = Money::new(-amount.amount, amount.currency);
    vec![
        Posting { account: to, amount },
        Posting {
            account: from,
            amount: credit,
        },
    ]
}

/// A posting with its place in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Version of the event in the payment's stream.
    pub version: u64,
    /// Counts from 0 within the event.
    pub line: u16,
    /// When it happened, on the business clock.
    pub at: Timestamp,
    /// What.
    pub posting: Posting,
}

/// What a payment's whole stream posts, from its first event on; `None` stands for an event that this build
/// does not know.
pub fn entries(events: impl IntoIterator<Item = (Option<Event>, Timestamp)>) -> Vec<Entry> {
    let mut payment: Option<Payment> = None;
    let mut entries = Vec::new();
    for (version, (event, at)) in (1..).zip(events) {
        if let Some(event) = &event {
            let postings = postings(payment.as_ref(), event);
            entries.extend((0..).zip(postings).map(|(line, posting)| Entry {
                version,
                line,
                at,
                posting,
            }));
        }
        payment = match event {
            Some(event) => fold(payment, &event, at),
            None => payment.map(|mut payment| {
                skip(&mut payment, at);
                payment
            }),
        };
    }
    entries
}

/// Balance of every account that was ever posted to, in minor units.
pub fn balances(postings: impl IntoIterator<Item = Posting>) -> BTreeMap<(Account, Currency), i128> {
    let mut balances = BTreeMap::new();
    for Posting { account, amount } in postings {
        *balances.entry((account, amount.currency)).or_default() += i128::from(amount.amount);
    }
    balances
}

#[cfg(test)]
#[path = "ledger/tests.rs"]
mod tests;
