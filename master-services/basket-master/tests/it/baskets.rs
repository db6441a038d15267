//! Lines, checkout, and the way back.

use basket_master::Baskets;
use jiff::Timestamp;
use mesh_contracts::basket::Event;
use mesh_contracts::envelope::Actor;
use mesh_contracts::geo::Country;
use mesh_contracts::id::{OrderId, ProductId};
use mesh_contracts::order::{self, Method, Quote, QuoteLine};
use mesh_contracts::view::basket::Basket;
use mesh_contracts::{api, menu};
use mesh_eventstore::{Request, Store, StoreConfig, Streams};
use mesh_identity::Caller;
use mesh_runtime::{Clock, headers};
use mesh_testkit::eventually;
use serde_json::json;

use crate::world::{World, an_order, checkout, customer, dinars, euros, one, product, run, version};

#[tokio::test(flavor = "multi_thread")]
async fn a_line_takes_the_price_that_was_heard_last() {
    run(World::without_provider, async |world| {
        let ann = customer();
        let club = world.product(&[("DE", euros(450)), ("RS", dinars(52_000))]).await;
        let first = world.set_line(&ann, club, one("DE")).await;
        assert_eq!(first.status, 200, "{first:?}");
        assert_eq!(first.json(), json!({ "id": ann.subject.basket(), "status": "open" }));
        assert!(first.headers.contains_key(headers::CONSISTENCY));

        let dearer = menu::Event::Updated {
            product: product(&[("DE", euros(490))]),
        };
        world.heard(&world.menu.tell(club, dearer).await).await;
        world
            .set_line(&ann, club, json!({ "quantity": 2, "country": "DE" }))
            .await;
        let events = world.events(ann.subject.basket()).await;
        let prices: Vec<_> = events
            .iter()
            .map(|event| event.data.value()["unit_price"]["amount"].as_i64())
            .collect();
        assert_eq!(prices, [Some(450), Some(490), Some(490)], "set, repriced, set again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_twice_or_from_nothing_is_fine() {
    run(World::without_provider, async |world| {
        let ann = customer();
        let club = world.product(&[("DE", euros(450))]).await;
        let nothing = world.remove_line(&ann, club).await;
        assert_eq!(
            (nothing.status, nothing.json()["status"].as_str()),
            (200, Some("empty"))
        );
        world.set_line(&ann, club, one("DE")).await;
        for _ in 0..2 {
            let removed = world.remove_line(&ann, club).await;
            assert_eq!(
                (removed.status, removed.json()["status"].as_str()),
                (200, Some("empty"))
            );
        }
        let types = world.event_types(ann.subject.basket()).await;
        assert_eq!(types, ["basket.line_set", "basket.line_removed"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_checkout_again_gets_the_same_quote_byte_for_byte() {
    run(World::without_provider, async |world| {
        let ann = customer();
        let club = world.product(&[("DE", euros(450))]).await;
        let line = world
            .set_line(&ann, club, json!({ "quantity": 3, "country": "DE" }))
            .await;
        let body = checkout(
            an_order(),
            version(&line),
            json!({ "method": "card", "token": "pm_card_visa" }),
        );
        let first = world.checkout(&ann, body.clone()).await;
        assert_eq!(first.status, 200, "{first:?}");
        let quote = serde_json::from_slice::<api::CheckedOut>(&first.body)
            .expect("a quote")
            .quote;
        assert_eq!((quote.total, quote.basket_version), (euros(1350), 1));
        let life = quote.valid_until.duration_since(Timestamp::now()).as_secs();
        assert!((30..=60).contains(&life), "{life} s");
        let again = world.checkout(&ann, body).await;
        assert_eq!((again.status, again.body), (first.status, first.body));
        let types = world.event_types(ann.subject.basket()).await;
        assert_eq!(types, ["basket.line_set", "basket.checked_out"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_in_no_event_and_no_stored_answer() {
    run(World::without_provider, async |world| {
        let order = world.checked_out(&customer(), "pm_card_visa").await;
        let secret = "%pm_card_visa%";
        let events = "select count(*) from events where data::text || meta::text like $1";
        assert_eq!(world.count(events, secret).await, 0);
        assert_eq!(
            world
                .count("select count(*) from commands where response like $1", secret)
                .await,
            0
        );
        let kept = "select count(*) from secrets where about = $1";
        assert_eq!(world.count(kept, &order.to_string()).await, 1);
        let log = std::fs::read_to_string(world.service.log()).expect("it logs");
        assert!(!log.contains("pm_card_visa"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_whose_order_was_never_placed_comes_back() {
    run(World::without_provider, async |world| {
        let ann = customer();
        let order = overdue(world, &ann).await;
        let basket = ann.subject.basket();
        eventually("the basket is reopened", || async {
            let types = world.event_types(basket).await;
            (types.last().map(String::as_str) == Some("basket.reopened")).then_some(())
        })
        .await;
        world.until_no_token_of(order).await;
        assert_eq!(timers(world, &ann).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_costs_what_the_menu_says_now() {
    run(World::without_provider, async |world| {
        let ann = customer();
        let club = world.product(&[("DE", euros(490))]).await;
        check_out_in_the_past(world, &ann, an_order(), club).await;
        let basket = ann.subject.basket();
        eventually("the basket is reopened and repriced", || async {
            let events = world.events(basket).await;
            let newest = events.last().expect("it is not empty");
            let price = newest.data.value()["unit_price"]["amount"].as_i64();
            (newest.event_type == "basket.repriced" && price == Some(490)).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_whose_order_was_placed_stays_though_the_bus_lost_it() {
    run(World::without_provider, async |world| {
        let ann = customer();
        let order = an_order();
        world.orders.keep(order, order::Event::CookingStarted {});
        check_out_in_the_past(world, &ann, order, ProductId::new_v7()).await;
        eventually("the look is over", || async {
            (timers(world, &ann).await == 0).then_some(())
        })
        .await;
        let types = world.event_types(ann.subject.basket()).await;
        assert_eq!(types, ["basket.line_set", "basket.checked_out"]);
    })
    .await;
}

async fn overdue(world: &World, caller: &Caller) -> OrderId {
    let order = an_order();
    check_out_in_the_past(world, caller, order, ProductId::new_v7()).await;
    order
}

/// The look at the order is 75 s after its checkout; here it is due already.
async fn check_out_in_the_past(world: &World, caller: &Caller, order: OrderId, product: ProductId) {
    let config = StoreConfig::new(&world.database.url, "a test");
    let store = Store::connect(config, Clock::real())
        .await
        .expect("the database answers");
    let unit_price = euros(450);
    let country = Country::parse("DE").expect("two letters");
    let quote = Quote {
        basket: caller.subject.basket(),
        basket_version: 1,
        country,
        lines: vec![QuoteLine::plain(product, 1, unit_price)],
        total: unit_price,
        method: Method::Cash,
        valid_until: Timestamp::now(),
    };
    let decide = move |_: Option<&Basket>, now| {
        let line = Event::LineSet {
            country,
            product,
            quantity: 1,
            unit_price,
            options: Vec::new(),
            tax_bp: 0,
        };
        let checked_out = Event::CheckedOut {
            order,
            quote: quote.clone(),
            reopen_at: now,
        };
        Ok::<_, std::convert::Infallible>(vec![line, checked_out])
    };
    let request = Request::by(Actor::service("a test"));
    Streams::<Baskets>::new(store)
        .submit(caller.subject.basket(), request, decide)
        .await
        .expect("it is stored");
}

async fn timers(world: &World, caller: &Caller) -> i64 {
    world
        .count(
            "select count(*) from timers where stream_id = $1",
            &caller.subject.basket().to_string(),
        )
        .await
}
