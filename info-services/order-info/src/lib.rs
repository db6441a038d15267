//! Orders, tickets and delivery jobs as customers, kitchens, couriers and operators see them.
//!
//! Knows no rule by which an order moves, and nobody's name, phone or address.

pub mod projector;
pub mod view;

pub mod freshness;
pub mod http;

pub mod error;

pub mod config;

use mesh_identity::{Client, Upstream};
use mesh_projection::Projection;
use mesh_runtime::Shutdown;
use mesh_runtime::consistency::Signer;

/// The name of the service, everywhere.
pub const NAME: &str = "order-info";

/// What handlers share.
#[derive(Clone)]
pub struct App {
    pub projection: Projection,
    pub signer: Signer,
    pub client: Client,
    pub order_master: Upstream,
    /// Live streams end with it.
    pub shutdown: Shutdown,
}
