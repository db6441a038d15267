//! Baskets and payments as the customer sees them.
//!
//! Knows no price list and no payment provider: it shows what basket-master recorded.

pub mod projector;
pub mod view;

pub mod http;

pub mod config;

use axum::extract::FromRef;
use mesh_projection::Projection;
use mesh_runtime::consistency::Signer;

/// The name of the service, everywhere.
pub const NAME: &str = "basket-info";

/// What handlers share.
#[derive(Clone)]
pub struct App {
    pub projection: Projection,
    pub signer: Signer,
}

impl FromRef<App> for Projection {
    fn from_ref(app: &App) -> Self {
        app.projection.clone()
    }
}

impl FromRef<App> for Signer {
    fn from_ref(app: &App) -> Self {
        app.signer.clone()
    }
}
