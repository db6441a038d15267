//! Three answers are put together here: the placed order, the order page, a courier's jobs.

use futures::future::join_all;
use gateway::order_id;
use http::{HeaderValue, Method, StatusCode};
use mesh_contracts::id::UserId;
use mesh_contracts::user::Role;
use mesh_runtime::consistency::Signer;
use serde_json::{Value, json};

use crate::site::{Answered, SECRET, Site, answer_json, ask, get, refusal};

const ADDRESS: &str = "adr_00000000000000000000000006";
const POINT: &str = "pnt_00000000000000000000000007";

fn wish() -> Value {
    json!({
        "basket_version": 3, "kind": "delivery", "address_id": ADDRESS,
        "payment": { "method": "card", "token": "pm_card_visa" }
    })
}

fn quote(customer: &UserId) -> Value {
    json!({
        "basket": customer.basket(), "basket_version": 3, "country": "DE",
        "lines": [{ "product": "prd_00000000000000000000000001", "quantity": 2, "unit_price": { "amount": 450, "currency": "EUR" } }],
        "total": { "amount": 900, "currency": "EUR" }, "method": "card", "valid_until": "2030-01-01T00:00:00Z"
    })
}

fn signed(stream: &str, version: u64) -> HeaderValue {
    Signer::new(SECRET.as_bytes())
        .unwrap()
        .sign(&[(stream, version)])
        .parse()
        .unwrap()
}

/// A platform on which placing succeeds.
async fn ready_to_order(customer: &UserId) -> Site {
    let site = Site::start().await;
    let jwks = site.issuer().jwks();
    site.answer("user-master", move |call| match call.path.as_str() {
        "/jwks" => answer_json(200, &jwks),
        path if path.ends_with(ADDRESS) => answer_json(
            200,
            &json!({
                "text": "Unter den Linden 1", "instructions": "ring twice",
                "place": { "country": "DE", "at": { "lat_e6": 52_517_432, "lon_e6": 13_388_861 } }
            }),
        ),
        _ => refusal(404, "not_found"),
    });
    let frozen = json!({ "quote": quote(customer) });
    site.answer("basket-master", move |_| {
        let mut answer = answer_json(200, &frozen);
        answer.headers_mut().insert("tiffin-consistency", signed("bas_1", 4));
        answer
    });
    site.answer("order-master", |call| {
        let mut answer = answer_json(
            201,
            &json!({ "id": call.json()["order"], "status": "created", "number": "00000Z" }),
        );
        answer.headers_mut().insert("etag", HeaderValue::from_static("\"2.1\""));
        answer.headers_mut().insert("tiffin-consistency", signed("ord_1", 2));
        answer
    });
    site
}

async fn order(site: &Site, customer: &UserId, wish: &Value) -> Answered {
    let token = site.token_of(customer, Role::Customer, &[]);
    site.public().send(ask("POST", "/v1/orders", &token, wish)).await
}

#[tokio::test]
async fn an_order_is_placed_in_three_steps_under_one_id() {
    let customer = UserId::new_v7();
    let site = ready_to_order(&customer).await;
    let answered = order(&site, &customer, &wish()).await;
    let id = order_id(customer, "a-key");
    assert_eq!(answered.status, StatusCode::CREATED, "{answered:?}");
    assert_eq!(
        answered.json(),
        json!({ "id": id, "status": "created", "number": "00000Z" })
    );
    assert_eq!(answered.header("etag"), Some("\"2.1\""));

    let calls = site.calls();
    let steps: Vec<_> = calls
        .iter()
        .map(|call| (call.service, call.method.as_str(), call.path.clone()))
        .collect();
    assert_eq!(
        steps,
        [
            ("user-master", "GET", format!("/people/{customer}/addresses/{ADDRESS}")),
            ("basket-master", "POST", format!("/baskets/{customer}/checkout")),
            ("order-master", "POST", "/orders".to_owned()),
        ]
    );
    assert_eq!(
        calls[1].json(),
        json!({ "order": id, "basket_version": 3, "payment": wish()["payment"] })
    );
    assert_eq!(
        calls[2].json(),
        json!({
            "order": id, "quote": quote(&customer), "kind": "delivery", "food_point": null,
            "destination": { "address": ADDRESS, "place": { "country": "DE", "at": { "lat_e6": 52_517_000, "lon_e6": 13_389_000 } } }
        })
    );
    assert!(
        !String::from_utf8_lossy(&calls[2].body).contains("Linden"),
        "an order knows no street"
    );
    for call in &calls {
        assert_eq!(
            call.header("tiffin-caller-subject"),
            Some(customer.to_string().as_str())
        );
        assert_eq!(call.header("tiffin-caller-role"), Some("customer"));
    }
    assert_eq!(
        (calls[0].header("idempotency-key"), calls[2].header("idempotency-key")),
        (None, Some("a-key"))
    );
    let token = answered.header("tiffin-consistency").unwrap();
    let named = Signer::new(SECRET.as_bytes()).unwrap().verify(token).unwrap();
    assert_eq!(named, [("ord_1".to_owned(), 2), ("bas_1".to_owned(), 4)]);
}

#[tokio::test]
async fn the_same_key_is_the_same_order_for_one_customer_only() {
    let (one, other) = (UserId::new_v7(), UserId::new_v7());
    let site = ready_to_order(&one).await;
    let first = order(&site, &one, &wish()).await.json();
    assert_eq!(order(&site, &one, &wish()).await.json(), first);
    assert_ne!(order(&site, &other, &wish()).await.json()["id"], first["id"]);
}

#[tokio::test]
async fn a_pick_up_needs_a_food_point_and_no_address() {
    let customer = UserId::new_v7();
    let site = ready_to_order(&customer).await;
    let mut wish = wish();
    wish["kind"] = json!("pick_up");
    assert_eq!(
        order(&site, &customer, &wish).await.problem(),
        (422, "invalid".to_owned())
    );
    wish["address_id"] = Value::Null;
    let answered = order(&site, &customer, &wish).await;
    assert_eq!(answered.json()["errors"][0]["field"], "food_point_id");
    site.nobody_was_asked();
    wish["food_point_id"] = json!(POINT);
    assert_eq!(order(&site, &customer, &wish).await.status, StatusCode::CREATED);
    let placed = site.calls().pop().unwrap().json();
    assert_eq!(
        (&placed["destination"], &placed["food_point"]),
        (&Value::Null, &json!(POINT))
    );
    assert_eq!(site.calls().len(), 2, "nobody is asked for an address");
}

#[tokio::test]
async fn a_delivery_to_nowhere_freezes_no_basket() {
    let customer = UserId::new_v7();
    let site = ready_to_order(&customer).await;
    site.answer("order-master", |_| refusal(404, "not_found"));
    let mut wish = wish();
    wish["address_id"] = json!("adr_00000000000000000000000009");
    assert_eq!(
        order(&site, &customer, &wish).await.problem(),
        (422, "unknown_address".to_owned())
    );
    wish.as_object_mut().unwrap().remove("address_id");
    assert_eq!(
        order(&site, &customer, &wish).await.problem(),
        (422, "invalid".to_owned())
    );
    let asked: Vec<_> = site
        .calls()
        .iter()
        .map(|call| (call.service, call.method.clone()))
        .collect();
    let questions = [("user-master", Method::GET), ("order-master", Method::GET)];
    assert_eq!(
        asked, questions,
        "whether there is the address, and whether this was placed before"
    );
}

#[tokio::test]
async fn an_order_is_answered_alike_when_its_address_is_gone() {
    let customer = UserId::new_v7();
    let site = ready_to_order(&customer).await;
    let place = json!({ "country": "DE", "at": { "lat_e6": 52_517_000, "lon_e6": 13_389_000 } });
    let gone = "adr_00000000000000000000000009";
    let created = json!([{
        "version": 1, "at": "2026-03-01T12:00:00Z", "recorded_at": "2026-03-01T12:00:00Z",
        "event_type": "order.created", "actor": "customer", "causation": null,
        "data": {
            "number": "00000Z", "customer": customer, "kind": "delivery", "quote": quote(&customer),
            "destination": { "address": gone, "place": place }, "needs": [], "prep_minutes": 4, "candidates": [],
            "pay_by": "2026-03-01T12:10:00Z"
        }
    }]);
    site.answer("order-master", move |call| match call.method {
        Method::GET => answer_json(200, &created),
        _ => answer_json(201, &json!({ "id": call.json()["order"], "status": "created" })),
    });
    let mut wish = wish();
    wish["address_id"] = json!(gone);
    let answered = order(&site, &customer, &wish).await;
    assert_eq!(answered.status, StatusCode::CREATED, "{answered:?}");
    let calls = site.calls();
    let history = format!("/orders/{}/history", order_id(customer, "a-key"));
    assert_eq!((calls[1].service, &calls[1].path), ("order-master", &history));
    let placed = calls.last().expect("it was placed").json();
    assert_eq!(placed["destination"], json!({ "address": gone, "place": place }));
}

#[tokio::test]
async fn a_basket_that_cannot_be_frozen_makes_no_order() {
    let customer = UserId::new_v7();
    let site = ready_to_order(&customer).await;
    site.answer("basket-master", |_| refusal(409, "basket_changed"));
    let answered = order(&site, &customer, &wish()).await;
    assert_eq!(answered.problem(), (409, "basket_changed".to_owned()));
    assert_eq!(answered.json()["state"], "ready");
    assert!(site.calls().iter().all(|call| call.service != "order-master"));
}

#[tokio::test]
async fn a_refused_order_is_the_answer() {
    let customer = UserId::new_v7();
    let site = ready_to_order(&customer).await;
    site.answer("order-master", |_| refusal(422, "unknown_product"));
    assert_eq!(
        order(&site, &customer, &wish()).await.problem(),
        (422, "unknown_product".to_owned())
    );
}

#[tokio::test]
async fn a_wish_out_of_range_asks_nobody() {
    let customer = UserId::new_v7();
    let site = ready_to_order(&customer).await;
    for (field, value) in [
        ("basket_version", json!(-1)),
        ("basket_version", json!("3")),
        ("kind", json!("drone")),
        ("address_id", json!("usr_00000000000000000000000006")),
        ("total", json!({ "amount": 1, "currency": "EUR" })),
        ("payment", json!({ "method": "card", "token": "t", "amount": 1 })),
    ] {
        let mut wish = wish();
        wish[field] = value;
        assert_eq!(
            order(&site, &customer, &wish).await.problem(),
            (422, "invalid".to_owned()),
            "{field}"
        );
    }
    site.nobody_was_asked();
}

fn answers_home(site: &Site) {
    site.answer("order-info", |_| {
        answer_json(200, &json!({ "items": [1], "next_cursor": null }))
    });
    site.answer("basket-info", |_| {
        answer_json(200, &json!({ "country": "RS", "lines": [] }))
    });
    site.answer("menu-info", |_| answer_json(200, &json!({ "products": [2] })));
    site.answer("user-info", |_| answer_json(200, &json!({ "id": "me" })));
}

#[tokio::test]
async fn the_order_page_refuses_a_token_that_is_none_of_ours() {
    let site = Site::start().await;
    answers_home(&site);
    let mut request = get("/v1/home?country=DE", &site.token(Role::Customer));
    let forged = HeaderValue::from_static("W10.AAAA");
    request.headers_mut().insert("tiffin-consistency", forged);
    let answered = site.public().send(request).await;
    assert_eq!(answered.problem(), (400, "consistency_token_malformed".to_owned()));
    site.nobody_was_asked();
}

#[tokio::test]
async fn the_order_page_is_four_answers_in_one() {
    let site = Site::start().await;
    answers_home(&site);
    let mut request = get("/v1/home?country=DE", &site.token(Role::Customer));
    request.headers_mut().insert("tiffin-consistency", signed("ord_1", 2));
    let answered = site.public().send(request).await;
    assert_eq!(
        answered.json(),
        json!({
            "orders": { "items": [1], "next_cursor": null }, "basket": { "country": "RS", "lines": [] },
            "menu": { "products": [2] }, "user": { "id": "me" }
        })
    );
    let mut calls = site.calls();
    calls.sort_by_key(|call| call.service);
    let asked: Vec<_> = calls.iter().map(|call| (call.service, call.path.as_str())).collect();
    assert_eq!(
        asked,
        [
            ("basket-info", "/basket"),
            ("menu-info", "/menu?country=DE"),
            ("order-info", "/orders"),
            ("user-info", "/me")
        ]
    );
    assert!(
        calls
            .iter()
            .all(|call| call.header("tiffin-consistency") == signed("ord_1", 2).to_str().ok())
    );
    assert!(
        calls
            .iter()
            .all(|call| call.header("tiffin-caller-role") == Some("customer"))
    );
}

#[tokio::test]
async fn a_missing_part_of_the_order_page_is_marked() {
    let site = Site::without(&["basket-info"]).await;
    answers_home(&site);
    site.answer("order-info", |_| refusal(503, "unavailable"));
    site.answer("user-info", |_| answer_json(200, &json!({})));
    let answered = site
        .public()
        .send(get("/v1/home?country=DE", &site.token(Role::Customer)))
        .await;
    assert_eq!(answered.status, StatusCode::OK);
    let missing = json!({ "unavailable": true });
    assert_eq!(
        answered.json(),
        json!({ "orders": missing, "basket": missing, "menu": { "products": [2] }, "user": {} })
    );
}

#[tokio::test]
async fn the_menu_of_the_order_page_is_shared_for_a_moment_unless_a_token_asks_for_more_or_it_is_missing() {
    let site = Site::start().await;
    answers_home(&site);
    let token = site.token(Role::Customer);
    let look = async |country: &str| {
        let path = format!("/v1/home?country={country}");
        site.public().send(get(&path, &token)).await.json()["menu"].clone()
    };
    let asked = || site.calls().iter().filter(|call| call.service == "menu-info").count();
    for menu in join_all((0..10).map(|_| look("DE"))).await {
        assert_eq!(menu, json!({ "products": [2] }));
    }
    assert!(asked() < 10, "asked {} times", asked());

    let before = asked();
    let mut request = get("/v1/home?country=DE", &token);
    request.headers_mut().insert("tiffin-consistency", signed("prd_1", 2));
    site.public().send(request).await;
    assert_eq!(asked(), before + 1);

    site.answer("menu-info", |_| refusal(503, "unavailable"));
    assert_eq!(look("RS").await, json!({ "unavailable": true }));
    site.answer("menu-info", |_| answer_json(200, &json!({ "products": [3] })));
    assert_eq!(look("RS").await, json!({ "products": [3] }));
}

#[tokio::test]
async fn the_menu_of_the_order_page_follows_basket_then_address_then_region() {
    let site = Site::start().await;
    answers_home(&site);
    let token = site.token(Role::Customer);
    let menu_asked = async || {
        site.public().send(get("/v1/home", &token)).await;
        site.calls()
            .iter()
            .rfind(|call| call.service == "menu-info")
            .unwrap()
            .path
            .clone()
    };
    assert_eq!(menu_asked().await, "/menu?country=RS");
    site.answer("basket-info", |_| {
        answer_json(200, &json!({ "country": null, "lines": [] }))
    });
    assert_eq!(menu_asked().await, "/menu?country=DE");
    let profile = json!({
        "id": UserId::new_v7(), "role": "customer", "email": "a@b.c", "name": "A", "phone": null,
        "addresses": { ADDRESS: { "text": "x", "instructions": null,
            "place": { "country": "FR", "at": { "lat_e6": 1, "lon_e6": 1 } } } }
    });
    site.answer("user-info", move |_| answer_json(200, &profile));
    assert_eq!(menu_asked().await, "/menu?country=FR");
}

#[tokio::test]
async fn a_courier_sees_the_addresses_of_active_jobs_only() {
    let site = Site::start().await;
    let job = |n: u8, status: &str| json!({ "order": format!("ord_0000000000000000000000000{n}"), "status": status, "number": "A" });
    let page = json!({ "items": [job(1, "offered"), job(2, "assigned"), job(3, "picked_up"), job(4, "attempted")], "next_cursor": null });
    site.answer("order-info", move |_| answer_json(200, &page));
    site.answer("user-info", |call| match call.path.as_str() {
        "/deliveries/dlv_00000000000000000000000002/address" => answer_json(200, &json!({ "text": "Here" })),
        "/deliveries/dlv_00000000000000000000000003/address" => refusal(404, "not_found"),
        "/deliveries/dlv_00000000000000000000000004/address" => refusal(503, "unavailable"),
        other => panic!("{other}"),
    });
    let answered = site
        .public()
        .send(get("/v1/couriers/me/jobs", &site.token(Role::Courier)))
        .await;
    let jobs = answered.json();
    let addresses: Vec<_> = jobs["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["address"].clone())
        .collect();
    assert_eq!(
        addresses,
        [
            json!(null),
            json!({ "text": "Here" }),
            json!(null),
            json!({ "unavailable": true })
        ]
    );
    assert_eq!(
        (&jobs["items"][1]["number"], &jobs["next_cursor"]),
        (&json!("A"), &Value::Null)
    );
}

#[tokio::test]
async fn jobs_that_cannot_be_had_are_refused_as_order_info_refuses_them() {
    let site = Site::start().await;
    site.answer("order-info", |_| refusal(503, "unavailable"));
    let answered = site
        .public()
        .send(get("/v1/couriers/me/jobs", &site.token(Role::Courier)))
        .await;
    assert_eq!(answered.problem(), (503, "unavailable".to_owned()));
}
