//! The operators' board: how many orders stand where, the food points and the couriers at work.
//!
//! Its live topic tells only what changes here, not every event: an operator's screen stays quiet in a busy hour.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::geo::{Coordinates, Country};
use crate::id::{CourierId, FoodPointId, OrderId};
use crate::order::Status;
use crate::point::ClosedBy;
use crate::view::courier::{self, Courier};
use crate::view::kitchen::Kitchen;

/// An order that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderMark {
    /// Where it stands.
    pub status: Status,
}

/// A food point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KitchenMark {
    /// On the sign over the door.
    pub name: String,
    /// Where it sells.
    pub country: Country,
    /// Where it is.
    pub at: Coordinates,
    /// Whether it takes orders within its hours.
    pub open: bool,
    /// Why not.
    pub closed_by: Option<ClosedBy>,
    /// Orders that it holds or cooks.
    pub busy: usize,
    /// And how many it can.
    pub pool: u16,
}

impl From<&Kitchen> for KitchenMark {
    fn from(kitchen: &Kitchen) -> Self {
        Self {
            name: kitchen.name.clone(),
            country: kitchen.country,
            at: kitchen.at,
            open: kitchen.open,
            closed_by: kitchen.closed_by,
            busy: kitchen.holds.len(),
            pool: kitchen.pool,
        }
    }
}

/// A courier on shift, or with jobs still in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CourierMark {
    /// Whether the courier takes offers.
    pub status: courier::Status,
    /// Jobs in hand.
    pub jobs: usize,
}

impl CourierMark {
    /// `None` for a courier who is not at work.
    pub fn of(courier: &Courier) -> Option<Self> {
        let at_work = courier.status == courier::Status::On || !courier.jobs.is_empty();
        at_work.then_some(Self {
            status: courier.status,
            jobs: courier.jobs.len(),
        })
    }
}

/// A change of the board. `was` and `is` are absent where it appears and vanishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// An order began, moved or ended.
    Order(Turn<OrderId, OrderMark>),
    /// A food point.
    Kitchen(Turn<FoodPointId, KitchenMark>),
    /// A courier.
    Courier(Turn<CourierId, CourierMark>),
}

/// One thing before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn<Id, Mark> {
    /// Which.
    pub stream: Id,
    /// The version of its stream that made the change.
    pub version: u64,
    /// Business time.
    pub at: Timestamp,
    /// Before.
    pub was: Option<Mark>,
    /// After.
    pub is: Option<Mark>,
}

/// What is on the board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Pin {
    /// A food point.
    Kitchen {
        /// Which.
        id: FoodPointId,
        /// How it is.
        #[serde(flatten)]
        mark: KitchenMark,
    },
    /// A courier.
    Courier {
        /// Who.
        id: CourierId,
        /// Doing what.
        #[serde(flatten)]
        mark: CourierMark,
    },
}

/// All of it, as a snapshot gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// How many orders stand where; those that ended are not counted.
    pub counts: BTreeMap<Status, u64>,
    /// Food points and couriers at work.
    pub documents: Vec<Pin>,
}

/// The board as its client has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Board {
    /// How many orders stand where.
    pub orders: BTreeMap<Status, u64>,
    /// Food points.
    pub kitchens: BTreeMap<FoodPointId, KitchenMark>,
    /// Couriers at work.
    pub couriers: BTreeMap<CourierId, CourierMark>,
}

impl Board {
    /// A snapshot: what was there before is superseded.
    pub fn show(&mut self, snapshot: Snapshot) {
        *self = Self {
            orders: snapshot.counts.into_iter().filter(|(_, count)| *count > 0).collect(),
            ..Self::default()
        };
        for pin in snapshot.documents {
            match pin {
                Pin::Kitchen { id, mark } => drop(self.kitchens.insert(id, mark)),
                Pin::Courier { id, mark } => drop(self.couriers.insert(id, mark)),
            }
        }
    }

    /// The next change.
    pub fn hear(&mut self, change: Change) {
        match change {
            Change::Order(turn) => {
                self.count(turn.was, |count| count.saturating_sub(1));
                self.count(turn.is, |count| count + 1);
            }
            Change::Kitchen(turn) => put(&mut self.kitchens, turn),
            Change::Courier(turn) => put(&mut self.couriers, turn),
        }
    }

    fn count(&mut self, mark: Option<OrderMark>, change: impl FnOnce(u64) -> u64) {
        let Some(mark) = mark else { return };
        let count = self.orders.remove(&mark.status).unwrap_or_default();
        let count = change(count);
        if count > 0 {
            self.orders.insert(mark.status, count);
        }
    }
}

fn put<Id: Ord, Mark>(marks: &mut BTreeMap<Id, Mark>, turn: Turn<Id, Mark>) {
    match turn.is {
        Some(mark) => marks.insert(turn.stream, mark),
        None => marks.remove(&turn.stream),
    };
}

/// How far the readers of the bus are behind, and what nobody could read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Events that each reader has still to take in; those that have none are not named.
    pub behind: BTreeMap<String, u64>,
    /// Their sum.
    pub lag: u64,
    /// Events that were given up.
    pub dead_letters: u64,
    /// The newest of them.
    pub newest: Vec<Letter>,
}

/// An event that a reader gave up: what and why, never its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Who gave up.
    pub consumer: String,
    /// Of what.
    pub stream: Option<String>,
    /// Which event.
    pub event_type: Option<String>,
    /// Why.
    pub error: String,
    /// When, by the wall clock.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests;
