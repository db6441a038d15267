//! Shifts, positions and deliveries.

use axum::extract::State;
use axum::response::IntoResponse;
use futures::FutureExt as _;
use mesh_contracts::api::{Deliver, Fail, Nothing, Position, Receipt, Shift};
use mesh_contracts::id::DeliveryId;
use mesh_runtime::extract::{Path, Query};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::COURIER;
use crate::ask::{Ask, Tell};
use crate::door::only;
use crate::shapes::{Guarded, JobPage, PageQuery, Resume};
use crate::{Answer, App, jobs, limits, live};

pub(super) fn routes(app: &App) -> OpenApiRouter<App> {
    let couriers = OpenApiRouter::new()
        .routes(routes!(set_shift))
        .routes(routes!(set_position))
        .routes(routes!(my_jobs))
        .routes(routes!(courier_live))
        .routes(routes!(accept_delivery))
        .routes(routes!(decline_delivery))
        .routes(routes!(drop_delivery))
        .routes(routes!(pick_up))
        .routes(routes!(deliver))
        .routes(routes!(fail_delivery));
    only(COURIER, app, couriers)
}

/// Come on shift, or go
#[utoipa::path(put, path = "/couriers/me/shift", tag = "courier", request_body = Shift,
    responses((status = 200, description = "Noted.", body = Receipt)))]
async fn set_shift(State(app): State<App>, tell: Tell<Shift>) -> Answer {
    app.services.courier_master.forward(tell.ask).await
}

/// Say where one is
#[utoipa::path(put, path = "/couriers/me/position", tag = "courier", request_body = Position,
    responses((status = 204, description = "Noted, and kept nowhere.")))]
async fn set_position(State(app): State<App>, tell: Tell<Position>) -> Answer {
    app.services.courier_master.forward(tell.ask).await
}

/// What is offered to one and what one has, with the addresses of the latter
#[utoipa::path(get, path = "/couriers/me/jobs", tag = "courier", params(PageQuery),
    responses((status = 200, description = "A page.", body = JobPage)))]
async fn my_jobs(State(app): State<App>, _: Query<PageQuery>, ask: Ask) -> Answer {
    jobs::mine(&app, ask).await
}

/// Follow one's jobs
#[utoipa::path(get, path = "/couriers/me/live", tag = "courier", params(Resume),
    responses((status = 200, description = "A snapshot, then every event.", body = String, content_type = "text/event-stream")))]
async fn courier_live(State(app): State<App>, ask: Ask) -> Answer {
    live::follow(&app, &app.services.order_info, ask).await
}

/// Take an offered delivery
#[utoipa::path(post, path = "/deliveries/{id}/accept", tag = "courier",
    params(("id" = DeliveryId, Path, description = "The delivery."), Guarded), request_body = Nothing,
    responses((status = 200, description = "Assigned.", body = Receipt)))]
async fn accept_delivery(State(app): State<App>, _: Path<DeliveryId>, tell: Tell<Nothing>) -> Answer {
    app.services.courier_master.forward(tell.ask).await
}

/// Leave an offered delivery to others
#[utoipa::path(post, path = "/deliveries/{id}/decline", tag = "courier",
    params(("id" = DeliveryId, Path, description = "The delivery."), Guarded), request_body = Nothing,
    responses((status = 200, description = "Declined.", body = Receipt)))]
async fn decline_delivery(State(app): State<App>, _: Path<DeliveryId>, tell: Tell<Nothing>) -> Answer {
    app.services.courier_master.forward(tell.ask).await
}

/// Give a delivery back before picking it up
#[utoipa::path(post, path = "/deliveries/{id}/drop", tag = "courier",
    params(("id" = DeliveryId, Path, description = "The delivery."), Guarded), request_body = Nothing,
    responses((status = 200, description = "Given back.", body = Receipt)))]
async fn drop_delivery(State(app): State<App>, _: Path<DeliveryId>, tell: Tell<Nothing>) -> Answer {
    app.services.courier_master.forward(tell.ask).await
}

/// Pick a delivery up at the food point
#[utoipa::path(post, path = "/deliveries/{id}/pick-up", tag = "courier",
    params(("id" = DeliveryId, Path, description = "The delivery."), Guarded), request_body = Nothing,
    responses((status = 200, description = "On its way.", body = Receipt)))]
async fn pick_up(State(app): State<App>, _: Path<DeliveryId>, tell: Tell<Nothing>) -> Answer {
    app.services.courier_master.forward(tell.ask).await
}

/// Hand a delivery over, with a proof
#[utoipa::path(post, path = "/deliveries/{id}/deliver", tag = "courier",
    params(("id" = DeliveryId, Path, description = "The delivery."), Guarded), request_body = Deliver,
    responses((status = 200, description = "Delivered.", body = Receipt)))]
async fn deliver(State(app): State<App>, Path(id): Path<DeliveryId>, tell: Tell<Deliver>) -> Answer {
    let guesser = limits::guesser(tell.ask.person()?.caller.subject, id.uuid());
    let delivered = app
        .services
        .courier_master
        .forward(tell.ask)
        .map(IntoResponse::into_response);
    Ok(app.limits.pins.pass(guesser, delivered).await)
}

/// Report that a delivery could not be handed over
#[utoipa::path(post, path = "/deliveries/{id}/fail", tag = "courier",
    params(("id" = DeliveryId, Path, description = "The delivery."), Guarded), request_body = Fail,
    responses((status = 200, description = "Noted.", body = Receipt)))]
async fn fail_delivery(State(app): State<App>, _: Path<DeliveryId>, tell: Tell<Fail>) -> Answer {
    app.services.courier_master.forward(tell.ask).await
}
