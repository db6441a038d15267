//! What the menu means to orders: what their options take, and that no change of it breaks one.

use http::StatusCode;
use jiff::Timestamp;
use mesh_contracts::menu::{Choice, Chosen, Event, Names, OptionGroup, Product, RecipeLine, Slug};
use mesh_contracts::order::QuoteLine;
use mesh_contracts::{payment, point};
use mesh_testkit::{eventually, run};
use serde_json::{Value, json};

use crate::world::{BREAD, PRICE, World, kind, sandwich};

fn slug(text: &str) -> Slug {
    Slug::parse(text).expect("a slug")
}

fn with_more_bread() -> Product {
    let more = Choice {
        id: slug("more"),
        names: Names::default(),
        prices: [].into(),
        adds: vec![RecipeLine {
            ingredient: BREAD,
            name: "bread".into(),
            quantity: 50,
        }],
        removes: Vec::new(),
        allergens: Vec::new(),
    };
    Product {
        options: vec![OptionGroup {
            id: slug("bread"),
            names: Names::default(),
            min: 0,
            max: 1,
            choices: vec![more],
        }],
        ..sandwich()
    }
}

fn choosing(line: &QuoteLine, choice: &str) -> QuoteLine {
    QuoteLine {
        options: vec![Chosen {
            group: slug("bread"),
            choice: slug(choice),
            price: mesh_contracts::money::Money::zero(PRICE.currency),
        }],
        ..line.clone()
    }
}

/// The product's second event, known.
async fn changed(world: &World, event: &Event) {
    world.say(world.product, 2, event).await;
    eventually("the change is known", || async {
        let known = world.count("SELECT count(*) FROM products WHERE version = 2").await;
        (known == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_order_needs_what_its_options_take() {
    run(async |stage| {
        let world = World::new(stage).await;
        let product = with_more_bread();
        changed(&world, &Event::Updated { product }).await;
        let mut order = world.order();
        order.quote.lines = vec![choosing(&order.quote.lines[0], "more")];
        let placed = world.post(&world.customer, "/orders", &order).await;
        assert_eq!(placed.status(), StatusCode::CREATED, "{:?}", placed.body());
        let history = world.get("gateway", &format!("/orders/{}/history", order.order)).await;
        let history: Value = serde_json::from_slice(history.body()).expect("a history");
        let needs = json!([{ "ingredient": BREAD, "quantity": 150 }]);
        assert_eq!(history[1]["data"]["needs"], needs, "{history}");
        world
    })
    .await;
}

#[tokio::test]
async fn an_option_that_nobody_knows_is_refused_and_writes_nothing() {
    run(async |stage| {
        let world = World::new(stage).await;
        let before = world.events().await;
        let mut order = world.order();
        order.quote.lines = vec![choosing(&order.quote.lines[0], "more")];
        let refused = world.post(&world.customer, "/orders", &order).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(kind(&refused), "unknown_product");
        assert_eq!(world.events().await, before);
        world
    })
    .await;
}

#[tokio::test]
async fn retiring_a_product_breaks_no_order() {
    run(async |stage| {
        let world = World::new(stage).await;
        let placed = world.placed().await;
        changed(&world, &Event::Retired {}).await;
        let held = point::Event::HoldHeld {
            order: placed,
            attempt: 1,
            needs: vec![],
            expires_at: Timestamp::now(),
        };
        world.point_says(&held).await;
        world.hears(placed, "payment.requested").await;
        let promised = payment::Event::Authorized {
            attempt: 1,
            amount: PRICE,
            provider_id: "pi_1".into(),
        };
        world.say(placed.payment(), 1, &promised).await;
        world.hears(placed, "ticket.offered").await;
        let accept = format!("/orders/{placed}/accept");
        let accepted = world.post(&world.kitchen, &accept, &json!({})).await;
        assert_eq!(accepted.status(), StatusCode::OK);
        world
            .point_says(&point::Event::HoldConfirmed {
                order: placed,
                attempt: 1,
            })
            .await;
        world.hears(placed, "order.assigned").await;
        // What was checked out before the retirement can still be placed.
        world.placed().await;
        world
    })
    .await;
}
