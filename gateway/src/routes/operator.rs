//! The chain itself: products, promotions, food points, couriers, staff; and the last word on an order.

use axum::extract::State;
use mesh_contracts::api::{HandOver, Nothing, Override, Receipt, RegisterStaff, Registered, SigningKey};
use mesh_contracts::id::{CourierId, DeliveryId, FoodPointId, OrderId, ProductId, PromotionId};
use mesh_contracts::menu::Product;
use mesh_contracts::point::Settings;
use mesh_contracts::promotion::Promotion;
use mesh_runtime::extract::{Path, Query};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::OPERATOR;
use super::account::PASSWORD_TIMEOUT;
use crate::ask::{Ask, Tell};
use crate::door::only;
use crate::shapes::{Guarded, ProductState, PromotionList, PromotionState, PromotionsQuery, Resume};
use crate::{Answer, App, live};

pub(super) fn routes(app: &App) -> OpenApiRouter<App> {
    let operators = OpenApiRouter::new()
        .routes(routes!(create_product))
        .routes(routes!(product, change_product, retire_product))
        .routes(routes!(create_promotion, promotions))
        .routes(routes!(promotion, change_promotion, end_promotion))
        .routes(routes!(create_point))
        .routes(routes!(register_staff))
        .routes(routes!(register_courier))
        .routes(routes!(courier))
        .routes(routes!(ops_live))
        .routes(routes!(signing_keys))
        .routes(routes!(retire_key))
        .routes(routes!(withdraw_key))
        .routes(routes!(override_order))
        .routes(routes!(hand_over));
    only(OPERATOR, app, operators)
}

/// Add a product to the menu
#[utoipa::path(post, path = "/products", tag = "operator", request_body = Product,
    responses((status = 201, description = "Created.", body = Receipt)))]
async fn create_product(State(app): State<App>, tell: Tell<Product>) -> Answer {
    app.services.menu_master.forward(tell.ask).await
}

/// A product as it was made, retired or not
#[utoipa::path(get, path = "/products/{id}", tag = "operator",
    params(("id" = ProductId, Path, description = "The product.")),
    responses((status = 200, description = "The product.", body = ProductState)))]
async fn product(State(app): State<App>, _: Path<ProductId>, ask: Ask) -> Answer {
    app.services.menu_info.forward(ask).await
}

/// Describe a product anew
#[utoipa::path(patch, path = "/products/{id}", tag = "operator",
    params(("id" = ProductId, Path, description = "The product."), Guarded), request_body = Product,
    responses((status = 200, description = "Changed.", body = Receipt)))]
async fn change_product(State(app): State<App>, _: Path<ProductId>, tell: Tell<Product>) -> Answer {
    app.services.menu_master.forward(tell.ask).await
}

/// Take a product off the menu
#[utoipa::path(delete, path = "/products/{id}", tag = "operator",
    params(("id" = ProductId, Path, description = "The product."), Guarded),
    responses((status = 200, description = "Retired.", body = Receipt)))]
async fn retire_product(State(app): State<App>, _: Path<ProductId>, ask: Ask) -> Answer {
    app.services.menu_master.forward(ask).await
}

/// Announce a promotion, of the chain or of one food point
#[utoipa::path(post, path = "/promotions", tag = "operator", request_body = Promotion,
    responses((status = 201, description = "Created; it applies when its time comes.", body = Receipt)))]
async fn create_promotion(State(app): State<App>, tell: Tell<Promotion>) -> Answer {
    app.services.menu_master.forward(tell.ask).await
}

/// The promotions of a country that are on or to come
#[utoipa::path(get, path = "/promotions", tag = "operator", params(PromotionsQuery),
    responses((status = 200, description = "In the order they were made.", body = PromotionList)))]
async fn promotions(State(app): State<App>, _: Query<PromotionsQuery>, ask: Ask) -> Answer {
    app.services.menu_info.forward(ask).await
}

/// A promotion, over or not
#[utoipa::path(get, path = "/promotions/{id}", tag = "operator",
    params(("id" = PromotionId, Path, description = "The promotion.")),
    responses((status = 200, description = "The promotion.", body = PromotionState)))]
async fn promotion(State(app): State<App>, _: Path<PromotionId>, ask: Ask) -> Answer {
    app.services.menu_info.forward(ask).await
}

/// Describe a promotion anew
#[utoipa::path(patch, path = "/promotions/{id}", tag = "operator",
    params(("id" = PromotionId, Path, description = "The promotion."), Guarded), request_body = Promotion,
    responses((status = 200, description = "Changed.", body = Receipt)))]
async fn change_promotion(State(app): State<App>, _: Path<PromotionId>, tell: Tell<Promotion>) -> Answer {
    app.services.menu_master.forward(tell.ask).await
}

/// End a promotion before its time
#[utoipa::path(delete, path = "/promotions/{id}", tag = "operator",
    params(("id" = PromotionId, Path, description = "The promotion."), Guarded),
    responses((status = 200, description = "Ended; what was checked out with it stays.", body = Receipt)))]
async fn end_promotion(State(app): State<App>, _: Path<PromotionId>, ask: Ask) -> Answer {
    app.services.menu_master.forward(ask).await
}

/// Open a food point
#[utoipa::path(post, path = "/food-points", tag = "operator", request_body = Settings,
    responses((status = 201, description = "Created.", body = Receipt)))]
async fn create_point(State(app): State<App>, tell: Tell<Settings>) -> Answer {
    app.services.point_master.forward(tell.ask).await
}

/// Open an account for kitchen staff
#[utoipa::path(post, path = "/food-points/{id}/staff", tag = "operator",
    params(("id" = FoodPointId, Path, description = "The food point.")), request_body = RegisterStaff,
    responses((status = 201, description = "Registered.", body = Registered)))]
async fn register_staff(State(app): State<App>, _: Path<FoodPointId>, tell: Tell<RegisterStaff>) -> Answer {
    app.services
        .user_master
        .forward_within(tell.ask, PASSWORD_TIMEOUT)
        .await
}

/// Open an account for a courier
#[utoipa::path(post, path = "/couriers", tag = "operator", request_body = RegisterStaff,
    responses((status = 201, description = "Registered.", body = Registered)))]
async fn register_courier(State(app): State<App>, tell: Tell<RegisterStaff>) -> Answer {
    app.services
        .user_master
        .forward_within(tell.ask, PASSWORD_TIMEOUT)
        .await
}

/// A courier as others may see them
#[utoipa::path(get, path = "/couriers/{id}", tag = "operator",
    params(("id" = CourierId, Path, description = "The courier.")),
    responses((status = 200, description = "The courier.", body = Object)))]
async fn courier(State(app): State<App>, _: Path<CourierId>, ask: Ask) -> Answer {
    app.services.user_info.forward(ask).await
}

/// Follow the board: orders by status, food points, couriers, and how far readers are behind
///
/// `snapshot` gives all of it, `change` what was and is; `positions` and `health` have no id, since nobody misses them.
/// A sign of life comes every 2 s.
#[utoipa::path(get, path = "/ops/live", tag = "operator", params(Resume),
    responses((status = 200, description = "A snapshot, then every change.", body = String, content_type = "text/event-stream")))]
async fn ops_live(State(app): State<App>, ask: Ask) -> Answer {
    live::follow(&app, &app.services.order_info, ask).await
}

/// The keys that sign access tokens
#[utoipa::path(get, path = "/ops/signing-keys", tag = "operator",
    responses((status = 200, description = "The one that signs next first.", body = Vec<SigningKey>)))]
async fn signing_keys(State(app): State<App>, ask: Ask) -> Answer {
    app.services.user_master.forward(ask).await
}

/// Let the next key sign instead of this one
///
/// At once if it has been published for long enough to be known everywhere, else as soon as it has.
#[utoipa::path(post, path = "/ops/signing-keys/{id}/retire", tag = "operator",
    params(("id" = String, Path, description = "The `kid` of the key that signs.")), request_body = Nothing,
    responses((status = 200, description = "All keys as they are now.", body = Vec<SigningKey>)))]
async fn retire_key(State(app): State<App>, _: Path<String>, tell: Tell<Nothing>) -> Answer {
    app.services.user_master.forward(tell.ask).await
}

/// Take a key away at once, since somebody else may have it
///
/// The gateway refuses what it signed within a minute; its owners come in again with their refresh tokens.
#[utoipa::path(delete, path = "/ops/signing-keys/{id}", tag = "operator",
    params(("id" = String, Path, description = "The `kid` of any key.")),
    responses((status = 200, description = "All keys as they are now.", body = Vec<SigningKey>)))]
async fn withdraw_key(State(app): State<App>, _: Path<String>, ask: Ask) -> Answer {
    app.services.user_master.forward(ask).await
}

/// End an order, whatever its state
#[utoipa::path(post, path = "/orders/{id}/override", tag = "operator",
    params(("id" = OrderId, Path, description = "The order."), Guarded), request_body = Override,
    responses((status = 200, description = "Ended, with every compensation due.", body = Receipt)))]
async fn override_order(State(app): State<App>, _: Path<OrderId>, tell: Tell<Override>) -> Answer {
    app.services.order_master.forward(tell.ask).await
}

/// Ask another courier to go on with a delivery
#[utoipa::path(post, path = "/deliveries/{id}/hand-over", tag = "operator",
    params(("id" = DeliveryId, Path, description = "The delivery."), Guarded), request_body = HandOver,
    responses((status = 200, description = "Asked; it stays with the first until the other one accepts.", body = Receipt)))]
async fn hand_over(State(app): State<App>, _: Path<DeliveryId>, tell: Tell<HandOver>) -> Answer {
    app.services.courier_master.forward(tell.ask).await
}
