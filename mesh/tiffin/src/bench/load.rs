//! Customers with filled baskets, and what it is to order for one of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use http::{Response, header};
use mesh_contracts::api::{Payment, PlaceOrder, Quantity, Receipt, SetLine};
use mesh_contracts::id::{AddressId, FoodPointId, OrderId, UserId};
use mesh_contracts::order::{Kind, Method};
use mesh_contracts::user::Role;
use mesh_local::running::Running;

use super::door::Door;
use super::pace::{Outcome, evenly};
use super::people::{People, enroll};
use super::shop::{self, AT_ONCE, Plan, Shop};
use crate::client::version_of;
use crate::say::Steps;

/// A chain at its lunch peak: 200 orders a second are 24 a minute for each of them.
pub(super) const LUNCH: Plan = Plan {
    points: 500,
    kind: Kind::Delivery,
    // No kitchen fills up before its first ticket times out.
    pool: 1_000,
    auto_accept: false,
    prep_minutes: 5,
};

/// What everybody orders.
const PORTIONS: u32 = 2;

/// Half of a token's life.
const RENEW_AFTER: Duration = Duration::from_secs(300);

/// The card that always works.
const CARD: &str = "pm_card_visa";

/// A customer with a full basket, near one of the food points.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub id: UserId,
    pub token: String,
    signed_in: Instant,
    address: AddressId,
    basket_version: u64,
    /// Where a customer would collect it.
    pub point: FoodPointId,
}

/// Customers one by one at each point in turn, their baskets filled.
pub(super) async fn customers(
    running: &Running,
    (door, people, shop): (&Door, &People, &Shop),
    count: usize,
    steps: &Steps,
) -> Result<Vec<Ready>> {
    steps.step(&format!("opening {count} accounts"));
    let homes = (0..count).map(|nth| shop::place(nth % shop.points.len())).collect();
    let enrolled = enroll(running, Role::Customer, homes).await?;
    steps.count("filling their baskets", count);
    stream::iter(enrolled.into_iter().enumerate())
        .map(|(nth, person)| async move {
            let mut ready = Ready {
                id: person.id,
                token: people.token(&person.id, Role::Customer),
                signed_in: Instant::now(),
                address: person.address,
                basket_version: 0,
                point: shop.points[nth % shop.points.len()],
            };
            set_line(door, shop, &mut ready, PORTIONS).await?;
            steps.one_more();
            anyhow::Ok(ready)
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .context("filling the baskets")
}

impl Ready {
    /// A new token, unless the old one is good for some minutes.
    pub(super) fn renew(&mut self, people: &People) {
        if self.signed_in.elapsed() > RENEW_AFTER {
            self.token = people.token(&self.id, Role::Customer);
            self.signed_in = Instant::now();
        }
    }
}

/// So many in the basket, for the next order.
pub(super) async fn set_line(door: &Door, shop: &Shop, customer: &mut Ready, quantity: u32) -> Result<Response<Bytes>> {
    let line = SetLine {
        quantity: Quantity::new(quantity).context("within its bounds")?,
        country: shop.country,
        options: Vec::new(),
    };
    let path = format!("/v1/basket/lines/{}", shop.product);
    let answer = door.put(&path, &customer.token, &line).await?;
    let tag = answer.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
    customer.basket_version = tag.and_then(version_of).context("a basket has a version")?;
    Ok(answer)
}

/// Everybody has one delivered, evenly over this time.
pub(super) async fn order_evenly(door: &Door, ready: Vec<Ready>, span: Duration) -> Result<Outcome> {
    let mut customers = ready.into_iter();
    evenly(customers.len(), span, |_| {
        let (door, customer) = (door.clone(), customers.next());
        async move {
            let customer = customer.context("one customer for each order")?;
            place_order(&door, &customer, Kind::Delivery).await.map(drop)
        }
    })
    .await
}

/// Whoever is turned away is asked to come again after a second, and has come for nothing after so long.
const COME_AGAIN: Duration = Duration::from_secs(1);
const INSIST: Duration = Duration::from_secs(30);

/// Orders what is in the basket.
pub(super) async fn place_order(door: &Door, customer: &Ready, kind: Kind) -> Result<OrderId> {
    order_of(&place(door, customer, kind).await?)
}

fn order_of(answer: &Response<Bytes>) -> Result<OrderId> {
    let receipt: Receipt = serde_json::from_slice(answer.body())?;
    Ok(receipt.id.parse()?)
}

/// The same, with all of the answer.
pub(super) async fn place(door: &Door, customer: &Ready, kind: Kind) -> Result<Response<Bytes>> {
    let is_delivery = kind == Kind::Delivery;
    let order = PlaceOrder {
        basket_version: customer.basket_version,
        kind,
        address_id: is_delivery.then_some(customer.address),
        food_point_id: (!is_delivery).then_some(customer.point),
        payment: Payment {
            method: Method::Card,
            token: Some(CARD.to_owned()),
        },
    };
    // A basket is ordered once, so whoever is turned away and comes again means the same order.
    let key = format!("basket-{}", customer.basket_version);
    door.post_under(&key, "/v1/orders", &customer.token, &order).await
}

/// Orders for delivery, and comes again when told to.
pub(super) async fn insist(door: &Door, customer: &Ready) -> Result<OrderId> {
    order_of(&place_insisting(door, customer, Kind::Delivery).await?)
}

/// The same, with all of the answer.
pub(super) async fn place_insisting(door: &Door, customer: &Ready, kind: Kind) -> Result<Response<Bytes>> {
    let started = Instant::now();
    loop {
        match place(door, customer, kind).await {
            Err(err) if err.to_string().starts_with("503") && started.elapsed() < INSIST => {
                tokio::time::sleep(COME_AGAIN).await;
            }
            placed => return placed,
        }
    }
}
