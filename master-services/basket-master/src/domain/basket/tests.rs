use std::collections::BTreeMap;

use mesh_contracts::id::UserId;
use mesh_contracts::menu::{self, Names};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::view::basket::fold;
use uuid::Uuid;

use super::*;

const NOON: Timestamp = Timestamp::constant(1_700_000_000, 0);

#[test]
fn a_line_takes_the_price_of_the_country() {
    check([], set(1, 2, germany(), sold(1)), Ok(vec![line(1, 2)]));
    check([line(1, 2)], set(1, 5, germany(), sold(1)), Ok(vec![line(1, 5)]));
}

#[test]
fn the_same_line_again_changes_nothing() {
    check([line(1, 2)], set(1, 2, germany(), sold(1)), Ok(vec![]));
}

#[test]
fn an_unknown_or_retired_product_is_refused() {
    check([], set(1, 1, germany(), None), Err(Rejection::UnknownProduct));
    check([], set(1, 1, germany(), retired(1)), Err(Rejection::UnknownProduct));
}

#[test]
fn a_product_is_refused_where_it_is_not_sold() {
    check([], set(1, 1, country("FR"), sold(1)), Err(Rejection::NotSoldHere));
}

#[test]
fn a_basket_has_one_country() {
    check(
        [line(1, 1)],
        set(2, 1, serbia(), sold(2)),
        Err(Rejection::ForeignCurrency),
    );
    check(
        [line(1, 1), removed(1)],
        set(2, 1, serbia(), sold(2)),
        Ok(vec![dinar_line(2, 1)]),
    );
}

#[test]
fn a_basket_holds_fifty_different_products() {
    let full: Vec<_> = (1..=LINES_MAX as u128).map(|product| line(product, 1)).collect();
    check_given(&full, set(51, 1, germany(), sold(51)), Err(Rejection::TooManyLines));
    check_given(&full, set(50, 2, germany(), sold(50)), Ok(vec![line(50, 2)]));
}

#[test]
fn a_total_that_no_number_holds_is_refused() {
    let dear = Some(Box::new(product(i64::MAX / 2)));
    check([], set(1, 99, germany(), dear), Err(Rejection::TotalOutOfRange));
}

#[test]
fn removing_twice_is_removing_once() {
    check(
        [line(1, 1)],
        Command::RemoveLine { product: id(1) },
        Ok(vec![removed(1)]),
    );
    check(
        [line(1, 1), removed(1)],
        Command::RemoveLine { product: id(1) },
        Ok(vec![]),
    );
    check([], Command::RemoveLine { product: id(1) }, Ok(vec![]));
}

#[test]
fn checkout_freezes_lines_and_total() {
    check(
        [line(1, 2), line(2, 1)],
        checkout(2),
        Ok(vec![checked_out(2, &[(1, 2), (2, 1)])]),
    );
}

#[test]
fn checkout_of_another_version_is_refused() {
    check([line(1, 2)], checkout(2), Err(Rejection::BasketChanged { version: 1 }));
    check([], checkout(1), Err(Rejection::BasketChanged { version: 0 }));
}

#[test]
fn an_empty_basket_cannot_be_checked_out() {
    check([], checkout(0), Err(Rejection::BasketEmpty));
    check([line(1, 1), removed(1)], checkout(2), Err(Rejection::BasketEmpty));
    check(
        [line(1, 2), checked_out(1, &[(1, 2)])],
        checkout(2),
        Err(Rejection::BasketEmpty),
    );
}

#[test]
fn a_checkout_that_led_to_no_order_comes_back_once() {
    let given = [line(1, 2), checked_out(1, &[(1, 2)])];
    check(given.clone(), Command::Reopen { order: order(7) }, Ok(vec![reopened()]));
    check_given(
        &[&given[..], &[reopened()]].concat(),
        Command::Reopen { order: order(7) },
        Ok(vec![]),
    );
}

#[test]
fn a_basket_filled_anew_is_not_reopened() {
    check(
        [line(1, 2), checked_out(1, &[(1, 2)]), line(2, 1)],
        Command::Reopen { order: order(7) },
        Ok(vec![]),
    );
}

#[test]
fn only_the_newest_checkout_is_looked_at_again() {
    check(
        [line(1, 2), checked_out(1, &[(1, 2)])],
        Command::Reopen { order: order(8) },
        Ok(vec![]),
    );
    let basket = folded(&[line(1, 2), checked_out(1, &[(1, 2)])]).expect("a basket");
    assert_eq!(
        react(&basket, &checked_out(1, &[(1, 2)]), NOON),
        [Effect::SetTimer {
            kind: REOPEN.into(),
            due: NOON
        }]
    );
    assert_eq!(
        react(&basket, &line(2, 1), NOON),
        [Effect::ClearTimer { kind: REOPEN.into() }]
    );
}

#[track_caller]
fn check<const N: usize>(given: [Event; N], when: Command, then: Result<Vec<Event>, Rejection>) {
    check_given(&given, when, then);
}

#[track_caller]
fn check_given(given: &[Event], when: Command, then: Result<Vec<Event>, Rejection>) {
    assert_eq!(decide(folded(given).as_ref(), &when), then);
}

fn folded(given: &[Event]) -> Option<Basket> {
    given.iter().fold(None, |basket, event| fold(basket, event, NOON))
}

fn set(product: u128, quantity: u32, country: Country, menu: Option<Box<Product>>) -> Command {
    let quantity = Quantity::new(quantity).expect("in range");
    Command::SetLine {
        product: id(product),
        quantity,
        country,
        menu,
    }
}

fn checkout(basket_version: u64) -> Command {
    Command::Checkout(Checkout {
        basket: customer().basket(),
        order: order(7),
        basket_version,
        method: Method::Card,
        valid_until: NOON,
        reopen_at: NOON,
    })
}

fn line(product: u128, quantity: u32) -> Event {
    Event::LineSet {
        country: germany(),
        product: id(product),
        quantity,
        unit_price: Money::new(450, Currency::EUR),
    }
}

fn dinar_line(product: u128, quantity: u32) -> Event {
    Event::LineSet {
        country: serbia(),
        product: id(product),
        quantity,
        unit_price: Money::new(52_000, Currency::RSD),
    }
}

fn removed(product: u128) -> Event {
    Event::LineRemoved { product: id(product) }
}

fn reopened() -> Event {
    Event::Reopened { order: order(7) }
}

fn checked_out(basket_version: u64, lines: &[(u128, u32)]) -> Event {
    let unit_price = Money::new(450, Currency::EUR);
    let lines: Vec<_> = lines
        .iter()
        .map(|(product, quantity)| QuoteLine {
            product: id(*product),
            quantity: *quantity,
            unit_price,
        })
        .collect();
    let portions: i64 = lines.iter().map(|line| i64::from(line.quantity)).sum();
    Event::CheckedOut {
        order: order(7),
        quote: Quote {
            basket: customer().basket(),
            basket_version,
            country: germany(),
            lines,
            total: Money::new(450 * portions, Currency::EUR),
            method: Method::Card,
            valid_until: NOON,
        },
        reopen_at: NOON,
    }
}

fn sold(_product: u128) -> Option<Box<Product>> {
    Some(Box::new(product(450)))
}

fn retired(_product: u128) -> Option<Box<Product>> {
    Some(Box::new(Product {
        retired: true,
        ..product(450)
    }))
}

fn product(cents: i64) -> Product {
    let prices = [
        (germany(), Money::new(cents, Currency::EUR)),
        (serbia(), Money::new(52_000, Currency::RSD)),
    ];
    Product {
        product: menu::Product {
            names: Names {
                en: "Club".into(),
                ru: "Клаб".into(),
            },
            prices: BTreeMap::from(prices),
            recipe: Vec::new(),
            allergens: Vec::new(),
            prep_minutes: 8,
        },
        retired: false,
        version: 1,
        created_at: NOON,
        updated_at: NOON,
    }
}

fn id(number: u128) -> ProductId {
    ProductId(Uuid::from_u128(number))
}

fn order(number: u128) -> OrderId {
    OrderId(Uuid::from_u128(number))
}

fn customer() -> UserId {
    UserId(Uuid::from_u128(3))
}

fn germany() -> Country {
    country("DE")
}

fn serbia() -> Country {
    country("RS")
}

fn country(code: &str) -> Country {
    Country::parse(code).expect("two letters")
}
