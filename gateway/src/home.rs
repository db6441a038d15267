//! The order page: orders, basket, menu and person in one answer, asked for in parallel.
//!
//! A part that does not come in time is marked and spoils nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use mesh_contracts::geo::Country;
use mesh_contracts::id::FoodPointId;
use mesh_runtime::headers;
use mesh_runtime::json::Json;
use moka::future::Cache;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;

use crate::ask::Ask;
use crate::upstream::Service;
use crate::{Answer, Gateway};

/// Each part's own budget: an info waits 300 ms for what a token names and then asks its master once.
const PART_TIMEOUT: Duration = Duration::from_millis(800);

/// A menu is the same for everybody, and may be so old: an order is decided on what is there by then.
const MENU_FRESH: Duration = Duration::from_millis(500);

/// Menus at hand, some tens of KB each.
const MENUS_MAX: u64 = 100;

/// What stands in for a missing part.
const UNAVAILABLE: &str = r#"{"unavailable":true}"#;

/// Whose menu the order page shows.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct HomeQuery {
    /// Left out: the basket's country, else an address's, else the region's.
    pub(crate) country: Option<Country>,
    /// Only what this food point sells.
    pub(crate) food_point_id: Option<FoodPointId>,
}

/// Menus as they were a moment ago.
pub(crate) type Menus = Cache<(Country, Option<FoodPointId>), Arc<RawValue>>;

pub(crate) fn menus() -> Menus {
    Cache::builder()
        .max_capacity(MENUS_MAX)
        .time_to_live(MENU_FRESH)
        .build()
}

#[derive(serde::Serialize)]
struct Page<'a> {
    orders: &'a RawValue,
    basket: &'a RawValue,
    menu: &'a RawValue,
    user: &'a RawValue,
}

pub(crate) async fn page(app: &Gateway, ask: &Ask, query: &HomeQuery) -> Answer {
    // Each part would refuse it, and a page of missing parts says nothing.
    app.signer.demanded(&ask.headers)?;
    let services = &app.services;
    let person = async {
        let (basket, user) = tokio::join!(
            part(&services.basket_info, ask, "/basket"),
            part(&services.user_info, ask, "/me")
        );
        // Only without a country in the query does the menu have to wait for these two.
        let menu = match query.country {
            Some(_) => None,
            None => {
                let country = country_of_basket(basket.as_deref()).or_else(|| country_of_user(user.as_deref()));
                Some(menu(app, ask, query, country.unwrap_or(app.home_country)).await)
            }
        };
        (basket, user, menu)
    };
    let menu_at_once = async {
        match query.country {
            Some(country) => menu(app, ask, query, country).await,
            None => None,
        }
    };
    let orders = part(&services.order_info, ask, "/orders");
    let (orders, (basket, user, menu_later), menu_at_once) = tokio::join!(orders, person, menu_at_once);
    let menu = menu_later.flatten().or(menu_at_once);
    Ok(put_together([
        shown(orders.as_deref()),
        shown(basket.as_deref()),
        shown(menu.as_deref()),
        shown(user.as_deref()),
    ]))
}

fn put_together([orders, basket, menu, user]: [&RawValue; 4]) -> Response {
    Json(Page {
        orders,
        basket,
        menu,
        user,
    })
    .into_response()
}

/// Fresh for whoever brings a token: it may name what the menu must show.
async fn menu(app: &Gateway, ask: &Ask, query: &HomeQuery, country: Country) -> Option<Arc<RawValue>> {
    let path = match query.food_point_id {
        Some(point) => format!("/menu?country={country}&food_point_id={point}"),
        None => format!("/menu?country={country}"),
    };
    let fresh = async { part(&app.services.menu_info, ask, &path).await.map(Arc::from) };
    match ask.headers.contains_key(headers::CONSISTENCY) {
        true => fresh.await,
        false => {
            let key = (country, query.food_point_id);
            app.menus.optionally_get_with(key, fresh).await
        }
    }
}

/// A part's JSON; none if it was refused or late. Why is in the log of whoever failed.
async fn part(service: &Service, ask: &Ask, path: &str) -> Option<Box<RawValue>> {
    let call = service.call(ask.also_get(path).ok()?, PART_TIMEOUT);
    let answer = match tokio::time::timeout(PART_TIMEOUT, call).await {
        Ok(Ok(answer)) if answer.status().is_success() => answer,
        Ok(Ok(answer)) => {
            tracing::warn!(
                part = path_only(path),
                http.status = answer.status().as_u16(),
                "part refused"
            );
            return None;
        }
        Ok(Err(problem)) => {
            tracing::warn!(part = path_only(path), error = %problem, "part missing");
            return None;
        }
        Err(_) => {
            tracing::warn!(part = path_only(path), "part late");
            return None;
        }
    };
    serde_json::from_slice(answer.body()).ok()
}

fn path_only(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

fn shown(part: Option<&RawValue>) -> &RawValue {
    part.unwrap_or_else(|| serde_json::from_str(UNAVAILABLE).expect("the stand-in is JSON"))
}

fn country_of_basket(basket: Option<&RawValue>) -> Option<Country> {
    #[derive(Deserialize)]
    struct Basket {
        country: Option<Country>,
    }
    serde_json::from_str::<Basket>(basket?.get()).ok()?.country
}

fn country_of_user(user: Option<&RawValue>) -> Option<Country> {
    let profile: mesh_contracts::api::Profile = serde_json::from_str(user?.get()).ok()?;
    profile.addresses.values().next().map(|address| address.place.country)
}
