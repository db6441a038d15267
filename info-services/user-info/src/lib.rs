//! People as they see themselves, couriers as the chain sees them, and the one address a courier may read.
//!
//! Personal data is a copy of user-master's, never told by an event, and goes when the person goes.

pub mod projector;
pub mod view;

pub mod profiles;

pub mod http;

pub mod error;

pub mod config;

use axum::extract::FromRef;
use mesh_projection::Projection;
use mesh_runtime::consistency::Signer;

use crate::profiles::Profiles;

/// The name of the service, everywhere.
pub const NAME: &str = "user-info";

/// What handlers share.
#[derive(Clone)]
pub struct App {
    pub projection: Projection,
    pub signer: Signer,
    pub profiles: Profiles,
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
