//! Every setting of user-master, with its default and the reason for it.

use mesh_bus::BusConfig;
use mesh_eventstore::StoreConfig;
use mesh_eventstore::migrate::Owner;
use mesh_runtime::Settings;
use mesh_runtime::consistency::Signer;
use mesh_runtime::process::{self, Common};
use mesh_runtime::settings::Secret;

/// What user-master is told when it starts.
pub struct Config {
    pub common: Common,
    pub store: StoreConfig,
    pub owner: Owner,
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
        Self {
            store: StoreConfig::from_settings(settings),
            owner: Owner::from_settings(settings),
            signer: process::signer(settings),
            tokens: Tokens {
                issuer: settings.text("TIFFIN_JWT_ISSUER", "https://tiffin.local", "the `iss` of every token"),
                audience: settings.text("TIFFIN_JWT_AUDIENCE", "tiffin", "the `aud` of every token"),
            },
            operator: operator(settings),
            bus: BusConfig::from_settings(settings, &common.region),
            common,
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
