//! The mesh listener is for peers that bring people's requests; the provider may only report.

use bytes::Bytes;
use gateway::config::Config;
use http::StatusCode;
use jiff::SignedDuration;
use mesh_contracts::user::Role;
use mesh_identity::ca::{Authority, LEAF_VALID_FOR};
use mesh_identity::{Client, Mesh, Upstream};
use mesh_runtime::Settings;
use mesh_runtime::settings::ConfigErrors;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::site::{Site, ask, get};

const ORDER: &str = "/v1/orders/ord_0000000000000000000000001z";

fn report() -> http::Request<Bytes> {
    http::Request::post("/v1/webhooks/payments")
        .header("content-type", "application/json")
        .header("stripe-signature", "t=1,v1=ab")
        .body(Bytes::from_static(br#"{ "id": "evt_1" }"#))
        .unwrap()
}

#[tokio::test]
async fn an_ingress_brings_peoples_requests_and_they_still_need_a_token() {
    let site = Site::start().await;
    let door = site.door(&site.mesh("ingress"));
    assert_eq!(
        door.send(get(ORDER, &site.token(Role::Customer))).await.status,
        StatusCode::OK
    );
    assert_eq!(door.send(get(ORDER, "")).await.problem().0, 401);
}

#[tokio::test]
async fn the_payment_provider_may_report_and_nothing_else() {
    let site = Site::start().await;
    let door = site.door(&site.mesh("sandbox-payments"));
    assert_eq!(door.send(report()).await.status, StatusCode::OK);
    let call = site.only_call();
    assert_eq!(
        (call.service, call.path.as_str()),
        ("basket-master", "/webhooks/payments")
    );
    assert_eq!(
        &call.body[..],
        br#"{ "id": "evt_1" }"#,
        "signed bytes arrive as they were sent"
    );
    assert_eq!(call.header("stripe-signature"), Some("t=1,v1=ab"));
    assert_eq!(call.header("tiffin-caller-subject"), None);

    let token = site.token(Role::Operator);
    assert_eq!(
        door.send(get(ORDER, &token)).await.problem(),
        (403, "peer_not_allowed".to_owned())
    );
    assert_eq!(site.calls().len(), 1);
}

#[tokio::test]
async fn another_service_is_refused_everywhere() {
    let site = Site::start().await;
    let door = site.door(&site.mesh("order-info"));
    let token = site.token(Role::Operator);
    let cancel = ask(
        "POST",
        &format!("{ORDER}/override"),
        &token,
        &json!({ "reason": "other" }),
    );
    for request in [
        get(ORDER, &token),
        cancel,
        report(),
        get("/livez", ""),
        get("/openapi.json", ""),
    ] {
        let path = request.uri().path().to_owned();
        let answered = door.send(request).await;
        assert_eq!(answered.problem(), (403, "peer_not_allowed".to_owned()), "{path}");
    }
    site.nobody_was_asked();
}

#[tokio::test]
async fn strangers_do_not_get_through_the_handshake() {
    let site = Site::start().await;
    let gateway = Upstream::new("gateway", site.mesh_address.to_string());
    let issued_by = |authority: &Authority, name: &str, valid_for| {
        let dir = site.dir.path().join(name);
        let issued = authority.issue("ingress", &[], valid_for).unwrap();
        site.authority.write_issued(&dir, &issued).unwrap();
        Mesh::load(&dir, "ingress").unwrap().client()
    };
    let other = Authority::create(&site.dir.path().join("other-ca")).unwrap();
    for (who, client) in [
        (
            "no certificate",
            Client::public(site.authority.cert_pem().as_bytes()).unwrap(),
        ),
        ("another authority's", issued_by(&other, "foreign", LEAF_VALID_FOR)),
        (
            "expired",
            issued_by(&site.authority, "expired", SignedDuration::from_hours(-1)),
        ),
    ] {
        let answered = client.request(&gateway, get(ORDER, &site.token(Role::Customer))).await;
        assert!(answered.is_err(), "{who}: {answered:?}");
    }
    site.nobody_was_asked();
}

#[tokio::test]
async fn plaintext_gets_no_answer_at_either_door() {
    let site = Site::start().await;
    for address in [site.mesh_address, site.public_address] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_provider_on_the_internet_reports_at_the_public_door() {
    let site = Site::start().await;
    assert_eq!(site.public().send(report()).await.status, StatusCode::OK);
    assert_eq!(site.only_call().path, "/webhooks/payments");
}

#[test]
fn behind_a_sidecar_a_public_door_needs_a_certificate_of_its_own() {
    let complaints = |more: &[(&'static str, &'static str)]| {
        let given = [
            ("TIFFIN_TLS", "sidecar"),
            ("TIFFIN_MESH_LISTEN", "127.0.0.1:1"),
            ("TIFFIN_ADMIN_LISTEN", "127.0.0.1:2"),
            ("TIFFIN_PUBLIC_LISTEN", "127.0.0.1:3"),
            ("TIFFIN_CONSISTENCY_SECRET", "0123456789abcdef0123456789abcdef"),
            ("TIFFIN_LIMIT_READS", "none"),
        ];
        let mut settings = Settings::of("gateway", given.into_iter().chain(more.iter().copied()));
        Config::from_settings(&mut settings);
        let ConfigErrors(errors) = settings.finish().unwrap_err();
        errors.iter().map(|error| error.name).collect::<Vec<_>>()
    };
    assert_eq!(complaints(&[]), ["TIFFIN_PUBLIC_TLS_DIR", "TIFFIN_LIMIT_READS"]);
    assert_eq!(complaints(&[("TIFFIN_PUBLIC_TLS_DIR", "/tls")]), ["TIFFIN_LIMIT_READS"]);
}
