use jiff::Timestamp;
use mesh_contracts::id::IngredientId;
use mesh_contracts::menu::{Allergen, Names, RecipeLine};
use mesh_contracts::money::Money;
use mesh_contracts::view::product::fold;
use uuid::Uuid;

use super::*;

const NOON: Timestamp = Timestamp::UNIX_EPOCH;

fn country(code: &str) -> Country {
    Country::parse(code).expect("a country")
}

fn line(number: u128) -> RecipeLine {
    RecipeLine {
        ingredient: IngredientId(Uuid::from_u128(number)),
        name: "Toast".into(),
        quantity: 3,
    }
}

fn club() -> menu::Product {
    menu::Product {
        names: Names {
            en: "Club".into(),
            ru: "Клаб".into(),
        },
        prices: BTreeMap::from([(country("DE"), Money::new(890, Currency::EUR))]),
        recipe: vec![line(1)],
        allergens: vec![Allergen::Gluten],
        prep_minutes: 8,
    }
}

fn dearer() -> menu::Product {
    let prices = BTreeMap::from([(country("DE"), Money::new(990, Currency::EUR))]);
    menu::Product { prices, ..club() }
}

fn created() -> Event {
    Event::Created { product: club() }
}

fn decided<const N: usize>(given: [Event; N], when: Command) -> Result<Vec<Event>, Rejection> {
    let product = given.iter().fold(None, |product, event| fold(product, event, NOON));
    let currencies = Currencies::from([(country("DE"), Currency::EUR)]);
    decide(product.as_ref(), when, &currencies)
}

#[track_caller]
fn check<const N: usize, const M: usize>(given: [Event; N], when: Command, then: [Event; M]) {
    assert_eq!(decided(given, when), Ok(then.to_vec()));
}

#[track_caller]
fn flawed(product: menu::Product, fields: &[&str]) {
    let Err(Rejection::Invalid(flaws)) = decided([], Command::Create(product.clone())) else {
        panic!("accepted")
    };
    let found: Vec<&str> = flaws.iter().map(|flaw| flaw.field.as_str()).collect();
    assert_eq!(found, fields);
    let updated = decided([created()], Command::Update(product));
    assert_eq!(updated, Err(Rejection::Invalid(flaws)), "an update is no way around");
}

#[test]
fn a_product_is_created_once_updated_often_and_retired_for_good() {
    check([], Command::Create(club()), [created()]);
    check(
        [created()],
        Command::Update(dearer()),
        [Event::Updated { product: dearer() }],
    );
    check([created()], Command::Retire, [Event::Retired {}]);
    assert_eq!(
        decided([created()], Command::Create(club())),
        Err(Rejection::AlreadyCreated)
    );
    assert_eq!(
        decided([created(), Event::Retired {}], Command::Update(dearer())),
        Err(Rejection::Retired)
    );
}

#[test]
fn a_product_that_never_was_cannot_be_changed() {
    for command in [Command::Update(club()), Command::Retire] {
        assert_eq!(decided([], command), Err(Rejection::NoSuchProduct));
    }
}

#[test]
fn what_is_so_already_changes_nothing() {
    check([created()], Command::Update(club()), []);
    check([created(), Event::Retired {}], Command::Retire, []);
}

#[test]
fn names_are_trimmed_and_allergens_are_a_set() {
    let untidy = menu::Product {
        names: Names {
            en: " Club ".into(),
            ru: "Клаб\n".into(),
        },
        allergens: vec![Allergen::Gluten, Allergen::Gluten],
        ..club()
    };
    check([], Command::Create(untidy), [created()]);
}

#[test]
fn names_have_1_to_120_visible_characters() {
    let named = |en: &str, ru: &str| menu::Product {
        names: Names {
            en: en.into(),
            ru: ru.into(),
        },
        ..club()
    };
    flawed(named("", "  "), &["names.en", "names.ru"]);
    flawed(named(&"x".repeat(121), "Кл\u{0}аб"), &["names.en", "names.ru"]);
    check([created()], Command::Update(named("Club", "Клаб")), []);
    assert!(decided([], Command::Create(named(&"ж".repeat(120), "Клаб"))).is_ok());
}

#[test]
fn a_price_is_above_zero_and_not_absurd() {
    let priced = |amount| {
        let prices = BTreeMap::from([(country("DE"), Money::new(amount, Currency::EUR))]);
        menu::Product { prices, ..club() }
    };
    for amount in [0, -1, 10_000_001, i64::MAX, i64::MIN] {
        flawed(priced(amount), &["prices.DE.amount"]);
    }
    assert!(decided([], Command::Create(priced(10_000_000))).is_ok());
    flawed(
        menu::Product {
            prices: BTreeMap::new(),
            ..club()
        },
        &["prices"],
    );
}

#[test]
fn a_country_has_one_currency() {
    let dinars = BTreeMap::from([(country("DE"), Money::new(890, Currency::RSD))]);
    let foreign = menu::Product {
        prices: dinars,
        ..club()
    };
    let refused = Err(Rejection::ForeignCurrency {
        country: country("DE"),
        expected: Currency::EUR,
    });
    assert_eq!(decided([], Command::Create(foreign.clone())), refused);
    assert_eq!(decided([created()], Command::Update(foreign)), refused);
    let elsewhere = BTreeMap::from([(country("RS"), Money::new(74_000, Currency::RSD))]);
    assert!(
        decided(
            [],
            Command::Create(menu::Product {
                prices: elsewhere,
                ..club()
            })
        )
        .is_ok()
    );
}

#[test]
fn a_recipe_names_1_to_40_ingredients_once_each() {
    let made_of = |recipe| menu::Product { recipe, ..club() };
    flawed(made_of(Vec::new()), &["recipe"]);
    flawed(made_of((0..41).map(line).collect()), &["recipe"]);
    assert!(decided([], Command::Create(made_of((0..40).map(line).collect()))).is_ok());
    flawed(made_of(vec![line(1), line(2), line(1)]), &["recipe[2].ingredient"]);
    let nothing = RecipeLine { quantity: 0, ..line(1) };
    let too_much = RecipeLine {
        quantity: 100_001,
        name: " ".into(),
        ..line(2)
    };
    flawed(
        made_of(vec![nothing, too_much]),
        &["recipe[0].quantity", "recipe[1].name", "recipe[1].quantity"],
    );
}

#[test]
fn preparation_takes_1_to_240_minutes() {
    for prep_minutes in [0, 241] {
        flawed(menu::Product { prep_minutes, ..club() }, &["prep_minutes"]);
    }
}
