//! People and their sessions, profiles and addresses.

use std::time::Duration;

use axum::extract::State;
use mesh_contracts::api::{Address, ChangeProfile, Login, Profile, Receipt, Refresh, Register, Registered, Session};
use mesh_contracts::id::AddressId;
use mesh_runtime::extract::Path;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{CUSTOMER, EVERYONE};
use crate::ask::{Ask, Tell};
use crate::door::{keyed, only};
use crate::limits::by_address;
use crate::{Answer, App};

/// A password hash is slow on purpose, and a crowd that registers at once waits for the cores. No longer than this, or
/// the chain in front could not tell a slow region from a dead one within five seconds.
pub(super) const PASSWORD_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn routes(app: &App) -> OpenApiRouter<App> {
    let newcomers = OpenApiRouter::new().routes(routes!(register));
    let strangers = OpenApiRouter::new().routes(routes!(log_in)).merge(keyed(newcomers));
    let returning = OpenApiRouter::new().routes(routes!(refresh));
    let everyone = OpenApiRouter::new().routes(routes!(me, change_me));
    let customers = OpenApiRouter::new()
        .routes(routes!(erase_me))
        .routes(routes!(set_address, remove_address));
    by_address(app, |limits| &limits.credentials, strangers)
        .merge(by_address(app, |limits| &limits.refreshes, returning))
        .merge(only(EVERYONE, app, everyone))
        .merge(only(CUSTOMER, app, customers))
}

/// Register as a customer
#[utoipa::path(post, path = "/users", tag = "account", request_body = Register,
    responses((status = 201, description = "Registered.", body = Registered)))]
async fn register(State(app): State<App>, tell: Tell<Register>) -> Answer {
    app.services
        .user_master
        .forward_within(tell.ask, PASSWORD_TIMEOUT)
        .await
}

/// Log in
#[utoipa::path(post, path = "/sessions", tag = "account", request_body = Login,
    responses((status = 200, description = "A pair of tokens.", body = Session)))]
async fn log_in(State(app): State<App>, tell: Tell<Login>) -> Answer {
    app.services
        .user_master
        .forward_within(tell.ask, PASSWORD_TIMEOUT)
        .await
}

/// Exchange a refresh token for a new pair
#[utoipa::path(post, path = "/sessions/refresh", tag = "account", request_body = Refresh,
    responses((status = 200, description = "A pair of tokens.", body = Session)))]
async fn refresh(State(app): State<App>, tell: Tell<Refresh>) -> Answer {
    // Who cooks and who carries needs a token, too, and nobody can be told apart yet.
    app.services.user_master.forward(tell.ask.urgent()).await
}

/// See what is known about oneself
#[utoipa::path(get, path = "/me", tag = "account",
    responses((status = 200, description = "One's own data.", body = Profile)))]
async fn me(State(app): State<App>, ask: Ask) -> Answer {
    app.services.user_info.forward(ask).await
}

/// Change name or phone
#[utoipa::path(patch, path = "/me", tag = "account", request_body = ChangeProfile,
    responses((status = 200, description = "Changed.", body = Receipt)))]
async fn change_me(State(app): State<App>, tell: Tell<ChangeProfile>) -> Answer {
    app.services.user_master.forward(tell.ask).await
}

/// Erase the account and all personal data
#[utoipa::path(delete, path = "/me", tag = "account",
    responses((status = 200, description = "Erased.", body = Receipt)))]
async fn erase_me(State(app): State<App>, ask: Ask) -> Answer {
    app.services.user_master.forward(ask).await
}

/// Add or change an address
#[utoipa::path(put, path = "/me/addresses/{id}", tag = "account",
    params(("id" = AddressId, Path, description = "Made up by the client.")), request_body = Address,
    responses((status = 200, description = "Set.", body = Receipt)))]
async fn set_address(State(app): State<App>, _: Path<AddressId>, tell: Tell<Address>) -> Answer {
    app.services.user_master.forward(tell.ask).await
}

/// Remove an address
#[utoipa::path(delete, path = "/me/addresses/{id}", tag = "account",
    params(("id" = AddressId, Path, description = "The address.")),
    responses((status = 200, description = "Removed.", body = Receipt)))]
async fn remove_address(State(app): State<App>, _: Path<AddressId>, ask: Ask) -> Answer {
    app.services.user_master.forward(ask).await
}
