//! Documents as they are answered: a menu, products and promotions as operators made them, and food points with what
//! their staff alone may see.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{FoodPointId, IngredientId, ProductId, PromotionId};
use mesh_contracts::menu::{self, Allergen, Names, RecipeLine, Slug};
use mesh_contracts::money::Money;
use mesh_contracts::order::Kind;
use mesh_contracts::point::{ClosedBy, Opening};
use mesh_contracts::promotion;
use mesh_contracts::user::Role;
use mesh_contracts::view::point::{self, Stock};
use mesh_contracts::view::promotion::Promotion;
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
    /// The tax is within it.
    pub price: Money,
    pub tax_bp: u32,
    /// What takes most off it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    pub allergens: Vec<Allergen>,
    pub prep_minutes: u16,
    /// What a customer may change about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<OptionGroup>,
    /// Whether a portion can be made now.
    pub available: bool,
}

/// A promotion as it applies to a product without any options.
#[derive(Debug, Serialize)]
pub struct Offer {
    pub promotion: PromotionId,
    pub names: Names,
    /// After it.
    pub price: Money,
    pub ends_at: Timestamp,
}

/// A question about a product.
#[derive(Debug, Serialize)]
pub struct OptionGroup {
    pub id: Slug,
    pub names: Names,
    pub min: u8,
    pub max: u8,
    pub choices: Vec<Choice>,
}

/// One of its answers.
#[derive(Debug, Serialize)]
pub struct Choice {
    pub id: Slug,
    pub names: Names,
    /// What it adds to the price, or takes off if below zero.
    pub price: Money,
    pub allergens: Vec<Allergen>,
    /// Whether a portion with it, and no other change, can be made now.
    pub available: bool,
}

/// What an operator made, as it stands.
#[derive(Debug, Serialize)]
pub struct Made<I, T> {
    pub id: I,
    #[serde(flatten)]
    pub doc: T,
}

/// Promotions, as operators see them.
#[derive(Debug, Serialize)]
pub struct Promotions {
    pub items: Vec<Made<PromotionId, Promotion>>,
}

/// Those of a country that are on or to come; their ids tell in which order they were made.
pub fn promotions(shop: &Shop, now: Timestamp) -> Promotions {
    let known = shop.promotions.iter();
    let items = known
        .filter(|(_, doc)| now < doc.promotion.ends_at)
        .map(|(id, doc)| Made {
            id: *id,
            doc: doc.clone(),
        });
    Promotions { items: items.collect() }
}

/// The menu of a country; `None` if the point is not there.
pub fn menu(shop: &Shop, country: Country, food_point_id: Option<FoodPointId>, now: Timestamp) -> Option<Menu> {
    let at = match food_point_id {
        Some(id) => Some(shop.point(id)?),
        None => None,
    };
    let on: Vec<(PromotionId, &promotion::Promotion)> = shop
        .promotions
        .iter()
        .filter(|(_, known)| known.is_on(now) && known.promotion.is_for(country, food_point_id))
        .map(|(id, known)| (*id, &known.promotion))
        .collect();
    let items = shop.products.iter().filter_map(|(id, product)| {
        let price = product.price_in(country)?;
        let options = options(shop, &product.product, country, price, at);
        let can_choose = |group: &OptionGroup| {
            let available = group.choices.iter().filter(|choice| choice.available);
            available.count() >= usize::from(group.min)
        };
        Some(Product {
            id: *id,
            names: product.product.names.clone(),
            price,
            tax_bp: product.tax_bp_in(country),
            offer: offer(&on, *id, price),
            allergens: product.product.allergens.clone(),
            prep_minutes: product.product.prep_minutes,
            available: shop.has(&product.product.recipe, at) && options.iter().all(can_choose),
            options,
        })
    });
    Some(Menu {
        country,
        food_point_id,
        items: items.collect(),
    })
}

fn offer(on: &[(PromotionId, &promotion::Promotion)], product: ProductId, price: Money) -> Option<Offer> {
    let best = promotion::best(on.iter().copied(), product, price)?;
    let (_, described) = on.iter().find(|(id, _)| *id == best.promotion)?;
    Some(Offer {
        promotion: best.promotion,
        names: described.names.clone(),
        price: price.minus(best.off).ok()?,
        ends_at: described.ends_at,
    })
}

fn options(
    shop: &Shop,
    product: &menu::Product,
    country: Country,
    price: Money,
    at: Option<&point::FoodPoint>,
) -> Vec<OptionGroup> {
    let choice = |choice: &menu::Choice| Choice {
        id: choice.id.clone(),
        names: choice.names.clone(),
        price: choice
            .prices
            .get(&country)
            .copied()
            .unwrap_or(Money::zero(price.currency)),
        allergens: choice.allergens.clone(),
        available: shop.has(&with(product, choice), at),
    };
    let group = |group: &menu::OptionGroup| OptionGroup {
        id: group.id.clone(),
        names: group.names.clone(),
        min: group.min,
        max: group.max,
        choices: group.choices.iter().map(choice).collect(),
    };
    product.options.iter().map(group).collect()
}

/// The recipe with a choice made.
fn with(product: &menu::Product, choice: &menu::Choice) -> Vec<RecipeLine> {
    let kept = product.recipe.iter();
    let kept = kept.filter(|line| !choice.removes.contains(&line.ingredient));
    kept.chain(&choice.adds).cloned().collect()
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
