//! What is sold, and whether there is still some.

use http::header;
use mesh_contracts::id::FoodPointId;
use mesh_contracts::menu::{Event, Product};
use mesh_contracts::money::{Currency, Money};
use mesh_testkit::{Answer, eventually};
use serde_json::{Value, json};

use crate::chain::{
    BREAD, BROTH, CENTRE, CLUB, SOUP, SUBURB, TOAST, back, country, created, gone, held, product, received, registered,
    released,
};
use crate::world::{self, World, customer};

const MENU: &str = "/menu?country=DE";

/// Name → whether there is some.
#[track_caller]
fn available(answer: &Answer) -> Vec<(String, bool)> {
    let items = answer.json()["items"].as_array().expect("a list").clone();
    let item = |item: &Value| {
        let name = item["names"]["en"].as_str().expect("a name").to_owned();
        (name, item["available"].as_bool().expect("yes or no"))
    };
    items.iter().map(item).collect()
}

/// The club has bread in the suburb only, the soup has broth in neither.
async fn open_shop(world: &World) {
    world.menu.tell_all(CLUB, [created(product("Club", BREAD, 2))]).await;
    world.menu.tell_all(SOUP, [created(product("Soup", BROTH, 1))]).await;
    world
        .points
        .tell_all(CENTRE, [registered("Centre", 0), received(BREAD, 1)])
        .await;
    world
        .points
        .tell_all(SUBURB, [registered("Suburb", 9), received(BREAD, 2)])
        .await;
    // Streams are handled one by one: when the last is there, all are.
    world.gateway.get_after(MENU, &customer(1), SOUP, 1).await;
    world.gateway.get_after(MENU, &customer(1), SUBURB, 2).await;
}

#[tokio::test]
async fn a_product_shows_its_price_there() {
    world::run(async |world| {
        let version = world.menu.tell_all(CLUB, [created(product("Club", BREAD, 2))]).await;
        let menu = world.gateway.get_after(MENU, &customer(1), CLUB, version).await.json();
        assert_eq!(
            menu,
            json!({
                "country": "DE",
                "food_point_id": null,
                "items": [{
                    "id": CLUB,
                    "names": { "en": "Club", "ru": "Club" },
                    "price": { "amount": 890, "currency": "EUR" },
                    "tax_bp": 0,
                    "allergens": ["gluten"],
                    "prep_minutes": 8,
                    "available": false,
                }],
            })
        );
        let elsewhere = world.gateway.get("/menu?country=RS", &customer(1)).await.json();
        assert_eq!(elsewhere["items"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn a_product_shows_its_tax_and_what_may_be_changed_about_it() {
    world::run(async |world| {
        let choice = |id: &str, prices: Value| {
            let names = json!({ "en": id, "ru": id });
            json!({ "id": id, "names": names, "prices": prices, "allergens": ["milk"] })
        };
        let extra = choice("cheese", json!({ "DE": { "amount": 120, "currency": "EUR" } }));
        let options = json!([{
            "id": "extras",
            "names": { "en": "Extras", "ru": "Добавки" },
            "min": 0,
            "max": 1,
            "choices": [extra, choice("rocket", json!({}))],
        }]);
        let club = Product {
            tax_bp: [(country("DE"), 700)].into(),
            options: serde_json::from_value(options).expect("options"),
            ..product("Club", BREAD, 2)
        };
        let version = world.menu.tell_all(CLUB, [created(club)]).await;
        let menu = world.gateway.get_after(MENU, &customer(1), CLUB, version).await.json();
        assert_eq!(menu["items"][0]["tax_bp"], 700);
        let group = &menu["items"][0]["options"][0];
        assert_eq!((&group["id"], &group["max"]), (&json!("extras"), &json!(1)));
        let price = |nth: usize| group["choices"][nth]["price"]["amount"].clone();
        assert_eq!((price(0), price(1)), (json!(120), json!(0)));
        assert_eq!(group["choices"][0]["allergens"], json!(["milk"]));
    })
    .await;
}

#[tokio::test]
async fn a_retired_product_is_off_the_menu_and_a_new_price_is_on_it() {
    world::run(async |world| {
        let ann = customer(1);
        world.menu.tell_all(SOUP, [created(product("Soup", BROTH, 1))]).await;
        let mut dearer = product("Club", BREAD, 2);
        dearer.prices.insert(country("DE"), Money::new(990, Currency::EUR));
        dearer.prices.insert(country("RS"), Money::new(99_000, Currency::RSD));
        let events = [created(product("Club", BREAD, 2)), Event::Updated { product: dearer }];
        let version = world.menu.tell_all(CLUB, events).await;
        let menu = world.gateway.get_after(MENU, &ann, CLUB, version).await.json();
        assert_eq!(menu["items"][0]["price"]["amount"], 990);
        let there = world
            .gateway
            .get_after("/menu?country=RS", &ann, CLUB, version)
            .await
            .json();
        assert_eq!(
            there["items"][0]["price"],
            json!({ "amount": 99_000, "currency": "RSD" })
        );
        let version = world.menu.tell_all(CLUB, [Event::Retired {}]).await;
        let menu = world.gateway.get_after(MENU, &ann, CLUB, version).await;
        assert_eq!(available(&menu), [("Soup".to_owned(), false)]);
    })
    .await;
}

#[tokio::test]
async fn a_product_is_available_where_every_ingredient_suffices_for_one() {
    world::run(async |world| {
        let ann = customer(1);
        open_shop(world).await;
        let both = |club: bool, soup: bool| [("Club".to_owned(), club), ("Soup".to_owned(), soup)];
        let at = |point: FoodPointId| format!("{MENU}&food_point_id={point}");
        assert_eq!(
            available(&world.gateway.get(&at(CENTRE), &ann).await),
            both(false, false)
        );
        assert_eq!(
            available(&world.gateway.get(&at(SUBURB), &ann).await),
            both(true, false)
        );
        assert_eq!(
            available(&world.gateway.get(MENU, &ann).await),
            both(true, false),
            "somewhere"
        );
        let version = world.points.tell_all(CENTRE, [received(BROTH, 1)]).await;
        let here = world.gateway.get_after(&at(CENTRE), &ann, CENTRE, version).await;
        assert_eq!(available(&here), both(false, true));
        let version = world.points.tell_all(SUBURB, [gone(BREAD, 2)]).await;
        let anywhere = world.gateway.get_after(MENU, &ann, SUBURB, version).await;
        assert_eq!(available(&anywhere), both(false, true));
    })
    .await;
}

#[tokio::test]
async fn what_runs_out_takes_all_its_products_off_that_points_menu_until_it_is_back() {
    world::run(async |world| {
        let ann = customer(1);
        open_shop(world).await;
        world.menu.tell_all(TOAST, [created(product("Toast", BREAD, 1))]).await;
        world.gateway.get_after(MENU, &ann, TOAST, 1).await;
        let at = |point: FoodPointId| format!("{MENU}&food_point_id={point}");
        let offered = async |point, version| {
            let menu = world.gateway.get_after(&at(point), &ann, point, version).await;
            let offered = available(&menu).into_iter().filter(|(_, available)| *available);
            offered.map(|(name, _)| name).collect::<Vec<String>>()
        };
        // Two breads in the suburb, one in the centre.
        assert_eq!(offered(SUBURB, 2).await, ["Club", "Toast"]);
        assert_eq!(offered(CENTRE, 2).await, ["Toast"]);
        let version = world.points.tell_all(SUBURB, [held(BREAD, 1), gone(BREAD, 1)]).await;
        assert!(offered(SUBURB, version).await.is_empty());
        assert_eq!(offered(CENTRE, 2).await, ["Toast"], "only there");
        // What an order gives back is not sold again while the kitchen says that it is gone.
        let version = world.points.tell_all(SUBURB, [released()]).await;
        assert!(offered(SUBURB, version).await.is_empty());
        let version = world.points.tell_all(SUBURB, [back(BREAD, 2, 1)]).await;
        assert_eq!(offered(SUBURB, version).await, ["Club", "Toast"]);
    })
    .await;
}

#[tokio::test]
async fn a_choice_is_available_where_what_it_takes_is() {
    world::run(async |world| {
        let ann = customer(1);
        let choice = |id: &str, adds: Value, removes: Value| {
            json!({ "id": id, "names": { "en": id, "ru": id }, "adds": adds, "removes": removes })
        };
        let extras = [
            choice("broth", json!([{ "ingredient": BROTH, "name": "Broth", "quantity": 1 }]), json!([])),
            choice("breadless", json!([]), json!([BREAD])),
        ];
        let club = |min: u8, choices: &[Value]| {
            let names = json!({ "en": "Extras", "ru": "Extras" });
            let group = json!([{ "id": "extras", "names": names, "min": min, "max": 1, "choices": choices }]);
            Product {
                options: serde_json::from_value(group).expect("options"),
                ..product("Club", BREAD, 2)
            }
        };
        open_shop(world).await;
        let shown = async |version, point| {
            let path = format!("{MENU}&food_point_id={point}");
            let menu = world.gateway.get_after(&path, &ann, CLUB, version).await.json();
            let items = menu["items"].as_array().expect("a list").clone();
            let club = items.iter().find(|item| item["names"]["en"] == "Club").expect("the club").clone();
            let choices = club["options"][0]["choices"].as_array().expect("a list").clone();
            let choices: Vec<bool> = choices.iter().map(|choice| choice["available"] == true).collect();
            (club["available"] == true, choices)
        };
        let version = world.menu.tell_all(CLUB, [Event::Updated { product: club(0, &extras) }]).await;
        // Two breads in the suburb, one in the centre, and broth nowhere.
        assert_eq!(shown(version, SUBURB).await, (true, vec![false, true]));
        assert_eq!(shown(version, CENTRE).await, (false, vec![false, true]));
        let version = world.menu.tell_all(CLUB, [Event::Updated { product: club(1, &extras[..1]) }]).await;
        assert_eq!(shown(version, SUBURB).await, (false, vec![false]), "it cannot be ordered without");
    })
    .await;
}

#[tokio::test]
async fn what_changes_is_seen_soon_without_a_token_too() {
    world::run(async |world| {
        let ann = customer(1);
        assert!(available(&world.gateway.get(MENU, &ann).await).is_empty());
        world.menu.tell_all(CLUB, [created(product("Club", BREAD, 2))]).await;
        eventually("the product is on the menu", async || {
            (available(&world.gateway.get(MENU, &ann).await).len() == 1).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn what_the_reader_has_is_not_sent_again() {
    world::run(async |world| {
        let (ann, path) = (customer(1), MENU);
        let version = world.menu.tell_all(CLUB, [created(product("Club", BREAD, 2))]).await;
        let answer = world.gateway.get_after(path, &ann, CLUB, version).await;
        let tag = answer.headers[header::ETAG].to_str().expect("visible ASCII").to_owned();
        let known = [(header::IF_NONE_MATCH, tag.clone())];
        let again = world.gateway.get_with(path, &ann, &known).await;
        assert_eq!((again.status, again.body.len()), (304, 0));
        let version = world.menu.tell_all(SOUP, [created(product("Soup", BROTH, 1))]).await;
        let changed = world.gateway.get_after(path, &ann, SOUP, version).await;
        assert_ne!(changed.headers[header::ETAG], tag);
    })
    .await;
}

#[tokio::test]
async fn a_menu_is_refused_for_what_is_no_country_and_no_point_there() {
    world::run(async |world| {
        let ann = customer(1);
        for query in [
            "",
            "country=de",
            "country=DEU",
            "country=DE&food_point_id=x",
            "country=DE&page=1",
        ] {
            let answer = world.gateway.get(&format!("/menu?{query}"), &ann).await;
            assert_eq!(answer.problem(), (400, "bad_request".into()), "{query}");
        }
        let version = world.points.tell_all(CENTRE, [registered("Centre", 0)]).await;
        world.gateway.get_after(MENU, &ann, CENTRE, version).await;
        for query in [
            format!("country=RS&food_point_id={CENTRE}"),
            format!("country=DE&food_point_id={SUBURB}"),
        ] {
            let answer = world.gateway.get(&format!("/menu?{query}"), &ann).await;
            assert_eq!(answer.problem(), (404, "not_found".into()), "{query}");
        }
    })
    .await;
}
