//! The two aggregates as the engine sees them.

use jiff::Timestamp;
use mesh_contracts::api::Receipt;
use mesh_contracts::id::{CourierId, DeliveryId};
use mesh_contracts::view::courier::Courier;
use mesh_contracts::view::delivery::Delivery;
use mesh_contracts::{courier, delivery, view};
use mesh_eventstore::{Aggregate, Effect, Recorded, SnapshotForm};
use serde_json::Value;

use crate::domain;

/// `dlv_` streams.
#[derive(Debug)]
pub struct Deliveries;

impl Aggregate for Deliveries {
    type Event = delivery::Event;
    type State = Delivery;
    const CATEGORY: &'static str = DeliveryId::PREFIX;

    fn evolve(delivery: Option<Delivery>, event: &delivery::Event, recorded: Recorded) -> Option<Delivery> {
        view::delivery::fold(delivery, event, recorded.at)
    }

    fn react(_: &Delivery, event: &delivery::Event, _: Timestamp) -> Vec<Effect> {
        domain::delivery::react(event)
    }

    fn status_version(delivery: &Delivery) -> u64 {
        delivery.status_version
    }

    fn answer(id: &str, delivery: &Delivery, _: u64) -> Value {
        receipt(id, delivery.status.as_str(), Some(delivery.number.clone()))
    }
}

/// `cou_` streams.
#[derive(Debug)]
pub struct Couriers;

impl Aggregate for Couriers {
    type Event = courier::Event;
    type State = Courier;
    const CATEGORY: &'static str = CourierId::PREFIX;
    /// Every offer and every job adds to it.
    const SNAPSHOT: Option<SnapshotForm<Courier>> = Some(SnapshotForm::json(view::courier::FOLD_VERSION));

    fn evolve(courier: Option<Courier>, event: &courier::Event, recorded: Recorded) -> Option<Courier> {
        view::courier::fold(courier, event, recorded.at)
    }

    fn status_version(courier: &Courier) -> u64 {
        courier.status_version
    }

    fn answer(id: &str, courier: &Courier, _: u64) -> Value {
        receipt(id, courier.status.as_str(), None)
    }
}

fn receipt(id: &str, status: &str, number: Option<String>) -> Value {
    let receipt = Receipt {
        id: id.to_owned(),
        status: status.to_owned(),
        number,
    };
    serde_json::to_value(receipt).expect("a receipt is plain data")
}
