//! What is taken off prices, on the menu and as operators see it.

use http::header;
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::id::{FoodPointId, PromotionId};
use mesh_contracts::menu::Names;
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::promotion::{Discount, Event, Promotion};
use mesh_testkit::Answer;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::chain::{BREAD, BROTH, CENTRE, CLUB, SOUP, SUBURB, country, created, product, registered};
use crate::world::{self, World, customer, kitchen, operator};

const MENU: &str = "/menu?country=DE";
const SHARE: PromotionId = PromotionId(Uuid::from_u128(31));
const LOCAL: PromotionId = PromotionId(Uuid::from_u128(32));

/// A tenth off everything, from an hour ago until in an hour.
fn share() -> Promotion {
    Promotion {
        names: Names {
            en: "Lunch".into(),
            ru: "Обед".into(),
        },
        country: country("DE"),
        food_point: None,
        products: Vec::new(),
        discount: Discount::BasisPoints(1_000),
        starts_at: Timestamp::now() - SignedDuration::from_hours(1),
        ends_at: Timestamp::now() + SignedDuration::from_hours(1),
    }
}

/// Two euros off the club, at one point.
fn local(point: FoodPointId) -> Promotion {
    Promotion {
        food_point: Some(point),
        products: vec![CLUB],
        discount: Discount::Amount(Money::new(200, Currency::EUR)),
        ..share()
    }
}

fn announced(promotion: Promotion) -> Event {
    Event::Created { promotion }
}

/// Promotion and price of each product's offer, club first.
fn offers(answer: &Answer) -> Vec<Option<(String, i64)>> {
    let items = answer.json()["items"].as_array().expect("a list").clone();
    let offer = |item: &Value| {
        let promotion = item["offer"]["promotion"].as_str()?.to_owned();
        Some((promotion, item["offer"]["price"]["amount"].as_i64()?))
    };
    items.iter().map(offer).collect()
}

async fn open_shop(world: &World) {
    world.menu.tell_all(CLUB, [created(product("Club", BREAD, 2))]).await;
    world.menu.tell_all(SOUP, [created(product("Soup", BROTH, 1))]).await;
    for (point, name) in [(CENTRE, "Centre"), (SUBURB, "Suburb")] {
        world.points.tell_all(point, [registered(name, 0)]).await;
        world.gateway.get_after(MENU, &customer(1), point, 1).await;
    }
    world.gateway.get_after(MENU, &customer(1), SOUP, 1).await;
}

#[tokio::test]
async fn the_menu_shows_the_best_offer_and_a_points_own_only_there() {
    world::run(async |world| {
        let ann = customer(1);
        open_shop(world).await;
        world.menu.tell_all(SHARE, [announced(share())]).await;
        let version = world.menu.tell_all(LOCAL, [announced(local(CENTRE))]).await;
        world.gateway.get_after(MENU, &ann, SHARE, 1).await;
        let menu = world.gateway.get_after(MENU, &ann, LOCAL, version).await;
        let tenth = Some((SHARE.to_string(), 801));
        assert_eq!(offers(&menu), [tenth.clone(), tenth.clone()]);
        let here = world.gateway.get(&format!("{MENU}&food_point_id={CENTRE}"), &ann).await;
        assert_eq!(offers(&here), [Some((LOCAL.to_string(), 690)), tenth.clone()]);
        let there = world.gateway.get(&format!("{MENU}&food_point_id={SUBURB}"), &ann).await;
        assert_eq!(offers(&there), [tenth.clone(), tenth]);
    })
    .await;
}

#[tokio::test]
async fn the_menu_shows_no_offer_before_its_time_after_it_or_when_it_was_ended() {
    world::run(async |world| {
        let ann = customer(1);
        open_shop(world).await;
        let to_come = Promotion {
            starts_at: share().ends_at - SignedDuration::from_mins(1),
            ..share()
        };
        let over = Promotion {
            ends_at: share().starts_at + SignedDuration::from_mins(1),
            ..share()
        };
        let mut events = vec![announced(to_come)];
        events.extend([over, share()].map(|promotion| Event::Changed { promotion }));
        events.push(Event::Ended {});
        for (version, (event, is_shown)) in (1..).zip(events.into_iter().zip([false, false, true, false])) {
            world.menu.tell(SHARE, event).await;
            let menu = world.gateway.get_after(MENU, &ann, SHARE, version).await;
            assert_eq!(offers(&menu)[0].is_some(), is_shown, "version {version}");
        }
    })
    .await;
}

#[tokio::test]
async fn operators_read_what_they_made_and_nobody_else_does() {
    world::run(async |world| {
        let chief = operator();
        open_shop(world).await;
        world.menu.tell_all(SHARE, [announced(share())]).await;
        world
            .menu
            .tell_all(LOCAL, [announced(local(CENTRE)), Event::Ended {}])
            .await;
        let path = format!("/promotions/{LOCAL}");
        let ended = world.gateway.get_after(&path, &chief, LOCAL, 2).await;
        assert_eq!(ended.headers[header::ETAG], "\"2.2\"");
        let ended = ended.json();
        assert_eq!(
            (&ended["id"], &ended["ended"], &ended["promotion"]["food_point"]),
            (&json!(LOCAL), &json!(true), &json!(CENTRE))
        );
        let list = "/promotions?country=DE";
        let listed = world.gateway.get_after(list, &chief, SHARE, 1).await;
        assert_eq!(listed.ids(), [SHARE.to_string()]);
        let club = format!("/products/{CLUB}");
        let made = world.gateway.get(&club, &chief).await.json();
        assert_eq!(made["product"]["recipe"][0]["ingredient"], json!(BREAD));
        for path in [path.as_str(), list, club.as_str()] {
            for wrong in [customer(1), kitchen(CENTRE)] {
                let answer = world.gateway.get(path, &wrong).await;
                assert_eq!(answer.problem(), (403, "forbidden".into()), "{path}");
            }
        }
        for nobodys in [
            format!("/promotions/{}", PromotionId(Uuid::from_u128(404))),
            "/promotions/prd_1".to_owned(),
            format!("/products/{SHARE}"),
        ] {
            let answer = world.gateway.get(&nobodys, &chief).await;
            assert_eq!(answer.problem(), (404, "not_found".into()), "{nobodys}");
        }
    })
    .await;
}
