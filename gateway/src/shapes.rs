//! Shapes of queries and answers that no contract type has: pages, and documents as the infos show them.
//!
//! For the OpenAPI document alone: queries are checked and answers passed on, as bytes, by others.

#![expect(dead_code, reason = "read by the contract, never by us")]

use jiff::Timestamp;
use mesh_contracts::api::{Profile, StoredAddress};
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{DeliveryId, FoodPointId, OrderId, PaymentId, ProductId, PromotionId};
use mesh_contracts::menu::{Allergen, Names, Product, Slug};
use mesh_contracts::money::Money;
use mesh_contracts::order::{Destination, Kind, Method};
use mesh_contracts::point::Opening;
use mesh_contracts::promotion::Promotion;
use mesh_contracts::view::basket::Basket;
use mesh_contracts::view::order::Order;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Where a page begins and how long it is.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// `next_cursor` of the page before.
    #[param(max_length = 512)]
    cursor: Option<String>,
    /// How many items, 20 if left out.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u8>,
}

/// At which instant.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AsOf {
    /// Business time, in UTC, not in the future; now if left out. Before the order was placed there is nothing to see:
    /// 422 `before_order`, which tells `placed_at`.
    #[param(example = "2026-03-01T12:00:00Z")]
    as_of: Option<Timestamp>,
}

/// Which menu.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct MenuQuery {
    /// Where it is sold.
    country: Country,
    /// Availability and promotions of this food point, instead of availability anywhere in the country.
    food_point_id: Option<FoodPointId>,
}

/// Which promotions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PromotionsQuery {
    /// Of which country.
    country: Country,
}

/// Which food points.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct FoodPointsQuery {
    /// In which country.
    country: Country,
    /// Nearest to this latitude first, in millionths of a degree; together with `lon_e6`.
    lat_e6: Option<i32>,
    /// And to this longitude.
    lon_e6: Option<i32>,
    /// `next_cursor` of the page before.
    #[param(max_length = 512)]
    cursor: Option<String>,
    /// How many items, 20 if left out.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u8>,
}

/// Where a live stream goes on.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct Resume {
    /// The stamp of the last event seen; left out or too old, the stream starts with a snapshot.
    #[param(rename = "Last-Event-ID", required = false)]
    last_event_id: Option<String>,
}

/// A guard against acting on what has changed meanwhile.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct Guarded {
    /// An `ETag` of this resource; another status since then is 409.
    #[param(rename = "If-Match", required = false)]
    if_match: Option<String>,
}

/// An order as somebody may see it.
#[derive(Serialize, ToSchema)]
pub(crate) struct OrderDocument {
    id: OrderId,
    #[serde(flatten)]
    order: Order,
    /// For its owner, to tell the courier at the door.
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<String>,
}

/// A page of orders.
#[derive(ToSchema)]
pub(crate) struct OrderPage {
    /// What the caller may not see is left out.
    items: Vec<OrderDocument>,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<String>,
}

/// A payment as its customer sees it.
#[derive(ToSchema)]
pub(crate) struct PaymentDocument {
    id: PaymentId,
    order: OrderId,
    /// `authorized`, `captured`, `voided`, `refunded`, `declined` and what lies between.
    status: String,
    status_version: u64,
    version: u64,
    method: Method,
    /// What the order costs.
    amount: Money,
    authorized: Money,
    captured: Money,
    refunded: Money,
    /// Cards refused so far; another may do until `pay_by`.
    declines: u32,
    failure: Option<String>,
    pay_by: Timestamp,
    /// The money could not be taken: until then another card may pay.
    recover_by: Option<Timestamp>,
    /// What was due and could not be taken.
    debt: Option<Money>,
    /// Money is to go back, and the bank refuses it again and again.
    refund_overdue: bool,
    opened_at: Timestamp,
    updated_at: Timestamp,
}

/// What is sold in a country.
#[derive(ToSchema)]
pub(crate) struct Menu {
    country: Country,
    /// Given if availability is that point's.
    food_point_id: Option<FoodPointId>,
    items: Vec<MenuItem>,
}

/// A product on a menu.
#[derive(ToSchema)]
pub(crate) struct MenuItem {
    id: ProductId,
    names: Names,
    /// The tax is within it.
    price: Money,
    /// In basis points.
    tax_bp: u32,
    /// The promotion that takes most off it now; left out if there is none.
    #[schema(required = false)]
    offer: Option<MenuOffer>,
    allergens: Vec<Allergen>,
    prep_minutes: u16,
    /// What a customer may change about it; left out if nothing.
    #[schema(required = false)]
    options: Vec<MenuOptionGroup>,
    /// Whether a portion can be made now.
    available: bool,
}

/// A promotion as it applies to a product without any options.
#[derive(ToSchema)]
pub(crate) struct MenuOffer {
    promotion: PromotionId,
    names: Names,
    /// After it.
    price: Money,
    ends_at: Timestamp,
}

/// A question about a product.
#[derive(ToSchema)]
pub(crate) struct MenuOptionGroup {
    id: Slug,
    names: Names,
    /// How many choices there must be.
    min: u8,
    /// And how many there may be.
    max: u8,
    choices: Vec<MenuChoice>,
}

/// One of its answers.
#[derive(ToSchema)]
pub(crate) struct MenuChoice {
    id: Slug,
    names: Names,
    /// What it adds to the price, or takes off if below zero.
    price: Money,
    allergens: Vec<Allergen>,
    /// Whether a portion with it, and no other change, can be made now.
    available: bool,
}

/// A product as operators made it.
#[derive(ToSchema)]
pub(crate) struct ProductState {
    id: ProductId,
    product: Product,
    retired: bool,
    version: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A promotion as operators made it.
#[derive(ToSchema)]
pub(crate) struct PromotionState {
    id: PromotionId,
    promotion: Promotion,
    ended: bool,
    version: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// Promotions of a country.
#[derive(ToSchema)]
pub(crate) struct PromotionList {
    items: Vec<PromotionState>,
}

/// A page of food points.
#[derive(ToSchema)]
pub(crate) struct FoodPointPage {
    items: Vec<FoodPointDocument>,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<String>,
}

/// A food point; its staff and operators see its pool and stock besides.
#[derive(ToSchema)]
pub(crate) struct FoodPointDocument {
    id: FoodPointId,
    name: String,
    place: Place,
    kinds: Vec<Kind>,
    radius_m: u32,
    /// Whether it takes orders right now.
    open: bool,
    hours: Vec<Opening>,
    utc_offset_minutes: i16,
    /// From the place that was given.
    #[schema(required = false)]
    distance_m: Option<u32>,
}

/// A courier's deliveries.
#[derive(ToSchema)]
pub(crate) struct JobPage {
    items: Vec<Job>,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<String>,
}

/// A delivery as its courier sees it.
#[derive(ToSchema)]
pub(crate) struct Job {
    id: DeliveryId,
    order: OrderId,
    /// The order's short number, as the kitchen calls it out.
    number: String,
    /// `offered`, `assigned`, `picked_up` or `attempted`.
    status: String,
    status_version: u64,
    version: u64,
    food_point: FoodPointId,
    pickup: Coordinates,
    /// To about 100 m; the address says the rest.
    destination: Destination,
    ready_by: Timestamp,
    food_ready: bool,
    pick_up_by: Option<Timestamp>,
    eta: Option<Timestamp>,
    /// Only while the job is active; `{"unavailable": true}` if it could not be had.
    address: Option<StoredAddress>,
}

/// The order page. A part that could not be had is `{"unavailable": true}`.
#[derive(ToSchema)]
pub(crate) struct HomePage {
    orders: OrderPage,
    basket: Basket,
    menu: Menu,
    user: Profile,
}
