//! Every public route, by who uses it, and the one router that both listeners serve.

#![allow(unused_qualifications, reason = "utoipa's macro spells out paths under our spans")]

mod account;
mod courier;
mod customer;
mod kitchen;
mod operator;
mod platform;
mod provider;

use axum::{Extension, Router, middleware};
use mesh_contracts::user::Role;
use mesh_identity::peer;
use mesh_runtime::server;
use utoipa_axum::router::OpenApiRouter;

use crate::contract::{self, Contract};
use crate::limits::by_address;
use crate::{App, door};

/// Which door a router stands behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// Mutual TLS: an ingress with people's requests, or a peer of ours.
    Mesh,
    /// TLS for anyone.
    Public,
}

/// Whose connections bring people's requests over the mesh.
const BRINGERS: &[&str] = &["ingress", "tiffin"];
/// Who reports payments over the mesh: the provider itself, or an ingress in front of it.
const REPORTERS: &[&str] = &["ingress", "sandbox-payments"];

const EVERYONE: &[Role] = &[Role::Customer, Role::Kitchen, Role::Courier, Role::Operator];
const CUSTOMER: &[Role] = &[Role::Customer];
const KITCHEN: &[Role] = &[Role::Kitchen];
const COURIER: &[Role] = &[Role::Courier];
const OPERATOR: &[Role] = &[Role::Operator];
const CUSTOMER_OR_OPERATOR: &[Role] = &[Role::Customer, Role::Operator];
const CUSTOMER_OR_KITCHEN: &[Role] = &[Role::Customer, Role::Kitchen];
const KITCHEN_OR_OPERATOR: &[Role] = &[Role::Kitchen, Role::Operator];

/// Everything the gateway answers.
pub fn router(app: &App, entrance: Entrance) -> Router {
    let people = OpenApiRouter::with_openapi(contract::empty())
        .merge(platform::routes())
        .nest("/v1", v1(app));
    let people = by_address(app, |limits| &limits.address, people);
    let reports = OpenApiRouter::new().nest("/v1", provider::routes(app));
    let (people, reports) = match entrance {
        Entrance::Public => (people, reports),
        Entrance::Mesh => (
            people.route_layer(peer::allow(BRINGERS)),
            reports.route_layer(peer::allow(REPORTERS)),
        ),
    };
    let (router, document) = people.merge(reports).split_for_parts();
    let router = router.layer(Extension(Contract::of(document))).with_state(app.clone());
    server::with_layers(router).layer(middleware::map_response(door::dress))
}

fn v1(app: &App) -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(account::routes(app))
        .merge(customer::routes(app))
        .merge(kitchen::routes(app))
        .merge(courier::routes(app))
        .merge(operator::routes(app))
}
