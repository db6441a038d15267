//! Products: what the chain sells, at which price where, made of what, and what a customer may change about it.
//!
//! Knows no basket: a [`Pick`] is what a customer asks for, a [`Chosen`] what a basket keeps of it.

use std::collections::BTreeMap;
use std::fmt;

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

/// Letters of a slug: enough to read, few enough for an event.
const SLUG_CHARS_MAX: usize = 32;

/// What an option group or a choice is called within its product: `bread`, `no-onion`. It is in events, so it is no
/// text for people; [`Names`] are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Slug(String);

impl Slug {
    /// `None` unless it is 1 to 32 of `a-z`, `0-9` and `-`.
    pub fn parse(text: &str) -> Option<Self> {
        let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ((1..=SLUG_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_fit)).then(|| Self(text.to_owned()))
    }

    /// The letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("must be 1 to 32 of a-z, 0-9 and -"))
    }
}

impl utoipa::PartialSchema for Slug {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .pattern(Some("^[a-z0-9-]{1,32}$"))
            .into()
    }
}

impl ToSchema for Slug {}

/// A name in the languages of the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// What the kitchen calls it. Given, it makes the ingredient known to the chain, or renames it; left out, the
    /// ingredient must be known already. In an event it is always there.
    #[serde(default)]
    #[schema(max_length = 120)]
    pub name: String,
    /// How much one portion takes, in the ingredient's stock unit (grams or pieces).
    #[schema(minimum = 1, maximum = 100_000)]
    pub quantity: u32,
}

/// One thing that a customer may choose of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Unique within its group.
    pub id: Slug,
    /// Shown to customers.
    pub names: Names,
    /// What it adds to the price of a portion, or takes off it if below zero; nothing where it is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Money>)]
    pub prices: BTreeMap<Country, Money>,
    /// What a portion takes besides its recipe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adds: Vec<RecipeLine>,
    /// What of the product's own recipe is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removes: Vec<IngredientId>,
    /// What it may contain besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allergens: Vec<Allergen>,
}

/// A question that a customer answers about a product: which bread, what else on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OptionGroup {
    /// Unique within its product.
    pub id: Slug,
    /// Shown to customers.
    pub names: Names,
    /// How many choices there must be; none means that it may be left unanswered.
    #[serde(default)]
    pub min: u8,
    /// And how many there may be.
    #[schema(minimum = 1)]
    pub max: u8,
    /// Of these, each once at most.
    pub choices: Vec<Choice>,
}

/// A choice as a customer asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pick {
    /// Of which group.
    pub group: Slug,
    /// Which.
    pub choice: Slug,
}

/// A choice as a basket and a quote keep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Chosen {
    /// Of which group.
    pub group: Slug,
    /// Which.
    pub choice: Slug,
    /// What it added to the price of a portion; it is in the line's price.
    pub price: Money,
}

/// A product as the operator describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Shown to customers.
    pub names: Names,
    /// Where it is sold, and for how much; one currency per country.
    #[schema(value_type = BTreeMap<String, Money>)]
    pub prices: BTreeMap<Country, Money>,
    /// The tax that is within these prices, in basis points (hundredths of a percent); none where it is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, u32>)]
    pub tax_bp: BTreeMap<Country, u32>,
    /// What one portion is made of.
    pub recipe: Vec<RecipeLine>,
    /// What it may contain.
    #[serde(default)]
    pub allergens: Vec<Allergen>,
    /// How long a kitchen needs for it, in minutes.
    #[schema(minimum = 1, maximum = 240)]
    pub prep_minutes: u16,
    /// What a customer may change about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<OptionGroup>,
}

impl Product {
    /// A choice of it.
    pub fn choice(&self, group: &Slug, choice: &Slug) -> Option<&Choice> {
        let group = self.options.iter().find(|known| known.id == *group)?;
        group.choices.iter().find(|known| known.id == *choice)
    }

    /// Every recipe line, of the product itself and of its choices.
    pub fn recipe_lines(&self) -> impl Iterator<Item = &RecipeLine> {
        let choices = self.options.iter().flat_map(|group| &group.choices);
        self.recipe.iter().chain(choices.flat_map(|choice| &choice.adds))
    }

    /// The same, to be changed.
    pub fn recipe_lines_mut(&mut self) -> impl Iterator<Item = &mut RecipeLine> {
        let choices = self.options.iter_mut().flat_map(|group| &mut group.choices);
        self.recipe
            .iter_mut()
            .chain(choices.flat_map(|choice| &mut choice.adds))
    }
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
            ..Product::default()
        }
    }

    fn slug(text: &str) -> Slug {
        Slug::parse(text).expect("a slug")
    }

    fn with_options() -> Product {
        let country = Country::parse("DE").expect("a country");
        let toast = IngredientId(Uuid::from_u128(2));
        let rye = Choice {
            id: slug("rye"),
            names: Names {
                en: "Rye bread".into(),
                ru: "Ржаной хлеб".into(),
            },
            prices: BTreeMap::from([(country, Money::new(-20, Currency::EUR))]),
            adds: vec![RecipeLine {
                ingredient: IngredientId(Uuid::from_u128(3)),
                name: "Rye bread".into(),
                quantity: 2,
            }],
            removes: vec![toast],
            allergens: vec![Allergen::Gluten],
        };
        let bread = OptionGroup {
            id: slug("bread"),
            names: Names {
                en: "Bread".into(),
                ru: "Хлеб".into(),
            },
            min: 0,
            max: 1,
            choices: vec![rye],
        };
        Product {
            tax_bp: BTreeMap::from([(country, 700)]),
            options: vec![bread],
            ..club()
        }
    }

    fn every_event() -> Vec<Event> {
        vec![
            Event::Created { product: club() },
            Event::Updated {
                product: Product {
                    allergens: Vec::new(),
                    ..with_options()
                },
            },
            Event::Retired {},
        ]
    }

    #[test]
    fn the_wire_form_of_every_event_is_pinned() {
        let lines: Vec<String> = every_event()
            .iter()
            .map(|event| format!("{} {}", event.event_type(), event.encode().value()))
            .collect();
        let types: Vec<&str> = every_event().iter().map(EventBody::event_type).collect();
        assert_eq!(types, Event::TYPES, "one sample of each, in order");
        insta::assert_snapshot!(lines.join("\n"), @r#"
        product.created {"product":{"allergens":["gluten","eggs"],"names":{"en":"Club sandwich","ru":"Клаб-сэндвич"},"prep_minutes":8,"prices":{"DE":{"amount":890,"currency":"EUR"},"RS":{"amount":74000,"currency":"RSD"}},"recipe":[{"ingredient":"ing_00000000000000000000000002","name":"Toast","quantity":3}]}}
        product.updated {"product":{"allergens":[],"names":{"en":"Club sandwich","ru":"Клаб-сэндвич"},"options":[{"choices":[{"adds":[{"ingredient":"ing_00000000000000000000000003","name":"Rye bread","quantity":2}],"allergens":["gluten"],"id":"rye","names":{"en":"Rye bread","ru":"Ржаной хлеб"},"prices":{"DE":{"amount":-20,"currency":"EUR"}},"removes":["ing_00000000000000000000000002"]}],"id":"bread","max":1,"min":0,"names":{"en":"Bread","ru":"Хлеб"}}],"prep_minutes":8,"prices":{"DE":{"amount":890,"currency":"EUR"},"RS":{"amount":74000,"currency":"RSD"}},"recipe":[{"ingredient":"ing_00000000000000000000000002","name":"Toast","quantity":3}],"tax_bp":{"DE":700}}}
        product.retired {}
        "#);
    }

    /// As `product.created` was said before there were taxes and options.
    #[test]
    fn a_product_of_old_reads_as_one_without_tax_and_options() {
        let old = r#"{"product":{"allergens":["gluten","eggs"],"names":{"en":"Club sandwich","ru":"Клаб-сэндвич"},"prep_minutes":8,"prices":{"DE":{"amount":890,"currency":"EUR"},"RS":{"amount":74000,"currency":"RSD"}},"recipe":[{"ingredient":"ing_00000000000000000000000002","name":"Toast","quantity":3}]}}"#;
        let data = serde_json::from_str(old).expect("JSON");
        let read = Event::decode("product.created", &data).expect("its shape");
        assert_eq!(read, Some(Event::Created { product: club() }));
    }

    #[test]
    fn a_slug_is_short_and_plain() {
        for good in ["a", "no-onion", "2", &"x".repeat(32)] {
            assert_eq!(slug(good).as_str(), good);
        }
        for bad in ["", "No", "a b", "лук", "a_b", &"x".repeat(33)] {
            assert_eq!(Slug::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_event_reads_back() {
        for event in every_event() {
            let read = Event::decode(event.event_type(), &event.encode()).expect("its own form");
            assert_eq!(read, Some(event));
        }
    }
}
