//! Bad input is refused at the door with a problem, and no service hears of it.

use bytes::Bytes;
use http::{HeaderValue, header};
use mesh_contracts::user::Role;
use mesh_runtime::headers;
use serde_json::{Value, json};

use crate::contract::routes;
use crate::site::{Answered, Site, ask, get};

const LINE: &str = "/v1/basket/lines/prd_0000000000000000000000001z";

async fn set_line(site: &Site, body: &Value) -> Answered {
    site.public()
        .send(ask("PUT", LINE, &site.token(Role::Customer), body))
        .await
}

fn field(answered: &Answered) -> String {
    answered.json()["errors"][0]["field"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn a_field_that_does_not_fit_is_named_and_goes_no_further() {
    let site = Site::start().await;
    for (body, path) in [
        (json!({ "quantity": 1, "country": "DE", "colour": "red" }), "colour"),
        (json!({ "quantity": "one", "country": "DE" }), "quantity"),
        (json!({ "quantity": 1.5, "country": "DE" }), "quantity"),
        (json!({ "quantity": -1, "country": "DE" }), "quantity"),
        (json!({ "quantity": 0, "country": "DE" }), "quantity"),
        (json!({ "quantity": 100, "country": "DE" }), "quantity"),
        (json!({ "quantity": 4_294_967_297_u64, "country": "DE" }), "quantity"),
        (json!({ "quantity": u64::MAX, "country": "DE" }), "quantity"),
        (json!({ "quantity": 1, "country": "Germany" }), "country"),
    ] {
        let answered = set_line(&site, &body).await;
        assert_eq!(answered.problem(), (422, "invalid".to_owned()), "{body}");
        assert_eq!(field(&answered), path, "{body}");
        assert!(
            !answered.json().to_string().contains("Germany"),
            "what was sent is not repeated"
        );
    }
    assert_eq!(set_line(&site, &json!({ "country": "DE" })).await.problem().0, 422);
    site.nobody_was_asked();
}

#[tokio::test]
async fn what_is_no_json_is_refused() {
    let site = Site::start().await;
    let token = site.token(Role::Customer);
    for body in ["", "{", "{} {}", "quantity=1"] {
        let mut request = ask("PUT", LINE, &token, &json!({}));
        *request.body_mut() = Bytes::from_static(body.as_bytes());
        let answered = site.public().send(request).await;
        assert!(matches!(answered.problem().0, 400 | 422), "{body:?}: {answered:?}");
    }
    let mut request = ask("PUT", LINE, &token, &json!({ "quantity": 1, "country": "DE" }));
    request
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    let answered = site.public().send(request).await;
    assert_eq!(answered.problem(), (415, "unsupported_media_type".to_owned()));
    site.nobody_was_asked();
}

#[tokio::test]
async fn a_body_over_64_kib_is_refused_on_every_route_that_takes_one() {
    let site = Site::start().await;
    let door = site.public();
    for route in routes()
        .iter()
        .filter(|route| matches!(&*route.method, "POST" | "PUT" | "PATCH"))
    {
        let role = route
            .roles
            .first()
            .map_or(Role::Customer, |role| Role::parse(role).unwrap());
        let mut request = ask(&route.method, &route.example(), &site.token(role), &json!({}));
        *request.body_mut() = format!("{{\"a\":\"{}\"}}", "x".repeat(64 * 1024)).into();
        assert_eq!(
            door.send(request).await.problem(),
            (413, "body_too_large".to_owned()),
            "{route:?}"
        );
    }
    site.nobody_was_asked();
}

#[tokio::test]
async fn a_post_without_its_idempotency_key_is_refused() {
    let site = Site::start().await;
    let door = site.public();
    for route in routes().iter().filter(|route| route.method == "POST") {
        let exempt = route.path.starts_with("/v1/sessions") || route.path.starts_with("/v1/webhooks");
        let role = route
            .roles
            .first()
            .map_or(Role::Customer, |role| Role::parse(role).unwrap());
        let mut request = ask("POST", &route.example(), &site.token(role), &json!({}));
        request.headers_mut().remove(headers::IDEMPOTENCY_KEY);
        let answered = door.send(request).await;
        let refused = answered.status == 400 && answered.problem().1 == "idempotency_key_required";
        assert_eq!(refused, !exempt, "{route:?}: {answered:?}");
    }
}

#[tokio::test]
async fn a_key_is_one_header_of_255_visible_characters_at_most() {
    let site = Site::start().await;
    let ready = "/v1/orders/ord_0000000000000000000000001z/ready";
    let send = async |keys: &[&str]| {
        let mut request = ask("POST", ready, &site.token(Role::Kitchen), &json!({}));
        request.headers_mut().remove(headers::IDEMPOTENCY_KEY);
        for key in keys {
            request
                .headers_mut()
                .append(headers::IDEMPOTENCY_KEY, key.parse().unwrap());
        }
        site.public().send(request).await.status
    };
    let long = "k".repeat(255);
    assert_eq!(send(&[&long]).await, 200);
    for bad in [&[""][..], &["a b"], &["a", "b"], &[&format!("{long}k")]] {
        assert_eq!(send(bad).await, 400, "{bad:?}");
    }
    assert_eq!(site.calls().len(), 1);
}

#[tokio::test]
async fn an_id_that_is_none_names_nothing() {
    let site = Site::start().await;
    let token = site.token(Role::Customer);
    for id in [
        "1",
        "usr_0000000000000000000000001z",
        "ord_",
        "ord_0000000000000000000000001l",
        "..%2fjwks",
        "ord_1%2f..%2fjwks",
    ] {
        let answered = site.public().send(get(&format!("/v1/orders/{id}"), &token)).await;
        assert_eq!(answered.problem(), (404, "not_found".to_owned()), "{id}");
    }
    site.nobody_was_asked();
}

#[tokio::test]
async fn a_query_that_is_not_in_the_contract_is_refused() {
    let site = Site::start().await;
    let token = site.token(Role::Customer);
    for path in [
        "/v1/menu",
        "/v1/menu?country=Germany",
        "/v1/menu?country=DE&colour=red",
        "/v1/menu?country=DE&food_point_id=1",
        "/v1/food-points?country=DE&lat_e6=north",
        "/v1/orders?limit=lots",
        "/v1/orders?limit=-1",
        "/v1/orders?page=2",
        "/v1/orders/ord_00000000000000000000000001?as_of=yesterday",
        "/v1/orders/ord_00000000000000000000000001?at=2026-03-01T12:00:00Z",
        "/v1/orders/ord_00000000000000000000000001/history?as_of=2026-02-30T12:00:00Z",
        "/v1/home?country=DE&country=RS",
    ] {
        let answered = site.public().send(get(path, &token)).await;
        assert_eq!(answered.problem(), (400, "bad_request".to_owned()), "{path}");
    }
    site.nobody_was_asked();
}
