//! Which streams become which documents. All are found by their ids alone, and none has personal data.
//!
//! Knows no Redis and no rule: the folds are in `contracts::view`, the writing in `mesh-projection`.

use mesh_bus::Bus;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{CourierId, DeliveryId, UserId};
use mesh_contracts::subject::Context;
use mesh_contracts::view;
use mesh_contracts::view::courier::Courier;
use mesh_contracts::view::delivery::Delivery;
use mesh_contracts::view::person::Person;
use mesh_projection::{BoxError, Placement, Projection, View};
use mesh_runtime::Shutdown;

use crate::NAME;

/// Two views of one context need a consumer each, since each has its own pace.
const DELIVERIES_DURABLE: &str = "user-info-deliveries";

/// Keeps the views up to date until shutdown.
pub fn run(projection: &Projection, bus: &Bus, shutdown: &Shutdown) -> impl Future<Output = ()> + Send + use<> {
    let people = projection.run::<People>(bus, Context::User, "usr_", NAME, shutdown.clone());
    let couriers = projection.run::<Couriers>(bus, Context::Courier, "cou_", NAME, shutdown.clone());
    let deliveries = projection.run::<Deliveries>(bus, Context::Courier, "dlv_", DELIVERIES_DURABLE, shutdown.clone());
    async {
        tokio::join!(people, couriers, deliveries);
    }
}

/// `usr_` streams.
pub struct People;

impl View for People {
    type Doc = Person;
    const KIND: &'static str = "person";

    fn fold(doc: Option<Person>, event: &Envelope) -> Result<Option<Person>, BoxError> {
        let _: UserId = event.stream.parse()?;
        Ok(view::advance(doc, event, view::person::fold, view::person::skip)?)
    }

    fn place(_: &Person) -> Placement {
        Placement::new()
    }
}

/// `cou_` streams.
pub struct Couriers;

impl View for Couriers {
    type Doc = Courier;
    const KIND: &'static str = "courier";

    fn fold(doc: Option<Courier>, event: &Envelope) -> Result<Option<Courier>, BoxError> {
        let _: CourierId = event.stream.parse()?;
        Ok(view::advance(doc, event, view::courier::fold, view::courier::skip)?)
    }

    fn place(_: &Courier) -> Placement {
        Placement::new()
    }
}

/// `dlv_` streams: who has which job, and so may see where it goes.
pub struct Deliveries;

impl View for Deliveries {
    type Doc = Delivery;
    const KIND: &'static str = "delivery";

    fn fold(doc: Option<Delivery>, event: &Envelope) -> Result<Option<Delivery>, BoxError> {
        let _: DeliveryId = event.stream.parse()?;
        Ok(view::advance(doc, event, view::delivery::fold, view::delivery::skip)?)
    }

    fn place(_: &Delivery) -> Placement {
        Placement::new()
    }
}
