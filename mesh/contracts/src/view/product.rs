//! A product, folded from its events: what the operator described last, and whether it is still sold.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::geo::Country;
use crate::menu::{self, Event};
use crate::money::Money;

/// A product of the menu.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ProductDocument)]
pub struct Product {
    /// As the operator describes it.
    pub product: menu::Product,
    /// Nobody can order it any more.
    pub retired: bool,
    /// Version of its last event. Every event changes what is sold, so it is the status version too.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Product {
    /// What one portion costs there; `None` where it is not sold, and after it was retired.
    pub fn price_in(&self, country: Country) -> Option<Money> {
        self.product.prices.get(&country).filter(|_| !self.retired).copied()
    }

    /// The tax within that price, in basis points.
    pub fn tax_bp_in(&self, country: Country) -> u32 {
        self.product.tax_bp.get(&country).copied().unwrap_or_default()
    }
}

/// The next state; `None` only for a stream that does not start with `product.created`.
pub fn fold(product: Option<Product>, event: &Event, at: Timestamp) -> Option<Product> {
    let Some(mut product) = product else {
        return match event {
            Event::Created { product } => Some(Product {
                product: product.clone(),
                retired: false,
                version: 1,
                created_at: at,
                updated_at: at,
            }),
            _ => None,
        };
    };
    skip(&mut product, at);
    match event {
        Event::Created { .. } => {}
        Event::Updated { product: newer } => product.product = newer.clone(),
        Event::Retired {} => product.retired = true,
    }
    Some(product)
}

/// An event that this build does not know: only the version moves.
pub fn skip(product: &mut Product, at: Timestamp) {
    product.version += 1;
    product.updated_at = at;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::menu::Names;
    use crate::money::Currency;

    const NOON: Timestamp = Timestamp::UNIX_EPOCH;

    fn club(price: i64) -> menu::Product {
        let germany = Country::parse("DE").expect("a country");
        menu::Product {
            names: Names {
                en: "Club".into(),
                ru: "Клаб".into(),
            },
            prices: BTreeMap::from([(germany, Money::new(price, Currency::EUR))]),
            recipe: Vec::new(),
            allergens: Vec::new(),
            prep_minutes: 8,
            ..menu::Product::default()
        }
    }

    fn folded(events: &[Event]) -> Option<Product> {
        events.iter().fold(None, |product, event| fold(product, event, NOON))
    }

    #[test]
    fn the_last_description_counts_until_it_is_retired() {
        let germany = Country::parse("DE").expect("a country");
        let created = Event::Created { product: club(890) };
        let updated = Event::Updated { product: club(990) };
        let sold = folded(&[created.clone(), updated.clone()]).expect("created");
        assert_eq!(sold.price_in(germany), Some(Money::new(990, Currency::EUR)));
        assert_eq!(sold.price_in(Country::parse("RS").expect("a country")), None);
        let retired = folded(&[created, updated, Event::Retired {}]).expect("created");
        assert_eq!((retired.version, retired.retired), (3, true));
        assert_eq!(retired.price_in(germany), None);
    }

    #[test]
    fn a_stream_that_starts_in_the_middle_is_no_product() {
        assert_eq!(folded(&[Event::Retired {}]), None);
    }

    #[test]
    fn an_unknown_event_moves_only_the_version() {
        let mut product = folded(&[Event::Created { product: club(890) }]).expect("created");
        let before = product.clone();
        skip(&mut product, NOON);
        assert_eq!(product.version, 2);
        assert_eq!(product.product, before.product);
    }

    /// As it was stored before there were taxes and options.
    #[test]
    fn a_document_of_old_is_read_and_written_as_it_is() {
        let old = r#"{"product":{"names":{"en":"Club","ru":"Клаб"},"prices":{"DE":{"amount":890,"currency":"EUR"}},"recipe":[],"allergens":[],"prep_minutes":8},"retired":false,"version":1,"created_at":"1970-01-01T00:00:00Z","updated_at":"1970-01-01T00:00:00Z"}"#;
        let read: Product = serde_json::from_str(old).expect("its shape");
        assert_eq!(Some(&read), folded(&[Event::Created { product: club(890) }]).as_ref());
        assert_eq!(serde_json::to_string(&read).expect("plain data"), old);
        assert_eq!(read.tax_bp_in(Country::parse("DE").expect("a country")), 0);
    }
}
