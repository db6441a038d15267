//! What a customer may ask about a basket and a payment.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use mesh_contracts::id::OrderId;
use mesh_contracts::user::Role;
use mesh_identity::Caller;
use mesh_identity::peer::{self, GATEWAY};
use mesh_projection::control;
use mesh_projection::freshness::Fresh;
use mesh_runtime::extract::Path;
use mesh_runtime::{Problem, server};

use crate::App;
use crate::projector::{Baskets, Payments};
use crate::view;

/// Who has views built anew: the command line.
const OPERATORS: &[&str] = &["tiffin"];

/// Everything this service answers.
pub fn router(app: Arc<App>) -> Router {
    let people = Router::new()
        .route("/basket", get(basket))
        .route("/orders/{id}/payment", get(payment))
        .layer(peer::allow(&[GATEWAY]));
    let operators = control::routes(app.projection.clone()).layer(peer::allow(OPERATORS));
    server::with_layers(people.merge(operators).with_state(app))
}

async fn basket(State(app): State<Arc<App>>, caller: Caller, fresh: Fresh) -> Result<Response, Problem> {
    caller.require(Role::Customer)?;
    let id = caller.subject.basket().to_string();
    let read = app.projection.get::<Baskets>(&id).await?;
    let (version, basket) = read.map_or((0, view::empty()), |read| (read.version, read.doc));
    // Every change of a basket matters to whoever checks it out.
    Ok(fresh.answer(&format!("{version}.{version}"), &basket))
}

async fn payment(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(order): Path<OrderId>,
    fresh: Fresh,
) -> Result<Response, Problem> {
    caller.require_any(&[Role::Customer, Role::Operator])?;
    let read = app.projection.get::<Payments>(&order.payment().to_string()).await?;
    let read = read
        .filter(|read| caller.role == Role::Operator || read.doc.customer == caller.subject)
        .ok_or_else(Problem::not_found)?;
    let tag = format!("{}.{}", read.version, read.doc.status_version);
    Ok(fresh.answer(&tag, &view::Payment::from(read.doc)))
}
