//! Products: what the chain sells, at which price where, made of what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::envelope::events;
use crate::geo::Country;
use crate::id::IngredientId;
use crate::money::Money;

/// The fourteen allergens of EU regulation 1169/2011, annex II.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Allergen {
    Gluten,
    Crustaceans,
    Eggs,
    Fish,
    Peanuts,
    Soybeans,
    Milk,
    Nuts,
    Celery,
    Mustard,
    Sesame,
    Sulphites,
    Lupin,
    Molluscs,
}

/// A name in the languages of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Names {
    /// English.
    #[schema(min_length = 1, max_length = 120)]
    pub en: String,
    /// Russian.
    #[schema(min_length = 1, max_length = 120)]
    pub ru: String,
}

/// One ingredient of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipeLine {
    /// Which.
    pub ingredient: IngredientId,
    /// What the kitchen calls it.
    #[schema(min_length = 1, max_length = 120)]
    pub name: String,
    /// How much one portion takes, in the ingredient's stock unit (grams or pieces).
    #[schema(minimum = 1, maximum = 100_000)]
    pub quantity: u32,
}

/// A product as the operator describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Shown to customers.
    pub names: Names,
    /// Where it is sold, and for how much; one currency per country.
    #[schema(value_type = BTreeMap<String, Money>)]
    pub prices: BTreeMap<Country, Money>,
    /// What one portion is made of.
    pub recipe: Vec<RecipeLine>,
    /// What it may contain.
    #[serde(default)]
    pub allergens: Vec<Allergen>,
    /// How long a kitchen needs for it, in minutes.
    #[schema(minimum = 1, maximum = 240)]
    pub prep_minutes: u16,
}

events! {
    /// The life of a product.
    pub enum Event {
        /// The chain sells something new.
        "product.created" Created { product: Product }
        /// Its price, recipe or description changed.
        "product.updated" Updated { product: Product }
        /// Nobody can order it any more; orders already placed are untouched.
        "product.retired" Retired {}
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::envelope::EventBody;
    use crate::money::Currency;

    fn club() -> Product {
        let country = |code| Country::parse(code).expect("a country");
        Product {
            names: Names {
                en: "Club sandwich".into(),
                ru: "Клаб-сэндвич".into(),
            },
            prices: BTreeMap::from([
                (country("DE"), Money::new(890, Currency::EUR)),
                (country("RS"), Money::new(74_000, Currency::RSD)),
            ]),
            recipe: vec![RecipeLine {
                ingredient: IngredientId(Uuid::from_u128(2)),
                name: "Toast".into(),
                quantity: 3,
            }],
            allergens: vec![Allergen::Gluten, Allergen::Eggs],
            prep_minutes: 8,
        }
    }

    fn every_event() -> Vec<Event> {
        vec![
            Event::Created { product: club() },
            Event::Updated {
                product: Product {
                    allergens: Vec::new(),
                    ..club()
                },
            },
            Event::Retired {},
        ]
    }

    #[test]
    fn the_wire_form_of_every_event_is_pinned() {
        let lines: Vec<String> = every_event()
            .iter()
            .map(|event| format!("{} {}", event.event_type(), event.encode()))
            .collect();
        let types: Vec<&str> = every_event().iter().map(EventBody::event_type).collect();
        assert_eq!(types, Event::TYPES, "one sample of each, in order");
        insta::assert_snapshot!(lines.join("\n"), @r#"
        product.created {"product":{"allergens":["gluten","eggs"],"names":{"en":"Club sandwich","ru":"Клаб-сэндвич"},"prep_minutes":8,"prices":{"DE":{"amount":890,"currency":"EUR"},"RS":{"amount":74000,"currency":"RSD"}},"recipe":[{"ingredient":"ing_00000000000000000000000002","name":"Toast","quantity":3}]}}
        product.updated {"product":{"allergens":[],"names":{"en":"Club sandwich","ru":"Клаб-сэндвич"},"prep_minutes":8,"prices":{"DE":{"amount":890,"currency":"EUR"},"RS":{"amount":74000,"currency":"RSD"}},"recipe":[{"ingredient":"ing_00000000000000000000000002","name":"Toast","quantity":3}]}}
        product.retired {}
        "#);
    }

    #[test]
    fn every_event_reads_back() {
        for event in every_event() {
            let read = Event::decode(event.event_type(), &event.encode()).expect("its own form");
            assert_eq!(read, Some(event));
        }
    }
}
