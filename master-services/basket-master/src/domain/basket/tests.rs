use std::collections::BTreeMap;

use jiff::SignedDuration;
use mesh_contracts::id::UserId;
use mesh_contracts::menu::{self, Choice, Names, OptionGroup, Slug};
use mesh_contracts::money::Currency;
use mesh_contracts::order::PriceOff;
use mesh_contracts::promotion::Discount;
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

#[test]
fn a_line_has_its_options_in_its_price_in_the_menus_order() {
    let picks = [("extras", "onion"), ("bread", "rye"), ("extras", "cheese")];
    check(
        [],
        picking(1, 2, germany(), &picks, Some(with_options())),
        Ok(vec![rye_with_everything()]),
    );
}

#[test]
fn options_that_are_none_twice_or_too_few_are_refused() {
    let refused = |picks: &[(&str, &str)], why| {
        check([], picking(1, 1, germany(), picks, Some(with_options())), Err(why));
    };
    refused(
        &[("bread", "rye"), ("bread", "spelt")],
        Rejection::UnknownOption { at: 1 },
    );
    refused(&[("sauce", "rye")], Rejection::UnknownOption { at: 0 });
    refused(&[("bread", "rye"), ("bread", "rye")], Rejection::OptionTwice { at: 1 });
    let one_bread = || Rejection::OptionCount {
        group: slug("bread"),
        min: 1,
        max: 1,
    };
    refused(&[], one_bread());
    refused(&[("bread", "rye"), ("bread", "white")], one_bread());
    check(
        [],
        picking(1, 1, germany(), &[("bread", "rye")], sold(1)),
        Err(Rejection::UnknownOption { at: 0 }),
    );
}

#[test]
fn a_line_follows_the_menu() {
    check(
        [line(1, 2), line(2, 1)],
        repricing(1, product(490)),
        Ok(vec![repriced(1, 450, 490)]),
    );
    check([line(1, 2)], repricing(1, product(450)), Ok(vec![]));
    check([line(1, 2)], repricing(2, product(490)), Ok(vec![]));
    check([line(1, 2), removed(1)], repricing(1, product(490)), Ok(vec![]));
    check([], repricing(1, product(490)), Ok(vec![]));
}

#[test]
fn a_line_keeps_its_options_when_their_prices_change() {
    let mut dearer = with_options();
    dearer.product.options[0].choices[1].prices = BTreeMap::from([(germany(), Money::new(50, Currency::EUR))]);
    dearer.product.tax_bp = BTreeMap::from([(germany(), 1_900)]);
    let now = Event::Repriced {
        product: id(1),
        was: Money::new(550, Currency::EUR),
        unit_price: Money::new(570, Currency::EUR),
        options: vec![
            chosen("bread", "rye", 50),
            chosen("extras", "cheese", 80),
            chosen("extras", "onion", -10),
        ],
        tax_bp: 1_900,
    };
    check([rye_with_everything()], repricing(1, *dearer), Ok(vec![now]));
    check([rye_with_everything()], repricing(1, *with_options()), Ok(vec![]));
}

#[test]
fn a_line_that_cannot_be_ordered_any_more_goes() {
    let gone = |reason| Ok(vec![unavailable(1, 450, reason)]);
    let retired = *retired(1).expect("it was sold");
    check([line(1, 2)], repricing(1, retired.clone()), gone(Unavailable::Retired));
    let mut moved = product(450);
    moved.product.prices.remove(&germany());
    check([line(1, 2)], repricing(1, moved), gone(Unavailable::NotSoldHere));
    check(
        [line(1, 2)],
        repricing(1, *with_options()),
        gone(Unavailable::OptionsChanged),
    );
    // What was checked out stays as it is.
    check(
        [line(1, 2), checked_out(1, &[(1, 2)])],
        repricing(1, retired),
        Ok(vec![]),
    );
}

#[test]
fn a_line_command_says_that_a_change_was_seen() {
    check(
        [line(1, 2), line(2, 1), repriced(2, 500, 450)],
        set(1, 2, germany(), sold(1)),
        Ok(vec![line(1, 2)]),
    );
    let gone = [line(1, 2), line(2, 1), unavailable(2, 450, Unavailable::Retired)];
    check(gone, Command::RemoveLine { product: id(2) }, Ok(vec![removed(2)]));
}

#[test]
fn a_checkout_takes_the_best_promotion_off_each_line_alone() {
    let sum = |quote: &Quote| {
        quote
            .lines
            .iter()
            .filter_map(QuoteLine::paid)
            .map(|paid| paid.amount)
            .sum::<i64>()
    };
    let quote = quoted(None, vec![(promotion(1), share(1_000)), (promotion(2), amount(50))]);
    assert_eq!(discounts(&quote), [Some((promotion(1), 55)), Some((promotion(2), 50))]);
    // 2 × 4.95 and 4.00; the tax of 7 % is within what is paid.
    assert_eq!((quote.total.amount, sum(&quote)), (1_390, 1_390));
    assert_eq!(quote.lines[0].tax, Some(Money::new(65, Currency::EUR)));
    assert_eq!((quote.lines[1].tax, quote.lines[0].options.len()), (None, 3));
}

#[test]
fn a_promotion_applies_in_its_time_and_country_and_a_local_one_where_the_order_is_pinned() {
    let here = FoodPointId(Uuid::from_u128(5));
    let local = Promotion {
        food_point: Some(here),
        ..share(1_000)
    };
    let none = [None, None];
    let of = |pinned, promotion_: Promotion| discounts(&quoted(pinned, vec![(promotion(1), promotion_)]));
    assert_eq!(of(None, local.clone()), none);
    assert_eq!(of(Some(FoodPointId(Uuid::from_u128(6))), local.clone()), none);
    assert_ne!(of(Some(here), local), none);
    let over = Promotion {
        starts_at: NOON - SignedDuration::from_hours(1),
        ends_at: NOON,
        ..share(1_000)
    };
    assert_eq!(of(None, over), none);
    let later = Promotion {
        starts_at: NOON + SignedDuration::from_secs(1),
        ..share(1_000)
    };
    assert_eq!(of(None, later), none);
    let abroad = Promotion {
        country: serbia(),
        ..share(1_000)
    };
    assert_eq!(of(None, abroad), none);
}

#[test]
fn a_discount_above_the_price_leaves_something_to_pay() {
    let quote = quoted(None, vec![(promotion(1), amount(10_000))]);
    assert_eq!(quote.total.amount, 3);
}

/// Two rye sandwiches with everything for 5.50 each and a plain one for 4.50, checked out at noon.
fn quoted(pinned: Option<FoodPointId>, promotions: Vec<(PromotionId, Promotion)>) -> Quote {
    let Command::Checkout(plain) = checkout(2) else {
        panic!("it is one")
    };
    let asked = Command::Checkout(Checkout {
        pinned,
        promotions: promotions.into(),
        ..plain
    });
    let basket = folded(&[rye_with_everything(), line(2, 1)]);
    match decide(basket.as_ref(), &asked, NOON).expect("accepted").as_slice() {
        [Event::CheckedOut { quote, .. }] => quote.clone(),
        other => panic!("{other:?}"),
    }
}

fn discounts(quote: &Quote) -> Vec<Option<(PromotionId, i64)>> {
    let taken = |PriceOff { promotion, off }| (promotion, off.amount);
    quote.lines.iter().map(|line| line.discount.map(taken)).collect()
}

fn promotion(number: u128) -> PromotionId {
    PromotionId(Uuid::from_u128(number))
}

fn share(basis_points: u32) -> Promotion {
    Promotion {
        names: Names::default(),
        country: germany(),
        food_point: None,
        products: Vec::new(),
        discount: Discount::BasisPoints(basis_points),
        starts_at: NOON,
        ends_at: NOON + SignedDuration::from_hours(1),
    }
}

fn amount(cents: i64) -> Promotion {
    Promotion {
        discount: Discount::Amount(Money::new(cents, Currency::EUR)),
        ..share(0)
    }
}

#[track_caller]
fn check<const N: usize>(given: [Event; N], when: Command, then: Result<Vec<Event>, Rejection>) {
    check_given(&given, when, then);
}

#[track_caller]
fn check_given(given: &[Event], when: Command, then: Result<Vec<Event>, Rejection>) {
    assert_eq!(decide(folded(given).as_ref(), &when, NOON), then);
}

fn folded(given: &[Event]) -> Option<Basket> {
    given.iter().fold(None, |basket, event| fold(basket, event, NOON))
}

fn set(product: u128, quantity: u32, country: Country, menu: Option<Box<Product>>) -> Command {
    picking(product, quantity, country, &[], menu)
}

fn picking(
    product: u128,
    quantity: u32,
    country: Country,
    picks: &[(&str, &str)],
    menu: Option<Box<Product>>,
) -> Command {
    let quantity = Quantity::new(quantity).expect("in range");
    let options = picks.iter().map(|(group, choice)| Pick {
        group: slug(group),
        choice: slug(choice),
    });
    Command::SetLine {
        product: id(product),
        quantity,
        country,
        options: options.collect(),
        menu,
    }
}

fn slug(text: &str) -> Slug {
    Slug::parse(text).expect("a slug")
}

fn chosen(group: &str, choice: &str, cents: i64) -> Chosen {
    Chosen {
        group: slug(group),
        choice: slug(choice),
        price: Money::new(cents, Currency::EUR),
    }
}

/// 4.50 with 7 % tax in it; rye is 0.30 more, and of cheese and onion any may be had, onion for 0.10 less.
fn with_options() -> Box<Product> {
    let choice = |choice: &str, cents| Choice {
        id: slug(choice),
        names: Names::default(),
        prices: BTreeMap::from([(germany(), Money::new(cents, Currency::EUR))]),
        adds: Vec::new(),
        removes: Vec::new(),
        allergens: Vec::new(),
    };
    let bread = OptionGroup {
        id: slug("bread"),
        names: Names::default(),
        min: 1,
        max: 1,
        choices: vec![choice("white", 0), choice("rye", 30)],
    };
    let extras = OptionGroup {
        id: slug("extras"),
        names: Names::default(),
        min: 0,
        max: 2,
        choices: vec![choice("cheese", 80), choice("onion", -10)],
    };
    let mut product = product(450);
    product.product.tax_bp = BTreeMap::from([(germany(), 700)]);
    product.product.options = vec![bread, extras];
    Box::new(product)
}

fn rye_with_everything() -> Event {
    Event::LineSet {
        country: germany(),
        product: id(1),
        quantity: 2,
        unit_price: Money::new(550, Currency::EUR),
        options: vec![
            chosen("bread", "rye", 30),
            chosen("extras", "cheese", 80),
            chosen("extras", "onion", -10),
        ],
        tax_bp: 700,
    }
}

fn repricing(product: u128, menu: Product) -> Command {
    Command::Reprice {
        menu: vec![(id(product), menu)],
    }
}

fn repriced(product: u128, was: i64, cents: i64) -> Event {
    Event::Repriced {
        product: id(product),
        was: Money::new(was, Currency::EUR),
        unit_price: Money::new(cents, Currency::EUR),
        options: Vec::new(),
        tax_bp: 0,
    }
}

fn unavailable(product: u128, was: i64, reason: Unavailable) -> Event {
    Event::LineUnavailable {
        product: id(product),
        was: Money::new(was, Currency::EUR),
        reason,
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
        pinned: None,
        promotions: Arc::default(),
    })
}

fn line(product: u128, quantity: u32) -> Event {
    Event::LineSet {
        country: germany(),
        product: id(product),
        quantity,
        unit_price: Money::new(450, Currency::EUR),
        options: Vec::new(),
        tax_bp: 0,
    }
}

fn dinar_line(product: u128, quantity: u32) -> Event {
    Event::LineSet {
        country: serbia(),
        product: id(product),
        quantity,
        unit_price: Money::new(52_000, Currency::RSD),
        options: Vec::new(),
        tax_bp: 0,
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
        .map(|(product, quantity)| QuoteLine::plain(id(*product), *quantity, unit_price))
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
            ..menu::Product::default()
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
