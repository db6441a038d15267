//! Orders, tickets and delivery jobs as customers, kitchens, couriers and operators see them.
//!
//! Knows no rule by which an order moves, and nobody's name, phone or address.

pub mod past;
pub mod projector;
pub mod view;

pub mod passing;

pub mod http;

pub mod config;

use mesh_bus::feed::Feeds;
use mesh_projection::Projection;
use mesh_projection::freshness::ReadModel;
use mesh_runtime::consistency::Signer;
use mesh_runtime::{Clock, Shutdown};

/// The name of the service, everywhere.
pub const NAME: &str = "order-info";

/// What handlers share.
pub struct App {
    pub projection: Projection,
    pub signer: Signer,
    /// The masters' own memory.
    pub feeds: Feeds,
    /// Positions and estimates are in business time.
    pub clock: Clock,
    /// Live streams end with it.
    pub shutdown: Shutdown,
}

impl ReadModel for App {
    fn projection(&self) -> &Projection {
        &self.projection
    }

    fn signer(&self) -> &Signer {
        &self.signer
    }
}
