//! Which streams become which documents, on which lists they are.
//!
//! Knows no Redis and no rule: the folds are in `contracts::view`, the writing in `mesh-projection`.

use mesh_bus::Bus;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{FoodPointId, ProductId, PromotionId};
use mesh_contracts::subject::Context;
use mesh_contracts::view;
use mesh_contracts::view::point::FoodPoint;
use mesh_contracts::view::product::Product;
use mesh_contracts::view::promotion::Promotion;
use mesh_projection::{BoxError, Placement, Projection, View};
use mesh_runtime::Shutdown;

use crate::NAME;

/// Two views of one context need a consumer each, since each has its own pace.
const PROMOTIONS_DURABLE: &str = "menu-info-promotions";

/// List of what is sold, of what is taken off that, and of the food points, in a country.
pub const COUNTRY: &str = "country";

/// All of a country is read at once, so no place on the list is better than another.
const ANY_PLACE: i64 = 0;

/// Keeps all views up to date until shutdown.
pub fn run(projection: &Projection, bus: &Bus, shutdown: &Shutdown) -> impl Future<Output = ()> + Send + use<> {
    let products = projection.run::<Products>(bus, Context::Menu, "prd_", NAME, shutdown.clone());
    let promotions = projection.run::<Promotions>(bus, Context::Menu, "prm_", PROMOTIONS_DURABLE, shutdown.clone());
    let points = projection.run::<FoodPoints>(bus, Context::Point, "pnt_", NAME, shutdown.clone());
    async {
        tokio::join!(products, promotions, points);
    }
}

/// `prd_` streams.
pub struct Products;

impl View for Products {
    type Doc = Product;
    const KIND: &'static str = "product";

    fn fold(doc: Option<Product>, event: &Envelope) -> Result<Option<Product>, BoxError> {
        let _: ProductId = event.stream.parse()?;
        Ok(view::advance(doc, event, view::product::fold, view::product::skip)?)
    }

    fn place(doc: &Product) -> Placement {
        let sold_in = doc.product.prices.keys().filter(|_| !doc.retired);
        sold_in.fold(Placement::new(), |placement, country| {
            placement.indexed(COUNTRY, country, ANY_PLACE)
        })
    }
}

/// `prm_` streams.
pub struct Promotions;

impl View for Promotions {
    type Doc = Promotion;
    const KIND: &'static str = "promotion";

    fn fold(doc: Option<Promotion>, event: &Envelope) -> Result<Option<Promotion>, BoxError> {
        let _: PromotionId = event.stream.parse()?;
        Ok(view::advance(doc, event, view::promotion::fold, view::promotion::skip)?)
    }

    fn place(doc: &Promotion) -> Placement {
        if doc.ended {
            return Placement::new();
        }
        Placement::new().indexed(COUNTRY, doc.promotion.country, ANY_PLACE)
    }
}

/// `pnt_` streams.
pub struct FoodPoints;

impl View for FoodPoints {
    type Doc = FoodPoint;
    const KIND: &'static str = "point";

    fn fold(doc: Option<FoodPoint>, event: &Envelope) -> Result<Option<FoodPoint>, BoxError> {
        let _: FoodPointId = event.stream.parse()?;
        Ok(view::advance(doc, event, view::point::fold, view::point::skip)?)
    }

    fn place(doc: &FoodPoint) -> Placement {
        Placement::new().indexed(COUNTRY, doc.settings.place.country, ANY_PLACE)
    }
}
