//! The order page, the basket, orders and their payment.

use axum::extract::State;
use mesh_contracts::api::{HistoryEntry, Payment, PlaceOrder, Receipt, SetLine, WithReason};
use mesh_contracts::id::{OrderId, ProductId};
use mesh_contracts::view::basket::Basket;
use mesh_runtime::extract::{Path, Query};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{CUSTOMER, CUSTOMER_OR_KITCHEN, CUSTOMER_OR_OPERATOR, EVERYONE};
use crate::ask::{Ask, Tell};
use crate::door::only;
use crate::home::{self, HomeQuery};
use crate::shapes::{
    AsOf, FoodPointPage, FoodPointsQuery, Guarded, HomePage, Menu, MenuQuery, OrderDocument, OrderPage, PageQuery,
    PaymentDocument, Resume,
};
use crate::{Answer, App, live, place};

pub(super) fn routes(app: &App) -> OpenApiRouter<App> {
    let customers = OpenApiRouter::new()
        .routes(routes!(home_page))
        .routes(routes!(basket))
        .routes(routes!(set_line, remove_line))
        .routes(routes!(place_order, orders))
        .routes(routes!(pay_order));
    let with_kitchens = OpenApiRouter::new().routes(routes!(cancel_order));
    let with_operators = OpenApiRouter::new().routes(routes!(payment));
    // Who of them may see which order is order-info's question.
    let everyone = OpenApiRouter::new()
        .routes(routes!(menu))
        .routes(routes!(food_points))
        .routes(routes!(order))
        .routes(routes!(order_live))
        .routes(routes!(order_history));
    only(CUSTOMER, app, customers)
        .merge(only(CUSTOMER_OR_KITCHEN, app, with_kitchens))
        .merge(only(CUSTOMER_OR_OPERATOR, app, with_operators))
        .merge(only(EVERYONE, app, everyone))
}

/// Everything the order page shows
#[utoipa::path(get, path = "/home", tag = "customer", params(HomeQuery),
    responses((status = 200, description = "Four parts; a missing one is marked.", body = HomePage)))]
async fn home_page(State(app): State<App>, Query(query): Query<HomeQuery>, ask: Ask) -> Answer {
    home::page(&app, &ask, &query).await
}

/// What is sold in a country
#[utoipa::path(get, path = "/menu", tag = "customer", params(MenuQuery),
    responses((status = 200, description = "Products with price, names, allergens and availability.", body = Menu)))]
async fn menu(State(app): State<App>, _: Query<MenuQuery>, ask: Ask) -> Answer {
    app.services.menu_info.forward(ask).await
}

/// Where it is sold, nearest first if a place is given
#[utoipa::path(get, path = "/food-points", tag = "customer", params(FoodPointsQuery),
    responses((status = 200, description = "A page.", body = FoodPointPage)))]
async fn food_points(State(app): State<App>, _: Query<FoodPointsQuery>, ask: Ask) -> Answer {
    app.services.menu_info.forward(ask).await
}

/// One's own basket
#[utoipa::path(get, path = "/basket", tag = "customer",
    responses((status = 200, description = "The basket; empty if nothing was put in.", body = Basket)))]
async fn basket(State(app): State<App>, ask: Ask) -> Answer {
    app.services.basket_info.forward(ask).await
}

/// Put a product into the basket, or change its quantity
#[utoipa::path(put, path = "/basket/lines/{product_id}", tag = "customer",
    params(("product_id" = ProductId, Path, description = "The product."), Guarded), request_body = SetLine,
    responses((status = 200, description = "Set.", body = Receipt)))]
async fn set_line(State(app): State<App>, _: Path<ProductId>, tell: Tell<SetLine>) -> Answer {
    app.services.basket_master.forward(tell.ask).await
}

/// Take a product out of the basket
#[utoipa::path(delete, path = "/basket/lines/{product_id}", tag = "customer",
    params(("product_id" = ProductId, Path, description = "The product."), Guarded),
    responses((status = 200, description = "Removed.", body = Receipt)))]
async fn remove_line(State(app): State<App>, _: Path<ProductId>, ask: Ask) -> Answer {
    app.services.basket_master.forward(ask).await
}

/// Order what is in the basket
#[utoipa::path(post, path = "/orders", tag = "customer", request_body = PlaceOrder,
    responses((status = 201, description = "Created, durably; payment and food point follow.", body = Receipt)))]
async fn place_order(State(app): State<App>, tell: Tell<PlaceOrder>) -> Answer {
    place::place(&app, tell).await
}

/// One's own orders, newest first
#[utoipa::path(get, path = "/orders", tag = "customer", params(PageQuery),
    responses((status = 200, description = "A page.", body = OrderPage)))]
async fn orders(State(app): State<App>, _: Query<PageQuery>, ask: Ask) -> Answer {
    app.services.order_info.forward(ask).await
}

/// An order as the caller may see it, now or as it stood at an instant
#[utoipa::path(get, path = "/orders/{id}", tag = "customer",
    params(("id" = OrderId, Path, description = "The order."), AsOf),
    responses((status = 200, description = "The order; without its PIN if it is of the past.", body = OrderDocument)))]
async fn order(State(app): State<App>, _: Path<OrderId>, _: Query<AsOf>, ask: Ask) -> Answer {
    app.services.order_info.forward(ask).await
}

/// Follow an order
#[utoipa::path(get, path = "/orders/{id}/live", tag = "customer",
    params(("id" = OrderId, Path, description = "The order."), Resume),
    responses((status = 200, description = "A snapshot, then every event.", body = String, content_type = "text/event-stream")))]
async fn order_live(State(app): State<App>, _: Path<OrderId>, ask: Ask) -> Answer {
    live::follow(&app, &app.services.order_info, ask).await
}

/// Everything that happened to an order, by whom and because of what
#[utoipa::path(get, path = "/orders/{id}/history", tag = "customer",
    params(("id" = OrderId, Path, description = "The order."), AsOf),
    responses((status = 200, description = "Oldest first.", body = [HistoryEntry])))]
async fn order_history(State(app): State<App>, _: Path<OrderId>, _: Query<AsOf>, ask: Ask) -> Answer {
    app.services.order_info.forward(ask).await
}

/// Cancel an order: free until it is being cooked, then for a fee; whole if its kitchen does it
#[utoipa::path(post, path = "/orders/{id}/cancel", tag = "customer",
    params(("id" = OrderId, Path, description = "The order."), Guarded), request_body = WithReason,
    responses((status = 200, description = "Cancelled.", body = Receipt)))]
async fn cancel_order(State(app): State<App>, _: Path<OrderId>, tell: Tell<WithReason>) -> Answer {
    app.services.order_master.forward(tell.ask).await
}

/// Try to pay again, with another card
#[utoipa::path(post, path = "/orders/{id}/payments", tag = "customer",
    params(("id" = OrderId, Path, description = "The order.")), request_body = Payment,
    responses((status = 200, description = "Tried; the outcome follows as an event.", body = Receipt)))]
async fn pay_order(State(app): State<App>, _: Path<OrderId>, tell: Tell<Payment>) -> Answer {
    app.services.basket_master.forward(tell.ask).await
}

/// The payment of an order
#[utoipa::path(get, path = "/orders/{id}/payment", tag = "customer",
    params(("id" = OrderId, Path, description = "The order.")),
    responses((status = 200, description = "As the customer may see it.", body = PaymentDocument)))]
async fn payment(State(app): State<App>, _: Path<OrderId>, ask: Ask) -> Answer {
    app.services.basket_info.forward(ask).await
}
