//! Tells customers by e-mail what happened to their orders.
//!
//! Knows a person for as long as a mail takes, and an order by what its job says.

pub mod domain;

pub mod error;
pub mod mail;
pub mod people;
pub mod reactions;
pub mod store;

pub mod http;

pub mod config;

use mesh_contracts::id::NotificationsId;
use mesh_contracts::notification::Event;
use mesh_contracts::view::notification::{Notifications, fold};
use mesh_eventstore::{Aggregate, Recorded, Store, Streams};
use serde_json::json;

use crate::mail::Mailer;
use crate::people::People;

/// The name of the service, everywhere.
pub const NAME: &str = "notifier";

/// The aggregate that this service owns: what a customer was told about one order.
#[derive(Debug)]
pub struct Told;

impl Aggregate for Told {
    type Event = Event;
    type State = Notifications;
    const CATEGORY: &'static str = NotificationsId::PREFIX;

    fn evolve(told: Option<Notifications>, event: &Event, recorded: Recorded) -> Option<Notifications> {
        fold(told, event, recorded.at)
    }

    /// Has no status: each occasion is settled once.
    fn status_version(told: &Notifications) -> u64 {
        told.version
    }

    fn answer(id: &str, _told: &Notifications, version: u64) -> serde_json::Value {
        json!({ "id": id, "version": version })
    }
}

/// Everything that a job may need.
#[derive(Clone)]
pub struct App {
    pub told: Streams<Told>,
    pub people: People,
    pub mailer: Mailer,
}

impl App {
    pub fn new(store: Store, people: People, mailer: Mailer) -> Self {
        Self {
            told: Streams::new(store),
            people,
            mailer,
        }
    }
}
