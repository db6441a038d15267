//! Every setting of basket-master, with its default and the reason for it.

use mesh_bus::BusConfig;
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
    /// As the serving role, which can add events and not change them.
    pub postgres_url: Secret,
    /// As the owner of the tables; `migrate` alone needs it.
    pub postgres_owner_url: Option<Secret>,
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
        let bus = bus(settings, &common.region);
        Self {
            common,
            postgres_url: settings.secret("TIFFIN_POSTGRES_URL", "this master's own database, as the serving role"),
            postgres_owner_url: settings.optional_secret(
                "TIFFIN_POSTGRES_OWNER_URL",
                "the same as its owner; `migrate` needs it, serving must not have it",
            ),
            bus,
            upstreams: settings.parse(
                "TIFFIN_UPSTREAMS",
                "",
                "where other services are, as service=host:port with commas; one that is not named is expected at service:4000",
            ),
            signer: process::signer(settings),
            payments: payments(settings),
        }
    }
}

fn bus(settings: &mut Settings, region: &str) -> BusConfig {
    let url = settings.required("TIFFIN_NATS_URL", "the broker, nats:// or tls://");
    let user = settings.text(
        "TIFFIN_NATS_USER",
        "",
        "each service has its own; none for a broker without users",
    );
    let password = settings.optional_secret("TIFFIN_NATS_PASSWORD", "that user's");
    let prefix = settings.text(
        "TIFFIN_BUS_PREFIX",
        "",
        "before every name on the bus; only tests share a broker",
    );
    let password = password.as_ref().map_or("", Secret::expose);
    BusConfig::new(url, user, password, region).with_prefix(prefix)
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
