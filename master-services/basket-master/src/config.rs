//! Every setting of basket-master, with its default and the reason for it.

use mesh_bus::BusConfig;
use mesh_eventstore::StoreConfig;
use mesh_eventstore::migrate::Owner;
use mesh_identity::{Upstream, Upstreams};
use mesh_runtime::Settings;
use mesh_runtime::consistency::Signer;
use mesh_runtime::process::{self, Common};
use mesh_runtime::settings::Secret;

/// The identity that the payment provider's certificate must have.
const PROVIDER: &str = "sandbox-payments";

/// What basket-master is told when it starts.
pub struct Config {
    pub common: Common,
    pub store: StoreConfig,
    pub owner: Owner,
    pub bus: BusConfig,
    pub upstreams: Upstreams,
    pub signer: Signer,
    pub payments: Payments,
}

/// The payment provider, and what proves who is who.
pub struct Payments {
    pub upstream: Upstream,
    pub key: Secret,
    pub webhook_secret: Secret,
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
            payments: payments(settings),
            common,
        }
    }
}

fn payments(settings: &mut Settings) -> Payments {
    const URL: &str = "TIFFIN_PAYMENTS_URL";
    let url = settings.required(URL, "the payment provider, as https://HOST:PORT");
    let address = url.strip_prefix("https://").unwrap_or_default().trim_end_matches('/');
    if !url.is_empty() && (!address.contains(':') || address.contains('/')) {
        settings.refuse(URL, "is not https://HOST:PORT");
    }
    Payments {
        upstream: Upstream::new(PROVIDER, address),
        key: settings.secret("TIFFIN_PAYMENTS_KEY", "proves to the provider who we are"),
        webhook_secret: settings.secret(
            "TIFFIN_PAYMENTS_WEBHOOK_SECRET",
            "proves to us that a webhook is the provider's",
        ),
    }
}
