//! Orders with their kitchen ticket: the saga from created to completed, its timers, the choice of food point.
//!
//! Does not know cards, stock levels that count, or where couriers are; it asks and is told.

pub mod backlog;
pub mod config;
pub mod domain;
pub mod error;
pub mod http;
pub mod notices;
pub mod reactions;
pub mod store;

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::api::Receipt;
use mesh_contracts::id::OrderId;
use mesh_contracts::order::Event;
use mesh_contracts::view::order::{Order, fold};
use mesh_eventstore::{Aggregate, Effect, Recorded, Store, Streams};
use mesh_runtime::Clock;
use mesh_runtime::consistency::Signer;

use crate::backlog::Backlog;
use crate::domain::Policy;
use crate::store::Knowledge;

/// The name of the service, everywhere.
pub const NAME: &str = "order-master";

/// The aggregate that this service owns.
#[derive(Debug)]
pub struct Orders;

impl Aggregate for Orders {
    type Event = Event;
    type State = Order;
    const CATEGORY: &'static str = OrderId::PREFIX;

    fn evolve(order: Option<Order>, event: &Event, recorded: Recorded) -> Option<Order> {
        // Events that only a newer build knows have moved the stream's version and not the state's.
        let order = order.map(|order| Order {
            version: recorded.version - 1,
            ..order
        });
        fold(order, event, recorded.at)
    }

    fn react(order: &Order, event: &Event, at: Timestamp) -> Vec<Effect> {
        let mut effects = domain::react(order, event, at);
        effects.extend(domain::notice(event, at));
        effects
    }

    fn status_version(order: &Order) -> u64 {
        order.status_version
    }

    fn answer(id: &str, order: &Order, _version: u64) -> serde_json::Value {
        let receipt = Receipt {
            id: id.to_owned(),
            status: order.status.as_str().to_owned(),
            number: Some(order.number.clone()),
        };
        serde_json::to_value(receipt).expect("a receipt is plain data")
    }
}

/// Everything a handler or a reaction may need.
pub struct App {
    /// The orders themselves.
    pub orders: Streams<Orders>,
    /// Their database.
    pub store: Store,
    /// What is known of points and products.
    pub knowledge: Knowledge,
    /// How long an order waits for whom.
    pub policy: Policy,
    /// Business and wall time.
    pub clock: Clock,
    /// Signs what a command wrote.
    pub signer: Signer,
    /// Whether more orders are taken than are worked off.
    pub backlog: Backlog,
}

impl App {
    pub fn new(store: Store, signer: Signer) -> Self {
        let clock = store.clock().clone();
        // No deadline is shorter than ten wall seconds, however fast the business clock runs.
        let floor = clock
            .deadline(Timestamp::UNIX_EPOCH, SignedDuration::ZERO)
            .duration_since(Timestamp::UNIX_EPOCH);
        Self {
            orders: Streams::new(store.clone()),
            knowledge: Knowledge::new(store.pool().clone()),
            policy: Policy::default().floored(floor),
            store,
            clock,
            signer,
            backlog: Backlog::default(),
        }
    }
}
