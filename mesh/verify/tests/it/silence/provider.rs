//! A payment provider as basket-master meets it: keyed calls with one outcome each, whose answers may get lost.
//!
//! Keeps its own ledger, which is what the money is checked against.

use std::collections::BTreeMap;

use basket_master::domain::payment::Answer;
use mesh_contracts::id::OrderId;
use mesh_contracts::payment::Operation;
use mesh_contracts::view::payment::Call;

/// How the provider behaves towards one order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mood {
    /// So many cards are refused first.
    pub declines: u32,
    /// So many answers to each call are lost, its effect having happened.
    pub lost: u32,
    /// No capture ever works.
    pub captures_fail: bool,
}

/// Amounts of one promise, in minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    pub open: i64,
    pub captured: i64,
    pub refunded: i64,
    pub captures: u32,
}

/// The provider and its ledger.
#[derive(Debug, Clone, Default)]
pub struct Provider {
    mood: Mood,
    declined: u32,
    outcomes: BTreeMap<String, (Answer, u32)>,
    ledger: BTreeMap<OrderId, Held>,
}

impl Provider {
    pub fn new(mood: Mood) -> Self {
        Self {
            mood,
            ..Self::default()
        }
    }

    /// What the caller gets to hear.
    pub fn ask(&mut self, order: OrderId, call: &Call) -> Answer {
        if !self.outcomes.contains_key(&call.key) {
            let outcome = self.carry_out(order, call);
            self.outcomes.insert(call.key.clone(), (outcome, 0));
        }
        let (outcome, asked) = self.outcomes.get_mut(&call.key).expect("just put there");
        *asked += 1;
        if *asked <= self.mood.lost {
            return Answer::Lost;
        }
        outcome.clone()
    }

    /// What came of a call, if it was carried out.
    pub fn outcome(&self, key: &str) -> Option<&Answer> {
        self.outcomes.get(key).map(|(outcome, _)| outcome)
    }

    /// All that it has done, however often it was asked.
    pub fn done(&self) -> (Vec<(&String, &Answer)>, &BTreeMap<OrderId, Held>) {
        let outcomes = self.outcomes.iter().map(|(key, (outcome, _))| (key, outcome));
        (outcomes.collect(), &self.ledger)
    }

    pub fn held(&self, order: OrderId) -> Held {
        self.ledger.get(&order).copied().unwrap_or_default()
    }

    fn carry_out(&mut self, order: OrderId, call: &Call) -> Answer {
        let refused = |code: &str| Answer::Refused { code: code.to_owned() };
        let held = self.ledger.entry(order).or_default();
        let amount = call.amount.amount;
        match call.operation {
            Operation::Authorize if self.declined < self.mood.declines => {
                self.declined += 1;
                return refused("card_declined");
            }
            Operation::Authorize => held.open += amount,
            Operation::Capture if self.mood.captures_fail || amount > held.open => return refused("capture_failed"),
            Operation::Capture => {
                held.open = 0;
                held.captured += amount;
                held.captures += 1;
            }
            Operation::Void => held.open = 0,
            Operation::Refund if held.refunded + amount > held.captured => return refused("too_much"),
            Operation::Refund => held.refunded += amount,
        }
        Answer::Done {
            provider_id: "pi_1".to_owned(),
        }
    }
}
