use jiff::Timestamp;
use mesh_contracts::id::IngredientId;
use mesh_contracts::menu::{Allergen, Choice, Names, OptionGroup, RecipeLine, Slug};
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
        ..menu::Product::default()
    }
}

fn slug(text: &str) -> Slug {
    Slug::parse(text).expect("a slug")
}

fn names() -> Names {
    Names {
        en: "Rye".into(),
        ru: "Ржаной".into(),
    }
}

/// Changes the price by so many cents.
fn choice(id: &str, cents: i64) -> Choice {
    Choice {
        id: slug(id),
        names: names(),
        prices: BTreeMap::from([(country("DE"), Money::new(cents, Currency::EUR))]),
        adds: Vec::new(),
        removes: Vec::new(),
        allergens: Vec::new(),
    }
}

fn group(id: &str, min: u8, max: u8, choices: Vec<Choice>) -> OptionGroup {
    OptionGroup {
        id: slug(id),
        names: names(),
        min,
        max,
        choices,
    }
}

fn with(options: Vec<OptionGroup>) -> menu::Product {
    menu::Product { options, ..club() }
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
    let known = Known {
        currencies: Currencies::from([(country("DE"), Currency::EUR)]),
        ingredients: Ingredients::from([(line(7).ingredient, "Rye bread".to_owned())]),
    };
    decide(product.as_ref(), when, &known)
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
        name: "\u{7}".into(),
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

#[test]
fn an_ingredient_is_known_or_named() {
    let nameless = |number| RecipeLine {
        name: " ".into(),
        ..line(number)
    };
    let adding = |line| {
        let rye = Choice {
            adds: vec![line],
            ..choice("rye", 0)
        };
        with(vec![group("bread", 0, 1, vec![rye])])
    };
    let of = |recipe| menu::Product { recipe, ..club() };
    flawed(of(vec![line(1), nameless(8)]), &["recipe[1].ingredient"]);
    flawed(adding(nameless(8)), &["options[0].choices[0].adds[0].ingredient"]);
    let known = RecipeLine {
        name: "Rye bread".into(),
        ..line(7)
    };
    for (asked, said) in [
        (of(vec![nameless(7)]), of(vec![known.clone()])),
        (adding(nameless(7)), adding(known.clone())),
    ] {
        check([], Command::Create(asked), [Event::Created { product: said }]);
    }
}

#[test]
fn a_tax_is_at_most_all_of_a_price_that_there_is() {
    let taxed = |code, rate| menu::Product {
        tax_bp: BTreeMap::from([(country(code), rate)]),
        ..club()
    };
    flawed(taxed("DE", 10_001), &["tax_bp.DE"]);
    flawed(taxed("RS", 2_000), &["tax_bp.RS"]);
    for rate in [0, 700, 10_000] {
        assert!(decided([], Command::Create(taxed("DE", rate))).is_ok());
    }
}

#[test]
fn options_have_ids_of_their_own_names_and_bounds_that_can_be_met() {
    let two = || vec![choice("rye", 0), choice("white", 0)];
    flawed(
        with(vec![group("bread", 0, 1, two()), group("bread", 0, 1, two())]),
        &["options[1].id"],
    );
    flawed(
        with(vec![group("bread", 0, 1, vec![choice("rye", 0), choice("rye", 0)])]),
        &["options[0].choices[1].id"],
    );
    flawed(with(vec![group("bread", 2, 1, two())]), &["options[0].min"]);
    flawed(with(vec![group("bread", 0, 0, two())]), &["options[0].max"]);
    flawed(with(vec![group("bread", 0, 3, two())]), &["options[0].max"]);
    flawed(
        with(vec![group("bread", 0, 0, vec![])]),
        &["options[0].max", "options[0].choices"],
    );
    let mut nameless = group("bread", 0, 1, two());
    nameless.names.en = " ".into();
    nameless.choices[1].names.ru = String::new();
    flawed(
        with(vec![nameless]),
        &["options[0].names.en", "options[0].choices[1].names.ru"],
    );
    assert!(decided([], Command::Create(with(vec![group("bread", 2, 2, two())]))).is_ok());
    let many = (0..11).map(|number| group(&format!("g{number}"), 0, 1, two()));
    flawed(with(many.collect()), &["options"]);
}

#[test]
fn options_never_bring_a_price_to_nothing() {
    let one = |min, max, cents: &[i64]| {
        let choices = cents
            .iter()
            .enumerate()
            .map(|(nth, cents)| choice(&format!("c{nth}"), *cents));
        group("bread", min, max, choices.collect())
    };
    flawed(with(vec![one(0, 1, &[-890, 0])]), &["prices.DE.amount"]);
    flawed(with(vec![one(0, 2, &[-445, -445, 10])]), &["prices.DE.amount"]);
    // One of the two must be taken, and the dearer one makes up for nothing.
    let second = OptionGroup {
        id: slug("sauce"),
        ..one(1, 1, &[-445, 500])
    };
    flawed(with(vec![one(0, 1, &[-445]), second]), &["prices.DE.amount"]);
    for fine in [
        one(0, 1, &[-889, 0]),
        one(0, 1, &[-445, -445, 10]),
        one(2, 2, &[-890, 1]),
    ] {
        assert!(decided([], Command::Create(with(vec![fine]))).is_ok());
    }
    flawed(
        with(vec![one(0, 1, &[i64::MAX])]),
        &["options[0].choices[0].prices.DE.amount"],
    );
    flawed(
        with(vec![one(0, 2, &[i64::MIN, i64::MIN])]),
        &[
            "options[0].choices[0].prices.DE.amount",
            "options[0].choices[1].prices.DE.amount",
            "prices.DE.amount",
        ],
    );
}

#[test]
fn a_choice_is_priced_where_the_product_is_and_removes_what_is_in_it() {
    let in_group = |choice| with(vec![group("bread", 0, 1, vec![choice])]);
    let priced = |code, price| Choice {
        prices: BTreeMap::from([(country(code), price)]),
        ..choice("rye", 0)
    };
    flawed(
        in_group(priced("RS", Money::new(100, Currency::RSD))),
        &["options[0].choices[0].prices.RS"],
    );
    flawed(
        in_group(priced("DE", Money::new(100, Currency::RSD))),
        &["options[0].choices[0].prices.DE.currency"],
    );
    let removing = |removes| Choice {
        removes,
        ..choice("rye", 0)
    };
    let toast = line(1).ingredient;
    assert!(decided([], Command::Create(in_group(removing(vec![toast])))).is_ok());
    flawed(
        in_group(removing(vec![line(2).ingredient])),
        &["options[0].choices[0].removes[0]"],
    );
    flawed(
        in_group(removing(vec![toast, toast])),
        &["options[0].choices[0].removes[1]"],
    );
}
