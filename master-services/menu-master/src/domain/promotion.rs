//! The life of a promotion, and what its description must satisfy beyond its types.
//!
//! Whether a food point exists is nobody's business here: a promotion for one that does not is never applied.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use jiff::Timestamp;
use mesh_contracts::id::ProductId;
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::promotion::{Discount, Event, Promotion};
use mesh_contracts::view::product::Product;
use mesh_contracts::view::promotion;

use super::Rejection;
use super::flaws::{Flaws, trim};
use super::product::lowest_price;

#[cfg(test)]
mod tests;

/// All of a price cannot be taken off: nobody can pay nothing.
const BASIS_POINTS: RangeInclusive<u32> = 1..=9_999;
/// More products than a leaflet shows; a promotion of everything names none.
pub const PRODUCTS_MAX: usize = 100;

/// What an operator can ask.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Announce it.
    Create(Promotion),
    /// Describe it anew, as a whole.
    Change(Promotion),
    /// Stop it before its time.
    End,
}

/// What the menu knows about what a promotion names.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Of the prices in its country; none if nothing was ever sold there.
    pub currency: Option<Currency>,
    pub products: BTreeMap<ProductId, Product>,
}

/// What follows from a command in a state. Saying what is so already changes nothing and is no mistake.
pub fn decide(
    promotion: Option<&promotion::Promotion>,
    command: Command,
    known: &Known,
    now: Timestamp,
) -> Result<Vec<Event>, Rejection> {
    let Some(promotion) = promotion else {
        return match command {
            Command::Create(promotion) => Ok(vec![Event::Created {
                promotion: checked(promotion, known, now)?,
            }]),
            Command::Change(_) | Command::End => Err(Rejection::NoSuchPromotion),
        };
    };
    match command {
        Command::Create(_) => Err(Rejection::AlreadyCreated),
        Command::Change(_) if promotion.ended => Err(Rejection::PromotionEnded),
        Command::Change(newer) => match checked(newer, known, now)? {
            same if same == promotion.promotion => Ok(Vec::new()),
            promotion => Ok(vec![Event::Changed { promotion }]),
        },
        Command::End if promotion.ended => Ok(Vec::new()),
        Command::End => Ok(vec![Event::Ended {}]),
    }
}

/// The same with its names trimmed, or everything that is wrong with it.
fn checked(mut promotion: Promotion, known: &Known, now: Timestamp) -> Result<Promotion, Rejection> {
    trim(&mut promotion.names);
    let mut flaws = Flaws::default();
    flaws.names("names", &promotion.names);
    flaws.demand(known.currency.is_some(), "country", "nothing is sold there");
    flaws.named_products(&promotion, known);
    match promotion.discount {
        Discount::BasisPoints(basis_points) => flaws.demand(
            BASIS_POINTS.contains(&basis_points),
            "discount.basis_points",
            "must be from 1 to 9999",
        ),
        Discount::Amount(amount) => flaws.amount(amount, &promotion, known),
    }
    flaws.demand(
        promotion.starts_at < promotion.ends_at,
        "ends_at",
        "must be after starts_at",
    );
    flaws.demand(now < promotion.ends_at, "ends_at", "must be in the future");
    flaws.none_or_refused(promotion)
}

impl Flaws {
    fn named_products(&mut self, promotion: &Promotion, known: &Known) {
        let products = &promotion.products;
        self.demand(products.len() <= PRODUCTS_MAX, "products", "must be at most 100");
        let field = |index: usize| format!("products[{index}]");
        self.distinct(products, field, "is named already");
        for (index, product) in products.iter().enumerate() {
            match known.products.get(product).filter(|product| !product.retired) {
                None => self.demand(false, field(index), "is not on the menu"),
                Some(product) => self.demand(
                    product.price_in(promotion.country).is_some(),
                    field(index),
                    "is not sold there",
                ),
            }
        }
    }

    /// Less than each price that it comes off, as the prices are now.
    fn amount(&mut self, amount: Money, promotion: &Promotion, known: &Known) {
        self.demand(amount.amount > 0, "discount.amount.amount", "must be above zero");
        self.demand(
            known.currency.is_none_or(|currency| currency == amount.currency),
            "discount.amount.currency",
            "must be the currency of the prices there",
        );
        self.demand(
            !promotion.products.is_empty(),
            "products",
            "must be named for an amount",
        );
        let named = promotion.products.iter().filter_map(|id| known.products.get(id));
        let mut prices = named.filter_map(|product| lowest_price(&product.product, promotion.country));
        self.demand(
            prices.all(|price| amount.amount < price),
            "discount.amount.amount",
            "must be below the price of every product",
        );
    }
}
