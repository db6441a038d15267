//! The life of a product. Nothing here awaits, reads a clock, or knows SQL, NATS or HTTP.
//!
//! The state is the fold in `contracts::view::product`. Knows nothing of who cooks a product or has its ingredients.

mod product;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use mesh_contracts::geo::Country;
use mesh_contracts::menu::{self, Event};
use mesh_contracts::money::Currency;
use mesh_contracts::view::product::Product;

/// The currency that each country's prices are in, as far as any product is sold there.
pub type Currencies = BTreeMap<Country, Currency>;

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
    #[error("the product exists already")]
    AlreadyCreated,
    #[error("the product is retired")]
    Retired,
    #[error("the input is not valid")]
    Invalid(Vec<Flaw>),
    #[error("prices there are in another currency")]
    ForeignCurrency { country: Country, expected: Currency },
}

/// What is wrong with one part of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The path to it, such as `recipe[2].quantity`.
    pub field: String,
    pub message: &'static str,
}

/// What follows from a command in a state. Saying what is so already changes nothing and is no mistake.
pub fn decide(product: Option<&Product>, command: Command, currencies: &Currencies) -> Result<Vec<Event>, Rejection> {
    let Some(product) = product else {
        return match command {
            Command::Create(product) => Ok(vec![Event::Created {
                product: accepted(product, currencies)?,
            }]),
            Command::Update(_) | Command::Retire => Err(Rejection::NoSuchProduct),
        };
    };
    match command {
        Command::Create(_) => Err(Rejection::AlreadyCreated),
        Command::Update(_) if product.retired => Err(Rejection::Retired),
        Command::Update(newer) => match accepted(newer, currencies)? {
            same if same == product.product => Ok(Vec::new()),
            product => Ok(vec![Event::Updated { product }]),
        },
        Command::Retire if product.retired => Ok(Vec::new()),
        Command::Retire => Ok(vec![Event::Retired {}]),
    }
}

fn accepted(product: menu::Product, currencies: &Currencies) -> Result<menu::Product, Rejection> {
    let product = product::checked(product)?;
    for (country, price) in &product.prices {
        match currencies.get(country) {
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
