//! Contract, console, keys and health: for anyone, without a token.

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

/// The console runs its own script and talks to us alone. It is a client like any other: no cookie, no special route.
const CONSOLE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(keys))
        .routes(routes!(openapi))
        .routes(routes!(docs))
        .routes(routes!(console))
        .routes(routes!(console_script))
        .routes(routes!(console_style))
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

/// The operators' board, for people
#[utoipa::path(get, path = "/console", tag = "platform",
    responses((status = 200, description = "A page.", body = String, content_type = "text/html")))]
async fn console() -> Response {
    let page = Html(include_str!("../console/page.html"));
    ([(header::CONTENT_SECURITY_POLICY, CONSOLE_POLICY)], page).into_response()
}

/// What the board's page does
#[utoipa::path(get, path = "/console/script.js", tag = "platform",
    responses((status = 200, description = "A script.", body = String, content_type = "text/javascript")))]
async fn console_script() -> ([(header::HeaderName, &'static str); 1], &'static str) {
    let script = include_str!("../console/script.js");
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], script)
}

/// How the board's page looks
#[utoipa::path(get, path = "/console/style.css", tag = "platform",
    responses((status = 200, description = "A style sheet.", body = String, content_type = "text/css")))]
async fn console_style() -> ([(header::HeaderName, &'static str); 1], &'static str) {
    let style = include_str!("../console/style.css");
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], style)
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
