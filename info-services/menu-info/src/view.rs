//! Documents as they are answered: a menu, and food points with what their staff alone may see.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{FoodPointId, IngredientId, ProductId};
use mesh_contracts::menu::{Allergen, Names};
use mesh_contracts::money::Money;
use mesh_contracts::order::Kind;
use mesh_contracts::point::{ClosedBy, Opening};
use mesh_contracts::user::Role;
use mesh_contracts::view::point::{self, Stock};
use mesh_identity::Caller;
use serde::Serialize;

use crate::shop::Shop;

/// What is sold in a country.
#[derive(Debug, Serialize)]
pub struct Menu {
    pub country: Country,
    /// Given if availability is that point's.
    pub food_point_id: Option<FoodPointId>,
    pub items: Vec<Product>,
}

/// A product on a menu.
#[derive(Debug, Serialize)]
pub struct Product {
    pub id: ProductId,
    pub names: Names,
    pub price: Money,
    pub allergens: Vec<Allergen>,
    pub prep_minutes: u16,
    /// Whether a portion can be made now.
    pub available: bool,
}

/// The menu of a country; `None` if the point is not there.
pub fn menu(shop: &Shop, country: Country, food_point_id: Option<FoodPointId>) -> Option<Menu> {
    let at = match food_point_id {
        Some(id) => Some(shop.point(id)?),
        None => None,
    };
    let items = shop.products.iter().filter_map(|(id, product)| {
        Some(Product {
            id: *id,
            names: product.product.names.clone(),
            price: product.price_in(country)?,
            allergens: product.product.allergens.clone(),
            prep_minutes: product.product.prep_minutes,
            available: shop.has(&product.product.recipe, at),
        })
    });
    Some(Menu {
        country,
        food_point_id,
        items: items.collect(),
    })
}

/// A part of the food points, as answered.
#[derive(Debug, Serialize)]
pub struct Listed {
    pub items: Vec<FoodPoint>,
    pub next_cursor: Option<String>,
}

/// A food point.
#[derive(Debug, Serialize)]
pub struct FoodPoint {
    pub id: FoodPointId,
    pub name: String,
    pub place: Place,
    pub kinds: Vec<Kind>,
    pub radius_m: u32,
    /// Whether it takes orders right now.
    pub open: bool,
    pub hours: Vec<Opening>,
    pub utc_offset_minutes: i16,
    /// From the place that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance_m: Option<u32>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub inside: Option<Inside>,
}

/// What those who run the point see of it.
#[derive(Debug, Serialize)]
pub struct Inside {
    pub version: u64,
    pub status_version: u64,
    pub pool: u16,
    pub free_slots: usize,
    pub auto_accept: bool,
    pub closed_by: Option<ClosedBy>,
    pub misses: u32,
    pub stock: BTreeMap<IngredientId, Shelf>,
}

/// One ingredient, as those who run the point see it.
#[derive(Debug, Serialize)]
pub struct Shelf {
    #[serde(flatten)]
    pub stock: Stock,
    /// Whether they should order more.
    pub low: bool,
}

/// A food point as `caller` may see it.
pub fn food_point(
    id: FoodPointId,
    point: &point::FoodPoint,
    caller: &Caller,
    from: Option<Coordinates>,
    now: Timestamp,
) -> FoodPoint {
    let settings = &point.settings;
    let runs_it = caller.role == Role::Operator || caller.works_at(&id);
    FoodPoint {
        id,
        name: settings.name.clone(),
        place: settings.place,
        kinds: settings.kinds.clone(),
        radius_m: settings.radius_m,
        open: point.open && settings.is_open_at(now),
        hours: settings.hours.clone(),
        utc_offset_minutes: settings.utc_offset_minutes,
        distance_m: from.map(|from| from.distance_m(settings.place.at)),
        inside: runs_it.then(|| inside(point)),
    }
}

fn inside(point: &point::FoodPoint) -> Inside {
    Inside {
        version: point.version,
        status_version: point.status_version,
        pool: point.settings.pool,
        free_slots: point.free_slots(),
        auto_accept: point.settings.auto_accept,
        closed_by: point.closed_by,
        misses: point.misses,
        stock: point.stock.iter().map(|(id, stock)| (*id, shelf(*stock))).collect(),
    }
}

fn shelf(stock: Stock) -> Shelf {
    Shelf {
        low: stock.is_low(),
        stock,
    }
}
