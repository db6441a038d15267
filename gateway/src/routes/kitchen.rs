//! Tickets, stock and the state of a food point.

use axum::extract::State;
use axum::response::IntoResponse;
use futures::FutureExt as _;
use mesh_contracts::api::{
    Accept, ChangePoint, Collect, Nothing, Receipt, StockAmount, StockSettings, StockWaste, WithReason,
};
use mesh_contracts::id::{FoodPointId, IngredientId, OrderId};
use mesh_runtime::extract::{Path, Query};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{KITCHEN, KITCHEN_OR_OPERATOR};
use crate::ask::{Ask, Tell};
use crate::door::only;
use crate::shapes::{Guarded, OrderPage, PageQuery, Resume};
use crate::{Answer, App, limits, live};

pub(super) fn routes(app: &App) -> OpenApiRouter<App> {
    let kitchens = OpenApiRouter::new()
        .routes(routes!(accept_ticket))
        .routes(routes!(reject_ticket))
        .routes(routes!(start_cooking))
        .routes(routes!(mark_ready))
        .routes(routes!(stop_cooking))
        .routes(routes!(collect));
    let with_operators = OpenApiRouter::new()
        .routes(routes!(tickets))
        .routes(routes!(point_live))
        .routes(routes!(change_point))
        .routes(routes!(receive_stock))
        .routes(routes!(count_stock))
        .routes(routes!(waste_stock))
        .routes(routes!(mark_gone))
        .routes(routes!(mark_back))
        .routes(routes!(change_stock_settings));
    only(KITCHEN, app, kitchens).merge(only(KITCHEN_OR_OPERATOR, app, with_operators))
}

/// The open tickets of a food point
#[utoipa::path(get, path = "/food-points/{id}/tickets", tag = "kitchen",
    params(("id" = FoodPointId, Path, description = "The food point."), PageQuery),
    responses((status = 200, description = "A page.", body = OrderPage)))]
async fn tickets(State(app): State<App>, _: Path<FoodPointId>, _: Query<PageQuery>, ask: Ask) -> Answer {
    app.services.order_info.forward(ask).await
}

/// Follow the tickets of a food point
#[utoipa::path(get, path = "/food-points/{id}/live", tag = "kitchen",
    params(("id" = FoodPointId, Path, description = "The food point."), Resume),
    responses((status = 200, description = "A snapshot, then every event.", body = String, content_type = "text/event-stream")))]
async fn point_live(State(app): State<App>, _: Path<FoodPointId>, ask: Ask) -> Answer {
    live::follow(&app, &app.services.order_info, ask).await
}

/// Accept a ticket
#[utoipa::path(post, path = "/orders/{id}/accept", tag = "kitchen",
    params(("id" = OrderId, Path, description = "The order."), Guarded), request_body = Accept,
    responses((status = 200, description = "Accepted.", body = Receipt)))]
async fn accept_ticket(State(app): State<App>, _: Path<OrderId>, tell: Tell<Accept>) -> Answer {
    app.services.order_master.forward(tell.ask).await
}

/// Reject a ticket
#[utoipa::path(post, path = "/orders/{id}/reject", tag = "kitchen",
    params(("id" = OrderId, Path, description = "The order."), Guarded), request_body = WithReason,
    responses((status = 200, description = "Rejected; another kitchen is asked.", body = Receipt)))]
async fn reject_ticket(State(app): State<App>, _: Path<OrderId>, tell: Tell<WithReason>) -> Answer {
    app.services.order_master.forward(tell.ask).await
}

/// Say that cooking has begun
#[utoipa::path(post, path = "/orders/{id}/start", tag = "kitchen",
    params(("id" = OrderId, Path, description = "The order."), Guarded), request_body = Nothing,
    responses((status = 200, description = "Noted.", body = Receipt)))]
async fn start_cooking(State(app): State<App>, _: Path<OrderId>, tell: Tell<Nothing>) -> Answer {
    app.services.order_master.forward(tell.ask).await
}

/// Say that the food is ready
#[utoipa::path(post, path = "/orders/{id}/ready", tag = "kitchen",
    params(("id" = OrderId, Path, description = "The order."), Guarded), request_body = Nothing,
    responses((status = 200, description = "Ready.", body = Receipt)))]
async fn mark_ready(State(app): State<App>, _: Path<OrderId>, tell: Tell<Nothing>) -> Answer {
    app.services.order_master.forward(tell.ask).await
}

/// Say that one cannot cook what one had accepted
#[utoipa::path(post, path = "/orders/{id}/stop", tag = "kitchen",
    params(("id" = OrderId, Path, description = "The order."), Guarded), request_body = WithReason,
    responses((status = 200, description = "Another kitchen is asked; if none is left, the order has ended.", body = Receipt)))]
async fn stop_cooking(State(app): State<App>, _: Path<OrderId>, tell: Tell<WithReason>) -> Answer {
    app.services.order_master.forward(tell.ask).await
}

/// Hand a pick-up order over at the counter, with the customer's PIN
#[utoipa::path(post, path = "/orders/{id}/collect", tag = "kitchen",
    params(("id" = OrderId, Path, description = "The order."), Guarded), request_body = Collect,
    responses((status = 200, description = "Collected.", body = Receipt)))]
async fn collect(State(app): State<App>, Path(id): Path<OrderId>, tell: Tell<Collect>) -> Answer {
    let guesser = limits::guesser(tell.ask.person()?.caller.subject, id.uuid());
    let collected = app
        .services
        .order_master
        .forward(tell.ask)
        .map(IntoResponse::into_response);
    Ok(app.limits.pins.pass(guesser, collected).await)
}

/// Open, close or describe a food point anew
#[utoipa::path(patch, path = "/food-points/{id}", tag = "kitchen",
    params(("id" = FoodPointId, Path, description = "The food point."), Guarded), request_body = ChangePoint,
    responses((status = 200, description = "Changed.", body = Receipt)))]
async fn change_point(State(app): State<App>, _: Path<FoodPointId>, tell: Tell<ChangePoint>) -> Answer {
    app.services.point_master.forward(tell.ask).await
}

/// Take delivery of an ingredient
#[utoipa::path(post, path = "/food-points/{id}/stock/{ingredient_id}/receive", tag = "kitchen",
    params(
        ("id" = FoodPointId, Path, description = "The food point."),
        ("ingredient_id" = IngredientId, Path, description = "The ingredient."),
    ), request_body = StockAmount,
    responses((status = 200, description = "Received.", body = Receipt)))]
async fn receive_stock(
    State(app): State<App>,
    _: Path<(FoodPointId, IngredientId)>,
    tell: Tell<StockAmount>,
) -> Answer {
    app.services.point_master.forward(tell.ask).await
}

/// Say how much of an ingredient there really is
#[utoipa::path(post, path = "/food-points/{id}/stock/{ingredient_id}/count", tag = "kitchen",
    params(
        ("id" = FoodPointId, Path, description = "The food point."),
        ("ingredient_id" = IngredientId, Path, description = "The ingredient."),
    ), request_body = StockAmount,
    responses((status = 200, description = "Counted.", body = Receipt)))]
async fn count_stock(State(app): State<App>, _: Path<(FoodPointId, IngredientId)>, tell: Tell<StockAmount>) -> Answer {
    app.services.point_master.forward(tell.ask).await
}

/// Throw some of an ingredient away
#[utoipa::path(post, path = "/food-points/{id}/stock/{ingredient_id}/waste", tag = "kitchen",
    params(
        ("id" = FoodPointId, Path, description = "The food point."),
        ("ingredient_id" = IngredientId, Path, description = "The ingredient."),
    ), request_body = StockWaste,
    responses((status = 200, description = "Booked as wasted.", body = Receipt)))]
async fn waste_stock(State(app): State<App>, _: Path<(FoodPointId, IngredientId)>, tell: Tell<StockWaste>) -> Answer {
    app.services.point_master.forward(tell.ask).await
}

/// Say that an ingredient is gone
#[utoipa::path(post, path = "/food-points/{id}/stock/{ingredient_id}/gone", tag = "kitchen",
    params(
        ("id" = FoodPointId, Path, description = "The food point."),
        ("ingredient_id" = IngredientId, Path, description = "The ingredient."),
    ), request_body = Nothing,
    responses((status = 200, description = "Noted.", body = Receipt)))]
async fn mark_gone(State(app): State<App>, _: Path<(FoodPointId, IngredientId)>, tell: Tell<Nothing>) -> Answer {
    app.services.point_master.forward(tell.ask).await
}

/// Say that an ingredient is there again, and how much of it
#[utoipa::path(post, path = "/food-points/{id}/stock/{ingredient_id}/back", tag = "kitchen",
    params(
        ("id" = FoodPointId, Path, description = "The food point."),
        ("ingredient_id" = IngredientId, Path, description = "The ingredient."),
    ), request_body = StockAmount,
    responses((status = 200, description = "On the menu again.", body = Receipt)))]
async fn mark_back(State(app): State<App>, _: Path<(FoodPointId, IngredientId)>, tell: Tell<StockAmount>) -> Answer {
    app.services.point_master.forward(tell.ask).await
}

/// Say from how much on an ingredient is low
#[utoipa::path(put, path = "/food-points/{id}/stock/{ingredient_id}/settings", tag = "kitchen",
    params(
        ("id" = FoodPointId, Path, description = "The food point."),
        ("ingredient_id" = IngredientId, Path, description = "The ingredient."),
    ), request_body = StockSettings,
    responses((status = 200, description = "Noted.", body = Receipt)))]
async fn change_stock_settings(
    State(app): State<App>,
    _: Path<(FoodPointId, IngredientId)>,
    tell: Tell<StockSettings>,
) -> Answer {
    app.services.point_master.forward(tell.ask).await
}
