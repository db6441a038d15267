//! Every setting of order-master, with its default and the reason for it.

use jiff::SignedDuration;
use mesh_bus::BusConfig;
use mesh_eventstore::StoreConfig;
use mesh_eventstore::migrate::Owner;
use mesh_identity::Upstreams;
use mesh_runtime::Settings;
use mesh_runtime::consistency::Signer;
use mesh_runtime::process::{self, Common};

/// What order-master is told when it starts.
pub struct Config {
    pub common: Common,
    pub store: StoreConfig,
    pub owner: Owner,
    pub bus: BusConfig,
    pub upstreams: Upstreams,
    pub signer: Signer,
    /// How long, on the wall clock, a customer's notice may stay unanswered before it is asked for again.
    pub notify_again_after: SignedDuration,
}

impl Config {
    /// Reads them; `settings.finish()` says whether they are good.
    pub fn from_settings(settings: &mut Settings) -> Self {
        let common = Common::from_settings(settings);
        let notify_again_s: u32 = settings.parse(
            "TIFFIN_NOTIFY_AGAIN_S",
            "300",
            "how long a notice waits for notifier's answer before it is asked for again; a mail takes seconds",
        );
        Self {
            store: StoreConfig::from_settings(settings),
            owner: Owner::from_settings(settings),
            bus: BusConfig::from_settings(settings, &common.region),
            upstreams: Upstreams::from_settings(settings),
            signer: process::signer(settings),
            notify_again_after: SignedDuration::from_secs(notify_again_s.into()),
            common,
        }
    }
}
