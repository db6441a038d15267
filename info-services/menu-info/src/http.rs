//! What anyone with an account may ask about the menu and the food points, and operators about what they made.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mesh_contracts::geo::{Coordinates, Country};
use mesh_contracts::id::{FoodPointId, ProductId, PromotionId};
use mesh_contracts::user::Role;
use mesh_identity::Caller;
use mesh_identity::peer::{self, GATEWAY};
use mesh_projection::control;
use mesh_projection::freshness::Fresh;
use mesh_runtime::extract::{Path, Query};
use mesh_runtime::{Problem, server};
use serde::Deserialize;

use crate::App;
use crate::projector::{Products, Promotions};
use crate::shop::Shop;
use crate::view::{self, Listed, Made};

/// Food points on one page unless asked otherwise: a screenful.
const PAGE_DEFAULT: usize = 20;
/// And at most.
const PAGE_MAX: usize = 100;

/// Who has views built anew: the command line.
const OPERATORS: &[&str] = &["tiffin"];

/// Everything this service answers.
pub fn router(app: Arc<App>) -> Router {
    let people = Router::new()
        .route("/menu", get(menu))
        .route("/products/{id}", get(product))
        .route("/promotions", get(promotions))
        .route("/promotions/{id}", get(promotion))
        .route("/food-points", get(food_points))
        .layer(peer::allow(&[GATEWAY]));
    let operators = control::routes(app.projection.clone()).layer(peer::allow(OPERATORS));
    server::with_layers(people.merge(operators).with_state(app))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichMenu {
    country: Country,
    food_point_id: Option<FoodPointId>,
}

async fn menu(
    State(app): State<Arc<App>>,
    _: Caller,
    Query(which): Query<WhichMenu>,
    fresh: Fresh,
) -> Result<Response, Problem> {
    let shop = app.shop(which.country, &fresh).await?;
    let menu = view::menu(&shop, which.country, which.food_point_id, app.clock.now());
    let menu = menu.ok_or_else(Problem::not_found)?;
    Ok(fresh.answer_by_content(&menu))
}

async fn product(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<ProductId>,
    fresh: Fresh,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let read = app.projection.get::<Products>(&id.to_string()).await?;
    let doc = read.ok_or_else(Problem::not_found)?.doc;
    let tag = format!("{0}.{0}", doc.version);
    Ok(fresh.answer(&tag, &Made { id, doc }))
}

async fn promotion(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<PromotionId>,
    fresh: Fresh,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let read = app.projection.get::<Promotions>(&id.to_string()).await?;
    let doc = read.ok_or_else(Problem::not_found)?.doc;
    let tag = format!("{0}.{0}", doc.version);
    Ok(fresh.answer(&tag, &Made { id, doc }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichPromotions {
    country: Country,
}

async fn promotions(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(which): Query<WhichPromotions>,
    fresh: Fresh,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let shop = app.shop(which.country, &fresh).await?;
    Ok(fresh.answer_by_content(&view::promotions(&shop, app.clock.now())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichPoints {
    country: Country,
    lat_e6: Option<i32>,
    lon_e6: Option<i32>,
    cursor: Option<String>,
    #[serde(default = "page_default")]
    limit: usize,
}

fn page_default() -> usize {
    PAGE_DEFAULT
}

impl WhichPoints {
    fn from(&self) -> Result<Option<Coordinates>, Problem> {
        match (self.lat_e6, self.lon_e6) {
            (None, None) => Ok(None),
            (Some(lat_e6), Some(lon_e6)) => match Coordinates::new(lat_e6, lon_e6) {
                Some(from) => Ok(Some(from)),
                None => Err(bad_query("lat_e6", "not a place on the earth")),
            },
            (Some(_), None) => Err(bad_query("lon_e6", "belongs to lat_e6")),
            (None, Some(_)) => Err(bad_query("lat_e6", "belongs to lon_e6")),
        }
    }
}

async fn food_points(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(which): Query<WhichPoints>,
    fresh: Fresh,
) -> Result<Response, Problem> {
    let from = which.from()?;
    if !(1..=PAGE_MAX).contains(&which.limit) {
        return Err(bad_query("limit", &format!("must be from 1 to {PAGE_MAX}")));
    }
    let behind = match &which.cursor {
        Some(cursor) => Some(Place::parse(cursor).ok_or_else(|| bad_query("cursor", "not a cursor that we gave"))?),
        None => None,
    };
    let shop = app.shop(which.country, &fresh).await?;
    let mut places: Vec<Place> = places(&shop, from).filter(|place| Some(*place) > behind).collect();
    places.sort_unstable();
    let next = places.get(which.limit).and(places.get(which.limit - 1)).copied();
    places.truncate(which.limit);
    let now = app.clock.now();
    let items = places.into_iter().filter_map(|place| {
        let point = shop.point(place.id)?;
        Some(view::food_point(place.id, point, &caller, from, now))
    });
    Ok(fresh.answer_by_content(&Listed {
        items: items.collect(),
        next_cursor: next.map(Place::cursor),
    }))
}

/// Where a food point stands on the list: nearest first, then by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    distance_m: u32,
    id: FoodPointId,
}

impl Place {
    fn cursor(self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(format!("{} {}", self.distance_m, self.id))
    }

    fn parse(cursor: &str) -> Option<Self> {
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let (distance_m, id) = text.split_once(' ')?;
        Some(Self {
            distance_m: distance_m.parse().ok()?,
            id: id.parse().ok()?,
        })
    }
}

fn places(shop: &Shop, from: Option<Coordinates>) -> impl Iterator<Item = Place> {
    shop.points.iter().map(move |(id, point)| Place {
        distance_m: from.map_or(0, |from| from.distance_m(point.settings.place.at)),
        id: *id,
    })
}

impl App {
    async fn shop(&self, country: Country, fresh: &Fresh) -> Result<Arc<Shop>, Problem> {
        if fresh.is_demanded() {
            self.shops.newest(country).await
        } else {
            self.shops.recent(country).await
        }
    }
}

fn bad_query(field: &'static str, message: &str) -> Problem {
    Problem::bad_request("the query is not valid").field(field, message)
}
