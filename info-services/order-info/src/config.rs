//! Every setting of order-info: what each is, its default and the reason stand with the part that reads it.

use mesh_bus::BusConfig;
use mesh_identity::Upstreams;
use mesh_projection::RedisConfig;
use mesh_runtime::Settings;
use mesh_runtime::consistency::Signer;
use mesh_runtime::process::{self, Common};

/// What order-info is told when it starts.
pub struct Config {
    pub common: Common,
    pub redis: RedisConfig,
    pub bus: BusConfig,
    pub upstreams: Upstreams,
    pub signer: Signer,
}

impl Config {
    /// Reads them; `settings.finish()` says whether they are good.
    pub fn from_settings(settings: &mut Settings) -> Self {
        let common = Common::from_settings(settings);
        Self {
            redis: RedisConfig::from_settings(settings),
            bus: BusConfig::from_settings(settings, &common.region),
            upstreams: Upstreams::from_settings(settings),
            signer: process::signer(settings),
            common,
        }
    }
}
