//! Who may come in by which route: tokens, roles, idempotency keys, and what every answer wears on the way out.
//!
//! Says it to the router and to the contract in one breath, so that what is documented is what is enforced.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use mesh_contracts::user::Role;
use mesh_identity::{Caller, jwt};
use mesh_runtime::{Problem, headers};
use utoipa_axum::router::OpenApiRouter;

use crate::ask::Person;
use crate::seats::Urgency;
use crate::{Answer, App, contract};

/// As many visible characters as an idempotency key may have.
const KEY_LEN_MAX: usize = 255;

/// What every answer wears, unless it says otherwise: nobody stores it, guesses its type or frames it.
const WORN: [(HeaderName, HeaderValue); 5] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        header::STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=31536000"),
    ),
];

/// Routes for people of some roles, with an idempotency key on each `POST`.
pub(crate) fn only(roles: &'static [Role], app: &App, routes: OpenApiRouter<App>) -> OpenApiRouter<App> {
    let guard = Guard {
        app: app.clone(),
        roles,
    };
    let mut routes = keyed(routes).route_layer(middleware::from_fn_with_state(guard, admit));
    contract::needs_role(routes.get_openapi_mut(), roles);
    contract::is_limited(routes.get_openapi_mut());
    routes
}

/// Routes whose `POST`s need an idempotency key.
pub(crate) fn keyed(routes: OpenApiRouter<App>) -> OpenApiRouter<App> {
    let mut routes = routes.route_layer(middleware::from_fn(require_key));
    contract::needs_key(routes.get_openapi_mut());
    routes
}

/// Dresses every answer.
pub(crate) async fn dress(mut response: Response) -> Response {
    for (name, value) in WORN {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

#[derive(Clone)]
struct Guard {
    app: App,
    roles: &'static [Role],
}

async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Answer {
    let (mut parts, body) = request.into_parts();
    let claims = guard.app.verifier.verify(jwt::bearer(&parts.headers)?).await?;
    if !guard.roles.contains(&claims.role) {
        return Err(wrong_role());
    }
    let person = Person {
        caller: Caller::from_claims(&claims, Some(guard.app.region.clone())),
        until: claims.expires_at,
    };
    let (subject, role) = (person.caller.subject, person.caller.role);
    parts.extensions.insert(Arc::new(person));
    let request = Request::from_parts(parts, body);
    let app = &guard.app;
    let limit = app.limits.of(&request);
    let served = async {
        match app.seats.take(Urgency::of(request.method(), Some(role))) {
            Ok(seat) => {
                let answer = next.run(request).await;
                seat.answered(!answer.status().is_server_error());
                answer
            }
            Err(overloaded) => overloaded.into_response(),
        }
    };
    Ok(limit.pass(subject.uuid().as_u128(), served).await)
}

async fn require_key(request: Request, next: Next) -> Answer {
    if request.method() == Method::POST && !has_key(request.headers()) {
        return Err(key_required());
    }
    Ok(next.run(request).await)
}

fn has_key(headers: &HeaderMap) -> bool {
    let mut keys = headers.get_all(headers::IDEMPOTENCY_KEY).iter();
    let only = match (keys.next(), keys.next()) {
        (Some(key), None) => key.as_bytes(),
        (None, _) | (Some(_), Some(_)) => return false,
    };
    (1..=KEY_LEN_MAX).contains(&only.len()) && only.iter().all(u8::is_ascii_graphic)
}

fn wrong_role() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "wrong_role", "your role may not do this")
}

fn key_required() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "idempotency_key_required",
        "an Idempotency-Key header is required",
    )
    .detail("one header of 1 to 255 visible ASCII characters, new for every new wish")
}
