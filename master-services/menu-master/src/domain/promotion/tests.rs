use jiff::SignedDuration;
use mesh_contracts::geo::Country;
use mesh_contracts::id::FoodPointId;
use mesh_contracts::menu::{self, Names};
use mesh_contracts::view::promotion::fold;
use uuid::Uuid;

use super::*;

const NOON: Timestamp = Timestamp::constant(1_700_000_000, 0);
const CLUB: ProductId = ProductId(Uuid::from_u128(1));
const GONE: ProductId = ProductId(Uuid::from_u128(2));
const BUREK: ProductId = ProductId(Uuid::from_u128(3));

fn country(code: &str) -> Country {
    Country::parse(code).expect("a country")
}

fn euros(cents: i64) -> Money {
    Money::new(cents, Currency::EUR)
}

fn lunch() -> Promotion {
    Promotion {
        names: Names {
            en: "Lunch".into(),
            ru: "Обед".into(),
        },
        country: country("DE"),
        food_point: None,
        products: vec![CLUB],
        discount: Discount::BasisPoints(1_500),
        starts_at: NOON,
        ends_at: NOON + SignedDuration::from_hours(2),
    }
}

fn amount(cents: i64) -> Promotion {
    Promotion {
        discount: Discount::Amount(euros(cents)),
        ..lunch()
    }
}

fn known() -> Known {
    let product = |code: &str, price, retired| Product {
        product: menu::Product {
            prices: BTreeMap::from([(country(code), price)]),
            ..menu::Product::default()
        },
        retired,
        version: 1,
        created_at: NOON,
        updated_at: NOON,
    };
    Known {
        currency: Some(Currency::EUR),
        products: BTreeMap::from([
            (CLUB, product("DE", euros(890), false)),
            (GONE, product("DE", euros(890), true)),
            (BUREK, product("RS", Money::new(30_000, Currency::RSD), false)),
        ]),
    }
}

fn decided(given: &[Event], when: Command) -> Result<Vec<Event>, Rejection> {
    let promotion = given.iter().fold(None, |promotion, event| fold(promotion, event, NOON));
    decide(promotion.as_ref(), when, &known(), NOON)
}

fn created() -> Event {
    Event::Created { promotion: lunch() }
}

#[track_caller]
fn flawed(promotion: Promotion, fields: &[&str]) {
    let Err(Rejection::Invalid(flaws)) = decided(&[], Command::Create(promotion.clone())) else {
        panic!("accepted")
    };
    let found: Vec<&str> = flaws.iter().map(|flaw| flaw.field.as_str()).collect();
    assert_eq!(found, fields);
    let changed = decided(&[created()], Command::Change(promotion));
    assert_eq!(changed, Err(Rejection::Invalid(flaws)), "a change is no way around");
}

#[test]
fn a_promotion_is_created_once_changed_often_and_ended_for_good() {
    assert_eq!(decided(&[], Command::Create(lunch())), Ok(vec![created()]));
    let changed = Event::Changed { promotion: amount(100) };
    assert_eq!(
        decided(&[created()], Command::Change(amount(100))),
        Ok(vec![changed.clone()])
    );
    let ended = [created(), changed, Event::Ended {}];
    assert_eq!(decided(&ended[..2], Command::End), Ok(vec![Event::Ended {}]));
    assert_eq!(
        decided(&ended, Command::Change(lunch())),
        Err(Rejection::PromotionEnded)
    );
    assert_eq!(
        decided(&[created()], Command::Create(lunch())),
        Err(Rejection::AlreadyCreated)
    );
    for command in [Command::Change(lunch()), Command::End] {
        assert_eq!(decided(&[], command), Err(Rejection::NoSuchPromotion));
    }
}

#[test]
fn what_is_so_already_changes_nothing() {
    assert_eq!(decided(&[created()], Command::Change(lunch())), Ok(vec![]));
    assert_eq!(decided(&[created(), Event::Ended {}], Command::End), Ok(vec![]));
}

#[test]
fn a_promotion_never_takes_all_of_a_price() {
    for basis_points in [0, 10_000, u32::MAX] {
        let discount = Discount::BasisPoints(basis_points);
        flawed(Promotion { discount, ..lunch() }, &["discount.basis_points"]);
    }
    for cents in [0, -100, 890, 10_000] {
        flawed(amount(cents), &["discount.amount.amount"]);
    }
    assert!(decided(&[], Command::Create(amount(889))).is_ok());
    let foreign = Discount::Amount(Money::new(100, Currency::RSD));
    flawed(
        Promotion {
            discount: foreign,
            ..lunch()
        },
        &["discount.amount.currency"],
    );
}

#[test]
fn an_amount_off_names_its_products_and_a_share_need_not() {
    let of_all = |promotion| Promotion {
        products: Vec::new(),
        ..promotion
    };
    flawed(of_all(amount(100)), &["products"]);
    assert!(decided(&[], Command::Create(of_all(lunch()))).is_ok());
}

#[test]
fn a_promotion_is_of_what_is_sold_there() {
    let unknown = ProductId(Uuid::from_u128(404));
    let products = vec![CLUB, GONE, BUREK, unknown, CLUB];
    flawed(
        Promotion { products, ..lunch() },
        &["products[4]", "products[1]", "products[2]", "products[3]"],
    );
    let nowhere = decide(None, Command::Create(lunch()), &Known::default(), NOON);
    let Err(Rejection::Invalid(flaws)) = nowhere else {
        panic!("accepted")
    };
    assert_eq!(flaws[0].field, "country");
}

#[test]
fn a_promotion_ends_after_it_starts_and_not_before_it_was_made() {
    let second = SignedDuration::from_secs(1);
    flawed(
        Promotion {
            starts_at: NOON + second,
            ends_at: NOON + second,
            ..lunch()
        },
        &["ends_at"],
    );
    flawed(
        Promotion {
            starts_at: NOON - second,
            ends_at: NOON,
            ..lunch()
        },
        &["ends_at"],
    );
}

#[test]
fn names_are_needed_and_trimmed() {
    let named = |en: &str| Promotion {
        names: Names {
            en: en.into(),
            ru: " Обед".into(),
        },
        ..lunch()
    };
    flawed(named(" "), &["names.en"]);
    assert_eq!(decided(&[], Command::Create(named("Lunch "))), Ok(vec![created()]));
    let local = Promotion {
        food_point: Some(FoodPointId(Uuid::from_u128(9))),
        ..lunch()
    };
    assert!(decided(&[], Command::Create(local)).is_ok());
}
