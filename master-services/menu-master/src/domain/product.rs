//! What a description of a product must satisfy beyond its types.

use std::ops::RangeInclusive;

use mesh_contracts::geo::Country;
use mesh_contracts::menu::{Choice, OptionGroup, Product, RecipeLine};
use mesh_contracts::money::WHOLE_BP;

use super::flaws::{Flaws, trim};
use super::{Ingredients, Rejection};

/// In minor units: more than any sandwich costs in any currency, and far from overflow when multiplied.
const PRICE: RangeInclusive<i64> = 1..=10_000_000;
/// What one choice may add or take off, in minor units.
const PRICE_DELTA: RangeInclusive<i64> = -10_000_000..=10_000_000;
/// More than fits between two slices.
const RECIPE_LINES: RangeInclusive<usize> = 1..=40;
/// Of one ingredient in one portion, in its stock unit: a hundred kilograms in grams.
const QUANTITY: RangeInclusive<u32> = 1..=100_000;
/// Four hours, as far ahead as a kitchen may promise.
const PREP_MINUTES: RangeInclusive<u16> = 1..=240;
/// More questions than anyone answers about a sandwich.
const GROUPS_MAX: usize = 10;
/// A screenful.
const CHOICES: RangeInclusive<usize> = 1..=20;
/// What one choice puts on top; also what it may leave out.
const CHANGES_MAX: usize = 10;

/// The same with its names trimmed, its ingredients named, and its allergens in order, each once; or everything that
/// is wrong with it.
pub(super) fn checked(product: Product, known: &Ingredients) -> Result<Product, Rejection> {
    let mut product = tidied(product);
    for line in product.recipe_lines_mut().filter(|line| line.name.is_empty()) {
        line.name = known.get(&line.ingredient).cloned().unwrap_or_default();
    }
    let mut flaws = Flaws::default();
    flaws.names("names", &product.names);
    flaws.prices(&product);
    flaws.demand(
        RECIPE_LINES.contains(&product.recipe.len()),
        "recipe",
        "must have 1 to 40 lines",
    );
    flaws.recipe("recipe", &product.recipe);
    flaws.demand(
        PREP_MINUTES.contains(&product.prep_minutes),
        "prep_minutes",
        "must be from 1 to 240",
    );
    flaws.options(&product);
    flaws.none_or_refused(product)
}

/// The least that a portion can cost there, in minor units, whatever is chosen; `None` where it is not sold.
pub(super) fn lowest_price(product: &Product, country: Country) -> Option<i64> {
    let price = product.prices.get(&country)?.amount;
    // Saturating, since this is asked before every single amount is known to be in range.
    let groups = product.options.iter().map(|group| lowest_of(group, country));
    Some(groups.fold(price, i64::saturating_add))
}

/// The cheapest answer to a question: as many as must be, then whatever makes it cheaper still.
fn lowest_of(group: &OptionGroup, country: Country) -> i64 {
    let delta = |choice: &Choice| choice.prices.get(&country).map_or(0, |price| price.amount);
    let mut deltas: Vec<i64> = group.choices.iter().map(delta).collect();
    deltas.sort_unstable();
    let (min, max) = (usize::from(group.min), usize::from(group.max));
    let taken = deltas.into_iter().take(max).enumerate();
    taken
        .filter(|(index, delta)| *index < min || *delta < 0)
        .fold(0, |sum: i64, (_, delta)| sum.saturating_add(delta))
}

fn tidied(mut product: Product) -> Product {
    trim(&mut product.names);
    for group in &mut product.options {
        trim(&mut group.names);
        for choice in &mut group.choices {
            trim(&mut choice.names);
            choice.allergens.sort();
            choice.allergens.dedup();
        }
    }
    for line in product.recipe_lines_mut() {
        line.name = line.name.trim().to_owned();
    }
    product.allergens.sort();
    product.allergens.dedup();
    product
}

impl Flaws {
    fn prices(&mut self, product: &Product) {
        self.demand(!product.prices.is_empty(), "prices", "must have at least one");
        for (country, price) in &product.prices {
            let field = format!("prices.{country}.amount");
            self.demand(PRICE.contains(&price.amount), field, "must be from 1 to 10000000");
        }
        for (country, rate) in &product.tax_bp {
            let field = format!("tax_bp.{country}");
            self.demand(product.prices.contains_key(country), &field, "has no price there");
            self.demand(*rate <= WHOLE_BP, field, "must be at most 10000");
        }
    }

    fn recipe(&mut self, path: &str, recipe: &[RecipeLine]) {
        for (index, line) in recipe.iter().enumerate() {
            let field = |member: &str| format!("{path}[{index}].{member}");
            if line.name.is_empty() {
                self.demand(false, field("ingredient"), "is not known; a name makes it known");
            } else {
                self.name(&field("name"), &line.name);
            }
            self.demand(
                QUANTITY.contains(&line.quantity),
                field("quantity"),
                "must be from 1 to 100000",
            );
        }
        self.distinct(
            recipe.iter().map(|line| line.ingredient),
            |index| format!("{path}[{index}].ingredient"),
            "is in the recipe already",
        );
    }

    fn options(&mut self, product: &Product) {
        self.demand(product.options.len() <= GROUPS_MAX, "options", "must be at most 10");
        self.distinct(
            product.options.iter().map(|group| &group.id),
            |index| format!("options[{index}].id"),
            "is in the options already",
        );
        for (index, group) in product.options.iter().enumerate() {
            self.group(&format!("options[{index}]"), product, group);
        }
        for (country, price) in &product.prices {
            let lowest = lowest_price(product, *country);
            self.demand(
                !PRICE.contains(&price.amount) || lowest >= Some(*PRICE.start()),
                format!("prices.{country}.amount"),
                "must be above what options can take off",
            );
        }
    }

    fn group(&mut self, path: &str, product: &Product, group: &OptionGroup) {
        let OptionGroup { min, max, choices, .. } = group;
        self.names(&format!("{path}.names"), &group.names);
        self.demand(min <= max, format!("{path}.min"), "must not be above max");
        self.demand(
            (1..=choices.len()).contains(&usize::from(*max)),
            format!("{path}.max"),
            "must be from 1 to the number of choices",
        );
        let field = format!("{path}.choices");
        self.demand(CHOICES.contains(&choices.len()), &field, "must be 1 to 20");
        self.distinct(
            choices.iter().map(|choice| &choice.id),
            |index| format!("{field}[{index}].id"),
            "is in the group already",
        );
        for (index, choice) in choices.iter().enumerate() {
            self.choice(&format!("{field}[{index}]"), product, choice);
        }
    }

    fn choice(&mut self, path: &str, product: &Product, choice: &Choice) {
        self.names(&format!("{path}.names"), &choice.names);
        for (country, price) in &choice.prices {
            let field = |member: &str| format!("{path}.prices.{country}{member}");
            self.demand(
                PRICE_DELTA.contains(&price.amount),
                field(".amount"),
                "must be from -10000000 to 10000000",
            );
            match product.prices.get(country) {
                None => self.demand(false, field(""), "has no price there"),
                Some(base) => self.demand(
                    base.currency == price.currency,
                    field(".currency"),
                    "must be the currency of the price",
                ),
            }
        }
        self.demand(
            choice.adds.len() <= CHANGES_MAX,
            format!("{path}.adds"),
            "must be at most 10",
        );
        self.recipe(&format!("{path}.adds"), &choice.adds);
        for (index, ingredient) in choice.removes.iter().enumerate() {
            self.demand(
                product.recipe.iter().any(|line| line.ingredient == *ingredient),
                format!("{path}.removes[{index}]"),
                "is not in the recipe",
            );
        }
        self.distinct(
            &choice.removes,
            |index| format!("{path}.removes[{index}]"),
            "is removed already",
        );
    }
}
