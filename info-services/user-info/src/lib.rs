//! People as they see themselves, couriers as the chain sees them, and the one address a courier may read.
//!
//! Personal data is a copy of user-master's, never told by an event, and goes when the person goes.

pub mod projector;
pub mod view;

pub mod profiles;

pub mod http;

pub mod error;

pub mod config;

use mesh_projection::Projection;
use mesh_projection::freshness::ReadModel;
use mesh_runtime::consistency::Signer;

use crate::profiles::Profiles;

/// The name of the service, everywhere.
pub const NAME: &str = "user-info";

/// What handlers share.
pub struct App {
    pub projection: Projection,
    pub signer: Signer,
    pub profiles: Profiles,
}

impl ReadModel for App {
    fn projection(&self) -> &Projection {
        &self.projection
    }

    fn signer(&self) -> &Signer {
        &self.signer
    }
}
