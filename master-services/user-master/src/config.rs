//! Every setting of user-master, with its default and the reason for it.

use mesh_bus::BusConfig;
use mesh_runtime::Settings;
use mesh_runtime::consistency::Signer;
use mesh_runtime::process::{self, Common};
use mesh_runtime::settings::Secret;

/// What user-master is told when it starts.
pub struct Config {
    pub common: Common,
    /// As the serving role, which can add events and not change them.
    pub postgres_url: Secret,
    /// As the owner of the tables; `migrate` alone needs it.
    pub postgres_owner_url: Option<Secret>,
    pub bus: BusConfig,
    pub signer: Signer,
    pub tokens: Tokens,
    /// The first operator; `migrate` alone needs it.
    pub operator: Option<Operator>,
}

/// What access tokens say about where they come from and for whom they are.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub issuer: String,
    pub audience: String,
}

/// Who opens everybody else's accounts.
pub struct Operator {
    pub email: Secret,
    pub password: Secret,
}

impl Config {
    /// Reads them; `settings.finish()` says whether they are good.
    pub fn from_settings(settings: &mut Settings) -> Self {
        let common = Common::from_settings(settings);
        let bus = bus(settings, &common.region);
        Self {
            postgres_url: settings.secret("TIFFIN_POSTGRES_URL", "this master's own database, as the serving role"),
            postgres_owner_url: settings.optional_secret(
                "TIFFIN_POSTGRES_OWNER_URL",
                "the same as its owner; `migrate` needs it, serving must not have it",
            ),
            signer: process::signer(settings),
            tokens: Tokens {
                issuer: settings.text("TIFFIN_JWT_ISSUER", "https://tiffin.local", "the `iss` of every token"),
                audience: settings.text("TIFFIN_JWT_AUDIENCE", "tiffin", "the `aud` of every token"),
            },
            operator: operator(settings),
            common,
            bus,
        }
    }
}

fn operator(settings: &mut Settings) -> Option<Operator> {
    let email = settings.optional_secret(
        "TIFFIN_OPERATOR_EMAIL",
        "the first operator's; `migrate` opens the account",
    );
    let password = settings.optional_secret(
        "TIFFIN_OPERATOR_PASSWORD",
        "and password; later changes here change nothing",
    );
    email
        .zip(password)
        .map(|(email, password)| Operator { email, password })
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
