//! I2, the books: the ledger of payments is what their events post, sums to nothing, and agrees with what was folded
//! and with what the provider has.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::ledger::{Account, Entry, balances, entries};
use mesh_contracts::order::Method;
use mesh_contracts::view::payment::Payment;

use crate::findings::Breach;
use crate::money::{Ledger, account};

/// How long an event may wait for being booked, in wall time: who is not told of it finds it within half a minute.
const BOOKED_WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// A payment with its part of the ledger, at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Books {
    /// Everything that happened to it.
    pub events: Vec<Envelope>,
    /// Up to which event it is booked.
    pub head: u64,
    /// What is booked, by event and line.
    pub entries: Vec<Entry>,
}

/// What the provider took and did not give back, by order, in minor units.
pub fn taken(ledger: &Ledger) -> BTreeMap<&str, i128> {
    let mut taken = BTreeMap::new();
    for entry in &ledger.entries {
        if let Some(order) = entry.order_id.as_deref() {
            *taken.entry(order).or_default() += i128::from(entry.captured - entry.refunded);
        }
    }
    taken
}

/// I2, of one payment's books. `taken` is what the provider has of it, asked for at `asked_at`.
pub fn kept(stream: &str, books: &Books, taken: i128, asked_at: Timestamp, wall: Timestamp) -> Option<Breach> {
    let what = late(books, wall)
        .or_else(|| other_than_posted(books))
        .or_else(|| unlike_the_fold(books))
        .or_else(|| unlike_the_provider(books, taken, asked_at))?;
    Some(Breach::of(stream, format!("the ledger {what}")))
}

fn late(books: &Books, wall: Timestamp) -> Option<String> {
    let count = books.events.len() as u64;
    let waiting = books.events.get(usize::try_from(books.head).unwrap_or(usize::MAX));
    let is_late = waiting.is_some_and(|event| event.recorded_at + BOOKED_WITHIN < wall);
    (is_late || books.head > count).then(|| format!("stands at {} of {count} events", books.head))
}

fn other_than_posted(books: &Books) -> Option<String> {
    let posted = posted(books);
    let differs = books
        .entries
        .iter()
        .zip(&posted)
        .find(|(booked, posted)| booked != posted);
    if let Some((booked, _)) = differs {
        return Some(format!("has another line {} of event {}", booked.line, booked.version));
    }
    let (booked, posted) = (books.entries.len(), posted.len());
    (booked != posted).then(|| format!("has {booked} lines where the events post {posted}"))
}

fn posted(books: &Books) -> Vec<Entry> {
    let events = books.events.iter().map(|event| (event.body().ok().flatten(), event.at));
    let mut posted = entries(events);
    posted.retain(|entry| entry.version <= books.head);
    posted
}

/// What the accounts must say if the books are as far as the events.
fn unlike_the_fold(books: &Books) -> Option<String> {
    let balances = balances(books.entries.iter().map(|entry| entry.posting));
    let mut sums: BTreeMap<_, i128> = BTreeMap::new();
    for ((_, currency), balance) in &balances {
        *sums.entry(currency).or_default() += balance;
    }
    if let Some((currency, sum)) = sums.into_iter().find(|(_, sum)| *sum != 0) {
        return Some(format!("sums to {sum} {currency}"));
    }
    let payment = complete(books)?;
    let of = |account| {
        balances
            .get(&(account, payment.amount.currency))
            .copied()
            .unwrap_or_default()
    };
    let (due, taken, owed) = (payment.due(), payment.kept(), payment.owed());
    let (by_card, in_cash) = match payment.method {
        Method::Card => (taken, 0),
        Method::Cash => (0, taken),
    };
    let expected = [
        (Account::ProviderClearing, by_card),
        (Account::CashOnHand, in_cash),
        (Account::Debts, owed),
        (Account::CustomerReceivable, due - taken - owed),
    ];
    let wrong = expected
        .into_iter()
        .find(|(account, cents)| of(*account) != i128::from(*cents));
    wrong.map(|(account, cents)| format!("has {} in {account} where {cents} should be", of(account)))
}

/// Only where nothing was under way when the provider was asked: no call, and nothing written since.
fn unlike_the_provider(books: &Books, taken: i128, asked_at: Timestamp) -> Option<String> {
    let payment = complete(books)?;
    let is_quiet = books.events.last().is_some_and(|last| last.recorded_at < asked_at);
    if payment.call.is_some() || !is_quiet {
        return None;
    }
    let balances = balances(books.entries.iter().map(|entry| entry.posting));
    let account = Account::ProviderClearing;
    let cleared = balances
        .get(&(account, payment.amount.currency))
        .copied()
        .unwrap_or_default();
    (cleared != taken).then(|| format!("has {cleared} in {account} where the provider has {taken}"))
}

/// The payment, if all that happened to it is booked.
fn complete(books: &Books) -> Option<Payment> {
    let is_complete = books.head == books.events.len() as u64;
    account(&books.events)
        .filter(|_| is_complete)
        .map(|account| account.payment)
}

#[cfg(test)]
mod tests;
