//! What people may ask about themselves, operators about couriers, and a courier about the way to the door.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use mesh_contracts::api::StoredAddress;
use mesh_contracts::id::{CourierId, DeliveryId};
use mesh_contracts::user::Role;
use mesh_identity::Caller;
use mesh_identity::peer::{self, GATEWAY};
use mesh_projection::control;
use mesh_projection::freshness::Fresh;
use mesh_runtime::extract::Path;
use mesh_runtime::json::Json;
use mesh_runtime::{Problem, server};

use crate::App;
use crate::error::Error;
use crate::projector::{Couriers, Deliveries};
use crate::view::Courier;

/// Who has views built anew: the command line.
const OPERATORS: &[&str] = &["tiffin"];

/// Everything this service answers.
pub fn router(app: Arc<App>) -> Router {
    let people = Router::new()
        .route("/me", get(me))
        .route("/couriers/{id}", get(courier))
        .route("/deliveries/{id}/address", get(address))
        .layer(peer::allow(&[GATEWAY]));
    let operators = control::routes(app.projection.clone()).layer(peer::allow(OPERATORS));
    server::with_layers(people.merge(operators).with_state(app))
}

async fn me(State(app): State<Arc<App>>, caller: Caller, fresh: Fresh) -> Result<Response, Error> {
    let kept = app.profiles.of(caller.subject).await?.ok_or_else(Problem::not_found)?;
    let tag = format!("{0}.{0}", kept.profile_version);
    Ok(fresh.answer(&tag, &kept.profile))
}

async fn courier(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<CourierId>,
    fresh: Fresh,
) -> Result<Response, Error> {
    caller.require(Role::Operator)?;
    let read = app.projection.get::<Couriers>(&id.to_string()).await?;
    let read = read.ok_or_else(Problem::not_found)?;
    let tag = format!("{}.{}", read.version, read.doc.status_version);
    let courier = read.doc;
    Ok(fresh.answer(&tag, &Courier { id, courier }))
}

/// Only while the job is the courier's: before and after, the address does not exist.
async fn address(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<DeliveryId>,
    _: Fresh,
) -> Result<Json<StoredAddress>, Error> {
    caller.require(Role::Courier)?;
    let read = app.projection.get::<Deliveries>(&id.to_string()).await?;
    let delivery = read
        .map(|read| read.doc)
        .filter(|delivery| delivery.active_courier() == Some(caller.subject.courier()))
        .ok_or_else(Problem::not_found)?;
    let kept = app.profiles.of(delivery.customer).await?;
    let address = kept.and_then(|kept| {
        let mut addresses = kept.profile.addresses;
        addresses.remove(&delivery.destination.address.to_string())
    });
    Ok(Json(address.ok_or_else(Problem::not_found)?))
}
