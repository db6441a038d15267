//! Baskets and payments as the customer sees them.
//!
//! Knows no price list and no payment provider: it shows what basket-master recorded.

pub mod projector;
pub mod view;

pub mod http;

pub mod config;

use mesh_projection::Projection;
use mesh_projection::freshness::ReadModel;
use mesh_runtime::consistency::Signer;

/// The name of the service, everywhere.
pub const NAME: &str = "basket-info";

/// What handlers share.
pub struct App {
    pub projection: Projection,
    pub signer: Signer,
}

impl ReadModel for App {
    fn projection(&self) -> &Projection {
        &self.projection
    }

    fn signer(&self) -> &Signer {
        &self.signer
    }
}
