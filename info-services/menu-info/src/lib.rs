//! What is sold where, whether there is still some, and which food points are near.
//!
//! Knows no order and no basket, and reserves nothing: a food point's hold decides.

pub mod projector;
pub mod shop;
pub mod view;

pub mod http;

pub mod config;

use mesh_projection::Projection;
use mesh_projection::freshness::ReadModel;
use mesh_runtime::Clock;
use mesh_runtime::consistency::Signer;

use crate::shop::Shops;

/// The name of the service, everywhere.
pub const NAME: &str = "menu-info";

/// What handlers share.
pub struct App {
    pub projection: Projection,
    pub signer: Signer,
    pub shops: Shops,
    /// Opening hours are on business time.
    pub clock: Clock,
}

impl ReadModel for App {
    fn projection(&self) -> &Projection {
        &self.projection
    }

    fn signer(&self) -> &Signer {
        &self.signer
    }
}
