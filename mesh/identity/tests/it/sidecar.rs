//! Behind a sidecar: plain HTTP of either kind, and the peer is whom the sidecar names. Nowhere else is it asked.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use mesh_identity::{ClientError, Mesh};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::site::{Server, Site, routes, serve};

const HEADER: &str = "x-forwarded-client-cert";

fn mesh(service: &str) -> Mesh {
    Mesh::behind_a_sidecar(service)
}

/// What a sidecar says before it asks for a service.
fn xfcc(service: &str) -> String {
    format!("By=spiffe://tiffin.local/ns/tiffin/sa/order-master;URI=spiffe://tiffin.local/ns/tiffin/sa/{service}")
}

async fn order_master() -> Server {
    serve(mesh("order-master").server(), routes()).await
}

fn get(path: &str, said: &[String]) -> Request<Bytes> {
    let request = said
        .iter()
        .fold(Request::get(path), |request, line| request.header(HEADER, line));
    request.body(Bytes::new()).unwrap()
}

/// Over HTTP/1.1, and over HTTP/2 as live streams go.
async fn answers(server: &Server, path: &str, said: &[String]) -> Vec<(StatusCode, String)> {
    let (client, upstream) = (mesh("gateway").client(), server.as_service("order-master"));
    let one = client.request(&upstream, get(path, said)).await.unwrap();
    let streamed = client.stream(&upstream, get(path, said)).await.unwrap();
    assert_eq!(
        (one.version(), streamed.version()),
        (http::Version::HTTP_11, http::Version::HTTP_2)
    );
    let other = (
        streamed.status(),
        streamed.into_body().collect().await.unwrap().to_bytes(),
    );
    let text = |body: &Bytes| String::from_utf8_lossy(body).into_owned();
    vec![(one.status(), text(one.body())), (other.0, text(&other.1))]
}

#[tokio::test]
async fn whom_the_sidecar_names_is_the_peer() {
    let server = order_master().await;
    for (status, body) in answers(&server, "/guarded", &[xfcc("gateway")]).await {
        assert_eq!((status, body.as_str()), (StatusCode::OK, "\"welcome\""));
    }
    for (_, body) in answers(
        &server,
        "/peer",
        &[format!("{},{}", xfcc("gateway"), xfcc("menu-info"))],
    )
    .await
    {
        assert_eq!(body, "\"menu-info\"");
    }
}

#[tokio::test]
async fn another_or_no_identity_is_refused_as_without_a_certificate() {
    let server = order_master().await;
    let gateway = xfcc("gateway");
    for said in [
        vec![],
        vec![xfcc("menu-info")],
        vec![format!("{gateway},{}", xfcc("menu-info"))],
        vec![format!("{gateway};URI=spiffe://tiffin.local/ns/tiffin/sa/order-info")],
        vec![format!("{gateway};x=\"")],
        vec![gateway.clone(), gateway.clone()],
    ] {
        for (status, body) in answers(&server, "/guarded", &said).await {
            assert_eq!(status, StatusCode::FORBIDDEN, "{said:?}");
            assert!(body.contains("/peer_not_allowed"), "{body}");
        }
    }
}

#[tokio::test]
async fn each_request_of_a_connection_is_its_own_peers() {
    let server = order_master().await;
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    let mut asked = String::new();
    for line in [format!("{HEADER}: {}\r\n", xfcc("gateway")), String::new()] {
        asked.push_str(&format!("GET /peer HTTP/1.1\r\nhost: x\r\n{line}\r\n"));
    }
    connection.write_all(asked.as_bytes()).await.unwrap();
    connection.shutdown().await.unwrap();
    let mut answered = String::new();
    connection.read_to_string(&mut answered).await.unwrap();
    let bodies: Vec<_> = answered.lines().filter(|line| line.contains('"')).collect();
    assert!(answered.contains("\"gateway\"HTTP/1.1"), "{bodies:?}");
    assert!(answered.ends_with("\"unknown (no certificate)\""), "{bodies:?}");
}

#[tokio::test]
async fn with_mutual_tls_the_header_means_nothing() {
    let site = Site::new();
    let server = serve(site.mesh("order-master").server(), routes()).await;
    let upstream = server.as_service("order-master");
    let menu_info = site.mesh("menu-info").client();
    let refused = menu_info
        .request(&upstream, get("/guarded", &[xfcc("gateway")]))
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let known = menu_info
        .request(&upstream, get("/peer", &[xfcc("gateway")]))
        .await
        .unwrap();
    assert_eq!(known.body(), "\"menu-info\"");
}

#[tokio::test]
async fn at_a_public_door_the_header_means_nothing() {
    let site = Site::new();
    let public = mesh_identity::mesh::public(&site.bundle("gateway")).unwrap();
    let server = serve(public, routes()).await;
    let client = mesh_identity::Client::public(site.authority.cert_pem().as_bytes()).unwrap();
    let upstream = server.as_service("gateway");
    let refused = client
        .request(&upstream, get("/guarded", &[xfcc("gateway")]))
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_service_that_has_certificates_is_not_asked_in_the_clear() {
    let site = Site::new();
    let server = serve(site.mesh("order-master").server(), routes()).await;
    let asked = mesh("gateway")
        .client()
        .request(&server.as_service("order-master"), get("/peer", &[]))
        .await;
    assert!(matches!(asked.unwrap_err(), ClientError::Broken { .. }));
}

#[tokio::test]
async fn the_sidecar_is_told_the_address() {
    let router = axum::Router::new().route(
        "/host",
        axum::routing::get(|head: http::HeaderMap| async move { head["host"].to_str().unwrap().to_owned() }),
    );
    let server = serve(mesh("order-master").server(), router).await;
    let asked = mesh("gateway")
        .client()
        .request(&server.as_service("order-master"), get("/host", &[]))
        .await;
    assert_eq!(asked.unwrap().body(), &server.address.to_string());
}
