//! Every refusal has one shape.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::{get, post};
use http::{Method, StatusCode, header};
use mesh_runtime::extract::{Path, Query};
use mesh_runtime::json::Json;
use mesh_runtime::problem::{BODY_LIMIT_BYTES, Problem};
use mesh_runtime::server::with_layers;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt as _;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Basket {
    lines: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    product: String,
    quantity: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    limit: u32,
}

fn router() -> Router {
    with_layers(
        Router::new()
            .route("/echo", post(|Json(basket): Json<Basket>| async { Json(basket) }))
            .route(
                "/raw",
                post(|body: Body| async {
                    axum::body::to_bytes(body, usize::MAX)
                        .await
                        .map_or(0, |bytes| bytes.len())
                        .to_string()
                }),
            )
            .route(
                "/panic",
                get(|| async {
                    if true {
                        panic!("the hidden cause")
                    }
                }),
            )
            .route("/number/{id}", get(|Path(id): Path<u32>| async move { id.to_string() }))
            .route(
                "/page",
                get(|Query(page): Query<Page>| async move { page.limit.to_string() }),
            ),
    )
}

async fn answer(method: Method, uri: &str, content_type: &str, body: impl Into<Body>) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header(header::HOST, "x")
        .header(header::CONTENT_TYPE, content_type)
        .body(body.into())
        .unwrap();
    let response = router().oneshot(request).await.unwrap();
    let status = response.status();
    if !status.is_success() {
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if !status.is_success() {
        assert_eq!(body["status"], status.as_u16());
    }
    (status, body)
}

#[track_caller]
fn check((status, body): &(StatusCode, Value), expected: u16, kind: &str) {
    assert_eq!(status.as_u16(), expected, "{body}");
    assert_eq!(body["type"], format!("https://tiffin.dev/problems/{kind}"));
}

async fn post_json(body: impl Into<Body>) -> (StatusCode, Value) {
    answer(Method::POST, "/echo", "application/json", body).await
}

#[tokio::test]
async fn good_json_comes_through() {
    let sent = json!({ "lines": [{ "product": "prd_1", "quantity": 2 }] });
    let (status, body) = answer(
        Method::POST,
        "/echo",
        "Application/JSON; charset=utf-8",
        sent.to_string(),
    )
    .await;
    assert_eq!((status, body), (StatusCode::OK, sent));
}

#[tokio::test]
async fn what_is_no_json_is_400() {
    check(&post_json("{").await, 400, "malformed_json");
    check(&post_json("").await, 400, "malformed_json");
    check(&post_json(r#"{"lines":[]} {}"#).await, 400, "malformed_json");
}

#[tokio::test]
async fn what_does_not_fit_is_422_with_its_path_and_without_its_value() {
    let wrong_type = post_json(r#"{"lines":[{"product":"prd_1","quantity":"hunter2"}]}"#).await;
    check(&wrong_type, 422, "invalid");
    assert_eq!(wrong_type.1["errors"][0]["field"], "lines[0].quantity");
    assert!(!wrong_type.1.to_string().contains("hunter2"), "{}", wrong_type.1);

    let unknown = post_json(r#"{"lines":[{"product":"prd_1","quantity":1,"price":1}]}"#).await;
    check(&unknown, 422, "invalid");
    assert_eq!(unknown.1["errors"][0]["field"], "lines[0].price");

    let negative = post_json(r#"{"lines":[{"product":"prd_1","quantity":-1}]}"#).await;
    check(&negative, 422, "invalid");
    assert_eq!(negative.1["errors"][0]["field"], "lines[0].quantity");

    let huge = post_json(r#"{"lines":[{"product":"prd_1","quantity":100000000000000000000}]}"#).await;
    check(&huge, 422, "invalid");

    let missing = post_json("{}").await;
    check(&missing, 422, "invalid");
    assert_eq!(missing.1["errors"][0]["message"], "missing field `lines`");
}

#[tokio::test]
async fn another_media_type_is_415() {
    check(
        &answer(Method::POST, "/echo", "text/plain", "{}").await,
        415,
        "unsupported_media_type",
    );
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_announced_or_not() {
    let large = " ".repeat(BODY_LIMIT_BYTES + 1);
    let request = Request::post("/echo")
        .header(header::HOST, "x")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, large.len())
        .body(Body::from(large.clone()))
        .unwrap();
    assert_eq!(
        router().oneshot(request).await.unwrap().status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );

    let chunks = futures::stream::iter(vec![Ok::<_, std::io::Error>(large.clone())]);
    check(&post_json(Body::from_stream(chunks)).await, 413, "body_too_large");
    let (_, body) = answer(Method::POST, "/raw", "text/plain", large).await;
    assert_eq!(body, 0, "handlers that read by themselves are cut off, too");

    let padded = format!("{{\"lines\":[]}}{}", " ".repeat(BODY_LIMIT_BYTES - 12));
    assert_eq!(post_json(padded).await.0, StatusCode::OK, "exactly the limit is fine");
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems() {
    check(
        &answer(Method::GET, "/nowhere", "text/plain", "").await,
        404,
        "not_found",
    );
    check(
        &answer(Method::DELETE, "/echo", "text/plain", "").await,
        405,
        "method_not_allowed",
    );
    check(
        &answer(Method::GET, "/number/x", "text/plain", "").await,
        404,
        "not_found",
    );
    check(
        &answer(Method::GET, "/page?limit=hunter2", "text/plain", "").await,
        400,
        "bad_request",
    );
    check(
        &answer(Method::GET, "/page?other=1", "text/plain", "").await,
        400,
        "bad_request",
    );
}

#[tokio::test]
async fn a_panic_is_500_without_its_message() {
    let answered = answer(Method::GET, "/panic", "text/plain", "").await;
    check(&answered, 500, "internal");
    assert!(!answered.1.to_string().contains("hidden"));
}

#[test]
fn a_problem_of_another_service_is_handed_on_as_it_is() {
    let original = Problem::conflict("order_changed", "the order has changed")
        .detail("it is ready")
        .field("status", "ready")
        .with("state", "ready");
    let body = serde_json::to_value(original.document()).unwrap();
    let relayed = Problem::relayed(StatusCode::CONFLICT, &body).unwrap();
    assert_eq!(serde_json::to_value(relayed.document()).unwrap(), body);
    assert!(Problem::relayed(StatusCode::CONFLICT, &json!({ "error": "else" })).is_none());
}
