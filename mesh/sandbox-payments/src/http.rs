//! The routes. Who may connect at all is settled by the mesh before a request arrives here;
//! what money does is settled in the ledger. This file reads keys and forms and writes answers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use mesh_runtime::Shutdown;
use mesh_runtime::headers::IDEMPOTENCY_KEY;
use mesh_runtime::settings::Secret;
use serde_json::{Value, json};

use crate::bank::{Bank, Closed};
use crate::cards::Card;
use crate::ledger::{Answer, Call, Command, Verdict};
use crate::wire::{self, Error, Params};

/// Says that the answer is a stored one, as Stripe does.
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Stripe's bound.
const KEY_LENGTH_MAX: usize = 255;
/// Longer than any caller's time-out; a caller without one gets an error instead of a dead connection.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Payments in one answer of `GET /v1/ledger`, about 300 bytes each.
const LEDGER_PAGE_MAX: usize = 10_000;

/// What the handlers share.
#[derive(Clone)]
pub struct App {
    pub bank: Bank,
    pub key: Arc<Secret>,
    pub shutdown: Shutdown,
}

/// Every route, behind the API key.
pub fn routes(app: App) -> Router {
    Router::new()
        .route("/v1/payment_intents", post(create).get(search))
        .route("/v1/payment_intents/{id}", get(read))
        .route("/v1/payment_intents/{id}/capture", post(capture))
        .route("/v1/payment_intents/{id}/cancel", post(cancel))
        .route("/v1/refunds", post(refund))
        .route("/v1/ledger", get(ledger))
        .route_layer(middleware::from_fn_with_state(app.clone(), with_key))
        .with_state(app)
}

type Answered = Result<Response, Error>;
type Body = Result<Bytes, BytesRejection>;

async fn create(State(app): State<App>, headers: HeaderMap, body: Body) -> Answered {
    let params = form(&headers, body)?;
    let call = call(&headers, "payment_intents", params, wire::authorize)?;
    let verdict = app.bank.call(call).await?;
    if let Verdict::New(settled) = &verdict
        && settled.payment.card == Card::TimeoutAfterSuccess
    {
        return say_nothing(&app.shutdown).await;
    }
    reply(verdict)
}

async fn capture(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap, body: Body) -> Answered {
    let params = form(&headers, body)?;
    let route = format!("payment_intents/{id}/capture");
    let call = call(&headers, &route, params, |params| wire::capture(id, params))?;
    reply(app.bank.call(call).await?)
}

async fn cancel(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap, body: Body) -> Answered {
    let params = form(&headers, body)?;
    let route = format!("payment_intents/{id}/cancel");
    let call = call(&headers, &route, params, |params| wire::cancel(id, params))?;
    reply(app.bank.call(call).await?)
}

async fn refund(State(app): State<App>, headers: HeaderMap, body: Body) -> Answered {
    let params = form(&headers, body)?;
    let call = call(&headers, "refunds", params, wire::refund)?;
    reply(app.bank.call(call).await?)
}

async fn read(State(app): State<App>, Path(id): Path<String>) -> Answered {
    let found = app.bank.read(move |ledger| ledger.payment(&id)).await?;
    let payment = found.ok_or_else(|| Error::missing("payment_intent", "intent"))?;
    Ok(json_response(StatusCode::OK, &wire::payment_intent(&payment)))
}

async fn search(State(app): State<App>, RawQuery(query): RawQuery) -> Answered {
    let order_id = wire::order_id(Params::parse(query.unwrap_or_default().as_bytes())?)?;
    let payments = app.bank.read(move |ledger| ledger.payments_of(&order_id)).await?;
    let data = payments.iter().map(|payment| wire::payment_intent(payment)).collect();
    Ok(json_response(StatusCode::OK, &wire::list("/v1/payment_intents", data)))
}

async fn ledger(State(app): State<App>, RawQuery(query): RawQuery) -> Answered {
    let mut params = Params::parse(query.unwrap_or_default().as_bytes())?;
    let after = params.take("after");
    let limit = match params.take("limit").map(|limit| limit.parse()) {
        None => LEDGER_PAGE_MAX,
        Some(Ok(limit @ 1..=LEDGER_PAGE_MAX)) => limit,
        Some(Ok(_) | Err(_)) => {
            let message = format!("an integer from 1 to {LEDGER_PAGE_MAX}");
            return Err(Error::invalid("parameter_invalid_integer", "limit", message));
        }
    };
    params.finish()?;
    let page = app
        .bank
        .read(move |ledger| ledger.page(after.as_deref(), limit))
        .await?;
    let (payments, has_more) = page.ok_or_else(|| Error::missing("payment_intent", "after"))?;
    let payments: Vec<Value> = payments.iter().map(|payment| wire::ledger_entry(payment)).collect();
    let body = json!({"object": "ledger", "payments": payments, "has_more": has_more});
    Ok(json_response(StatusCode::OK, &body))
}

/// Lets only holders of the API key in.
async fn with_key(State(app): State<App>, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let given = given
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    let wanted = app.key.expose().as_bytes();
    // In constant time, so that nobody can guess the key byte by byte.
    match aws_lc_rs::constant_time::verify_slices_are_equal(given.as_bytes(), wanted) {
        Ok(()) => next.run(request).await,
        Err(_) => Error::new(401, "invalid_request_error", "Invalid API Key provided.").into_response(),
    }
}

/// The money moved, and the caller will never hear of it from this request.
async fn say_nothing(shutdown: &Shutdown) -> Answered {
    tokio::select! {
        () = shutdown.triggered() => {}
        () = tokio::time::sleep(SILENCE_MAX) => {}
    }
    Err(Error::new(
        504,
        "api_error",
        "The outcome is unknown; ask again under the same key.",
    ))
}

fn form(headers: &HeaderMap, body: Body) -> Result<Params, Error> {
    let body = body.map_err(|rejection| {
        Error::new(
            rejection.status().as_u16(),
            "invalid_request_error",
            "The body could not be read.",
        )
    })?;
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !body.is_empty() && !kind.starts_with(b"application/x-www-form-urlencoded") {
        let message = "The body must be application/x-www-form-urlencoded.";
        return Err(Error::new(415, "invalid_request_error", message));
    }
    Params::parse(&body)
}

fn call(
    headers: &HeaderMap,
    route: &str,
    params: Params,
    parse: impl FnOnce(Params) -> Result<Command, Error>,
) -> Result<Call, Error> {
    let key = headers
        .get(IDEMPOTENCY_KEY)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !(1..=KEY_LENGTH_MAX).contains(&key.len()) {
        // Stripe would do without; here a forgotten key is a mistake that must not go unseen.
        let message = "An Idempotency-Key of 1 to 255 visible ASCII characters is required.";
        return Err(Error::invalid("idempotency_key_required", "Idempotency-Key", message));
    }
    let fingerprint = params.fingerprint(route);
    Ok(Call {
        key: key.to_owned(),
        fingerprint,
        command: parse(params)?,
    })
}

fn reply(verdict: Verdict) -> Answered {
    let (answer, replayed) = match verdict {
        Verdict::New(settled) => {
            let outcome = settled.outcome.clone();
            (
                Answer {
                    payment: settled.payment.clone(),
                    outcome,
                },
                false,
            )
        }
        Verdict::Replayed(answer) => (answer, true),
        Verdict::KeyReused => return Err(Error::key_reused()),
        Verdict::NoSuchPayment => return Err(Error::missing("payment_intent", "intent")),
    };
    let mut response = match wire::answer(&answer) {
        Ok(value) => json_response(StatusCode::OK, &value),
        Err(error) => error.into_response(),
    };
    if replayed {
        response
            .headers_mut()
            .insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).expect("statuses are written in this crate");
        json_response(status, &json!({"error": self.error}))
    }
}

impl From<Closed> for Error {
    fn from(_: Closed) -> Error {
        Error::new(503, "api_error", "The ledger cannot be written at the moment.")
    }
}
