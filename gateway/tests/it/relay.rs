//! What is asked goes on unchanged, and so does the answer.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use mesh_contracts::user::Role;
use serde_json::json;
use tokio::sync::broadcast;

use crate::site::{Site, answer_json, ask, eventually, get, refusal};

const ORDER: &str = "/v1/orders/ord_0000000000000000000000001z";

#[tokio::test]
async fn bytes_and_headers_of_a_command_reach_its_master() {
    let site = Site::start().await;
    let mut request = ask(
        "POST",
        &format!("{ORDER}/cancel"),
        &site.token(Role::Customer),
        &json!({}),
    );
    let body = Bytes::from_static(b"{  \"reason\" :\n\"customer_cancelled\" }");
    *request.body_mut() = body.clone();
    for (name, value) in [
        ("if-match", "\"7.3\""),
        ("tiffin-consistency", "token"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("cookie", "secret=1"),
        ("x-forwarded-for", "1.2.3.4"),
    ] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    assert_eq!(site.public().send(request).await.status, StatusCode::OK);
    let call = site.only_call();
    assert_eq!(
        (call.service, call.method.as_str(), call.path.as_str()),
        ("order-master", "POST", "/orders/ord_0000000000000000000000001z/cancel")
    );
    assert_eq!(call.body, body);
    assert_eq!(call.header("idempotency-key"), Some("a-key"));
    assert_eq!(call.header("if-match"), Some("\"7.3\""));
    assert_eq!(call.header("tiffin-consistency"), Some("token"));
    assert_eq!(call.header("content-type"), Some("application/json"));
    assert!(
        call.header("traceparent")
            .unwrap()
            .contains("0af7651916cd43dd8448eb211c80319c")
    );
    assert_eq!((call.header("cookie"), call.header("x-forwarded-for")), (None, None));
    let left_ms: u64 = call.header("tiffin-deadline-ms").unwrap().parse().unwrap();
    assert!(left_ms <= 2000, "{left_ms}");
}

#[tokio::test]
async fn the_callers_deadline_is_kept() {
    let site = Site::start().await;
    let mut request = get(ORDER, &site.token(Role::Customer));
    request
        .headers_mut()
        .insert("tiffin-deadline-ms", HeaderValue::from_static("700"));
    // The test's own client says how long it waits, as any peer does.
    let answered = mesh_runtime::deadline::within(Duration::from_millis(700), site.public().send(request)).await;
    assert_eq!(answered.status, StatusCode::OK);
    let left_ms: u64 = site.only_call().header("tiffin-deadline-ms").unwrap().parse().unwrap();
    assert!(left_ms <= 700, "{left_ms}");
}

#[tokio::test]
async fn every_route_reaches_its_service() {
    let site = Site::start().await;
    let (ord, prd) = ("ord_0000000000000000000000001z", "prd_0000000000000000000000001z");
    let (pnt, ing) = ("pnt_0000000000000000000000001z", "ing_0000000000000000000000001z");
    let (dlv, cou) = ("dlv_0000000000000000000000001z", "cou_0000000000000000000000001z");
    let adr = "adr_0000000000000000000000001z";
    let nothing = json!({});
    let place = json!({ "country": "DE", "at": { "lat_e6": 52_520_000, "lon_e6": 13_405_000 } });
    let product = json!({
        "names": { "en": "Club", "ru": "Клаб" }, "prices": { "DE": { "amount": 890, "currency": "EUR" } },
        "recipe": [], "prep_minutes": 8
    });
    let point = json!({ "name": "Mitte", "place": place, "kinds": ["delivery"], "radius_m": 5000, "pool": 10 });
    let staff = json!({ "email": "a@b.c", "password": "12345678", "name": "A" });
    let line = json!({ "quantity": 1, "country": "DE" });
    let reason = json!({ "reason": "other" });
    let amount = json!({ "quantity": 5 });
    let waste = json!({ "quantity": 5, "reason": "spoiled" });
    let shift = json!({ "on": false });
    let position = json!({ "at": { "lat_e6": 0, "lon_e6": 0 } });
    let pin = json!({ "pin": "1234" });
    let card = json!({ "method": "card", "token": "pm_card_visa" });
    let address = json!({ "text": "Here", "place": place });
    let no = serde_json::Value::Null;
    for (role, method, path, body, service) in [
        (Role::Customer, "POST", "/users".to_owned(), &staff, "user-master"),
        (
            Role::Customer,
            "POST",
            "/sessions".to_owned(),
            &json!({ "email": "a@b.c", "password": "12345678" }),
            "user-master",
        ),
        (
            Role::Customer,
            "POST",
            "/sessions/refresh".to_owned(),
            &json!({ "refresh_token": "r" }),
            "user-master",
        ),
        (Role::Courier, "GET", "/me".to_owned(), &no, "user-info"),
        (
            Role::Customer,
            "PATCH",
            "/me".to_owned(),
            &json!({ "name": "B" }),
            "user-master",
        ),
        (Role::Customer, "DELETE", "/me".to_owned(), &no, "user-master"),
        (
            Role::Customer,
            "PUT",
            format!("/me/addresses/{adr}"),
            &address,
            "user-master",
        ),
        (
            Role::Customer,
            "DELETE",
            format!("/me/addresses/{adr}"),
            &no,
            "user-master",
        ),
        (Role::Customer, "GET", "/menu?country=DE".to_owned(), &no, "menu-info"),
        (
            Role::Customer,
            "GET",
            "/food-points?country=DE&lat_e6=1&lon_e6=2".to_owned(),
            &no,
            "menu-info",
        ),
        (Role::Customer, "GET", "/basket".to_owned(), &no, "basket-info"),
        (
            Role::Customer,
            "PUT",
            format!("/basket/lines/{prd}"),
            &line,
            "basket-master",
        ),
        (
            Role::Customer,
            "DELETE",
            format!("/basket/lines/{prd}"),
            &no,
            "basket-master",
        ),
        (Role::Customer, "GET", "/orders?limit=5".to_owned(), &no, "order-info"),
        (Role::Customer, "GET", format!("/orders/{ord}"), &no, "order-info"),
        (
            Role::Operator,
            "GET",
            format!("/orders/{ord}/history"),
            &no,
            "order-info",
        ),
        (
            Role::Customer,
            "POST",
            format!("/orders/{ord}/cancel"),
            &reason,
            "order-master",
        ),
        (
            Role::Customer,
            "POST",
            format!("/orders/{ord}/payments"),
            &card,
            "basket-master",
        ),
        (
            Role::Customer,
            "GET",
            format!("/orders/{ord}/payment"),
            &no,
            "basket-info",
        ),
        (
            Role::Kitchen,
            "GET",
            format!("/food-points/{pnt}/tickets"),
            &no,
            "order-info",
        ),
        (
            Role::Kitchen,
            "POST",
            format!("/orders/{ord}/accept"),
            &nothing,
            "order-master",
        ),
        (
            Role::Kitchen,
            "POST",
            format!("/orders/{ord}/reject"),
            &reason,
            "order-master",
        ),
        (
            Role::Kitchen,
            "POST",
            format!("/orders/{ord}/start"),
            &nothing,
            "order-master",
        ),
        (
            Role::Kitchen,
            "POST",
            format!("/orders/{ord}/ready"),
            &nothing,
            "order-master",
        ),
        (
            Role::Kitchen,
            "POST",
            format!("/orders/{ord}/cancel"),
            &reason,
            "order-master",
        ),
        (
            Role::Kitchen,
            "POST",
            format!("/orders/{ord}/stop"),
            &reason,
            "order-master",
        ),
        (
            Role::Kitchen,
            "POST",
            format!("/orders/{ord}/collect"),
            &pin,
            "order-master",
        ),
        (
            Role::Kitchen,
            "PATCH",
            format!("/food-points/{pnt}"),
            &json!({ "open": false }),
            "point-master",
        ),
        (
            Role::Kitchen,
            "POST",
            format!("/food-points/{pnt}/stock/{ing}/receive"),
            &amount,
            "point-master",
        ),
        (
            Role::Operator,
            "POST",
            format!("/food-points/{pnt}/stock/{ing}/count"),
            &amount,
            "point-master",
        ),
        (
            Role::Kitchen,
            "POST",
            format!("/food-points/{pnt}/stock/{ing}/gone"),
            &nothing,
            "point-master",
        ),
        (
            Role::Kitchen,
            "POST",
            format!("/food-points/{pnt}/stock/{ing}/waste"),
            &waste,
            "point-master",
        ),
        (
            Role::Operator,
            "POST",
            format!("/food-points/{pnt}/stock/{ing}/back"),
            &amount,
            "point-master",
        ),
        (
            Role::Kitchen,
            "PUT",
            format!("/food-points/{pnt}/stock/{ing}/settings"),
            &json!({ "low_at": 5 }),
            "point-master",
        ),
        (
            Role::Courier,
            "PUT",
            "/couriers/me/shift".to_owned(),
            &shift,
            "courier-master",
        ),
        (
            Role::Courier,
            "PUT",
            "/couriers/me/position".to_owned(),
            &position,
            "courier-master",
        ),
        (
            Role::Courier,
            "POST",
            format!("/deliveries/{dlv}/accept"),
            &nothing,
            "courier-master",
        ),
        (
            Role::Courier,
            "POST",
            format!("/deliveries/{dlv}/decline"),
            &nothing,
            "courier-master",
        ),
        (
            Role::Courier,
            "POST",
            format!("/deliveries/{dlv}/drop"),
            &nothing,
            "courier-master",
        ),
        (
            Role::Courier,
            "POST",
            format!("/deliveries/{dlv}/pick-up"),
            &nothing,
            "courier-master",
        ),
        (
            Role::Courier,
            "POST",
            format!("/deliveries/{dlv}/deliver"),
            &pin,
            "courier-master",
        ),
        (
            Role::Courier,
            "POST",
            format!("/deliveries/{dlv}/fail"),
            &reason,
            "courier-master",
        ),
        (Role::Operator, "POST", "/products".to_owned(), &product, "menu-master"),
        (
            Role::Operator,
            "PATCH",
            format!("/products/{prd}"),
            &product,
            "menu-master",
        ),
        (Role::Operator, "DELETE", format!("/products/{prd}"), &no, "menu-master"),
        (
            Role::Operator,
            "POST",
            "/food-points".to_owned(),
            &point,
            "point-master",
        ),
        (
            Role::Operator,
            "POST",
            format!("/food-points/{pnt}/staff"),
            &staff,
            "user-master",
        ),
        (Role::Operator, "POST", "/couriers".to_owned(), &staff, "user-master"),
        (Role::Operator, "GET", format!("/couriers/{cou}"), &no, "user-info"),
        (
            Role::Operator,
            "POST",
            format!("/orders/{ord}/override"),
            &reason,
            "order-master",
        ),
        (
            Role::Operator,
            "POST",
            format!("/deliveries/{dlv}/hand-over"),
            &json!({ "courier": cou }),
            "courier-master",
        ),
    ] {
        let answered = site
            .public()
            .send(ask(method, &format!("/v1{path}"), &site.token(role), body))
            .await;
        assert_eq!(answered.status, StatusCode::OK, "{method} {path}: {answered:?}");
        let call = site.calls().pop().unwrap();
        assert_eq!(
            (call.service, call.method.as_str(), call.path.as_str()),
            (service, method, path.as_str())
        );
    }
    let keys = site
        .public()
        .send(http::Request::get("/.well-known/jwks.json").body(Bytes::new()).unwrap())
        .await;
    assert_eq!(keys.json(), site.issuer().jwks());
}

#[tokio::test]
async fn an_answer_keeps_status_body_and_the_headers_that_matter() {
    let site = Site::start().await;
    site.answer("order-master", |_| {
        Response::builder()
            .status(201)
            .header("content-type", "application/json")
            .header("etag", "\"4.2\"")
            .header("tiffin-consistency", "signed")
            .header("location", "/v1/orders/1")
            .header("x-internal", "order-master-7")
            .body(Body::from("{ \"as\":\"sent\" }"))
            .unwrap()
    });
    let answered = site
        .public()
        .send(ask(
            "POST",
            &format!("{ORDER}/start"),
            &site.token(Role::Kitchen),
            &json!({}),
        ))
        .await;
    assert_eq!(
        (answered.status, &answered.body[..]),
        (StatusCode::CREATED, &b"{ \"as\":\"sent\" }"[..])
    );
    assert_eq!(answered.header("etag"), Some("\"4.2\""));
    assert_eq!(answered.header("tiffin-consistency"), Some("signed"));
    assert_eq!(answered.header("location"), Some("/v1/orders/1"));
    assert_eq!(answered.header("x-internal"), None);
}

#[tokio::test]
async fn an_unchanged_document_is_304_without_a_body() {
    let site = Site::start().await;
    site.answer("order-info", |call| {
        assert_eq!(call.header("if-none-match"), Some("\"4.2\""));
        Response::builder()
            .status(304)
            .header("etag", "\"4.2\"")
            .body(Body::empty())
            .unwrap()
    });
    let mut request = get(ORDER, &site.token(Role::Customer));
    request
        .headers_mut()
        .insert("if-none-match", HeaderValue::from_static("\"4.2\""));
    let answered = site.public().send(request).await;
    assert_eq!((answered.status, answered.body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(answered.header("etag"), Some("\"4.2\""));
}

#[tokio::test]
async fn a_refusal_is_relayed_as_it_is() {
    let site = Site::start().await;
    for (status, kind) in [
        (404, "not_found"),
        (409, "order_changed"),
        (403, "forbidden"),
        (422, "key_reused"),
        (503, "unavailable"),
    ] {
        site.answer("order-info", move |_| {
            let mut refused = refusal(status, kind);
            refused
                .headers_mut()
                .insert("retry-after", HeaderValue::from_static("2"));
            refused
        });
        let answered = site.public().send(get(ORDER, &site.token(Role::Customer))).await;
        assert_eq!(answered.problem(), (status, kind.to_owned()));
        assert_eq!(answered.json()["state"], "ready");
        assert_eq!(answered.header("retry-after"), Some("2"));
    }
}

#[tokio::test]
async fn a_refusal_of_the_gateway_itself_is_not_the_clients_fault() {
    let site = Site::start().await;
    for (status, kind) in [(403, "peer_not_allowed"), (401, "caller_unknown")] {
        site.answer("order-info", move |_| refusal(status, kind));
        let answered = site.public().send(get(ORDER, &site.token(Role::Customer))).await;
        assert_eq!(answered.problem(), (500, "internal".to_owned()));
        assert_eq!(answered.header("www-authenticate"), None);
    }
    site.answer("order-info", |_| {
        Response::builder()
            .status(500)
            .body(Body::from("panic at line 7"))
            .unwrap()
    });
    let answered = site.public().send(get(ORDER, &site.token(Role::Customer))).await;
    assert_eq!(answered.problem(), (500, "internal".to_owned()));
    assert!(!String::from_utf8_lossy(&answered.body).contains("panic"));
}

#[tokio::test]
async fn a_service_that_is_down_is_503_and_says_when_to_come_back() {
    let site = Site::without(&["order-master", "order-info"]).await;
    let command = ask(
        "POST",
        &format!("{ORDER}/cancel"),
        &site.token(Role::Customer),
        &json!({ "reason": "other" }),
    );
    for request in [
        command,
        get(ORDER, &site.token(Role::Customer)),
        get(&format!("{ORDER}/live"), &site.token(Role::Customer)),
    ] {
        let started = Instant::now();
        let answered = site.public().send(request).await;
        assert_eq!(answered.problem(), (503, "upstream_unavailable".to_owned()));
        assert_eq!(answered.header("retry-after"), Some("1"));
        assert!(started.elapsed() < Duration::from_secs(3));
        let text = String::from_utf8_lossy(&answered.body).into_owned();
        assert!(!text.contains("order-"), "who is down is no client's business: {text}");
    }
}

#[tokio::test]
async fn a_service_that_comes_back_at_once_was_never_away() {
    let site = Site::without(&["order-master"]).await;
    let door = site.public();
    let command = ask(
        "POST",
        &format!("{ORDER}/cancel"),
        &site.token(Role::Customer),
        &json!({ "reason": "other" }),
    );
    let back = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        site.start_peer("order-master");
    };
    let (answered, ()) = tokio::join!(door.send(command), back);
    assert_eq!(answered.status, StatusCode::OK);
    assert_eq!(site.only_call().path, "/orders/ord_0000000000000000000000001z/cancel");
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_given_up_on() {
    let site = Site::start().await;
    site.answer("order-info", |_| {
        let never = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        Response::builder()
            .header("content-type", "application/json")
            .body(Body::from_stream(never))
            .unwrap()
    });
    let started = Instant::now();
    let answered = site.public().send(get(ORDER, &site.token(Role::Customer))).await;
    assert_eq!(answered.problem(), (503, "upstream_unavailable".to_owned()));
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn whoever_hangs_up_ends_the_work_that_was_done_for_them() {
    let site = Site::start().await;
    let (work, _) = broadcast::channel::<()>(1);
    let source = work.clone();
    site.answer("order-info", move |_| {
        let until = source.subscribe();
        let never = futures::stream::once(async move {
            let _until = until;
            std::future::pending::<Result<Bytes, std::io::Error>>().await
        });
        Response::builder()
            .header("content-type", "application/json")
            .body(Body::from_stream(never))
            .unwrap()
    });
    let (door, token) = (site.public(), site.token(Role::Customer));
    let asked = door.send(get(ORDER, &token));
    let begun = eventually("it is worked on", || async { work.receiver_count() == 1 });
    tokio::select! {
        answered = asked => panic!("nobody hung up: {answered:?}"),
        () = begun => {}
    }
    let started = Instant::now();
    eventually("nobody works on it", || async { work.receiver_count() == 0 }).await;
    assert!(started.elapsed() < Duration::from_secs(1), "it was the time-out");
}

#[tokio::test]
async fn head_is_answered_like_get_without_the_body() {
    let site = Site::start().await;
    site.answer("order-info", |_| answer_json(200, &json!({ "id": 1 })));
    let answered = site
        .public()
        .send(ask(
            "HEAD",
            ORDER,
            &site.token(Role::Customer),
            &serde_json::Value::Null,
        ))
        .await;
    assert_eq!((answered.status, answered.body.len()), (StatusCode::OK, 0));
}
