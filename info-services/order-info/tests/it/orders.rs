//! A customer's orders.

use http::header;
use mesh_contracts::id::OrderId;
use mesh_contracts::order::{Event, Proof};
use serde_json::{Value, json};

use crate::events::{OTHER_POINT, POINT, after, cooked_and_brought, placed, ticket};
use crate::world::{self, courier, customer, kitchen, operator, signer};

#[tokio::test]
async fn an_order_shows_what_happened_to_it() {
    world::run(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        let rider = courier(2).subject.courier();
        let version = world
            .orders
            .tell_all(id, ticket(id, ann.subject, POINT, after(3)))
            .await;
        let path = format!("/orders/{id}");
        let order = world.gateway.get_after(&path, &ann, id, version).await.json();
        assert_eq!(order["id"], json!(id));
        assert_eq!(order["number"], id.number());
        assert_eq!(
            (&order["status"], &order["ticket"]),
            (&json!("paid"), &json!("offered"))
        );
        assert_eq!(order["total"], json!({ "amount": 900, "currency": "EUR" }));

        let version = world.orders.tell_all(id, cooked_and_brought(POINT, rider)).await;
        let answer = world.gateway.get_after(&path, &ann, id, version).await;
        assert_eq!(answer.json()["status"], "completed");
        assert_eq!(answer.headers[header::ETAG], "\"11.11\"");
    })
    .await;
}

#[tokio::test]
async fn what_the_reader_has_is_not_sent_again() {
    world::run(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        let version = world.orders.tell_all(id, [placed(id, ann.subject)]).await;
        let path = format!("/orders/{id}");
        let tag = world.gateway.get_after(&path, &ann, id, version).await.headers[header::ETAG].clone();
        let tag = tag.to_str().expect("visible ASCII").to_owned();
        for known in [tag.clone(), format!("\"7.7\", W/{tag}")] {
            let answer = world
                .gateway
                .get_with(&path, &ann, &[(header::IF_NONE_MATCH, known)])
                .await;
            assert_eq!((answer.status, answer.body.len()), (304, 0));
            assert_eq!(answer.headers[header::ETAG], tag);
        }
        let other = [(header::IF_NONE_MATCH, "\"7.7\"".to_owned())];
        assert_eq!(world.gateway.get_with(&path, &ann, &other).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn somebody_elses_order_does_not_exist() {
    world::run(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        let (rider, other_rider) = (courier(2), courier(3));
        let mut events = ticket(id, ann.subject, POINT, after(3));
        events.extend(cooked_and_brought(POINT, rider.subject.courier()).into_iter().take(3));
        let version = world.orders.tell_all(id, events).await;
        let nobodys = OrderId::new_v7();
        for part in ["", "/history", "/live"] {
            let path = format!("/orders/{id}{part}");
            for stranger in [customer(4), kitchen(OTHER_POINT), other_rider.clone()] {
                let answer = world.gateway.get_after(&path, &stranger, id, version).await;
                assert_eq!(answer.problem(), (404, "not_found".into()), "{stranger:?} {path}");
            }
            let answer = world.gateway.get(&format!("/orders/{nobodys}{part}"), &ann).await;
            assert_eq!(answer.problem(), (404, "not_found".into()));
        }
        for involved in [&ann, &kitchen(POINT), &rider, &operator()] {
            assert_eq!(world.gateway.get(&format!("/orders/{id}"), involved).await.status, 200);
        }
        assert_eq!(
            world.gateway.get("/orders/ord_x", &ann).await.problem(),
            (404, "not_found".into())
        );
    })
    .await;
}

#[tokio::test]
async fn everyone_sees_what_is_theirs_to_see() {
    world::run(async |world| {
        let (ann, id, rider) = (customer(1), OrderId::new_v7(), courier(2));
        let mut events = ticket(id, ann.subject, POINT, after(3));
        events.extend(cooked_and_brought(POINT, rider.subject.courier()).into_iter().take(3));
        let version = world.orders.tell_all(id, events).await;
        let path = format!("/orders/{id}");
        let own = world.gateway.get_after(&path, &ann, id, version).await.json();
        assert_eq!(own["pin"], signer().pin(&id.to_string()));
        for (reader, runs_the_chain) in [
            (&ann, false),
            (&rider, false),
            (&kitchen(POINT), true),
            (&operator(), true),
        ] {
            let order = world.gateway.get(&path, reader).await.json();
            assert_eq!(order.get("pin").is_some(), reader == &ann, "{reader:?}");
            for internal in ["candidates", "tried", "needs"] {
                assert_eq!(order.get(internal).is_some(), runs_the_chain, "{reader:?} {internal}");
            }
        }
        let ended = Event::Completed { proof: Proof::Pin };
        let version = world.orders.tell_all(id, [ended]).await;
        let ended = world.gateway.get_after(&path, &ann, id, version).await.json();
        assert_eq!((&ended["status"], ended.get("pin")), (&json!("completed"), None));
    })
    .await;
}

#[tokio::test]
async fn a_customer_pages_through_all_orders_newest_first() {
    world::run(async |world| {
        let (ann, bob) = (customer(1), customer(2));
        let mut placed_ids = Vec::new();
        for _ in 0..7 {
            let id = OrderId::new_v7();
            world.orders.tell_all(id, [placed(id, ann.subject)]).await;
            placed_ids.push(id.to_string());
        }
        let last = placed_ids.last().expect("seven").clone();
        placed_ids.reverse();
        let all = world.gateway.get_after("/orders", &ann, &last, 1).await;
        assert_eq!(all.ids(), placed_ids);
        assert_eq!(all.json()["next_cursor"], Value::Null);

        let mut seen = Vec::new();
        let mut path = "/orders?limit=3".to_owned();
        loop {
            let page = world.gateway.get(&path, &ann).await;
            assert!(page.ids().len() <= 3);
            seen.extend(page.ids());
            match page.json()["next_cursor"].as_str() {
                Some(cursor) => path = format!("/orders?limit=3&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen, placed_ids);
        assert!(world.gateway.get("/orders", &bob).await.ids().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_list_is_refused_to_the_wrong_role_and_to_bad_queries() {
    world::run(async |world| {
        let ann = customer(1);
        for wrong in [courier(2), kitchen(POINT), operator()] {
            assert_eq!(
                world.gateway.get("/orders", &wrong).await.problem(),
                (403, "forbidden".into())
            );
        }
        for query in ["limit=0", "limit=101", "limit=-1", "limit=x", "cursor=x", "page=2"] {
            let answer = world.gateway.get(&format!("/orders?{query}"), &ann).await;
            assert_eq!(answer.problem(), (400, "bad_request".into()), "{query}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_orders_history_is_what_order_master_tells() {
    world::run(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        let version = world
            .orders
            .tell_all(id, ticket(id, ann.subject, POINT, after(3)))
            .await;
        let path = format!("/orders/{id}/history");
        let history = world.gateway.get_after(&path, &ann, id, version).await.json();
        let types: Vec<&str> = history
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| entry["event_type"].as_str().expect("a type"))
            .collect();
        assert_eq!(
            types,
            [
                "order.created",
                "hold.requested",
                "order.hold_held",
                "order.paid",
                "ticket.offered"
            ]
        );
        assert_eq!(history[0]["data"].get("candidates"), None);
        let full = world.gateway.get(&path, &operator()).await.json();
        assert_eq!(full[0]["data"]["candidates"].as_array().map(Vec::len), Some(1));

        world.orders.set_down(true);
        assert_eq!(
            world.gateway.get(&path, &ann).await.problem(),
            (503, "unavailable".into())
        );
    })
    .await;
}
