//! Which streams become which documents. Both are found by their ids alone.
//!
//! Knows no Redis and no rule: the folds are in `contracts::view`, the writing in `mesh-projection`.

use mesh_bus::Bus;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{BasketId, PaymentId};
use mesh_contracts::subject::Context;
use mesh_contracts::view;
use mesh_contracts::view::basket::Basket;
use mesh_contracts::view::payment::Payment;
use mesh_projection::{BoxError, Placement, Projection, View};
use mesh_runtime::Shutdown;

use crate::NAME;

/// Two views of one context need a consumer each, since each has its own pace.
const PAYMENTS_DURABLE: &str = "basket-info-payments";

/// Keeps both views up to date until shutdown.
pub fn run(projection: &Projection, bus: &Bus, shutdown: &Shutdown) -> impl Future<Output = ()> + Send + use<> {
    let baskets = projection.run::<Baskets>(bus, Context::Basket, "bas_", NAME, shutdown.clone());
    let payments = projection.run::<Payments>(bus, Context::Basket, "pay_", PAYMENTS_DURABLE, shutdown.clone());
    async {
        tokio::join!(baskets, payments);
    }
}

/// `bas_` streams.
pub struct Baskets;

impl View for Baskets {
    type Doc = Basket;
    const KIND: &'static str = "basket";

    fn fold(doc: Option<Basket>, event: &Envelope) -> Result<Option<Basket>, BoxError> {
        let _: BasketId = event.stream.parse()?;
        Ok(view::advance(doc, event, view::basket::fold, view::basket::skip)?)
    }

    fn place(_: &Basket) -> Placement {
        Placement::new()
    }
}

/// `pay_` streams.
pub struct Payments;

impl View for Payments {
    type Doc = Payment;
    const KIND: &'static str = "payment";

    fn fold(doc: Option<Payment>, event: &Envelope) -> Result<Option<Payment>, BoxError> {
        let _: PaymentId = event.stream.parse()?;
        Ok(view::advance(doc, event, view::payment::fold, view::payment::skip)?)
    }

    fn place(_: &Payment) -> Placement {
        Placement::new()
    }
}
