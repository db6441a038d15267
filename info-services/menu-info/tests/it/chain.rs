//! Products and food points in named states.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{FoodPointId, IngredientId, OrderId, ProductId};
use mesh_contracts::menu::{self, Allergen, Names, Product, RecipeLine};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::{Kind, Need};
use mesh_contracts::point::{self, ReleaseCause, Settings};
use uuid::Uuid;

pub const CLUB: ProductId = ProductId(Uuid::from_u128(1));
pub const SOUP: ProductId = ProductId(Uuid::from_u128(2));
pub const TOAST: ProductId = ProductId(Uuid::from_u128(3));
const ORDER: OrderId = OrderId(Uuid::from_u128(31));
pub const BREAD: IngredientId = IngredientId(Uuid::from_u128(11));
pub const BROTH: IngredientId = IngredientId(Uuid::from_u128(12));
pub const CENTRE: FoodPointId = FoodPointId(Uuid::from_u128(21));
pub const SUBURB: FoodPointId = FoodPointId(Uuid::from_u128(22));

pub fn country(code: &str) -> Country {
    Country::parse(code).expect("a country")
}

/// A product of one ingredient, sold in Germany.
pub fn product(name: &str, ingredient: IngredientId, quantity: u32) -> Product {
    Product {
        names: Names {
            en: name.into(),
            ru: name.into(),
        },
        prices: BTreeMap::from([(country("DE"), Money::new(890, Currency::EUR))]),
        recipe: vec![RecipeLine {
            ingredient,
            name: "what it is made of".into(),
            quantity,
        }],
        allergens: vec![Allergen::Gluten],
        prep_minutes: 8,
        ..Product::default()
    }
}

pub fn created(product: Product) -> menu::Event {
    menu::Event::Created { product }
}

/// A food point so many thousandths of a degree north of the centre.
pub fn registered(name: &str, north: i32) -> point::Event {
    let at = Coordinates::new(52_520_000 + north * 1_000, 13_405_000).expect("on earth");
    let settings = Settings {
        name: name.into(),
        place: Place {
            country: country("DE"),
            at,
        },
        kinds: vec![Kind::Delivery],
        radius_m: 5_000,
        pool: 20,
        auto_accept: false,
        hours: Vec::new(),
        utc_offset_minutes: 60,
    };
    point::Event::Registered { settings }
}

pub fn received(ingredient: IngredientId, quantity: u32) -> point::Event {
    point::Event::Received { ingredient, quantity }
}

pub fn gone(ingredient: IngredientId, was: i64) -> point::Event {
    point::Event::Gone {
        ingredient,
        corrected: -was,
    }
}

pub fn back(ingredient: IngredientId, counted: u32, was: i64) -> point::Event {
    point::Event::Restored {
        ingredient,
        counted,
        corrected: i64::from(counted) - was,
    }
}

/// An order that holds so much.
pub fn held(ingredient: IngredientId, quantity: u64) -> point::Event {
    point::Event::HoldHeld {
        order: ORDER,
        attempt: 1,
        needs: vec![Need { ingredient, quantity }],
        expires_at: Timestamp::now(),
    }
}

/// The order that held gives it back.
pub fn released() -> point::Event {
    point::Event::HoldReleased {
        order: ORDER,
        attempt: 1,
        cause: ReleaseCause::OrderEnded,
    }
}
