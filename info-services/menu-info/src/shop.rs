//! All that is sold in a country, all that is taken off its prices and all its food points, read together and kept for a moment.
//!
//! Every order page asks for it, and it is the same for everyone.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use mesh_contracts::geo::Country;
use mesh_contracts::id::{FoodPointId, ProductId, PromotionId};
use mesh_contracts::menu::RecipeLine;
use mesh_contracts::order::Need;
use mesh_contracts::view::point::FoodPoint;
use mesh_contracts::view::product::Product;
use mesh_contracts::view::promotion::Promotion;
use mesh_projection::{ListError, Projection, View};
use mesh_runtime::Problem;
use mesh_runtime::problem::with_sources;
use moka::future::Cache;

use crate::projector::{COUNTRY, FoodPoints, Products, Promotions};

/// Shorter than anyone notices on a menu; under load it saves nearly every read.
const KEPT_FOR: Duration = Duration::from_millis(500);

/// Countries kept at once; asking for more that do not exist costs a read each.
const COUNTRIES_MAX: u64 = 64;

/// Documents per read: the most that one call gives.
const PAGE_MAX: usize = 200;

/// What a country's customers can choose from.
#[derive(Debug)]
pub struct Shop {
    pub products: Vec<(ProductId, Product)>,
    /// Those that were not ended; their time may be over or still to come.
    pub promotions: Vec<(PromotionId, Promotion)>,
    pub points: Vec<(FoodPointId, FoodPoint)>,
}

impl Shop {
    /// A food point of this country.
    pub fn point(&self, id: FoodPointId) -> Option<&FoodPoint> {
        let found = self.points.iter().find(|(known, _)| *known == id);
        found.map(|(_, point)| point)
    }

    /// Whether the point, or any if none is named, has what a portion takes.
    pub fn has(&self, recipe: &[RecipeLine], at: Option<&FoodPoint>) -> bool {
        let needs: Vec<Need> = recipe.iter().map(need).collect();
        match at {
            Some(point) => point.is_available(&needs),
            None => self.points.iter().any(|(_, point)| point.is_available(&needs)),
        }
    }
}

fn need(line: &RecipeLine) -> Need {
    Need {
        ingredient: line.ingredient,
        quantity: line.quantity.into(),
    }
}

/// The shops of all countries. Clones share what is kept.
#[derive(Clone)]
pub struct Shops {
    projection: Projection,
    kept: Cache<Country, Arc<Shop>>,
}

impl Shops {
    pub fn new(projection: Projection) -> Self {
        let kept = Cache::builder()
            .max_capacity(COUNTRIES_MAX)
            .time_to_live(KEPT_FOR)
            .build();
        Self { projection, kept }
    }

    /// As it was a moment ago; many askers cause one read.
    pub async fn recent(&self, country: Country) -> Result<Arc<Shop>, Problem> {
        let load = async { self.load(country).await.map(Arc::new) };
        let shop = self.kept.try_get_with(country, load).await;
        shop.map_err(|err| Problem::unavailable("read model", with_sources(&*err)))
    }

    /// As it is now, for a reader who has seen something that must be in it.
    pub async fn newest(&self, country: Country) -> Result<Arc<Shop>, Problem> {
        let shop = Arc::new(self.load(country).await?);
        self.kept.insert(country, shop.clone()).await;
        Ok(shop)
    }

    async fn load(&self, country: Country) -> Result<Shop, ListError> {
        Ok(Shop {
            products: self.all::<Products, _>(country).await?,
            promotions: self.all::<Promotions, _>(country).await?,
            points: self.all::<FoodPoints, _>(country).await?,
        })
    }

    async fn all<V: View, I: FromStr + Ord>(&self, country: Country) -> Result<Vec<(I, V::Doc)>, ListError> {
        let mut all: Vec<(I, V::Doc)> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = self
                .projection
                .list::<V>(COUNTRY, country.as_str(), cursor.as_deref(), PAGE_MAX)
                .await?;
            // The projector refuses streams whose ids do not parse.
            all.extend(
                page.items
                    .into_iter()
                    .filter_map(|read| Some((read.id.parse().ok()?, read.doc))),
            );
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(all)
    }
}
