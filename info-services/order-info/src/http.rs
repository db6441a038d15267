//! What customers, kitchens, couriers and operators may ask.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::HeaderMap;
use mesh_contracts::api::HistoryEntry;
use mesh_contracts::id::{DeliveryId, FoodPointId, OrderId};
use mesh_contracts::order::Status;
use mesh_contracts::user::Role;
use mesh_identity::Caller;
use mesh_identity::peer::{self, GATEWAY};
use mesh_projection::control;
use mesh_projection::freshness::Fresh;
use mesh_projection::{Live, RESUME_HEADER, Read, View};
use mesh_runtime::extract::{Path, Query};
use mesh_runtime::json::Json;
use mesh_runtime::{Problem, server};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::App;
use crate::past::AsOf;
use crate::projector::{
    COURIER, CUSTOMER, Couriers, Deliveries, Kitchens, OrderDocument, Orders, POINT, STATUS, topic,
};
use crate::view::{self, ActiveCourier, Listed};

/// Documents on one page of a list unless asked otherwise: a screenful.
const PAGE_DEFAULT: usize = 20;
/// And at most; a page of orders stays below half a megabyte.
const PAGE_MAX: usize = 100;

/// Who has views built anew: the command line.
const OPERATORS: &[&str] = &["tiffin"];
/// An operator's screen must say within five seconds that it is not live any more, so silence is shorter there.
const OPS_HEARTBEAT_PERIOD: Duration = Duration::from_secs(2);

/// Everything this service answers.
pub fn router(app: Arc<App>) -> Router {
    let people = Router::new()
        .route("/orders", get(orders))
        .route("/orders/{id}", get(order))
        .route("/orders/{id}/history", get(history))
        .route("/orders/{id}/live", get(order_live))
        .route("/food-points/{id}/tickets", get(tickets))
        .route("/food-points/{id}/live", get(point_live))
        .route("/couriers/me/jobs", get(jobs))
        .route("/couriers/me/live", get(courier_live))
        .route("/ops/live", get(ops_live))
        .layer(peer::allow(&[GATEWAY]));
    let services = Router::new()
        .route("/deliveries/{id}/active-courier", get(active_courier))
        .layer(peer::allow(&["user-info"]));
    let operators = control::routes(app.projection.clone()).layer(peer::allow(OPERATORS));
    server::with_layers(people.merge(services).merge(operators).with_state(app))
}

/// Which part of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    cursor: Option<String>,
    #[serde(default = "page_default")]
    limit: usize,
}

fn page_default() -> usize {
    PAGE_DEFAULT
}

async fn orders(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(part): Query<Part>,
    _: Fresh,
) -> Result<Json<Listed>, Problem> {
    caller.require(Role::Customer)?;
    let customer = caller.subject.to_string();
    let show = |read: Read<OrderDocument>| view::order(&read.doc, &caller, &app.signer);
    app.list::<Orders>(CUSTOMER, &customer, part, show).await
}

async fn order(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<OrderId>,
    AsOf(as_of): AsOf,
    fresh: Fresh,
) -> Result<Response, Problem> {
    let read = app.order_for(&caller, id).await?;
    let Some(at) = as_of else {
        let tag = format!("{}.{}", read.version, read.doc.order.status_version);
        return Ok(fresh.answer(&tag, &view::order(&read.doc, &caller, &app.signer)));
    };
    let past = app.order_as_of(&read.doc, at).await?;
    let tag = format!("{}.{}", past.order.version, past.order.status_version);
    Ok(fresh.answer(&tag, &view::past_order(&past, &caller)))
}

async fn history(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<OrderId>,
    AsOf(as_of): AsOf,
    _: Fresh,
) -> Result<Json<Vec<HistoryEntry>>, Problem> {
    let read = app.order_for(&caller, id).await?;
    let events = app.events(&read.doc, as_of).await?;
    Ok(Json(view::history(events, &read.doc, &caller)))
}

async fn order_live(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<OrderId>,
    _: Fresh,
) -> Result<Response, Problem> {
    app.order_for(&caller, id).await?;
    app.live_orders(topic::order(id), &headers, caller).await
}

async fn tickets(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<FoodPointId>,
    Query(part): Query<Part>,
    _: Fresh,
) -> Result<Json<Listed>, Problem> {
    must_run(&caller, id)?;
    let show = |read: Read<OrderDocument>| view::order(&read.doc, &caller, &app.signer);
    app.list::<Orders>(POINT, &id.to_string(), part, show).await
}

async fn point_live(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<FoodPointId>,
    _: Fresh,
) -> Result<Response, Problem> {
    must_run(&caller, id)?;
    app.live_orders(topic::point(id), &headers, caller).await
}

async fn jobs(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(part): Query<Part>,
    _: Fresh,
) -> Result<Json<Listed>, Problem> {
    caller.require(Role::Courier)?;
    let courier = caller.subject.courier().to_string();
    app.list::<Deliveries>(COURIER, &courier, part, |read| view::job(&read))
        .await
}

async fn courier_live(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    _: Fresh,
) -> Result<Response, Problem> {
    caller.require(Role::Courier)?;
    let topic = topic::courier(caller.subject.courier());
    let live = app
        .projection
        .live(topic)
        .showing::<Deliveries>(|read| view::job(&read));
    app.open(live, &headers).await
}

async fn ops_live(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    _: Fresh,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let open = Status::ALL.into_iter().filter(|status| !status.is_terminal());
    let live = app
        .projection
        .live(topic::OPS)
        .calling("change")
        .beating(OPS_HEARTBEAT_PERIOD)
        .counting::<Orders>(STATUS, open.map(Status::as_str))
        .showing::<Kitchens>(|read| view::kitchen(&read))
        .showing::<Couriers>(|read| view::courier(&read));
    app.open(live, &headers).await
}

async fn active_courier(
    State(app): State<Arc<App>>,
    Path(id): Path<DeliveryId>,
) -> Result<Json<ActiveCourier>, Problem> {
    let read = app.projection.get::<Deliveries>(&id.to_string()).await?;
    let read = read.ok_or_else(Problem::not_found)?;
    Ok(Json(ActiveCourier::from(&read.doc)))
}

impl App {
    /// The order, if it is the caller's business.
    async fn order_for(&self, caller: &Caller, id: OrderId) -> Result<Read<OrderDocument>, Problem> {
        let read = self.projection.get::<Orders>(&id.to_string()).await?;
        let read = read.filter(|read| view::concerns(&read.doc, caller));
        read.ok_or_else(Problem::not_found)
    }

    async fn list<V: View>(
        &self,
        index: &str,
        value: &str,
        part: Part,
        show: impl Fn(Read<V::Doc>) -> Box<RawValue>,
    ) -> Result<Json<Listed>, Problem> {
        if !(1..=PAGE_MAX).contains(&part.limit) {
            let problem = Problem::bad_request("the query is not valid");
            return Err(problem.field("limit", format!("must be from 1 to {PAGE_MAX}")));
        }
        let cursor = part.cursor.as_deref();
        let page = self.projection.list::<V>(index, value, cursor, part.limit).await?;
        Ok(Json(view::page(page, show)))
    }

    async fn live_orders(&self, topic: String, headers: &HeaderMap, caller: Caller) -> Result<Response, Problem> {
        let signer = self.signer.clone();
        let role = caller.role;
        let show = move |read: Read<OrderDocument>| view::order(&read.doc, &caller, &signer);
        let live = self.projection.live(topic).showing::<Orders>(show);
        let live = match role {
            Role::Operator => live,
            Role::Customer | Role::Kitchen | Role::Courier => live.editing(move |data| view::event(data, role)),
        };
        self.open(live, headers).await
    }

    async fn open(&self, live: Live, headers: &HeaderMap) -> Result<Response, Problem> {
        let seen = headers.get(RESUME_HEADER).and_then(|seen| seen.to_str().ok());
        Ok(live.open(seen, self.shutdown.clone()).await?)
    }
}

/// Operators run every point, its own staff runs one; that of another point does not exist for them.
fn must_run(caller: &Caller, id: FoodPointId) -> Result<(), Problem> {
    match caller.role {
        Role::Operator => Ok(()),
        Role::Kitchen if caller.works_at(&id) => Ok(()),
        Role::Kitchen => Err(Problem::not_found()),
        Role::Customer | Role::Courier => Err(Problem::forbidden()),
    }
}
