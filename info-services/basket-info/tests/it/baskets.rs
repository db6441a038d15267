//! A customer's own basket.

use http::header;
use jiff::Timestamp;
use mesh_contracts::basket::{Event, Unavailable};
use mesh_contracts::geo::Country;
use mesh_contracts::id::{OrderId, ProductId};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::{Method, Quote, QuoteLine};
use mesh_contracts::view::basket::Basket;
use mesh_runtime::headers;
use serde_json::json;
use uuid::Uuid;

use crate::world::{self, courier, customer, operator};

const CLUB: ProductId = ProductId(Uuid::from_u128(4));

fn germany() -> Country {
    Country::parse("DE").expect("a country")
}

pub fn set(product: ProductId, quantity: u32) -> Event {
    Event::LineSet {
        country: germany(),
        product,
        quantity,
        unit_price: Money::new(450, Currency::EUR),
        options: Vec::new(),
        tax_bp: 0,
    }
}

#[tokio::test]
async fn a_basket_nobody_filled_is_empty() {
    world::run(async |world| {
        let answer = world.gateway.get("/basket", &customer(1)).await;
        let basket: Basket = serde_json::from_value(answer.json()).expect("the shape of every basket");
        assert_eq!((basket.version, basket.lines.len(), basket.total), (0, 0, None));
        assert_eq!(answer.headers[header::ETAG], "\"0.0\"");
    })
    .await;
}

#[tokio::test]
async fn a_basket_shows_its_lines_and_what_they_cost() {
    world::run(async |world| {
        let (ann, bob) = (customer(1), customer(2));
        let id = ann.subject.basket();
        let version = world
            .baskets
            .tell_all(id, [set(CLUB, 2), set(ProductId::new_v7(), 1)])
            .await;
        let answer = world.gateway.get_after("/basket", &ann, id, version).await;
        let basket = answer.json();
        assert_eq!(basket["total"], json!({ "amount": 1350, "currency": "EUR" }));
        assert_eq!(basket["lines"][0]["product"], json!(CLUB));
        assert_eq!(answer.headers[header::ETAG], "\"2.2\"");
        let known = [(header::IF_NONE_MATCH, "\"2.2\"".to_owned())];
        assert_eq!(world.gateway.get_with("/basket", &ann, &known).await.status, 304);
        assert_eq!(
            world.gateway.get("/basket", &bob).await.json()["version"],
            0,
            "everyone has their own"
        );
    })
    .await;
}

#[tokio::test]
async fn a_basket_shows_what_the_menu_changed_until_its_customer_acts() {
    world::run(async |world| {
        let ann = customer(1);
        let id = ann.subject.basket();
        let (club, soup) = (CLUB, ProductId::new_v7());
        let euros = |cents| Money::new(cents, Currency::EUR);
        let dearer = Event::Repriced {
            product: club,
            was: euros(450),
            unit_price: euros(490),
            options: Vec::new(),
            tax_bp: 0,
        };
        let gone = Event::LineUnavailable {
            product: soup,
            was: euros(450),
            reason: Unavailable::Retired,
        };
        let events = [set(club, 2), set(soup, 1), dearer, gone];
        let version = world.baskets.tell_all(id, events).await;
        let basket = world.gateway.get_after("/basket", &ann, id, version).await.json();
        assert_eq!(basket["total"], json!({ "amount": 980, "currency": "EUR" }));
        assert_eq!(
            basket["changes"],
            json!([
                { "product": club, "was": euros(450), "now": euros(490) },
                { "product": soup, "was": euros(450), "now": null, "reason": "retired" },
            ])
        );
        let version = world.baskets.tell_all(id, [set(club, 3)]).await;
        let basket = world.gateway.get_after("/basket", &ann, id, version).await.json();
        assert!(basket["changes"].is_null(), "{basket}");
    })
    .await;
}

#[tokio::test]
async fn a_checked_out_basket_shows_what_was_frozen() {
    world::run(async |world| {
        let ann = customer(1);
        let (id, order) = (ann.subject.basket(), OrderId::new_v7());
        let quote = Quote {
            basket: id,
            basket_version: 1,
            country: germany(),
            lines: vec![QuoteLine::plain(CLUB, 2, Money::new(450, Currency::EUR))],
            total: Money::new(900, Currency::EUR),
            method: Method::Cash,
            valid_until: Timestamp::UNIX_EPOCH,
        };
        let checked_out = Event::CheckedOut {
            order,
            quote,
            reopen_at: Timestamp::UNIX_EPOCH,
        };
        let version = world.baskets.tell_all(id, [set(CLUB, 2), checked_out]).await;
        let basket = world.gateway.get_after("/basket", &ann, id, version).await.json();
        assert_eq!(
            (&basket["lines"], &basket["checkout"]["order"]),
            (&json!([]), &json!(order))
        );
    })
    .await;
}

#[tokio::test]
async fn baskets_are_for_customers() {
    world::run(async |world| {
        for wrong in [courier(2), operator()] {
            let answer = world.gateway.get("/basket", &wrong).await;
            assert_eq!(answer.problem(), (403, "forbidden".into()));
        }
    })
    .await;
}

#[tokio::test]
async fn a_reader_never_gets_less_than_the_token_names() {
    world::run(async |world| {
        let ann = customer(1);
        let id = ann.subject.basket();
        // Committed, and lost by the bus: only the master has it.
        world.baskets.keep(id, set(CLUB, 1));
        assert_eq!(
            world.gateway.get_after("/basket", &ann, id, 1).await.json()["version"],
            1
        );
        let answer = world.gateway.get_after("/basket", &ann, id, 2).await;
        assert_eq!(answer.problem(), (503, "unavailable".into()), "nobody has it yet");
        let forged = [(headers::CONSISTENCY, "x".to_owned())];
        let answer = world.gateway.get_with("/basket", &ann, &forged).await;
        assert_eq!(answer.problem(), (400, "consistency_token_malformed".into()));
    })
    .await;
}
