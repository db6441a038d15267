//! Couriers and deliveries: shifts, offers, jobs, and who is asked next.
//!
//! Does not know food, money, or addresses; a delivery has its place to 100 m, and positions are never remembered.

pub mod domain;

pub mod dispatch;

pub mod config;
pub mod http;
pub mod reactions;

pub mod commands;
pub mod dispatcher;
pub mod error;
pub mod positions;
pub mod store;
pub mod streams;

use std::sync::Arc;

use jiff::Timestamp;
use mesh_bus::Bus;
use mesh_bus::feed::Feeds;
use mesh_contracts::subject::Context;
use mesh_eventstore::inbox::{Drained, Inbox};
use mesh_eventstore::{Store, Streams, relay};
use mesh_runtime::clock::MIN_DEADLINE_WALL;
use mesh_runtime::consistency::Signer;
use mesh_runtime::{Clock, Shutdown};
use sqlx::migrate::Migrator;
use tokio::sync::Notify;

use crate::domain::Policy;
use crate::positions::Positions;
use crate::store::Board;
use crate::streams::{Couriers, Deliveries};

/// The name of the service, everywhere.
pub const NAME: &str = "courier-master";

/// The tables of our own, after the engine's.
pub fn migrations() -> Migrator {
    sqlx::migrate!("../../migrations/courier-master")
}

/// Everything a handler, a reaction or the dispatcher may need.
pub struct App {
    pub deliveries: Streams<Deliveries>,
    pub couriers: Streams<Couriers>,
    /// Where everyone is.
    pub positions: Positions,
    /// What dispatch looks at.
    pub board: Board,
    pub policy: Policy,
    pub clock: Clock,
    /// Signs what a command wrote, and knows the PINs.
    pub signer: Signer,
    /// Wakes the dispatcher.
    pub changed: Arc<Notify>,
    /// Silence counts from here: what was sent while nobody listened is not held against anyone.
    pub started_at: Timestamp,
}

impl App {
    /// Over a database that has been migrated.
    pub fn new(store: &Store, signer: Signer) -> Self {
        let clock = store.clock().clone();
        let changed = Arc::new(Notify::new());
        Self {
            deliveries: Streams::new(store.clone()),
            couriers: Streams::new(store.clone()),
            positions: Positions::new(store.pool().clone(), changed.clone()),
            board: Board::new(store.pool().clone()),
            policy: Policy::default().floored(MIN_DEADLINE_WALL.mul_f64(clock.rate())),
            started_at: clock.now(),
            clock,
            signer,
            changed,
        }
    }

    /// Everything but the listeners, until shutdown.
    pub async fn run(self: Arc<Self>, bus: Bus, feeds: Feeds, shutdown: Shutdown) {
        let store = self.deliveries.store().clone();
        let inbox = Inbox::new(&store, &bus, &feeds, NAME);
        let drained = Drained::new();
        tokio::join!(
            relay::run(store, bus.clone(), Context::Courier, shutdown.clone()),
            reactions::orders(&self, &inbox, drained.part(), shutdown.clone()),
            reactions::people(&self, &inbox, drained.part(), shutdown.clone()),
            reactions::deadlines(&self, drained.clone(), shutdown.clone()),
            self.positions.keep(&bus, shutdown.clone()),
            dispatcher::follow(&self, &bus, shutdown.clone()),
            dispatcher::run(&self, drained.clone(), shutdown.clone()),
        );
    }
}
