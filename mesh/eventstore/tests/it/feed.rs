//! The owner's feed, page by page.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use mesh_contracts::envelope::Envelope;
use mesh_eventstore::feed;
use mesh_testkit::Stage;
use tower::ServiceExt as _;

use crate::tally::{add, anyone, new_id, open, tallies};

async fn get(routes: &axum::Router, path: &str) -> (StatusCode, serde_json::Value) {
    let request = Request::get(path).body(Body::empty()).expect("a valid path");
    let response = routes.clone().oneshot(request).await.expect("infallible");
    let status = response.status();
    let body = response.into_body().collect().await.expect("complete").to_bytes();
    (status, serde_json::from_slice(&body).expect("json"))
}

#[tokio::test]
async fn streams_and_heads_are_read_in_pages() {
    let stage = Stage::new();
    let streams = tallies(&stage).await;
    let mut ids: Vec<String> = (0..3).map(|_| new_id()).collect();
    ids.sort();
    for id in &ids {
        streams.submit(id, anyone(), open(10)).await.expect("new");
        streams.submit(id, anyone(), add(1)).await.expect("open");
    }
    let routes: axum::Router = feed::routes(streams.store().clone());

    let (_, body) = get(&routes, &format!("/feed/streams/{}?after=1", ids[0])).await;
    let events: Vec<Envelope> = serde_json::from_value(body).expect("envelopes");
    assert_eq!(events, streams.store().history(&ids[0]).await.expect("readable")[1..]);

    let mut read: Vec<(String, u64)> = Vec::new();
    loop {
        let (after, version) = read.last().cloned().unwrap_or_default();
        let (_, body) = get(&routes, &format!("/feed?after={after}&version={version}&limit=4")).await;
        let page: Vec<Envelope> = serde_json::from_value(body).expect("envelopes");
        if page.is_empty() {
            break;
        }
        read.extend(page.into_iter().map(|event| (event.stream, event.version)));
    }
    let expected: Vec<_> = ids.iter().flat_map(|id| [(id.clone(), 1), (id.clone(), 2)]).collect();
    assert_eq!(read, expected);

    let (_, body) = get(&routes, "/feed/extent?prefix=ord_").await;
    assert_eq!(body, serde_json::json!({ "streams": 3, "events": 6 }));
    let (_, body) = get(&routes, "/feed/extent?prefix=pay_").await;
    assert_eq!(body, serde_json::json!({ "streams": 0, "events": 0 }));

    let (_, body) = get(&routes, &format!("/feed/heads?after={}&limit=1", ids[0])).await;
    assert_eq!(body, serde_json::json!([[ids[1], 2]]));

    let (_, body) = get(&routes, "/feed/streams/ord_unknown").await;
    assert_eq!(body, serde_json::json!([]));
    let (status, problem) = get(&routes, "/feed?version=x").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
}
