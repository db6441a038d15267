//! What log lines hold, and what they must never hold.

use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::post;
use http::StatusCode;
use serde_json::Value;
use tower::ServiceExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

use super::log::JsonLines;
use super::*;
use crate::Problem;
use crate::server::with_layers;

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

static LINES: Mutex<String> = Mutex::new(String::new());

/// Runs on a thread of its own, so that the subscriber sees this test alone.
async fn logged<F: Future>(work: F) -> (F::Output, String) {
    let tracer = SdkTracerProvider::builder().build().tracer("test");
    let lines = JsonLines::new("order-master", |line| LINES.lock().unwrap().push_str(line));
    let subscriber = tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(tracer))
        .with(lines);
    let guard = tracing::subscriber::set_default(subscriber);
    let output = work.await;
    drop(guard);
    (output, std::mem::take(&mut LINES.lock().unwrap()))
}

#[tokio::test]
async fn a_request_is_logged_in_its_callers_trace_without_what_it_carried() {
    let router = with_layers(Router::new().route("/orders/{id}", post(fail)));
    let request = Request::post("/orders/secret-id?token=secret-query")
        .header("host", "x")
        .header("traceparent", TRACEPARENT)
        .header("authorization", "Bearer secret-header")
        .body(Body::from("secret-body"))
        .unwrap();

    let (response, lines) = logged(router.oneshot(request)).await;

    let response = response.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let line: Value = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|line| line["message"] == "request failed")
        .unwrap();
    assert_eq!(line["service"], "order-master");
    assert_eq!(line["trace_id"], TRACE_ID);
    assert_eq!(line["http.method"], "POST");
    assert_eq!(line["http.route"], "/orders/{id}");
    assert_eq!(line["http.status"], 503);
    assert_eq!(line["error"], "postgres: connection refused");
    assert!(line["duration_ms"].is_u64());
    assert!(!lines.contains("secret"), "{lines}");

    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["trace_id"], TRACE_ID);
    assert!(!body.to_string().contains("refused"), "the cause stays inside");
}

async fn fail() -> Problem {
    let sent_on = traceparent().unwrap();
    assert!(sent_on.contains(TRACE_ID));
    assert_ne!(sent_on, TRACEPARENT, "our span is a child, not the caller's");
    Problem::unavailable("postgres", "connection refused")
}

#[test]
fn a_traceparent_that_is_none_is_not_adopted() {
    for text in [
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-xyz7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        assert!(parse_traceparent(text).is_none(), "{text}");
    }
    assert!(parse_traceparent(TRACEPARENT).is_some());
}
