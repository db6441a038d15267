//! The commands of customers, kitchens and operators, and an order's history.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};
use mesh_contracts::api::{Accept, Collect, HistoryEntry, Nothing, Override, PlaceFrozen, WithReason};
use mesh_contracts::id::{FoodPointId, OrderId};
use mesh_contracts::order::{Kind, Placed, Proof};
use mesh_contracts::user::Role;
use mesh_contracts::view::order::Order;
use mesh_contracts::view::point::FoodPoint;
use mesh_eventstore::http::{IdempotencyKey, IfMatch};
use mesh_eventstore::{CommandKey, Request, feed};
use mesh_identity::Caller;
use mesh_identity::peer::{self, GATEWAY};
use mesh_runtime::extract::Path;
use mesh_runtime::json::Json;
use mesh_runtime::{Problem, server};
use serde::Serialize;

use crate::App;
use crate::domain::{self, Command, Rejection};

/// Digits of a PIN.
const PIN_CHARS: usize = 4;

/// Whoever keeps documents, reacts to our events or checks the platform may read them.
const FEED_READERS: &[&str] = &[
    "gateway",
    "basket-master",
    "menu-master",
    "point-master",
    "courier-master",
    "user-master",
    "order-info",
    "basket-info",
    "menu-info",
    "user-info",
    "tiffin",
];

/// Everything this service answers.
pub fn router(app: Arc<App>) -> Router {
    let gateway = Router::new()
        .route("/orders", post(place))
        .route("/orders/{id}/cancel", post(cancel))
        .route("/orders/{id}/override", post(end))
        .route("/orders/{id}/accept", post(accept))
        .route("/orders/{id}/reject", post(reject))
        .route("/orders/{id}/start", post(start))
        .route("/orders/{id}/ready", post(ready))
        .route("/orders/{id}/stop", post(stop))
        .route("/orders/{id}/collect", post(collect))
        .route("/orders/{id}/history", get(history))
        .layer(peer::allow(&[GATEWAY]));
    let feed = feed::routes(app.store.clone()).layer(peer::allow(FEED_READERS));
    server::with_layers(gateway.with_state(app).merge(feed))
}

async fn place(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(body): Json<PlaceFrozen>,
) -> Result<Response, Problem> {
    caller.require(Role::Customer)?;
    if body.quote.basket != caller.subject.basket() {
        return Err(Problem::not_found());
    }
    app.backlog.let_in()?;
    let key = CommandKey::with_id(body.order.uuid(), &wish(&body));
    let request = Request::command(caller.actor(), key).created().starting();
    let (id, valid_until, asked_at) = (body.order, body.quote.valid_until, app.clock.wall());
    let placed = prepare(&app, &caller, body).await?;
    let policy = app.policy.clone();
    let outcome = app.orders.submit(id, request, move |order: Option<&Order>, now| {
        if order.is_none() && asked_at > valid_until {
            return Err(Rejection::QuoteExpired);
        }
        domain::decide(order, Command::Place(Box::new(placed.clone())), now, &policy)
    });
    answer(&app, outcome.await)
}

/// What tells one wish from another. Not the place: the address may be moved on the map between
/// a request and its repetition, which still asks for the same.
fn wish(body: &PlaceFrozen) -> impl Serialize {
    let address = body.destination.map(|destination| destination.address);
    (&body.quote, body.kind, address, body.food_point)
}

async fn cancel(State(app): State<Arc<App>>, asked: Asked, Json(body): Json<WithReason>) -> Result<Response, Problem> {
    let command = match asked.caller.role {
        Role::Kitchen => Command::CancelByKitchen(body.reason),
        Role::Customer | Role::Courier | Role::Operator => {
            asked.caller.require(Role::Customer)?;
            Command::Cancel(body.reason)
        }
    };
    asked.submit(app, &body, command).await
}

async fn end(State(app): State<Arc<App>>, asked: Asked, Json(body): Json<Override>) -> Result<Response, Problem> {
    asked.caller.require(Role::Operator)?;
    asked.submit(app, &body, Command::Override(body.reason)).await
}

async fn accept(State(app): State<Arc<App>>, asked: Asked, Json(body): Json<Accept>) -> Result<Response, Problem> {
    asked.caller.require(Role::Kitchen)?;
    let command = Command::Accept {
        ready_by: body.ready_by,
    };
    asked.submit(app, &body, command).await
}

async fn reject(State(app): State<Arc<App>>, asked: Asked, Json(body): Json<WithReason>) -> Result<Response, Problem> {
    asked.caller.require(Role::Kitchen)?;
    asked.submit(app, &body, Command::RejectTicket(body.reason)).await
}

async fn start(State(app): State<Arc<App>>, asked: Asked, Json(body): Json<Nothing>) -> Result<Response, Problem> {
    asked.caller.require(Role::Kitchen)?;
    asked.submit(app, &body, Command::StartCooking).await
}

async fn ready(State(app): State<Arc<App>>, asked: Asked, Json(body): Json<Nothing>) -> Result<Response, Problem> {
    asked.caller.require(Role::Kitchen)?;
    asked.submit(app, &body, Command::MarkReady).await
}

async fn stop(State(app): State<Arc<App>>, asked: Asked, Json(body): Json<WithReason>) -> Result<Response, Problem> {
    asked.caller.require(Role::Kitchen)?;
    asked.submit(app, &body, Command::Stop(body.reason)).await
}

async fn collect(State(app): State<Arc<App>>, asked: Asked, Json(body): Json<Collect>) -> Result<Response, Problem> {
    asked.caller.require(Role::Kitchen)?;
    if body.pin.len() != PIN_CHARS || !body.pin.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::invalid().field("pin", "must be four digits"));
    }
    // A wrong PIN goes on: whether the kitchen may hear that is for the rules to say.
    let is_right = body.pin == app.signer.pin(&asked.id.to_string());
    asked
        .submit(app, &body, Command::Collect(is_right.then_some(Proof::Pin)))
        .await
}

/// The past of an order, for the gateway to look up what was placed before. People read it of order-info, which knows
/// whose it is and what they may see.
async fn history(
    State(app): State<Arc<App>>,
    Path(id): Path<OrderId>,
) -> Result<axum::Json<Vec<HistoryEntry>>, Problem> {
    let events = app
        .store
        .history(&id.to_string())
        .await
        .map_err(|err| Problem::unavailable("postgres", err))?;
    if events.is_empty() {
        return Err(Problem::not_found());
    }
    Ok(axum::Json(events.into_iter().map(HistoryEntry::from).collect()))
}

/// One person's command on one order.
struct Asked {
    id: OrderId,
    /// The last part of the path.
    verb: String,
    caller: Caller,
    key: IdempotencyKey,
    if_match: IfMatch,
}

impl FromRequestParts<Arc<App>> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let key = IdempotencyKey::from_request_parts(parts, app).await?;
        let if_match = IfMatch::from_request_parts(parts, app).await?;
        let Path(id) = Path::from_request_parts(parts, app).await?;
        let verb = parts.uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Self {
            id,
            verb,
            caller,
            key,
            if_match,
        })
    }
}

impl Asked {
    async fn submit(self, app: Arc<App>, body: &impl Serialize, command: Command) -> Result<Response, Problem> {
        let route = format!("POST /orders/{}/{}", self.id, self.verb);
        let key = CommandKey::new(&self.caller.subject.to_string(), &route, &self.key.0, body);
        let guard = self.guard(&app).await?;
        let request = Request::command(self.caller.actor(), key).if_match(guard);
        let (caller, policy) = (self.caller, app.policy.clone());
        let outcome = app.orders.submit(self.id, request, move |order: Option<&Order>, now| {
            // What is not yours does not exist.
            let order = order
                .filter(|order| concerns(order, &caller))
                .ok_or(Rejection::NoSuchOrder)?;
            domain::decide(Some(order), command.clone(), now, &policy)
        });
        answer(&app, outcome.await)
    }

    /// The status version that must still stand. The answer to a stale one tells the current state, so others than
    /// those whose business it is have no guard, and are refused by the rules.
    async fn guard(&self, app: &App) -> Result<Option<u64>, Problem> {
        if self.if_match.0.is_none() {
            return Ok(None);
        }
        let order = app.orders.load(self.id).await;
        let order = order.map_err(|err| Problem::unavailable("postgres", err))?;
        Ok(self
            .if_match
            .0
            .filter(|_| order.is_some_and(|(order, _)| concerns(&order, &self.caller))))
    }
}

/// Whether an order is this person's business.
fn concerns(order: &Order, caller: &Caller) -> bool {
    match caller.role {
        Role::Customer => order.customer == caller.subject,
        Role::Kitchen => order.food_point.is_some_and(|food_point| caller.works_at(&food_point)),
        Role::Courier => order.courier == Some(caller.subject.courier()),
        Role::Operator => true,
    }
}

/// What the order asks of a kitchen, and whom to ask.
async fn prepare(app: &App, caller: &Caller, body: PlaceFrozen) -> Result<Placed, Problem> {
    let unavailable = |err: &dyn std::error::Error| Problem::unavailable("postgres", err);
    if (body.kind == Kind::Delivery) != body.destination.is_some() {
        return Err(Problem::invalid().field("destination", "required for a delivery, and only for that"));
    }
    let products = app
        .knowledge
        .products(&body.quote.lines)
        .await
        .map_err(|err| unavailable(&err))?;
    let work = domain::work(&body.quote.lines, &products).ok_or(Rejection::UnknownProduct)?;
    let now = app.clock.now();
    let choose = |points: &[(FoodPointId, Arc<FoodPoint>)]| {
        domain::candidates(
            points.iter().map(|(id, point)| (*id, &**point)),
            &work,
            body.kind,
            body.destination.as_ref(),
            body.food_point,
            now,
            app.policy.candidates_max,
        )
    };
    let country = body.quote.country;
    let mut points = app.knowledge.points(country).await.map_err(|err| unavailable(&err))?;
    let mut candidates = choose(&points);
    if candidates.iter().all(|candidate| candidate.passed_over.is_some()) {
        points = app
            .knowledge
            .points_now(country)
            .await
            .map_err(|err| unavailable(&err))?;
        candidates = choose(&points);
    }
    if body
        .food_point
        .is_some_and(|pinned| points.iter().all(|(id, _)| *id != pinned))
    {
        return Err(Rejection::UnknownPoint.into());
    }
    Ok(Placed {
        number: body.order.number(),
        customer: caller.subject,
        kind: body.kind,
        quote: body.quote,
        destination: body.destination,
        pinned: body.food_point,
        needs: work.needs,
        prep_minutes: work.prep_minutes,
        candidates,
        pay_by: now + app.policy.payment,
    })
}

fn answer(
    app: &App,
    outcome: Result<mesh_eventstore::Outcome, mesh_eventstore::SubmitError<Rejection>>,
) -> Result<Response, Problem> {
    Ok(mesh_eventstore::http::answer(
        outcome.map_err(Problem::from)?,
        &app.signer,
    ))
}
