//! What the menu makes of baskets: options, changes of prices, promotions.

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::geo::Country;
use mesh_contracts::id::{FoodPointId, ProductId, PromotionId};
use mesh_contracts::menu::{self, Names};
use mesh_contracts::money::Money;
use mesh_contracts::order::Quote;
use mesh_contracts::promotion::{self, Discount, Promotion};
use mesh_testkit::eventually;
use serde_json::{Value, json};

use crate::world::{Answer, World, an_order, customer, dinars, euros, one, product, run, version};

fn germany() -> Country {
    Country::parse("DE").expect("two letters")
}

/// A product on the menu with an extra for so many cents, and 7 % tax in its price.
async fn with_extra(world: &World, cents: i64) -> ProductId {
    let id = ProductId::new_v7();
    let created = menu::Event::Created {
        product: described(450, cents),
    };
    world.heard(&world.menu.tell(id, created).await).await;
    id
}

fn described(price: i64, extra: i64) -> menu::Product {
    let names = json!({ "en": "Cheese", "ru": "Сыр" });
    let prices = json!({ "DE": euros(extra) });
    let cheese = json!({ "id": "cheese", "names": names, "prices": prices });
    let options = json!([{ "id": "extras", "names": names, "max": 1, "choices": [cheese] }]);
    menu::Product {
        tax_bp: [(germany(), 700)].into(),
        options: serde_json::from_value(options).expect("options"),
        ..product(&[("DE", euros(price))])
    }
}

fn with_cheese(quantity: u32) -> Value {
    json!({ "quantity": quantity, "country": "DE", "options": [{ "group": "extras", "choice": "cheese" }] })
}

fn a_tenth() -> Promotion {
    Promotion {
        names: Names {
            en: "Lunch".into(),
            ru: "Обед".into(),
        },
        country: germany(),
        food_point: None,
        products: Vec::new(),
        discount: Discount::BasisPoints(1_000),
        starts_at: Timestamp::now() - SignedDuration::from_hours(1),
        ends_at: Timestamp::now() + SignedDuration::from_hours(1),
    }
}

async fn announced(world: &World, promotion: Promotion) -> PromotionId {
    let id = PromotionId::new_v7();
    let told = world.menu.tell(id, promotion::Event::Created { promotion }).await;
    world.heard(&told).await;
    id
}

fn by_cash(basket_version: u64) -> Value {
    json!({ "order": an_order(), "basket_version": basket_version, "payment": { "method": "cash" } })
}

#[track_caller]
fn quote(answer: &Answer) -> Quote {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_value(answer.json()["quote"].clone()).expect("a quote")
}

async fn newest(world: &World, basket: impl ToString) -> (String, Value) {
    let newest = world.events(basket).await.pop().expect("it is not empty");
    (newest.event_type, newest.data.value())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_freezes_options_price_and_tax() {
    run(World::without_provider, async |world| {
        let ann = customer();
        let club = with_extra(world, 80).await;
        let line = world.set_line(&ann, club, with_cheese(2)).await;
        let quote = quote(&world.checkout(&ann, by_cash(version(&line))).await);
        let line = &quote.lines[0];
        assert_eq!((line.unit_price, quote.total), (euros(530), euros(1_060)));
        assert_eq!(
            (line.options[0].choice.as_str(), line.options[0].price),
            ("cheese", euros(80))
        );
        // 10.60 with 7 % in it.
        assert_eq!((line.tax_bp, line.tax, line.discount), (700, Some(euros(69)), None));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_cannot_be_are_refused() {
    run(World::without_provider, async |world| {
        let ann = customer();
        let club = with_extra(world, 80).await;
        let before = world.written().await;
        let refused = async |options: Value, kind: &str, field: &str| {
            let line = json!({ "quantity": 1, "country": "DE", "options": options });
            let answer = world.set_line(&ann, club, line).await;
            assert_eq!((answer.status, answer.kind().as_str()), (422, kind), "{options}");
            assert_eq!(answer.json()["errors"][0]["field"], field, "{options}");
        };
        let cheese = json!({ "group": "extras", "choice": "cheese" });
        let ham = json!({ "group": "extras", "choice": "ham" });
        refused(json!([cheese, ham]), "unknown_option", "options[1]").await;
        refused(
            json!([{ "group": "bread", "choice": "cheese" }]),
            "unknown_option",
            "options[0]",
        )
        .await;
        refused(json!([cheese, cheese]), "option_chosen_twice", "options[1]").await;
        refused(
            json!([{ "group": "Extra cheese!", "choice": "ham" }]),
            "invalid",
            "options[0].group",
        )
        .await;
        assert_eq!(world.written().await, before);
        let noted = "select count(*) from basket_lines where product_id = $1";
        assert_eq!(world.count(noted, &club.to_string()).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_reprices_open_baskets_and_no_other() {
    run(World::without_provider, async |world| {
        let (ann, bob, eve) = (customer(), customer(), customer());
        let club = with_extra(world, 80).await;
        let soup = world.product(&[("DE", euros(450)), ("RS", dinars(52_000))]).await;
        let seen = version(&world.set_line(&ann, club, with_cheese(2)).await);
        let placed = version(&world.set_line(&bob, club, with_cheese(1)).await);
        quote(&world.checkout(&bob, by_cash(placed)).await);
        world.set_line(&eve, soup, one("RS")).await;

        let dearer = menu::Event::Updated {
            product: described(500, 90),
        };
        let told = world.menu.tell(club, dearer).await;
        world.heard(&told).await;
        let (event, data) = newest(world, ann.subject.basket()).await;
        assert_eq!(event, "basket.repriced");
        let both = |name: &str| data[name]["amount"].as_i64();
        assert_eq!((both("was"), both("unit_price")), (Some(530), Some(590)));
        let types = world.event_types(bob.subject.basket()).await;
        assert_eq!(types, ["basket.line_set", "basket.checked_out"], "what is frozen stays");
        assert_eq!(world.event_types(eve.subject.basket()).await, ["basket.line_set"]);

        let stale = world.checkout(&ann, by_cash(seen)).await;
        assert_eq!((stale.status, stale.kind().as_str()), (409, "basket_changed"));
        let now = stale.json()["basket_version"].as_u64().expect("the version to look at");
        assert_eq!(now, seen + 1);
        assert_eq!(quote(&world.checkout(&ann, by_cash(now)).await).total, euros(1_180));

        // The bus may say it again: nothing happens twice.
        world.menu.publish(&told).await;
        let types = world.event_types(ann.subject.basket()).await;
        assert_eq!(types, ["basket.line_set", "basket.repriced", "basket.checked_out"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_baskets_follow_one_update() {
    run(World::without_provider, async |world| {
        let club = world.product(&[("DE", euros(450))]).await;
        let people: Vec<_> = (0..40).map(|_| customer()).collect();
        for person in &people {
            assert_eq!(world.set_line(person, club, one("DE")).await.status, 200);
        }
        let dearer = menu::Event::Updated {
            product: product(&[("DE", euros(490))]),
        };
        world.heard(&world.menu.tell(club, dearer).await).await;
        for person in &people {
            let types = world.event_types(person.subject.basket()).await;
            assert_eq!(types, ["basket.line_set", "basket.repriced"]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_product_leaves_open_baskets_and_stays_in_what_was_checked_out() {
    run(World::without_provider, async |world| {
        let (ann, bob) = (customer(), customer());
        let club = world.product(&[("DE", euros(450))]).await;
        let seen = version(&world.set_line(&ann, club, one("DE")).await);
        let placed = version(&world.set_line(&bob, club, one("DE")).await);
        let body = by_cash(placed);
        let frozen = world.checkout(&bob, body.clone()).await;
        world.heard(&world.menu.tell(club, menu::Event::Retired {}).await).await;

        let (event, data) = newest(world, ann.subject.basket()).await;
        assert_eq!(
            (event.as_str(), &data["reason"]),
            ("basket.line_unavailable", &json!("retired"))
        );
        let stale = world.checkout(&ann, by_cash(seen)).await;
        assert_eq!((stale.status, stale.kind().as_str()), (409, "basket_changed"));
        let again = world.checkout(&bob, body).await;
        assert_eq!(
            (again.status, &again.body),
            (200, &frozen.body),
            "the order is placed as it was"
        );
        let noted = "select count(*) from basket_lines where basket_id = $1";
        assert_eq!(
            world.count(noted, &ann.subject.basket().to_string()).await,
            1,
            "not that soon"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_basket_that_no_change_found_is_repriced_at_checkout() {
    run(World::without_provider, async |world| {
        let ann = customer();
        let club = world.product(&[("DE", euros(450))]).await;
        let seen = version(&world.set_line(&ann, club, one("DE")).await);
        // As if the line had been set while the menu changed, by a process that then died.
        world.execute("delete from basket_lines").await;
        let dearer = menu::Event::Updated {
            product: product(&[("DE", euros(490))]),
        };
        world.heard(&world.menu.tell(club, dearer).await).await;
        assert_eq!(world.event_types(ann.subject.basket()).await, ["basket.line_set"]);
        let stale = world.checkout(&ann, by_cash(seen)).await;
        assert_eq!((stale.status, stale.kind().as_str()), (409, "basket_changed"));
        assert_eq!(newest(world, ann.subject.basket()).await.0, "basket.repriced");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_freezes_the_best_promotion_of_each_line() {
    run(World::without_provider, async |world| {
        let ann = customer();
        let club = with_extra(world, 80).await;
        let soup = world.product(&[("DE", euros(450))]).await;
        let tenth = announced(world, a_tenth()).await;
        let euro = Promotion {
            products: vec![soup],
            discount: Discount::Amount(euros(100)),
            ..a_tenth()
        };
        let euro = announced(world, euro).await;
        let over = Promotion {
            discount: Discount::BasisPoints(9_000),
            ends_at: Timestamp::now() - SignedDuration::from_secs(1),
            ..a_tenth()
        };
        announced(world, over).await;
        world.set_line(&ann, club, with_cheese(1)).await;
        let basket = version(&world.set_line(&ann, soup, one("DE")).await);
        let quote = quote(&world.checkout(&ann, by_cash(basket)).await);
        let off: Vec<(PromotionId, Money)> = quote
            .lines
            .iter()
            .filter_map(|line| line.discount)
            .map(|discount| (discount.promotion, discount.off))
            .collect();
        assert_eq!(off, [(tenth, euros(53)), (euro, euros(100))]);
        assert_eq!(quote.total, euros(477 + 350));
        assert_eq!(quote.lines[0].tax, Some(euros(31)), "of what is paid");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_points_promotion_needs_an_order_pinned_to_it_and_an_ended_one_is_over() {
    run(World::without_provider, async |world| {
        let here = FoodPointId::new_v7();
        let club = world.product(&[("DE", euros(450))]).await;
        let local = Promotion {
            food_point: Some(here),
            ..a_tenth()
        };
        let promotion = announced(world, local).await;
        let total = async |pinned: Option<FoodPointId>| {
            let ann = customer();
            let mut body = by_cash(version(&world.set_line(&ann, club, one("DE")).await));
            if let Some(point) = pinned {
                body["food_point"] = json!(point);
            }
            quote(&world.checkout(&ann, body).await).total
        };
        assert_eq!(total(None).await, euros(450));
        assert_eq!(total(Some(FoodPointId::new_v7())).await, euros(450));
        assert_eq!(total(Some(here)).await, euros(405));
        world
            .heard(&world.menu.tell(promotion, promotion::Event::Ended {}).await)
            .await;
        assert_eq!(total(Some(here)).await, euros(450));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_comes_while_lines_are_set_reaches_them_all() {
    run(World::without_provider, async |world| {
        let club = world.product(&[("DE", euros(450))]).await;
        let people: Vec<_> = (0..30).map(|_| customer()).collect();
        let filling = futures::future::join_all(people.iter().map(|person| world.set_line(person, club, one("DE"))));
        let dearer = menu::Event::Updated {
            product: product(&[("DE", euros(490))]),
        };
        let (answers, told) = tokio::join!(filling, world.menu.tell(club, dearer));
        assert!(answers.iter().all(|answer| answer.status == 200));
        world.heard(&told).await;
        for person in &people {
            eventually("the line costs what the menu says", async || {
                let (_, data) = newest(world, person.subject.basket()).await;
                (data["unit_price"]["amount"] == 490).then_some(())
            })
            .await;
        }
    })
    .await;
}
