//! A customer: gets hungry, fills a basket, orders, pays, watches, and gets hungry again.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use jiff::SignedDuration;
use mesh_contracts::api::{Payment, PlaceOrder, Quantity};
use mesh_contracts::id::{AddressId, FoodPointId, OrderId};
use mesh_contracts::order::{Kind, Method, Reason};
use mesh_runtime::Clock;
use serde_json::Value;
use uuid::Uuid;

use super::tale::Tale;
use super::{follow, key_of, unless_too_late};
use crate::chain::{Sold, Somebody};
use crate::client::{Failure, Person};

/// The sandbox's cards: one that is good, one that is declined.
const GOOD_CARD: &str = "pm_card_visa";
const BAD_CARD: &str = "pm_card_declined";

/// One order in so many begins with the wrong card; so many are paid in cash; so many are cancelled at once.
const DECLINED_ONE_IN: u32 = 20;
const CASH_ONE_IN: u32 = 6;
const CANCELLED_ONE_IN: u32 = 30;

/// A basket that was changed elsewhere is looked at again so many times.
const TRIES_MAX: u32 = 5;

/// One of the chain's customers.
pub(super) struct Customer {
    pub(super) person: Person,
    pub(super) somebody: Somebody,
    pub(super) menu: Vec<Sold>,
    pub(super) clock: Clock,
    pub(super) tale: Arc<Tale>,
    pub(super) first_after: SignedDuration,
}

/// The first customer is hungry at once, so that there is something to see; the others one after the other.
pub(super) fn first_appetite(index: usize) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(index).unwrap_or(0) * 75)
}

impl Customer {
    /// Orders again and again.
    pub(super) async fn live(self) -> Result<()> {
        self.remember().await?;
        self.clock.sleep_until(self.clock.now() + self.first_after).await;
        loop {
            let wish = self.wish();
            let (order, token) = self.order(&wish).await?;
            self.watch(order, token).await?;
            let sated_for = SignedDuration::from_mins(rand::random_range(8..25));
            self.clock.sleep_until(self.clock.now() + sated_for).await;
        }
    }

    /// Orders from before a restart are watched to their end first.
    async fn remember(&self) -> Result<()> {
        let orders = self.person.orders().await?;
        let open: Vec<OrderId> = orders["items"]
            .as_array()
            .map(|items| items.iter().filter_map(open).collect())
            .unwrap_or_default();
        for order in open {
            self.watch(order, None).await?;
        }
        Ok(())
    }

    fn wish(&self) -> Wish {
        let index = rand::random_range(0..self.menu.len());
        let is_cash = rand::random_range(0..CASH_ONE_IN) == 0;
        let card = if rand::random_range(0..DECLINED_ONE_IN) == 0 {
            BAD_CARD
        } else {
            GOOD_CARD
        };
        Wish {
            product: self.menu[index].clone(),
            quantity: Quantity::new(rand::random_range(1..=3)).expect("within its bounds"),
            payment: if is_cash { cash() } else { by_card(card) },
        }
    }

    async fn order(&self, wish: &Wish) -> Result<(OrderId, Option<String>)> {
        let country = self.somebody.place.country;
        let address = self.somebody.address.context("a customer without an address")?;
        for _ in 0..TRIES_MAX {
            let version = self.person.set_line(wish.product.id, wish.quantity, country).await?;
            let order = delivery_of(version, address, None, wish.payment.clone());
            match self.person.place(&order, &Uuid::now_v7().to_string()).await {
                Ok((receipt, reply)) => {
                    let id: OrderId = receipt.id.parse()?;
                    self.tale
                        .ordered(id, &self.somebody, wish.quantity.get(), &wish.product);
                    // The page that an app shows next.
                    self.person.order_after(id, reply.token.clone()).await?;
                    return Ok((id, reply.token));
                }
                Err(failure) if is_stale(&failure) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        bail!("the basket of {} never stands still", self.somebody.name)
    }

    async fn watch(&self, order: OrderId, token: Option<String>) -> Result<()> {
        if rand::random_range(0..CANCELLED_ONE_IN) == 0 {
            let told = self
                .person
                .cancel(order, Reason::CustomerCancelled, &key_of("cancel", order))
                .await;
            unless_too_late(told)?;
        }
        let (declined, mut declines) = tokio::sync::watch::channel(0);
        let watching = follow(&self.person, order, token, |track, happened| {
            self.tale.tell(order, track, happened);
            declined.send_replace(track.declines);
        });
        let paying = async {
            loop {
                if declines.changed().await.is_err() {
                    return std::future::pending::<Result<()>>().await;
                }
                let count = *declines.borrow_and_update();
                if count > 0 {
                    let key = key_of("pay", format_args!("{order}/{count}"));
                    unless_too_late(self.person.pay(order, &by_card(GOOD_CARD), &key).await)?;
                }
            }
        };
        tokio::select! {
            watched = watching => watched.map(drop),
            failed = paying => failed,
        }
    }
}

struct Wish {
    product: Sold,
    quantity: Quantity,
    payment: Payment,
}

/// An order to be brought.
pub fn delivery_of(
    basket_version: u64,
    address: AddressId,
    food_point: Option<FoodPointId>,
    payment: Payment,
) -> PlaceOrder {
    PlaceOrder {
        basket_version,
        kind: Kind::Delivery,
        address_id: Some(address),
        food_point_id: food_point,
        payment,
    }
}

/// Paid by a card that is good.
pub fn good_card() -> Payment {
    by_card(GOOD_CARD)
}

/// Whether the basket or its prices have moved on since they were looked at: look again, under a new key.
pub fn is_stale(failure: &Failure) -> bool {
    matches!(
        failure.kind(),
        Some("basket_changed" | "basket_empty" | "quote_expired")
    )
}

/// Paid by the card that the sandbox's provider knows by that name.
pub fn by_card(token: &str) -> Payment {
    Payment {
        method: Method::Card,
        token: Some(token.to_owned()),
    }
}

fn cash() -> Payment {
    Payment {
        method: Method::Cash,
        token: None,
    }
}

/// The id of an order that has not ended.
fn open(document: &Value) -> Option<OrderId> {
    let status: mesh_contracts::order::Status = serde_json::from_value(document["status"].clone()).ok()?;
    if status.is_terminal() {
        return None;
    }
    document["id"].as_str()?.parse().ok()
}
