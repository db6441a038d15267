//! Food points: whether they take orders, their stock, and the holds on both.
//!
//! Knows an order only as the one who asks for a hold, a product only as what it is made of where, and no price or
//! person.

pub mod domain;
pub mod error;

pub mod http;
pub mod reactions;

pub mod store;

pub mod config;

use std::sync::Arc;

use jiff::Timestamp;
use mesh_contracts::api::Receipt;
use mesh_contracts::id::FoodPointId;
use mesh_contracts::point::Event;
use mesh_contracts::view::point::{FOLD_VERSION, FoodPoint, fold};
use mesh_eventstore::{Aggregate, Effect, Recorded, SnapshotForm, Store, Streams};
use mesh_runtime::consistency::Signer;
use tokio::sync::Mutex;

use crate::store::Tables;

/// The name of the service, everywhere.
pub const NAME: &str = "point-master";

/// The aggregate that this service owns.
#[derive(Debug)]
pub struct FoodPoints;

impl Aggregate for FoodPoints {
    type Event = Event;
    type State = FoodPoint;
    const CATEGORY: &'static str = FoodPointId::PREFIX;
    /// Every order that it holds adds to it.
    const SNAPSHOT: Option<SnapshotForm<FoodPoint>> = Some(SnapshotForm::json(FOLD_VERSION));

    fn evolve(point: Option<FoodPoint>, event: &Event, recorded: Recorded) -> Option<FoodPoint> {
        // Events that only a newer build knows have moved the stream's version and not the state's.
        let point = point.map(|point| FoodPoint {
            version: recorded.version - 1,
            ..point
        });
        fold(point, event, recorded.at)
    }

    fn react(point: &FoodPoint, event: &Event, at: Timestamp) -> Vec<Effect> {
        domain::react(point, event, at)
    }

    fn status_version(point: &FoodPoint) -> u64 {
        point.status_version
    }

    fn answer(id: &str, point: &FoodPoint, _version: u64) -> serde_json::Value {
        let status = if point.open { "open" } else { "closed" };
        let receipt = Receipt {
            id: id.to_owned(),
            status: status.to_owned(),
            number: None,
        };
        serde_json::to_value(receipt).expect("a receipt is plain data")
    }
}

/// What handlers and reactions share.
pub struct App {
    pub points: Streams<FoodPoints>,
    pub tables: Tables,
    pub signer: Signer,
    /// The revision of what products need that every point was brought in line with. Held meanwhile: of many products
    /// that are heard at once, the first does it for all.
    aligned: Arc<Mutex<Option<i64>>>,
}

impl App {
    pub fn new(store: Store, signer: Signer) -> Self {
        Self {
            tables: Tables::new(store.pool().clone()),
            points: Streams::new(store),
            signer,
            aligned: Arc::default(),
        }
    }
}
