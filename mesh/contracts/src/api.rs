//! Bodies of requests and answers, as the gateway takes and gives them and as masters and infos speak them inside.
//!
//! Strict: an unknown field, a wrong type or a number out of range does not parse.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::envelope::{Actor, Body, Envelope};
use crate::geo::{Coordinates, Country, Place};
use crate::id::{AddressId, CourierId, FoodPointId, OrderId, UserId};
use crate::menu::Pick;
use crate::order::{Destination, Kind, Method, Quote, Reason};
use crate::point::WasteReason;
use crate::user::{Language, Role};

/// A whole number within bounds that belong to the type, so that no handler can forget to check.
macro_rules! bounded {
    ($($(#[$doc:meta])* $name:ident($inner:ty) in $low:literal..=$high:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// `None` outside the bounds.
            pub fn new(value: $inner) -> Option<Self> {
                ($low..=$high).contains(&value).then_some(Self(value))
            }

            /// The number.
            pub fn get(self) -> $inner {
                self.0
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::Integer)
                    .minimum(Some($low))
                    .maximum(Some($high))
                    .into()
            }
        }

        impl ToSchema for $name {}

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = i64::deserialize(deserializer)?;
                <$inner>::try_from(value).ok().and_then(Self::new).ok_or_else(|| {
                    serde::de::Error::custom(concat!("must be from ", $low, " to ", $high))
                })
            }
        }
    )*};
}

bounded! {
    /// Portions of a product in a basket.
    Quantity(u32) in 1..=99;
    /// Stock units moved or counted at once; zero is a valid count.
    StockQuantity(u32) in 0..=10_000_000;
    /// A courier's speed, in metres per minute.
    SpeedMPerMin(u32) in 10..=2_000;
}

/// `POST users`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// Unique, compared without case.
    #[schema(max_length = 254)]
    pub email: String,
    /// At least eight characters.
    #[schema(min_length = 8, max_length = 128)]
    pub password: String,
    /// How the person wants to be called.
    #[schema(min_length = 1, max_length = 120)]
    pub name: String,
    /// For the courier at the door.
    #[serde(default)]
    #[schema(max_length = 32)]
    pub phone: Option<String>,
}

/// `POST couriers` and `POST food-points/{id}/staff`: an operator opens an account for somebody.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterStaff {
    /// As in [`Register`].
    #[schema(max_length = 254)]
    pub email: String,
    /// As in [`Register`].
    #[schema(min_length = 8, max_length = 128)]
    pub password: String,
    /// As in [`Register`].
    #[schema(min_length = 1, max_length = 120)]
    pub name: String,
    /// As in [`Register`].
    #[serde(default)]
    #[schema(max_length = 32)]
    pub phone: Option<String>,
    /// Where a courier works; left out for kitchen staff.
    #[serde(default)]
    pub country: Option<Country>,
}

/// Answer to an account's opening.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Registered {
    /// The new person.
    pub id: UserId,
    /// What the person may do.
    pub role: Role,
}

/// `POST sessions`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// As registered.
    pub email: String,
    /// As registered.
    pub password: String,
}

/// `POST sessions/refresh`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The newest of its family; an older one revokes them all.
    pub refresh_token: String,
}

/// A pair of tokens.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Bearer token for every other route.
    pub access_token: String,
    /// Seconds of wall time that the access token lives.
    pub expires_in_s: u32,
    /// For one [`Refresh`].
    pub refresh_token: String,
    /// Whose.
    pub user: UserId,
    /// What the person may do.
    pub role: Role,
    /// The food points of kitchen staff.
    pub food_points: Vec<FoodPointId>,
}

/// One of the keys that sign access tokens; never the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SigningKey {
    /// As tokens name it.
    pub kid: String,
    /// What it is now.
    pub state: KeyState,
    /// Wall time.
    pub published_at: Timestamp,
    /// Wall time.
    pub signs_from: Timestamp,
    /// When it is published no longer, since nothing it signed is good any more; null as long as it has no successor.
    pub gone_from: Option<Timestamp>,
}

/// Where a signing key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Published, so that everyone knows it before it signs.
    Next,
    /// Signs.
    Current,
    /// Has signed, and stays published until nothing it signed is good any more.
    Retired,
}

/// `PATCH me`: what is left out stays.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeProfile {
    /// New name.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 120)]
    pub name: Option<String>,
    /// New phone.
    #[serde(default)]
    #[schema(max_length = 32)]
    pub phone: Option<String>,
    /// What we write in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
}

/// `PUT me/addresses/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// Street, house, floor, as a courier reads it.
    #[schema(min_length = 1, max_length = 300)]
    pub text: String,
    /// Where.
    pub place: Place,
    /// What a courier should know.
    #[serde(default)]
    #[schema(max_length = 300)]
    pub instructions: Option<String>,
}

/// A person's own data, as only that person sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Profile {
    /// Who.
    pub id: UserId,
    /// What the person may do.
    pub role: Role,
    /// As registered.
    pub email: String,
    /// As registered or changed.
    pub name: String,
    /// As registered or changed.
    pub phone: Option<String>,
    /// What we write in.
    #[serde(default)]
    pub language: Language,
    /// By id.
    pub addresses: BTreeMap<String, StoredAddress>,
}

/// How to write to a person; told to notifier alone, at sending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Whose.
    pub person: UserId,
    /// As registered or changed.
    pub name: String,
    /// As registered.
    pub email: String,
    /// What we write in.
    pub language: Language,
}

/// An address with what only its owner and the courier of an active job may see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoredAddress {
    /// As a courier reads it.
    pub text: String,
    /// Where.
    pub place: Place,
    /// What a courier should know.
    pub instructions: Option<String>,
}

/// `PUT basket/lines/{product_id}`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetLine {
    /// How many portions.
    pub quantity: Quantity,
    /// In which country; a basket has one.
    pub country: Country,
    /// What the customer chose of the product's options, for every portion of the line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Pick>,
}

/// How an order is to be paid.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = PaymentChoice)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// Card or cash.
    pub method: Method,
    /// The provider's token for the card; none for cash.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub token: Option<String>,
}

/// `POST orders`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceOrder {
    /// The version of the basket that the customer saw.
    pub basket_version: u64,
    /// Brought or collected.
    pub kind: Kind,
    /// Where to, for a delivery.
    #[serde(default)]
    pub address_id: Option<AddressId>,
    /// The only food point to ask; required for a pick-up.
    #[serde(default)]
    pub food_point_id: Option<FoodPointId>,
    /// How to pay.
    pub payment: Payment,
}

/// Gateway to basket-master, `POST /baskets/{customer}/checkout`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkout {
    /// The order that will be placed.
    pub order: OrderId,
    /// As the customer saw it.
    pub basket_version: u64,
    /// Kept outside the events.
    pub payment: Payment,
    /// The only food point to ask: its own promotions apply, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub food_point: Option<FoodPointId>,
}

/// basket-master's answer to [`Checkout`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckedOut {
    /// Lines and prices, frozen.
    pub quote: Quote,
}

/// Gateway to order-master, `POST /orders`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceFrozen {
    /// As derived from the customer's idempotency key.
    pub order: OrderId,
    /// As frozen by basket-master.
    pub quote: Quote,
    /// Brought or collected.
    pub kind: Kind,
    /// Where to, for a delivery.
    pub destination: Option<Destination>,
    /// The only food point to ask.
    pub food_point: Option<FoodPointId>,
}

/// What every command on an order, a delivery or anything else answers with: where it stands now.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// What was changed.
    pub id: String,
    /// Its status after the command.
    pub status: String,
    /// The short number of an order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
}

/// `POST orders/{id}/cancel`, `/reject` and `/stop`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WithReason {
    /// Why; not `payment` or `no_candidate`, which only we find out.
    #[serde(deserialize_with = "Reason::of_people")]
    pub reason: Reason,
}

/// `POST orders/{id}/collect`: the customer is at the counter.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Collect {
    /// What the customer said: four digits.
    #[schema(pattern = "^[0-9]{4}$")]
    pub pin: String,
}

/// `POST deliveries/{id}/fail`: why and how it was not handed over.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// Why: `customer_not_found`, `customer_cancelled`, `late` or `other`.
    #[serde(deserialize_with = "Reason::of_people")]
    pub reason: Reason,
    /// What became of the food; left out, the courier still has it.
    #[serde(default)]
    pub outcome: FailOutcome,
}

/// What became of food that was not handed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailOutcome {
    /// The courier stood before a closed door and still has it.
    #[default]
    Attempted,
    /// It is back at the counter, after an attempt.
    Returned,
    /// It is gone.
    Lost,
}

/// `POST deliveries/{id}/hand-over`: an operator asks another courier to go on with it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandOver {
    /// Who is asked.
    pub courier: CourierId,
}

/// `POST orders/{id}/accept`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// When the food will be ready; left out, now plus the longest preparation time.
    #[serde(default)]
    pub ready_by: Option<Timestamp>,
}

/// A command that says everything in its path.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// `PATCH food-points/{id}` by its staff (only `open`) or an operator.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePoint {
    /// Whether it takes orders.
    #[serde(default)]
    pub open: Option<bool>,
    /// A new description; operators only.
    #[serde(default)]
    pub settings: Option<crate::point::Settings>,
}

/// `POST food-points/{id}/stock/{ingredient_id}/receive`, `/count` and `/back`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StockAmount {
    /// In the ingredient's stock unit.
    pub quantity: StockQuantity,
}

/// `POST food-points/{id}/stock/{ingredient_id}/waste`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StockWaste {
    /// In the ingredient's stock unit; at most what is available.
    pub quantity: StockQuantity,
    /// Why.
    pub reason: WasteReason,
}

/// `PUT food-points/{id}/stock/{ingredient_id}/settings`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StockSettings {
    /// From so much down it is shown as low; left out, it never is.
    #[serde(default)]
    pub low_at: Option<StockQuantity>,
}

/// `PUT couriers/me/shift`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Shift {
    /// Whether the courier takes offers.
    pub on: bool,
    /// Where the courier is; needed to come on.
    #[serde(default)]
    pub at: Option<Coordinates>,
    /// How fast; left out, a bicycle's 320 m/min.
    #[serde(default)]
    pub speed_m_per_min: Option<SpeedMPerMin>,
}

/// `PUT couriers/me/position`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Where the courier is.
    pub at: Coordinates,
}

/// `POST deliveries/{id}/deliver`: one of the two.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deliver {
    /// What the customer said at the door: four digits.
    #[serde(default)]
    #[schema(pattern = "^[0-9]{4}$")]
    pub pin: Option<String>,
    /// An opaque reference to a photo.
    #[serde(default)]
    #[schema(max_length = 64)]
    pub photo: Option<String>,
}

/// `POST orders/{id}/override`: an operator ends an order.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Why; not `payment` or `no_candidate`, which only we find out.
    #[serde(deserialize_with = "Reason::of_people")]
    pub reason: Reason,
}

/// One line of an order's history.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HistoryEntry {
    /// What later entries call their causation.
    #[serde(default)]
    pub event_id: Uuid,
    /// 1, 2, 3 …
    pub version: u64,
    /// Business time.
    pub at: Timestamp,
    /// Wall time.
    pub recorded_at: Timestamp,
    /// Noun and past verb.
    pub event_type: String,
    /// Who.
    #[schema(value_type = String)]
    pub actor: Actor,
    /// The event or command that led to it.
    pub causation: Option<Uuid>,
    /// What happened.
    #[schema(value_type = serde_json::Value)]
    pub data: Body,
}

impl From<Envelope> for HistoryEntry {
    fn from(event: Envelope) -> Self {
        Self {
            event_id: event.event_id,
            version: event.version,
            at: event.at,
            recorded_at: event.recorded_at,
            event_type: event.event_type,
            actor: event.meta.actor,
            causation: event.meta.causation,
            data: event.data,
        }
    }
}
