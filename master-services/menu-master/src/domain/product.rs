//! What a description of a product must satisfy beyond its types.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use mesh_contracts::menu::{Product, RecipeLine};

use super::{Flaw, Rejection};

/// As on a menu, and as the contract says.
const NAME_CHARS_MAX: usize = 120;
/// In minor units: more than any sandwich costs in any currency, and far from overflow when multiplied.
const PRICE: RangeInclusive<i64> = 1..=10_000_000;
/// More than fits between two slices.
const RECIPE_LINES: RangeInclusive<usize> = 1..=40;
/// Of one ingredient in one portion, in its stock unit: a hundred kilograms in grams.
const QUANTITY: RangeInclusive<u32> = 1..=100_000;
/// Four hours, as far ahead as a kitchen may promise.
const PREP_MINUTES: RangeInclusive<u16> = 1..=240;

/// The same with its names trimmed and its allergens in order, each once; or everything that is wrong with it.
pub(super) fn checked(product: Product) -> Result<Product, Rejection> {
    let product = tidied(product);
    let mut flaws = Flaws::default();
    flaws.name("names.en", &product.names.en);
    flaws.name("names.ru", &product.names.ru);
    flaws.demand(!product.prices.is_empty(), "prices", "must have at least one");
    for (country, price) in &product.prices {
        let field = format!("prices.{country}.amount");
        flaws.demand(PRICE.contains(&price.amount), field, "must be from 1 to 10000000");
    }
    flaws.demand(
        RECIPE_LINES.contains(&product.recipe.len()),
        "recipe",
        "must have 1 to 40 lines",
    );
    flaws.recipe(&product.recipe);
    flaws.demand(
        PREP_MINUTES.contains(&product.prep_minutes),
        "prep_minutes",
        "must be from 1 to 240",
    );
    if flaws.0.is_empty() {
        Ok(product)
    } else {
        Err(Rejection::Invalid(flaws.0))
    }
}

fn tidied(mut product: Product) -> Product {
    let lines = product.recipe.iter_mut().map(|line| &mut line.name);
    for name in [&mut product.names.en, &mut product.names.ru].into_iter().chain(lines) {
        *name = name.trim().to_owned();
    }
    product.allergens.sort();
    product.allergens.dedup();
    product
}

#[derive(Default)]
struct Flaws(Vec<Flaw>);

impl Flaws {
    fn demand(&mut self, holds: bool, field: impl Into<String>, message: &'static str) {
        if !holds {
            self.0.push(Flaw {
                field: field.into(),
                message,
            });
        }
    }

    fn name(&mut self, field: &str, name: &str) {
        let is_fit = (1..=NAME_CHARS_MAX).contains(&name.chars().count());
        self.demand(is_fit, field, "must have 1 to 120 characters");
        self.demand(
            !name.chars().any(char::is_control),
            field,
            "must not have control characters",
        );
    }

    fn recipe(&mut self, recipe: &[RecipeLine]) {
        let mut seen = BTreeSet::new();
        for (index, line) in recipe.iter().enumerate() {
            let field = |member: &str| format!("recipe[{index}].{member}");
            self.name(&field("name"), &line.name);
            self.demand(
                QUANTITY.contains(&line.quantity),
                field("quantity"),
                "must be from 1 to 100000",
            );
            self.demand(
                seen.insert(line.ingredient),
                field("ingredient"),
                "is in the recipe already",
            );
        }
    }
}
