//! Contract, keys and health: for anyone, without a token.

use axum::Extension;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use mesh_runtime::json::Json;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::ask::Ask;
use crate::contract::Contract;
use crate::{Answer, App};

/// The page brings its own style and nothing else.
const PAGE_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(keys))
        .routes(routes!(openapi))
        .routes(routes!(docs))
        .routes(routes!(livez))
        .routes(routes!(readyz))
}

/// The keys that access tokens are signed with
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "platform",
    responses((status = 200, description = "A JWK set.", body = Object)))]
async fn keys(State(app): State<App>, ask: Ask) -> Answer {
    app.services.user_master.forward(ask.at("/jwks")).await
}

/// This contract
#[utoipa::path(get, path = "/openapi.json", tag = "platform",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = Object)))]
async fn openapi(Extension(contract): Extension<Contract>) -> ([(header::HeaderName, &'static str); 1], Bytes) {
    ([(header::CONTENT_TYPE, "application/json")], contract.json)
}

/// This contract, for people
#[utoipa::path(get, path = "/docs", tag = "platform",
    responses((status = 200, description = "A page.", body = String, content_type = "text/html")))]
async fn docs(Extension(contract): Extension<Contract>) -> Response {
    ([(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)], Html(contract.page)).into_response()
}

/// Whether the process lives
#[utoipa::path(get, path = "/livez", tag = "platform",
    responses((status = 200, description = "It does.", body = String, content_type = "text/plain")))]
async fn livez() -> &'static str {
    "alive\n"
}

/// Whether the process takes requests
#[utoipa::path(get, path = "/readyz", tag = "platform",
    responses(
        (status = 200, description = "It does.", body = Object),
        (status = 503, description = "Not yet, or not any more.", body = Object),
    ))]
async fn readyz(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let ready = app.ready.is_ready() && !app.shutdown.is_triggered();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(json!({ "ready": ready })))
}
