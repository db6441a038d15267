//! How often somebody may ask, what every answer says of it, and what several gateways make of it together.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use mesh_contracts::id::UserId;
use mesh_contracts::user::Role;
use mesh_testkit::Stage;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::site::{Answered, Door, Site, ask, eventually, get};

const ORDER: &str = "/v1/orders/ord_0000000000000000000000001z";
const DELIVER: &str = "/v1/deliveries/dlv_0000000000000000000000001z/deliver";

fn log_in() -> Request<Bytes> {
    let mut request = ask(
        "POST",
        "/v1/sessions",
        "",
        &json!({ "email": "a@b.c", "password": "12345678" }),
    );
    request.headers_mut().remove("authorization");
    request
}

fn refresh() -> Request<Bytes> {
    ask("POST", "/v1/sessions/refresh", "", &json!({ "refresh_token": "r" }))
}

fn position(token: &str) -> Request<Bytes> {
    let at = json!({ "at": { "lat_e6": 0, "lon_e6": 0 } });
    ask("PUT", "/v1/couriers/me/position", token, &at)
}

fn for_address(mut request: Request<Bytes>, forwarded: &'static str) -> Request<Bytes> {
    let forwarded = HeaderValue::from_static(forwarded);
    request.headers_mut().insert("x-forwarded-for", forwarded);
    request
}

/// A refusal in full: what the limit is, that nothing is left of it, and when to come back.
#[track_caller]
fn limited_by(answered: &Answered, limit: &str) {
    assert_eq!(answered.problem(), (429, "too_many_requests".to_owned()));
    assert_eq!(answered.json()["violated-policies"], json!([limit]));
    let wait: u64 = answered.header("retry-after").unwrap().parse().unwrap();
    assert!(wait >= 1);
    let left = answered.header("ratelimit").unwrap();
    assert!(left.contains(&format!("\"{limit}\";r=0;t={wait}")), "{left}");
    assert!(
        answered
            .header("ratelimit-policy")
            .unwrap()
            .contains(&format!("\"{limit}\";q="))
    );
}

/// Sends so many that pass, and one that does not.
async fn used_up(door: &Door, allowance: usize, limit: &str, request: impl Fn() -> Request<Bytes>) {
    for nth in 1..=allowance {
        let answered = door.send(request()).await;
        assert_eq!(answered.status, StatusCode::OK, "{nth} of {allowance}: {answered:?}");
    }
    limited_by(&door.send(request()).await, limit);
}

#[tokio::test]
async fn each_kind_of_request_has_an_allowance_of_its_own() {
    let site = Site::told(&[
        ("TIFFIN_LIMIT_READS", "3/600"),
        ("TIFFIN_LIMIT_COMMANDS", "4/600"),
        ("TIFFIN_LIMIT_POSITIONS", "5/600"),
    ])
    .await;
    let (door, token) = (site.public(), site.token(Role::Courier));
    used_up(&door, 3, "reads", || get(ORDER, &token)).await;
    used_up(&door, 4, "commands", || {
        ask("PUT", "/v1/couriers/me/shift", &token, &json!({ "on": false }))
    })
    .await;
    used_up(&door, 5, "positions", || position(&token)).await;
    assert_eq!(site.calls().len(), 12, "nobody was asked for those who were refused");
}

#[tokio::test]
async fn everybody_has_a_bucket_of_their_own_whatever_their_token() {
    let site = Site::told(&[("TIFFIN_LIMIT_READS", "2/600")]).await;
    let (door, subject) = (site.public(), UserId::new_v7());
    let one = site.token_of(&subject, Role::Customer, &[]);
    used_up(&door, 2, "reads", || get(ORDER, &one)).await;
    let again = site
        .issuer()
        .access_token(&subject, Role::Customer, &[], Duration::from_secs(60));
    limited_by(&door.send(get(ORDER, &again)).await, "reads");
    let other = site.token(Role::Customer);
    assert_eq!(door.send(get(ORDER, &other)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_empty_bucket_fills_again() {
    let site = Site::told(&[("TIFFIN_LIMIT_READS", "4/4")]).await;
    let (door, token) = (site.public(), site.token(Role::Customer));
    let until_refused = async || {
        let mut served = 0;
        while door.send(get(ORDER, &token)).await.status == StatusCode::OK {
            served += 1;
            assert!(served < 1000, "nobody is refused");
        }
        served
    };
    assert!(until_refused().await >= 4);
    eventually("there is some again", || async {
        door.send(get(ORDER, &token)).await.status == StatusCode::OK
    })
    .await;
}

#[tokio::test]
async fn answers_say_which_limits_there_are_and_what_is_left() {
    let site = Site::told(&[("TIFFIN_LIMIT_ADDRESS", "10/36000"), ("TIFFIN_LIMIT_READS", "5/36000")]).await;
    let (door, token) = (site.public(), site.token(Role::Customer));
    let first = door.send(get(ORDER, &token)).await;
    assert_eq!(
        first.header("ratelimit-policy"),
        Some("\"reads\";q=5;w=36000, \"address\";q=10;w=36000")
    );
    assert_eq!(
        first.header("ratelimit"),
        Some("\"reads\";r=4;t=7200, \"address\";r=9;t=3600")
    );
    let second = door.send(get(ORDER, &token)).await;
    assert_eq!(
        second.header("ratelimit"),
        Some("\"reads\";r=3;t=7200, \"address\";r=8;t=3600")
    );
    // An answer that is a refusal of another kind says so, too.
    let refused = door.send(get(ORDER, "nonsense")).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.header("ratelimit"), Some("\"address\";r=7;t=3600"));
    assert_eq!(refused.header("retry-after"), None);
}

#[tokio::test]
async fn without_limits_nothing_is_said_of_them() {
    let site = Site::told(&[("TIFFIN_LIMIT_ADDRESS", "off"), ("TIFFIN_LIMIT_READS", "off")]).await;
    let answered = site.public().send(get(ORDER, &site.token(Role::Customer))).await;
    assert_eq!(
        (answered.header("ratelimit"), answered.header("ratelimit-policy")),
        (None, None)
    );
}

#[tokio::test]
async fn an_address_is_limited_whoever_asks_and_before_tokens_are_looked_at() {
    let site = Site::told(&[("TIFFIN_LIMIT_ADDRESS", "3/600")]).await;
    let door = site.public();
    assert_eq!(
        door.send(get(ORDER, &site.token(Role::Customer))).await.status,
        StatusCode::OK
    );
    assert_eq!(
        door.send(get(ORDER, &site.token(Role::Courier))).await.status,
        StatusCode::OK
    );
    assert_eq!(door.send(get(ORDER, "nonsense")).await.status, StatusCode::UNAUTHORIZED);
    limited_by(&door.send(get(ORDER, "nonsense")).await, "address");
    limited_by(&door.send(get(ORDER, &site.token(Role::Kitchen))).await, "address");
    assert_eq!(site.calls().len(), 2);
}

#[tokio::test]
async fn behind_an_ingress_the_address_is_the_one_it_names() {
    let site = Site::told(&[("TIFFIN_LIMIT_ADDRESS", "2/600")]).await;
    let (door, token) = (site.door(&site.mesh("ingress")), site.token(Role::Customer));
    // An ingress may add who asked it; the client stays the first.
    used_up(&door, 2, "address", || {
        for_address(get(ORDER, &token), "192.0.2.1, 10.0.0.7")
    })
    .await;
    limited_by(
        &door.send(for_address(get(ORDER, &token), "192.0.2.1")).await,
        "address",
    );
    for other in ["192.0.2.2", "2001:db8::1"] {
        assert_eq!(
            door.send(for_address(get(ORDER, &token), other)).await.status,
            StatusCode::OK
        );
    }
    // Its own health checks are nobody's.
    for _ in 0..5 {
        let health = Request::get("/readyz").body(Bytes::new()).unwrap();
        assert_eq!(door.send(health).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn without_an_ingress_nobody_believes_what_a_client_says_of_its_address() {
    let site = Site::told(&[("TIFFIN_LIMIT_ADDRESS", "2/600")]).await;
    let (door, token) = (site.public(), site.token(Role::Customer));
    for address in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(
            door.send(for_address(get(ORDER, &token), address)).await.status,
            StatusCode::OK
        );
    }
    limited_by(
        &door.send(for_address(get(ORDER, &token), "192.0.2.3")).await,
        "address",
    );
}

#[tokio::test]
async fn passwords_tokens_and_reports_are_limited_by_address() {
    let site = Site::told(&[
        ("TIFFIN_LIMIT_CREDENTIALS", "3/600"),
        ("TIFFIN_LIMIT_REFRESHES", "4/600"),
        ("TIFFIN_LIMIT_WEBHOOKS", "5/600"),
    ])
    .await;
    let door = site.public();
    used_up(&door, 3, "credentials", log_in).await;
    let newcomer = json!({ "email": "a@b.c", "password": "12345678", "name": "A" });
    limited_by(&door.send(ask("POST", "/v1/users", "", &newcomer)).await, "credentials");
    used_up(&door, 4, "refreshes", refresh).await;
    used_up(&door, 5, "webhooks", || {
        Request::post("/v1/webhooks/payments")
            .body(Bytes::from_static(b"{}"))
            .unwrap()
    })
    .await;
    assert_eq!(site.calls().len(), 12);
    // Over the mesh, the ingress brings many people, each with an address.
    let ingress = site.door(&site.mesh("ingress"));
    used_up(&ingress, 3, "credentials", || for_address(log_in(), "192.0.2.1")).await;
    assert_eq!(
        ingress.send(for_address(log_in(), "192.0.2.2")).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_pin_can_be_guessed_at_a_few_times_per_person_and_order() {
    let site = Site::told(&[("TIFFIN_LIMIT_PINS", "3/600")]).await;
    let door = site.public();
    let pin = json!({ "pin": "1234" });
    let (one, other) = (site.token(Role::Courier), site.token(Role::Courier));
    used_up(&door, 3, "pins", || ask("POST", DELIVER, &one, &pin)).await;
    let same = DELIVER
        .to_uppercase()
        .replace("/V1/DELIVERIES/DLV", "/v1/deliveries/dlv")
        .replace("/DELIVER", "/deliver");
    let spelled_otherwise = door.send(ask("POST", &same, &one, &pin)).await;
    assert_ne!(spelled_otherwise.status, StatusCode::OK, "{spelled_otherwise:?}");
    let elsewhere = DELIVER.replace("1z", "2z");
    for (path, token) in [(elsewhere.as_str(), &one), (DELIVER, &other)] {
        assert_eq!(door.send(ask("POST", path, token, &pin)).await.status, StatusCode::OK);
    }
    let counter = site.token(Role::Kitchen);
    used_up(&door, 3, "pins", || {
        ask("POST", &format!("{ORDER}/collect"), &counter, &pin)
    })
    .await;
    // What is no guess at all is not counted.
    let nobody = site.token(Role::Courier);
    for _ in 0..5 {
        let refused = door.send(ask("POST", DELIVER, &nobody, &json!({ "pin": 1 }))).await;
        assert_eq!(refused.problem().0, 422);
    }
    assert_eq!(
        door.send(ask("POST", DELIVER, &nobody, &pin)).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_person_has_so_many_live_streams_and_one_that_ends_makes_room() {
    let site = Site::told(&[("TIFFIN_STREAMS_MAX", "2")]).await;
    site.answer("order-info", |_| {
        let greeting = futures::stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b": hello\n\n")) });
        let silence = futures::stream::pending();
        Response::builder()
            .header("content-type", "text/event-stream")
            .body(Body::from_stream(futures::StreamExt::chain(greeting, silence)))
            .unwrap()
    });
    let (door, token) = (site.public(), site.token(Role::Customer));
    let live = || get(&format!("{ORDER}/live"), &token);
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = door.open(live()).await;
        assert_eq!(stream.status(), StatusCode::OK);
        assert!(stream.body_mut().frame().await.unwrap().is_ok());
        open.push(stream);
    }
    let refused = door.send(live()).await;
    assert_eq!(refused.problem(), (429, "too_many_requests".to_owned()));
    assert_eq!(refused.json()["violated-policies"], json!(["streams"]));
    assert_eq!(refused.header("retry-after"), Some("10"));
    assert!(
        refused
            .header("ratelimit-policy")
            .unwrap()
            .contains("\"streams\";q=2;qu=\"concurrent-requests\"")
    );
    assert_eq!(site.calls().len(), 2);
    let other = site.token(Role::Customer);
    assert_eq!(
        door.open(get(&format!("{ORDER}/live"), &other)).await.status(),
        StatusCode::OK
    );
    drop(open.pop());
    eventually("there is room", || async {
        door.open(live()).await.status() == StatusCode::OK
    })
    .await;
}

#[tokio::test]
async fn several_gateways_share_one_limit() {
    const ALLOWANCE: usize = 20;
    let stage = Stage::new();
    let redis = stage.redis().await;
    let told = [
        ("TIFFIN_LIMIT_READS", "20/600"),
        ("TIFFIN_REDIS_URL", redis.url.as_str()),
        ("TIFFIN_REDIS_PREFIX", redis.prefix.as_str()),
    ];
    let site = Site::told(&told).await;
    let (_, second) = site.gateway(&told).await;
    let (one, other) = (site.public(), site.public_at(second));
    let token = site.token(Role::Customer);
    used_up(&one, ALLOWANCE, "reads", || get(ORDER, &token)).await;
    // The other one lets some in until it has heard.
    let started = Instant::now();
    let mut let_in = 0;
    loop {
        let answered = other.send(get(ORDER, &token)).await;
        if answered.status == StatusCode::TOO_MANY_REQUESTS {
            limited_by(&answered, "reads");
            break;
        }
        let_in += 1;
        assert!(started.elapsed() < Duration::from_secs(5), "it hears of nothing");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(let_in < ALLOWANCE / 2, "{let_in}");
    let somebody_else = site.token(Role::Customer);
    assert_eq!(other.send(get(ORDER, &somebody_else)).await.status, StatusCode::OK);
    let keys = redis.keys().await;
    assert!(
        !keys.is_empty() && keys.iter().all(|key| key.starts_with(&redis.prefix)),
        "{keys:?}"
    );
    let mut connection = redis.connection().await;
    for key in keys {
        let seconds: i64 = redis::cmd("TTL").arg(&key).query_async(&mut connection).await.unwrap();
        assert!((1..=1200).contains(&seconds), "{key} stays for {seconds} s");
    }
}

#[tokio::test]
async fn without_redis_each_gateway_keeps_the_limit_and_nobody_waits() {
    // One that refuses, and one that takes connections and says nothing.
    let gone = mesh_testkit::free_address();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for address in [gone, silent.local_addr().unwrap()] {
        let url = format!("redis://gateway:secret@{address}/0");
        let site = Site::told(&[("TIFFIN_LIMIT_READS", "50/600"), ("TIFFIN_REDIS_URL", &url)]).await;
        let (door, token) = (site.public(), site.token(Role::Customer));
        assert_eq!(door.send(get(ORDER, &token)).await.status, StatusCode::OK);
        let mut slowest = Duration::ZERO;
        for _ in 1..50 {
            let started = Instant::now();
            assert_eq!(door.send(get(ORDER, &token)).await.status, StatusCode::OK);
            slowest = slowest.max(started.elapsed());
            // Over several comparisons with nobody.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        limited_by(&door.send(get(ORDER, &token)).await, "reads");
        assert!(slowest < Duration::from_millis(400), "somebody waited for {slowest:?}");
    }
}

#[tokio::test]
async fn the_contract_names_the_refusal_and_its_headers() {
    let site = Site::start().await;
    let document: Value = site
        .public()
        .send(Request::get("/openapi.json").body(Bytes::new()).unwrap())
        .await
        .json();
    for path in document["paths"].as_object().unwrap().values() {
        for operation in path
            .as_object()
            .unwrap()
            .values()
            .filter(|operation| operation["responses"].is_object())
        {
            let refused = &operation["responses"]["429"];
            assert!(
                refused["content"]["application/problem+json"].is_object(),
                "{operation}"
            );
            for header in ["Retry-After", "RateLimit", "RateLimit-Policy"] {
                assert!(refused["headers"][header].is_object(), "{header} of {operation}");
            }
        }
    }
}
