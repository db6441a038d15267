//! Calls have an end, say what became of them, and carry the deadline along.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use mesh_identity::{Client, ClientError, Upstream, Upstreams};
use mesh_runtime::json::Json;
use mesh_runtime::server::RemoteAddr;
use mesh_runtime::{Problem, deadline, headers};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::site::{Server, Site, serve};

const SHORT: Duration = Duration::from_millis(200);

async fn start(router: Router) -> (Server, Client, Upstream) {
    let site = Site::new();
    let server = serve(site.mesh("order-master").server(), router).await;
    let upstream = server.as_service("order-master");
    (server, site.mesh("gateway").client(), upstream)
}

fn get_request(path: &str) -> Request<Bytes> {
    Request::get(path).body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn json_goes_there_and_back() {
    let (_server, client, upstream) =
        start(Router::new().route("/", post(|Json(body): Json<Value>| async move { Json(json!([body])) }))).await;
    let answer: Value = client.post_json(&upstream, "/", &json!({ "a": 1 })).await.unwrap();
    assert_eq!(answer, json!([{ "a": 1 }]));
}

#[tokio::test]
async fn a_refusal_keeps_its_problem() {
    let refuse = || async { Problem::conflict("order_changed", "the order has changed").with("state", "ready") };
    let (_server, client, upstream) = start(Router::new().route("/", get(refuse))).await;
    let refused = client.get_json::<Value>(&upstream, "/").await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::CONFLICT));
    assert!(!refused.nothing_was_sent());
    let relayed = Problem::from(refused);
    assert_eq!(
        (relayed.status, &*relayed.kind),
        (StatusCode::CONFLICT, "order_changed")
    );
    assert_eq!(relayed.extra["state"], "ready");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_timeout() {
    let (_server, client, upstream) = start(Router::new().route("/", get(std::future::pending::<()>))).await;
    let started = Instant::now();
    let failed = client
        .request_within(&upstream, get_request("/"), SHORT)
        .await
        .unwrap_err();
    assert!(matches!(failed, ClientError::Timeout { .. }), "{failed}");
    assert!(started.elapsed() < SHORT * 4);
}

#[tokio::test]
async fn a_body_that_stalls_is_a_timeout_too_unless_it_is_a_stream() {
    let stalling = || async {
        let first = futures::stream::once(async { Ok::<_, std::io::Error>(Bytes::from("tick")) });
        Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()))
    };
    let (_server, client, upstream) = start(Router::new().route("/", get(stalling))).await;
    let failed = client
        .request_within(&upstream, get_request("/"), SHORT)
        .await
        .unwrap_err();
    assert!(matches!(failed, ClientError::Timeout { .. }), "{failed}");

    let mut live = client.stream(&upstream, get_request("/")).await.unwrap();
    let frame = live.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "tick");
    assert!(
        tokio::time::timeout(SHORT, live.body_mut().frame()).await.is_err(),
        "still open"
    );
}

#[tokio::test]
async fn calls_share_connections_over_http2_where_that_is_wanted() {
    let telling = |Extension(RemoteAddr(from)): Extension<RemoteAddr>, version: http::Version| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        format!("{version:?} {from}")
    };
    let (_server, client, upstream) = start(Router::new().route("/", get(telling))).await;
    // More than they carry at a time waits its turn.
    for (connections, calls) in [(1, 110), (3, 6)] {
        let client = client.clone().over_http2(NonZeroUsize::new(connections).unwrap());
        let calls = (0..calls).map(|_| client.request(&upstream, get_request("/")));
        let answers = futures::future::try_join_all(calls).await.unwrap();
        let from: HashSet<_> = answers.iter().map(http::Response::body).collect();
        assert_eq!(from.len(), connections);
        assert!(from.iter().all(|from| from.starts_with(b"HTTP/2.0 ")));
    }
}

#[tokio::test]
async fn live_streams_share_connections_as_far_as_the_server_lets_them() {
    let telling = |Extension(RemoteAddr(from)): Extension<RemoteAddr>| async move {
        let first = futures::stream::once(async move { Ok::<_, std::io::Error>(Bytes::from(from.to_string())) });
        Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()))
    };
    let (_server, client, upstream) = start(Router::new().route("/", get(telling))).await;
    let mut live = Vec::new();
    let mut connections = HashSet::new();
    for _ in 0..250 {
        let mut stream = client.stream(&upstream, get_request("/")).await.unwrap();
        let frame = stream.body_mut().frame().await.unwrap().unwrap();
        connections.insert(frame.into_data().unwrap());
        live.push(stream);
    }
    assert_eq!(connections.len(), 3, "a hundred on each");
    live.truncate(120);
    let mut again = client.stream(&upstream, get_request("/")).await.unwrap();
    let frame = again.body_mut().frame().await.unwrap().unwrap();
    assert!(
        connections.contains(&frame.into_data().unwrap()),
        "places are free again"
    );
}

#[tokio::test]
async fn nobody_there_is_safe_to_retry() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Upstream::new("order-master", listener.local_addr().unwrap().to_string());
    drop(listener);
    let failed = Site::new()
        .mesh("gateway")
        .client()
        .get_json::<Value>(&upstream, "/")
        .await
        .unwrap_err();
    assert!(failed.nothing_was_sent(), "{failed}");
    let problem = Problem::from(failed);
    assert_eq!(
        (problem.status, &*problem.kind),
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    );
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_is_given_up_on_within_the_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Upstream::new("order-master", listener.local_addr().unwrap().to_string());
    let failed = Site::new()
        .mesh("gateway")
        .client()
        .get_json::<Value>(&upstream, "/")
        .await
        .unwrap_err();
    assert!(failed.nothing_was_sent(), "{failed}");
}

#[tokio::test]
async fn what_is_left_of_the_deadline_is_passed_on_and_kept() {
    let left = |headers: http::HeaderMap| async move { headers[headers::DEADLINE].to_str().unwrap().to_owned() };
    let router = Router::new()
        .route("/left", get(left))
        .route("/never", get(std::future::pending::<()>));
    let (_server, client, upstream) = start(router).await;
    let (left_ms, failed) = deadline::within(SHORT, async {
        let left_ms: u64 = client.get_json(&upstream, "/left").await.unwrap();
        (
            left_ms,
            client.get_json::<Value>(&upstream, "/never").await.unwrap_err(),
        )
    })
    .await;
    assert!(left_ms <= 200, "{left_ms}");
    // Both sides keep it, and either may be the first.
    let is_late = match &failed {
        ClientError::Timeout { .. } => true,
        ClientError::Status { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE,
        _ => false,
    };
    assert!(is_late, "{failed}");
}

#[tokio::test]
async fn what_may_be_sent_again_is_a_tenth_of_the_calls_and_a_few() {
    let (_server, client, upstream) = start(Router::new().route("/", get(|| async { "1" }))).await;
    for _ in 0..200 {
        assert_eq!(client.get_json::<u8>(&upstream, "/").await.unwrap(), 1);
    }
    let granted = (0..1000).filter(|_| client.may_repeat(&upstream)).count();
    assert_eq!(granted, 100 + 200 / 10);
    let elsewhere = Upstream::new("order-master", "127.0.0.1:1");
    assert!(client.may_repeat(&elsewhere), "each has a budget of its own");
}

#[tokio::test]
async fn a_restarted_service_is_reached_again() {
    let site = Site::new();
    let client = site.mesh("gateway").client();
    restarted(&site, client.clone()).await;
    restarted(&site, client.over_http2(NonZeroUsize::MIN)).await;
}

async fn restarted(site: &Site, client: Client) {
    let router = || Router::new().route("/", get(|| async { "1" }));
    let first = serve(site.mesh("order-master").server(), router()).await;
    let upstream = first.as_service("order-master");
    assert_eq!(client.get_json::<u8>(&upstream, "/").await.unwrap(), 1);
    drop(first);
    let bind = || TcpListener::bind(&upstream.address);
    let started = Instant::now();
    let listener = loop {
        match bind().await {
            Ok(listener) => break listener,
            Err(err) => assert!(started.elapsed() < Duration::from_secs(10), "{err}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    tokio::spawn(mesh_runtime::server::serve(
        listener,
        site.mesh("order-master").server(),
        router(),
        mesh_runtime::Shutdown::new(),
    ));
    assert_eq!(client.get_json::<u8>(&upstream, "/").await.unwrap(), 1);
}

#[test]
fn upstreams_are_read_from_one_setting() {
    let upstreams: Upstreams = "order-master=127.0.0.1:4001, user-master=127.0.0.1:4002"
        .parse()
        .unwrap();
    assert_eq!(
        upstreams.get("user-master"),
        Upstream::new("user-master", "127.0.0.1:4002")
    );
    assert_eq!(upstreams.get("menu-info"), Upstream::new("menu-info", "menu-info:4000"));
    assert!("order-master".parse::<Upstreams>().is_err());
    assert_eq!("".parse(), Ok(Upstreams::default()));
}
