//! Who may come in by which route, and who says so.

use bytes::Bytes;
use http::{StatusCode, header};
use mesh_contracts::id::{FoodPointId, UserId};
use mesh_contracts::user::Role;
use serde_json::{Value, json};

use crate::contract::routes;
use crate::site::{Site, ask, get};

const ROLES: [Role; 4] = [Role::Customer, Role::Kitchen, Role::Courier, Role::Operator];
const ORDER: &str = "/v1/orders/ord_0000000000000000000000001z";

#[tokio::test]
async fn no_route_of_a_role_answers_without_a_token() {
    let site = Site::start().await;
    for route in routes().iter().filter(|route| !route.roles.is_empty()) {
        let mut request = ask(&route.method, &route.example(), "", &json!({}));
        request.headers_mut().remove(header::AUTHORIZATION);
        let answered = site.public().send(request).await;
        assert_eq!(answered.problem(), (401, "token_missing".to_owned()), "{route:?}");
        assert_eq!(answered.header("www-authenticate"), Some("Bearer"));
    }
    site.nobody_was_asked();
}

#[tokio::test]
async fn every_route_is_for_its_roles_and_no_other() {
    let site = Site::start().await;
    let door = site.public();
    for route in routes().iter().filter(|route| !route.roles.is_empty()) {
        for role in ROLES {
            let asked_before = site.calls().len();
            let answered = door
                .send(ask(&route.method, &route.example(), &site.token(role), &json!({})))
                .await;
            if route.roles.contains(role.as_str()) {
                assert!(
                    !matches!(answered.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
                    "{role:?} {route:?}: {answered:?}"
                );
            } else {
                assert_eq!(answered.problem(), (403, "wrong_role".to_owned()), "{role:?} {route:?}");
                assert_eq!(site.calls().len(), asked_before, "{role:?} {route:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_expired_token_is_refused_as_expired() {
    let site = Site::start().await;
    let answered = site
        .public()
        .send(get(ORDER, &site.expired_token(Role::Customer)))
        .await;
    assert_eq!(answered.problem(), (401, "token_expired".to_owned()));
    assert_eq!(answered.header("www-authenticate"), Some("Bearer"));
    site.nobody_was_asked();
}

#[tokio::test]
async fn a_token_that_is_not_ours_is_refused_as_invalid() {
    let site = Site::start().await;
    let other = Site::start().await;
    let good = site.token(Role::Customer);
    let (head, _signature) = good.rsplit_once('.').unwrap();
    for token in [
        other.token(Role::Customer),
        format!("{head}.AAAA"),
        "nonsense".to_owned(),
    ] {
        let answered = site.public().send(get(ORDER, &token)).await;
        assert_eq!(answered.problem(), (401, "token_invalid".to_owned()));
    }
    site.nobody_was_asked();
}

#[tokio::test]
async fn without_signing_keys_nobody_is_let_in_and_nobody_is_called_a_liar() {
    let site = Site::without(&["user-master"]).await;
    let answered = site.public().send(get(ORDER, &site.token(Role::Customer))).await;
    assert_eq!(answered.problem(), (503, "unavailable".to_owned()));
    let ready = site
        .public()
        .send(http::Request::get("/readyz").body(Bytes::new()).unwrap())
        .await;
    assert_eq!(
        (ready.status, ready.json()),
        (StatusCode::SERVICE_UNAVAILABLE, json!({ "ready": false }))
    );
    site.start_peer("user-master");
    crate::site::eventually("the keys are fetched", || async {
        site.public().send(get(ORDER, &site.token(Role::Customer))).await.status == StatusCode::OK
    })
    .await;
    let ready = site
        .public()
        .send(http::Request::get("/readyz").body(Bytes::new()).unwrap())
        .await;
    assert_eq!(ready.status, StatusCode::OK);
}

#[tokio::test]
async fn the_caller_is_whom_the_token_names_whatever_the_client_says() {
    let site = Site::start().await;
    let (subject, point) = (UserId::new_v7(), FoodPointId::new_v7());
    let mut request = ask(
        "POST",
        &format!("{ORDER}/ready"),
        &site.token_of(&subject, Role::Kitchen, &[point]),
        &json!({}),
    );
    for (name, value) in [
        ("tiffin-caller-subject", UserId::new_v7().to_string()),
        ("tiffin-caller-role", "operator".to_owned()),
        ("tiffin-caller-scope", FoodPointId::new_v7().to_string()),
        ("tiffin-caller-region", "mars".to_owned()),
    ] {
        request
            .headers_mut()
            .append(http::HeaderName::from_static(name), value.parse().unwrap());
    }
    assert_eq!(site.public().send(request).await.status, StatusCode::OK);
    let call = site.only_call();
    assert_eq!(call.header("tiffin-caller-subject"), Some(subject.to_string().as_str()));
    assert_eq!(call.header("tiffin-caller-role"), Some("kitchen"));
    assert_eq!(call.header("tiffin-caller-scope"), Some(point.to_string().as_str()));
    assert_eq!(call.header("tiffin-caller-region"), Some("local"));
    assert_eq!(call.headers.get_all("tiffin-caller-role").iter().count(), 1);
    assert_eq!(call.header("authorization"), None, "the token stays at the door");
}

#[tokio::test]
async fn routes_for_anyone_name_no_caller_even_if_the_client_does() {
    let site = Site::start().await;
    let login = json!({ "email": "a@b.c", "password": "12345678" });
    let mut request = ask("POST", "/v1/sessions", "", &login);
    request
        .headers_mut()
        .insert("tiffin-caller-role", "operator".parse().unwrap());
    request
        .headers_mut()
        .insert("tiffin-caller-subject", UserId::new_v7().to_string().parse().unwrap());
    assert_eq!(site.public().send(request).await.status, StatusCode::OK);
    let call = site.only_call();
    assert!(
        call.headers
            .keys()
            .all(|name| !name.as_str().starts_with("tiffin-caller-")),
        "{call:?}"
    );
}

#[tokio::test]
async fn every_answer_is_dressed() {
    let site = Site::start().await;
    for (path, token) in [
        (ORDER, site.token(Role::Customer)),
        ("/nowhere", String::new()),
        ("/v1/home", String::new()),
    ] {
        let answered = site.public().send(get(path, &token)).await;
        assert_eq!(answered.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answered.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(answered.headers.contains_key("content-security-policy"), "{path}");
        assert_eq!(answered.header("server"), None, "{path}");
    }
    let refused: Value = site.public().send(get("/v1/home", "")).await.json();
    assert!(refused["title"].is_string());
}
