//! Every setting of courier-master, with its default and the reason for it.

use mesh_bus::BusConfig;
use mesh_eventstore::StoreConfig;
use mesh_eventstore::migrate::Owner;
use mesh_identity::Upstreams;
use mesh_runtime::Settings;
use mesh_runtime::consistency::Signer;
use mesh_runtime::process::{self, Common};

/// What courier-master is told when it starts.
pub struct Config {
    pub common: Common,
    pub store: StoreConfig,
    pub owner: Owner,
    pub bus: BusConfig,
    pub upstreams: Upstreams,
    pub signer: Signer,
}

impl Config {
    /// Reads them; `settings.finish()` says whether they are good.
    pub fn from_settings(settings: &mut Settings) -> Self {
        let common = Common::from_settings(settings);
        Self {
            store: StoreConfig::from_settings(settings),
            owner: Owner::from_settings(settings),
            bus: BusConfig::from_settings(settings, &common.region),
            upstreams: Upstreams::from_settings(settings),
            signer: process::signer(settings),
            common,
        }
    }
}
