//! Every setting of user-info, with its default and the reason for it.

use mesh_bus::BusConfig;
use mesh_identity::Upstreams;
use mesh_projection::RedisConfig;
use mesh_runtime::Settings;
use mesh_runtime::consistency::Signer;
use mesh_runtime::process::{self, Common};
use mesh_runtime::settings::Secret;

use crate::NAME;

/// What user-info is told when it starts.
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
        let bus = bus(settings, &common.region);
        Self {
            common,
            redis: redis(settings),
            bus,
            upstreams: settings.parse(
                "TIFFIN_UPSTREAMS",
                "",
                "where other services are, as service=host:port with commas; one that is not named is expected at service:4000",
            ),
            signer: process::signer(settings),
        }
    }
}

fn redis(settings: &mut Settings) -> RedisConfig {
    let url = settings.secret(
        "TIFFIN_REDIS_URL",
        "the read model's Redis with user and password, redis:// or rediss://",
    );
    let prefix = settings.text(
        "TIFFIN_REDIS_PREFIX",
        &format!("{NAME}:"),
        "before every key and channel; the Redis user may touch nothing else",
    );
    RedisConfig::new(url.expose(), prefix)
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
