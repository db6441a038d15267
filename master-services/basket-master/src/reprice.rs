//! What a change of the menu makes of baskets: every line of a product costs what the menu says, or goes.
//!
//! Found by `basket_lines`, which is written with the line. A line that was set while the menu changed is looked at again
//! by whoever set it, and every basket once more at its checkout: neither a crash in between nor a replica that has not
//! heard yet sells anything at an old price.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use mesh_contracts::envelope::{Actor, Envelope};
use mesh_contracts::id::{BasketId, ProductId};
use mesh_contracts::view::basket::Basket;
use mesh_contracts::view::product::Product;
use mesh_eventstore::inbox::{self, Fault};
use mesh_eventstore::{BoxError, Request};

use crate::domain::basket::{self, Command};
use crate::{App, NAME};

/// Baskets found at once.
const PAGE: i64 = 500;

/// Of these, under way at once: enough to fill the group commit, few enough to leave room for customers.
const AT_ONCE: usize = 16;

impl App {
    /// Every basket that holds the product of this event, as the menu has it now. May be repeated.
    pub async fn reprice_all(&self, event: &Envelope, product: ProductId) -> Result<(), Fault> {
        let Some(known) = self.tables.product(product).await? else {
            return Ok(());
        };
        let (_, menu) = &*known;
        let mut after = String::new();
        loop {
            let baskets = self.tables.baskets_with(product, &after, PAGE).await?;
            let Some(last) = baskets.last() else {
                return Ok(());
            };
            after.clone_from(last);
            stream::iter(baskets)
                .map(Ok)
                .try_for_each_concurrent(AT_ONCE, |basket| self.reprice_one(event, basket, product, menu))
                .await?;
        }
    }

    async fn reprice_one(
        &self,
        event: &Envelope,
        basket: String,
        product: ProductId,
        menu: &Product,
    ) -> Result<(), Fault> {
        let id: BasketId = basket.parse().map_err(Fault::poison)?;
        let known = self.baskets.load(id).await.map_err(Fault::later)?;
        let basket = known.map(|(basket, _)| basket);
        if !basket.as_ref().is_some_and(|basket| may_hold(basket, product)) {
            self.tables.forget_lines(id, [product].into_iter()).await?;
        }
        let command = Command::Reprice {
            menu: vec![(product, menu.clone())],
        };
        if !changes_anything(basket.as_ref(), &command) {
            return Ok(());
        }
        let request = Request::step(NAME, event, &id.to_string());
        let decide = move |basket: Option<&Basket>, now| basket::decide(basket, &command, now);
        inbox::settled(self.baskets.submit(id, request, decide).await)?;
        Ok(())
    }

    /// All lines of one basket, as the menu has them now; the basket as this process then knows it.
    pub async fn reprice(&self, id: BasketId) -> Result<Option<Basket>, BoxError> {
        let Some((basket, _)) = self.baskets.recent(id).await? else {
            return Ok(None);
        };
        let mut menu = Vec::with_capacity(basket.lines.len());
        for line in &basket.lines {
            let known = self.tables.product(line.product).await?;
            menu.extend(known.map(|known| (line.product, known.1.clone())));
        }
        let command = Command::Reprice { menu };
        if !changes_anything(Some(&basket), &command) {
            return Ok(Some(basket));
        }
        let decide = move |basket: Option<&Basket>, now| basket::decide(basket, &command, now);
        self.baskets
            .submit(id, Request::by(Actor::service(NAME)), decide)
            .await?;
        Ok(self.baskets.recent(id).await?.map(|(basket, _)| basket))
    }
}

/// Also what a checkout took may come back.
fn may_hold(basket: &Basket, product: ProductId) -> bool {
    let frozen = basket.checkout.iter().flat_map(|checkout| &checkout.quote.lines);
    basket.line(product).is_some() || frozen.into_iter().any(|line| line.product == product)
}

/// Asked before submitting, since most baskets stay as they are. The menu's word does not depend on the time.
fn changes_anything(basket: Option<&Basket>, command: &Command) -> bool {
    let decided = basket::decide(basket, command, jiff::Timestamp::UNIX_EPOCH);
    decided.is_ok_and(|events| !events.is_empty())
}
