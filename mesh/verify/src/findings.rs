//! What was found: a count per invariant, with a few examples of each.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Enough to begin looking, few enough to read.
const EXAMPLES_MAX: usize = 10;

/// The invariants that can be checked by reading stores, by their names in the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Invariant {
    I1,
    I2,
    I3,
    I4,
    I5,
    I6,
    I7,
    I8,
    I9,
    I10,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::I1,
        Self::I2,
        Self::I3,
        Self::I4,
        Self::I5,
        Self::I6,
        Self::I7,
        Self::I8,
        Self::I9,
        Self::I10,
    ];

    /// What holds when nothing is counted.
    pub fn promise(self) -> &'static str {
        match self {
            Self::I1 => "every acknowledged order has ended or waits with a live deadline",
            Self::I2 => "money taken is money due, and the provider agrees",
            Self::I3 => "no stock appears or vanishes",
            Self::I4 => "every order's events are a path in the table",
            Self::I5 => "every document is the fold of its events",
            Self::I6 => "no read is older than its token",
            Self::I7 => "nothing is left out or repeated on live streams",
            Self::I8 => "nothing is past its deadline",
            Self::I9 => "one key, one effect, one answer",
            Self::I10 => "every reader stands at the head",
        }
    }
}

/// One thing that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// Of what: an order, a stream, a command, a reader.
    pub id: String,
    /// What is wrong with it.
    pub what: String,
}

impl Breach {
    /// `what` is wrong with `id`.
    pub fn of(id: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            what: what.into(),
        }
    }
}

/// How much was looked at, so that a zero can be told from not having looked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Orders.
    pub orders: u64,
    /// Payments.
    pub payments: u64,
    /// Food points.
    pub food_points: u64,
    /// Events of all masters.
    pub events: u64,
    /// Documents in Redis.
    pub documents: u64,
    /// Timers of all masters.
    pub timers: u64,
    /// Stored answers of all masters.
    pub commands: u64,
    /// Lines of the clients' history.
    pub history_lines: u64,
    /// Answers to somebody with a token.
    pub token_reads: u64,
    /// What clients heard on live streams.
    pub live_news: u64,
    /// Payments in the provider's ledger.
    pub ledger_entries: u64,
    /// Lines of our own ledger.
    pub ledger_lines: u64,
    /// Pairs of a reader and a stream that it reads.
    pub readings: u64,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How many breaches of each.
    pub violations: BTreeMap<Invariant, u64>,
    /// The first few of each that has any.
    pub examples: BTreeMap<Invariant, Vec<Breach>>,
    /// How much was looked at.
    pub checked: Checked,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            violations: Invariant::ALL.map(|invariant| (invariant, 0)).into(),
            examples: BTreeMap::new(),
            checked: Checked::default(),
        }
    }
}

impl Report {
    /// Counts breaches.
    pub fn add(&mut self, invariant: Invariant, breaches: impl IntoIterator<Item = Breach>) {
        for breach in breaches {
            *self.violations.entry(invariant).or_default() += 1;
            let examples = self.examples.entry(invariant).or_default();
            if examples.len() < EXAMPLES_MAX {
                examples.push(breach);
            }
        }
    }

    /// How many breaches of one.
    pub fn count(&self, invariant: Invariant) -> u64 {
        self.violations.get(&invariant).copied().unwrap_or_default()
    }

    /// Whether nothing was found.
    pub fn holds(&self) -> bool {
        self.violations.values().all(|count| *count == 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for invariant in Invariant::ALL {
            let name = format!("{invariant:?}");
            let count = self.count(invariant);
            writeln!(out, "{name:<4} {count:>6}  {}", invariant.promise())?;
            for breach in self.examples.get(&invariant).into_iter().flatten() {
                writeln!(out, "             {}: {}", breach.id, breach.what)?;
            }
        }
        let Checked {
            orders,
            payments,
            food_points,
            events,
            documents,
            timers,
            commands,
            history_lines,
            token_reads,
            live_news,
            ledger_entries,
            ledger_lines,
            readings,
        } = &self.checked;
        write!(
            out,
            "looked at {orders} orders, {payments} payments, {food_points} food points, {events} events, \
             {documents} documents, {timers} timers, {commands} stored answers, {history_lines} lines of history, \
             {token_reads} reads with a token, \
             {live_news} pieces of live news, \
             {ledger_entries} payments at the provider, {ledger_lines} lines of our ledger, {readings} readings"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_breach_is_counted_and_a_few_are_shown() {
        let mut report = Report::default();
        assert!(report.holds());
        report.add(Invariant::I4, (0..25).map(|n| Breach::of(n.to_string(), "bad")));
        assert!(!report.holds());
        assert_eq!(report.count(Invariant::I4), 25);
        assert_eq!(report.examples[&Invariant::I4].len(), EXAMPLES_MAX);
    }

    #[test]
    fn every_invariant_has_its_number_in_the_json() {
        let json = serde_json::to_value(Report::default()).expect("plain data");
        let names: Vec<_> = Invariant::ALL.iter().map(|one| format!("{one:?}")).collect();
        for name in names {
            assert_eq!(json["violations"][&name], 0, "{name}");
        }
    }
}
