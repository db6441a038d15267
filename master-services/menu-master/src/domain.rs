//! The life of a product. Nothing here awaits, reads a clock, or knows SQL, NATS or HTTP.
//!
//! The state is the fold in `contracts::view::product`. Knows nothing of who cooks a product or has its ingredients.
//! An ingredient is known once any product's recipe or option named it.

mod flaws;
mod product;
pub mod promotion;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use mesh_contracts::geo::Country;
use mesh_contracts::id::IngredientId;
use mesh_contracts::menu::{self, Event};
use mesh_contracts::money::Currency;
use mesh_contracts::view::product::Product;

pub use flaws::{Flaw, is_name};

/// The currency that each country's prices are in, as far as any product is sold there.
pub type Currencies = BTreeMap<Country, Currency>;

/// What a recipe may refer to by id alone, with the name that was given last.
pub type Ingredients = BTreeMap<IngredientId, String>;

/// What the menu as a whole knows, beyond one product.
#[derive(Debug, Clone, Default)]
pub struct Known {
    pub currencies: Currencies,
    /// Those that the description itself names are among them.
    pub ingredients: Ingredients,
}

/// What an operator can ask.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Sell something new.
    Create(menu::Product),
    /// Describe it anew, as a whole.
    Update(menu::Product),
    /// Sell it no more.
    Retire,
}

/// Why the answer is no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such product")]
    NoSuchProduct,
    #[error("it exists already")]
    AlreadyCreated,
    #[error("the product is retired")]
    Retired,
    #[error("there is no such promotion")]
    NoSuchPromotion,
    #[error("the promotion is over")]
    PromotionEnded,
    #[error("the input is not valid")]
    Invalid(Vec<Flaw>),
    #[error("prices there are in another currency")]
    ForeignCurrency { country: Country, expected: Currency },
}

/// What follows from a command in a state. Saying what is so already changes nothing and is no mistake.
pub fn decide(product: Option<&Product>, command: Command, known: &Known) -> Result<Vec<Event>, Rejection> {
    let Some(product) = product else {
        return match command {
            Command::Create(product) => Ok(vec![Event::Created {
                product: accepted(product, known)?,
            }]),
            Command::Update(_) | Command::Retire => Err(Rejection::NoSuchProduct),
        };
    };
    match command {
        Command::Create(_) => Err(Rejection::AlreadyCreated),
        Command::Update(_) if product.retired => Err(Rejection::Retired),
        Command::Update(newer) => match accepted(newer, known)? {
            same if same == product.product => Ok(Vec::new()),
            product => Ok(vec![Event::Updated { product }]),
        },
        Command::Retire if product.retired => Ok(Vec::new()),
        Command::Retire => Ok(vec![Event::Retired {}]),
    }
}

fn accepted(product: menu::Product, known: &Known) -> Result<menu::Product, Rejection> {
    let product = product::checked(product, &known.ingredients)?;
    for (country, price) in &product.prices {
        match known.currencies.get(country) {
            Some(expected) if *expected != price.currency => {
                return Err(Rejection::ForeignCurrency {
                    country: *country,
                    expected: *expected,
                });
            }
            Some(_) | None => {}
        }
    }
    Ok(product)
}
