//! A chain as large as a bench needs it: one product, and food points on a grid, out of each other's reach.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use mesh_contracts::api::StockQuantity;
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{FoodPointId, IngredientId, ProductId};
use mesh_contracts::menu::{Names, Product, RecipeLine};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::Kind;
use mesh_contracts::point::Settings;
use mesh_local::running::Running;
use mesh_verify::history::History;

use super::door::fresh;
use crate::client::{Api, Person};
use crate::say::Steps;
use crate::settle;

/// Calls under way at once while everything is set up.
pub(super) const AT_ONCE: usize = 16;

/// A tenth of a degree: kitchens are out of each other's reach.
const GRID_E6: i32 = 100_000;

/// No shelf gets empty.
const PLENTY: u32 = 10_000_000;

/// What is opened.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub points: usize,
    pub kind: Kind,
    /// Orders that a point may have open at a time.
    pub pool: u16,
    /// Whether kitchens say yes by themselves.
    pub auto_accept: bool,
    pub prep_minutes: u16,
}

/// A chain that is open.
#[derive(Debug, Clone)]
pub(super) struct Shop {
    pub country: Country,
    pub product: ProductId,
    pub points: Vec<FoodPointId>,
}

impl Shop {
    /// Opens it, and waits until every service has heard.
    pub(super) async fn open(running: &Running, plan: &Plan, steps: &Steps) -> Result<Self> {
        let api = Api::noting(running, History::none())?;
        let (email, password) = running.operator()?;
        let operator = api.person(email, password);
        let country = country();
        let ingredient = IngredientId::new_v7();
        let product = product(country, ingredient, plan.prep_minutes);
        let product = operator.create_product(&product, &fresh()).await?;
        steps.count("opening food points", plan.points);
        let points = stream::iter(0..plan.points)
            .map(|nth| open_point(&operator, plan, ingredient, nth, steps))
            .buffered(AT_ONCE)
            .try_collect()
            .await
            .context("opening the food points")?;
        steps.step("waiting until every service has heard of the chain");
        settle::everyone_has_heard(running).await?;
        Ok(Self {
            country,
            product,
            points,
        })
    }
}

async fn open_point(
    operator: &Person,
    plan: &Plan,
    ingredient: IngredientId,
    nth: usize,
    steps: &Steps,
) -> Result<FoodPointId> {
    let settings = Settings {
        name: format!("Bench {nth}"),
        place: place(nth),
        kinds: vec![plan.kind],
        radius_m: 5_000,
        pool: plan.pool,
        auto_accept: plan.auto_accept,
        hours: Vec::new(),
        utc_offset_minutes: 0,
    };
    let point = operator.create_food_point(&settings, &fresh()).await?;
    let plenty = StockQuantity::new(PLENTY).context("within its bounds")?;
    operator.receive_stock(point, ingredient, plenty, &fresh()).await?;
    steps.one_more();
    Ok(point)
}

fn product(country: Country, ingredient: IngredientId, prep_minutes: u16) -> Product {
    let name = "Bench sandwich".to_owned();
    Product {
        names: Names {
            en: name.clone(),
            ru: name,
        },
        prices: BTreeMap::from([(country, Money::new(790, Currency::EUR))]),
        recipe: vec![RecipeLine {
            ingredient,
            name: "Bread".to_owned(),
            quantity: 1,
        }],
        prep_minutes,
        ..Product::default()
    }
}

pub(super) fn country() -> Country {
    Country::parse("DE").expect("two capital letters")
}

/// Where the food point of this number is, on a grid of eight columns; it begins anew where the grid would leave the earth.
pub(super) fn place(nth: usize) -> Place {
    let nth = i32::try_from(nth % 2_000).expect("below two thousand");
    let at = Coordinates::new(50_000_000 + nth / 8 * GRID_E6, 10_000_000 + nth % 8 * 2 * GRID_E6);
    Place {
        country: country(),
        at: at.expect("on earth"),
    }
}
