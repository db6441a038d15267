//! Stock that products open and close.

use mesh_contracts::id::ProductId;
use mesh_contracts::menu::{self, Names, Product, RecipeLine};
use mesh_contracts::money::{Currency, Money};

use super::*;

fn country(code: &str) -> Country {
    Country::parse(code).expect("a country")
}

fn needs(code: &str, of: &[(IngredientId, bool)]) -> Command {
    Command::Align(Needs::from([(country(code), of.iter().copied().collect())]))
}

fn opened(ingredient: IngredientId) -> Event {
    Event::StockOpened { ingredient }
}

fn unneeded(ingredient: IngredientId) -> Event {
    Event::StockUnneeded { ingredient }
}

fn shut(ingredient: IngredientId) -> Event {
    Event::StockClosed { ingredient }
}

#[test]
fn what_products_of_its_country_need_is_opened_once() {
    let both = || needs("DE", &[(BREAD, true), (CHEESE, true)]);
    check([registered()], both(), [opened(BREAD), opened(CHEESE)]);
    check([registered(), opened(BREAD)], both(), [opened(CHEESE)]);
    check([registered(), opened(BREAD), opened(CHEESE)], both(), []);
    // Goods that came before their product have opened it.
    check([registered(), stocked()], both(), [opened(CHEESE)]);
    check([registered()], needs("RS", &[(BREAD, true)]), []);
    refuse([], both(), Rejection::NoSuchPoint);
}

#[test]
fn what_nothing_needs_any_more_is_closed_and_opens_again() {
    let not_needed = || needs("DE", &[(BREAD, false)]);
    check([registered(), stocked()], not_needed(), [shut(BREAD)]);
    check([registered(), stocked(), shut(BREAD)], not_needed(), []);
    check(
        [registered(), stocked(), shut(BREAD)],
        needs("DE", &[(BREAD, true)]),
        [opened(BREAD)],
    );
    // Neither what was never kept, nor what no product was ever made of.
    check([registered()], not_needed(), []);
    check([registered(), stocked()], needs("DE", &[(CHEESE, false)]), []);
}

#[test]
fn what_is_held_closes_with_the_last_hold() {
    let given = || [registered(), stocked(), held(FIRST), held(SECOND)];
    let not_needed = || needs("DE", &[(BREAD, false)]);
    check(given(), not_needed(), [unneeded(BREAD)]);
    let [a, b, c, d] = given();
    let waiting = || [a.clone(), b.clone(), c.clone(), d.clone(), unneeded(BREAD)];
    check(waiting(), not_needed(), []);
    let (order, attempt) = (FIRST, 1);
    let consumed = Event::HoldConsumed { order, attempt };
    check(waiting(), consume(FIRST), [consumed.clone()]);
    let [a, b, c, d, e] = waiting();
    let last = || [a.clone(), b.clone(), c.clone(), d.clone(), e.clone(), consumed.clone()];
    let given_back = released(SECOND, ReleaseCause::OrderEnded);
    check(last(), end(SECOND, false), [given_back, shut(BREAD)]);
    let wasted = Event::HoldWasted { order: SECOND, attempt };
    check(last(), end(SECOND, true), [wasted, shut(BREAD)]);
    let expired = Event::HoldExpired { order: SECOND, attempt };
    let fired = fire(state(&last()).as_ref(), &format!("hold:{SECOND}"), later(18));
    assert_eq!(fired, [expired, shut(BREAD)]);
    // A product that needs it again keeps it open.
    check(last(), needs("DE", &[(BREAD, true)]), [opened(BREAD)]);
    let [a, b, c, d, e, f] = last();
    let released_again = released(SECOND, ReleaseCause::OrderEnded);
    check([a, b, c, d, e, f, opened(BREAD)], end(SECOND, false), [released_again]);
}

#[test]
fn a_newer_attempt_keeps_what_it_holds_open() {
    let newer = Wanted {
        attempt: 2,
        ..wanted(FIRST, 4)
    };
    let held_again = Event::HoldHeld {
        order: FIRST,
        attempt: 2,
        needs: need(4),
        expires_at: later(18),
    };
    check(
        [registered(), stocked(), held(FIRST), unneeded(BREAD)],
        Command::Hold(newer),
        [released(FIRST, ReleaseCause::Abandoned), held_again],
    );
}

#[test]
fn closed_stock_serves_orders_placed_before() {
    check([registered(), stocked(), shut(BREAD)], hold(FIRST), [held(FIRST)]);
}

#[test]
fn a_full_list_of_ingredients_opens_nothing_more() {
    let mut given = vec![registered()];
    given.extend((0..INGREDIENTS_MAX - 1).map(|number| opened(IngredientId(Uuid::from_u128(1_000 + number as u128)))));
    let decided = decide(
        state(&given).as_ref(),
        needs("DE", &[(BREAD, true), (CHEESE, true)]),
        NOON,
    );
    assert_eq!(decided, Ok(vec![opened(BREAD)]));
}

#[test]
fn a_point_looks_at_what_is_needed_when_it_is_described() {
    let point = state(&[registered()]).expect("registered");
    for event in [registered(), Event::Changed { settings: settings() }] {
        assert_eq!(react(&point, &event, later(3)), [Effect::set("needs", later(3))]);
    }
    assert_eq!(fire(Some(&point), "needs", later(3)), [], "what follows needs a table");
}

#[test]
fn a_product_needs_its_recipe_wherever_it_has_a_price() {
    let product = Product {
        names: Names {
            en: "Club".into(),
            ru: "Клаб".into(),
        },
        prices: [("DE", Currency::EUR), ("RS", Currency::RSD)]
            .map(|(code, currency)| (country(code), Money::new(890, currency)))
            .into(),
        recipe: [BREAD, CHEESE, BREAD]
            .map(|ingredient| RecipeLine {
                ingredient,
                name: "what it is made of".into(),
                quantity: 1,
            })
            .into(),
        tax_bp: Default::default(),
        allergens: Vec::new(),
        options: Vec::new(),
        prep_minutes: 8,
    };
    let heard = |stream: &str, event: menu::Event| {
        let envelope = Envelope {
            event_id: Uuid::from_u128(1),
            stream: stream.into(),
            version: 1,
            position: 1,
            event_type: event.event_type().into(),
            schema_version: 1,
            at: NOON,
            recorded_at: NOON,
            meta: Meta::by(Actor::service("menu-master")),
            data: event.encode(),
        };
        let needs = needs_of_product(&envelope).expect("its own form");
        needs.map(|needs| needs.into_iter().collect::<Vec<_>>())
    };
    let club = ProductId(Uuid::from_u128(31)).to_string();
    let everywhere = ["DE", "RS"]
        .map(|code| [(country(code), BREAD), (country(code), CHEESE)])
        .concat();
    let created = menu::Event::Created {
        product: product.clone(),
    };
    assert_eq!(heard(&club, created.clone()), Some(everywhere));
    let mut changed = product;
    changed.prices.remove(&country("RS"));
    changed.recipe.retain(|line| line.ingredient == CHEESE);
    let updated = menu::Event::Updated { product: changed };
    assert_eq!(heard(&club, updated), Some(vec![(country("DE"), CHEESE)]));
    assert_eq!(heard(&club, menu::Event::Retired {}), Some(Vec::new()));
    assert_eq!(heard(&FIRST.to_string(), created), None, "no product");
}
