//! A chain large enough for the load, customers with filled baskets, and orders at a fixed rate, whoever is slow.
//!
//! Latency counts from when an order was meant to be sent, so that a stall is not hidden by orders that were never sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::future::join_all;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use hdrhistogram::Histogram;
use http::{Request, header};
use mesh_contracts::api::{Address, Payment, PlaceOrder, Quantity, Register, StockQuantity};
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{AddressId, IngredientId, ProductId};
use mesh_contracts::menu::{Names, Product, RecipeLine};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::{Kind, Method};
use mesh_contracts::point::Settings;
use mesh_identity::{Client, Upstream};
use mesh_local::running::Running;
use mesh_local::secrets::random_hex;
use mesh_runtime::headers::IDEMPOTENCY_KEY;
use tokio::time::Instant;
use uuid::Uuid;

use crate::client::{Api, Person};
use crate::say::Steps;
use crate::settle;

/// A chain at its lunch peak: 200 orders a second are 24 a minute for each of them. No kitchen fills up before its
/// first ticket times out.
const FOOD_POINTS: i32 = 500;

/// Orders per food point that may be open at a time.
const POOL: u16 = 1_000;

/// Calls under way at once while everything is set up.
const AT_ONCE: usize = 16;

/// An answer that takes longer is an error.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The card that always works.
const CARD: &str = "pm_card_visa";

/// A tenth of a degree: kitchens are out of each other's reach.
const GRID_E6: i32 = 100_000;

/// Latencies up to a minute, to three digits.
const LATENCY_MAX_US: u64 = 60_000_000;

/// Customers ready to order.
pub(super) struct Load {
    door: Arc<Door>,
    customers: Vec<Ready>,
}

/// What came of it.
pub(super) struct Outcome {
    /// Orders sent.
    pub sent: u64,
    /// Why, and how many, that were not answered with 2xx.
    pub errors: BTreeMap<String, u64>,
    /// From the intended start to the last byte of the answer, in microseconds; of all that were answered.
    pub latency_us: Histogram<u64>,
}

/// Where orders are sent: without the client's retries, which would hide errors.
struct Door {
    client: Client,
    upstream: Upstream,
}

/// A customer with a full basket.
struct Ready {
    person: Person,
    address: AddressId,
    basket_version: u64,
}

impl Load {
    /// Opens food points, registers customers, one per order, and fills their baskets.
    pub(super) async fn prepare(running: &Running, orders: usize, steps: &Steps) -> Result<Self> {
        let api = Api::of(running)?;
        let (email, password) = running.operator()?;
        let operator = api.person(email, password);
        let country = Country::parse("DE").context("two capital letters")?;
        let ingredient = IngredientId::new_v7();
        let product = operator
            .create_product(&product(country, ingredient), &fresh())
            .await
            .context("adding the product")?;
        steps.count("opening food points", FOOD_POINTS as usize);
        stream::iter(0..FOOD_POINTS)
            .map(|nth| open_point(&operator, country, ingredient, nth, steps))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
            .context("opening the food points")?;
        steps.step("waiting until every service has heard of the chain");
        settle::everyone_has_heard(running).await?;

        steps.count("registering customers and filling their baskets", orders);
        let door = Door {
            client: Client::public(&std::fs::read(running.ca_cert())?)?,
            upstream: Upstream::new("gateway", running.public_url().trim_start_matches("https://")),
        };
        let customers = stream::iter(0..orders)
            .map(|nth| register(&api, nth, product, country, steps))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
            .context("registering the customers")?;
        Ok(Self {
            door: Arc::new(door),
            customers,
        })
    }

    /// Every customer orders, evenly over this time.
    pub(super) async fn run(self, span: Duration) -> Result<Outcome> {
        let total = self.customers.len();
        let first_at = Instant::now() + Duration::from_secs(1);
        let mut under_way = Vec::new();
        for (nth, customer) in self.customers.into_iter().enumerate() {
            let intended = first_at + span.mul_f64(nth as f64 / total as f64);
            tokio::time::sleep_until(intended).await;
            let door = self.door.clone();
            under_way.push(tokio::spawn(async move {
                let result = door.place(&customer).await;
                (result, intended.elapsed())
            }));
        }
        let mut outcome = Outcome {
            sent: total as u64,
            errors: BTreeMap::new(),
            latency_us: Histogram::new_with_max(LATENCY_MAX_US, 3)?,
        };
        for answered in join_all(under_way).await {
            let (result, took) = answered?;
            match result {
                Ok(()) => {
                    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                    outcome.latency_us.saturating_record(micros);
                }
                Err(err) => *outcome.errors.entry(err.to_string()).or_default() += 1,
            }
        }
        Ok(outcome)
    }
}

impl Door {
    async fn place(&self, customer: &Ready) -> Result<()> {
        let order = PlaceOrder {
            basket_version: customer.basket_version,
            kind: Kind::Delivery,
            address_id: Some(customer.address),
            food_point_id: None,
            payment: Payment {
                method: Method::Card,
                token: Some(CARD.to_owned()),
            },
        };
        let pass = customer.person.pass().await?;
        let request = Request::post("/v1/orders")
            .header(header::AUTHORIZATION, format!("Bearer {}", pass.token))
            .header(header::CONTENT_TYPE, "application/json")
            .header(IDEMPOTENCY_KEY, fresh())
            .body(Bytes::from(serde_json::to_vec(&order)?))?;
        let answer = self.client.request_within(&self.upstream, request, TIMEOUT).await?;
        if answer.status().is_success() {
            return Ok(());
        }
        let problem: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let kind = problem["type"].as_str().and_then(|kind| kind.rsplit('/').next());
        anyhow::bail!("{} {}", answer.status().as_u16(), kind.unwrap_or_default())
    }
}

async fn register(api: &Api, nth: usize, product: ProductId, country: Country, steps: &Steps) -> Result<Ready> {
    let register = Register {
        email: format!("bench-{nth}-{}@bench.tiffin.local", random_hex(4)),
        password: random_hex(12),
        name: format!("Customer {nth}"),
        phone: None,
    };
    api.register(&register, &fresh()).await?;
    let person = api.person(&register.email, &register.password);
    let address = AddressId::new_v7();
    let text = Address {
        text: "Somewhere 1".to_owned(),
        place: place(country, nth as i32 % FOOD_POINTS)?,
        instructions: None,
    };
    person.set_address(address, &text).await?;
    let quantity = Quantity::new(2).context("within its bounds")?;
    let basket_version = person.set_line(product, quantity, country).await?;
    steps.one_more();
    Ok(Ready {
        person,
        address,
        basket_version,
    })
}

async fn open_point(
    operator: &Person,
    country: Country,
    ingredient: IngredientId,
    nth: i32,
    steps: &Steps,
) -> Result<()> {
    let settings = Settings {
        name: format!("Bench {nth}"),
        place: place(country, nth)?,
        kinds: vec![Kind::Delivery],
        radius_m: 5_000,
        pool: POOL,
        auto_accept: false,
        hours: Vec::new(),
        utc_offset_minutes: 0,
    };
    let point = operator.create_food_point(&settings, &fresh()).await?;
    let plenty = StockQuantity::new(10_000_000).context("within its bounds")?;
    operator.receive_stock(point, ingredient, plenty, &fresh()).await?;
    steps.one_more();
    Ok(())
}

fn product(country: Country, ingredient: IngredientId) -> Product {
    let named = |name: &str| Names {
        en: name.to_owned(),
        ru: name.to_owned(),
    };
    Product {
        names: named("Bench sandwich"),
        prices: BTreeMap::from([(country, Money::new(790, Currency::EUR))]),
        recipe: vec![RecipeLine {
            ingredient,
            name: "Bread".to_owned(),
            quantity: 1,
        }],
        allergens: Vec::new(),
        prep_minutes: 5,
        ..Product::default()
    }
}

/// On a grid of eight columns.
fn place(country: Country, nth: i32) -> Result<Place> {
    let at = Coordinates::new(50_000_000 + nth / 8 * GRID_E6, 10_000_000 + nth % 8 * 2 * GRID_E6);
    Ok(Place {
        country,
        at: at.context("on earth")?,
    })
}

fn fresh() -> String {
    Uuid::now_v7().to_string()
}
