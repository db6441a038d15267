//! Only the gateway may say on whose behalf it asks.

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use mesh_contracts::id::{FoodPointId, UserId};
use mesh_contracts::user::Role;
use mesh_identity::{Caller, caller};
use mesh_runtime::Problem;
use mesh_runtime::headers;

use crate::site::{Site, serve};

fn cook() -> Caller {
    Caller {
        subject: UserId::new_v7(),
        role: Role::Kitchen,
        points: vec![FoodPointId::new_v7(), FoodPointId::new_v7()],
        region: Some("local".to_owned()),
    }
}

async fn whoami(caller: Caller) -> Result<String, Problem> {
    caller.require(Role::Kitchen)?;
    Ok(format!("{caller:?}"))
}

async fn ask(site: &Site, peer: &str, said: &HeaderMap) -> Response<Bytes> {
    let server = serve(
        site.mesh("order-master").server(),
        Router::new().route("/", get(whoami)),
    )
    .await;
    let mut request = Request::get("/").body(Bytes::new()).unwrap();
    *request.headers_mut() = said.clone();
    site.mesh(peer)
        .client()
        .request(&server.as_service("order-master"), request)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_gateways_word_counts() {
    let mut said = HeaderMap::new();
    cook().write(&mut said);
    let caller = cook();
    caller.write(&mut said);
    let answer = ask(&Site::new(), "gateway", &said).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.body(), &format!("{caller:?}"));
}

#[tokio::test]
async fn the_same_headers_from_another_peer_are_ignored() {
    let mut said = HeaderMap::new();
    cook().write(&mut said);
    let answer = ask(&Site::new(), "order-info", &said).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(String::from_utf8_lossy(answer.body()).contains("caller_unknown"));
}

#[tokio::test]
async fn no_or_broken_headers_are_nobody() {
    let site = Site::new();
    assert_eq!(
        ask(&site, "gateway", &HeaderMap::new()).await.status(),
        StatusCode::UNAUTHORIZED
    );
    for (name, value) in [
        (headers::CALLER_SUBJECT, "ord_1"),
        (headers::CALLER_ROLE, "emperor"),
        (headers::CALLER_SCOPE, "everywhere"),
    ] {
        let mut said = HeaderMap::new();
        cook().write(&mut said);
        said.insert(name, value.parse().unwrap());
        assert_eq!(
            ask(&site, "gateway", &said).await.status(),
            StatusCode::UNAUTHORIZED,
            "{value}"
        );
    }
}

#[tokio::test]
async fn another_role_is_forbidden() {
    let mut said = HeaderMap::new();
    Caller {
        role: Role::Courier,
        ..cook()
    }
    .write(&mut said);
    assert_eq!(
        ask(&Site::new(), "gateway", &said).await.status(),
        StatusCode::FORBIDDEN
    );
}

#[test]
fn what_a_client_says_under_those_names_is_dropped() {
    let mut said = HeaderMap::new();
    cook().write(&mut said);
    said.append(headers::CALLER_ROLE, "operator".parse().unwrap());
    said.insert("accept", "application/json".parse().unwrap());
    caller::erase(&mut said);
    assert_eq!(said.len(), 1);
}
