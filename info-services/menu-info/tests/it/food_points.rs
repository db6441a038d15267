//! Food points, as customers choose among them and as their staff see them.

use mesh_contracts::id::FoodPointId;
use mesh_contracts::point::{ClosedBy, Event};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::chain::{BREAD, CENTRE, SUBURB, gone, held, received, registered};
use crate::world::{self, customer, kitchen, operator};

const POINTS: &str = "/food-points?country=DE";
const NEAR_SUBURB: &str = "/food-points?country=DE&lat_e6=52530000&lon_e6=13405000";

#[tokio::test]
async fn the_nearest_comes_first_when_a_place_is_given() {
    world::run(async |world| {
        let ann = customer(1);
        world.points.tell_all(CENTRE, [registered("Centre", 0)]).await;
        let version = world.points.tell_all(SUBURB, [registered("Suburb", 9)]).await;
        let points = world.gateway.get_after(NEAR_SUBURB, &ann, SUBURB, version).await;
        assert_eq!(points.ids(), [SUBURB.to_string(), CENTRE.to_string()]);
        let items = points.json()["items"].clone();
        assert_eq!(
            (&items[0]["distance_m"], &items[1]["distance_m"]),
            (&json!(111), &json!(1112))
        );
        let points = world.gateway.get(POINTS, &ann).await;
        assert_eq!(points.ids(), [CENTRE.to_string(), SUBURB.to_string()]);
        assert_eq!(points.json()["items"][0].get("distance_m"), None);
        assert!(
            world
                .gateway
                .get("/food-points?country=RS", &ann)
                .await
                .ids()
                .is_empty()
        );
    })
    .await;
}

#[tokio::test]
async fn a_closed_point_says_so() {
    world::run(async |world| {
        let ann = customer(1);
        let version = world.points.tell_all(CENTRE, [registered("Centre", 0)]).await;
        let open = world.gateway.get_after(POINTS, &ann, CENTRE, version).await;
        assert_eq!(open.json()["items"][0]["open"], true);
        let by = ClosedBy::MissedTickets;
        let version = world.points.tell_all(CENTRE, [Event::Closed { by }]).await;
        let closed = world.gateway.get_after(POINTS, &ann, CENTRE, version).await;
        assert_eq!(closed.json()["items"][0]["open"], false);
    })
    .await;
}

#[tokio::test]
async fn only_those_who_run_a_point_see_inside() {
    world::run(async |world| {
        world.points.tell_all(SUBURB, [registered("Suburb", 9)]).await;
        let version = world
            .points
            .tell_all(CENTRE, [registered("Centre", 0), received(BREAD, 7)])
            .await;
        let all = world
            .gateway
            .get_after(POINTS, &operator(), CENTRE, version)
            .await
            .json();
        let stock = &all["items"][0]["stock"][BREAD.to_string()];
        assert_eq!(
            (&stock["available"], &all["items"][0]["free_slots"]),
            (&json!(7), &json!(20))
        );
        let has_stock = |points: Value| {
            let items = points["items"].as_array().expect("a list").clone();
            items.iter().map(|item| item.get("stock").is_some()).collect::<Vec<_>>()
        };
        assert_eq!(has_stock(all), [true, true]);
        assert_eq!(
            has_stock(world.gateway.get(POINTS, &kitchen(CENTRE)).await.json()),
            [true, false]
        );
        assert_eq!(
            has_stock(world.gateway.get(POINTS, &customer(1)).await.json()),
            [false, false]
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_low_or_gone_is_shown_to_those_who_run_the_point() {
    world::run(async |world| {
        let low_at = Event::StockSettingsChanged {
            ingredient: BREAD,
            low_at: Some(5),
        };
        let shelf = async |events: Vec<Event>| {
            let version = world.points.tell_all(CENTRE, events).await;
            let points = world.gateway.get_after(POINTS, &kitchen(CENTRE), CENTRE, version).await;
            let shelf = points.json()["items"][0]["stock"][BREAD.to_string()].clone();
            ["available", "low_at", "low", "gone"].map(|member| shelf[member].clone())
        };
        let full = shelf(vec![registered("Centre", 0), received(BREAD, 7), low_at]).await;
        assert_eq!(full, [json!(7), json!(5), json!(false), json!(false)]);
        let taken = shelf(vec![held(BREAD, 2)]).await;
        assert_eq!(taken, [json!(5), json!(5), json!(true), json!(false)]);
        let empty = shelf(vec![gone(BREAD, 5)]).await;
        assert_eq!(empty, [json!(0), json!(5), json!(true), json!(true)]);
    })
    .await;
}

#[tokio::test]
async fn pages_have_every_point_once() {
    world::run(async |world| {
        let ann = customer(1);
        let mut expected = Vec::new();
        let mut last = (CENTRE, 0);
        for north in 0..7 {
            let id = FoodPointId(Uuid::from_u128(100 - north as u128));
            last = (id, world.points.tell_all(id, [registered("A point", north)]).await);
            expected.push(id.to_string());
        }
        expected.reverse();
        world.gateway.get_after(POINTS, &ann, last.0, last.1).await;
        let mut seen = Vec::new();
        let mut path = format!("{NEAR_SUBURB}&limit=3");
        loop {
            let page = world.gateway.get(&path, &ann).await;
            assert!(page.ids().len() <= 3);
            seen.extend(page.ids());
            match page.json()["next_cursor"].as_str() {
                Some(cursor) => path = format!("{NEAR_SUBURB}&limit=3&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen, expected);
    })
    .await;
}

#[tokio::test]
async fn bad_queries_are_refused() {
    world::run(async |world| {
        for query in [
            "",
            "country=de",
            "country=DE&lat_e6=1",
            "country=DE&lon_e6=1",
            "country=DE&lat_e6=90000001&lon_e6=0",
            "country=DE&limit=0",
            "country=DE&limit=101",
            "country=DE&cursor=x",
            "country=DE&radius=5",
        ] {
            let answer = world.gateway.get(&format!("/food-points?{query}"), &customer(1)).await;
            assert_eq!(answer.problem(), (400, "bad_request".into()), "{query}");
        }
    })
    .await;
}
