//! Every setting of user-master, with its default and the reason for it.

use std::num::NonZeroU32;

use jiff::SignedDuration;
use mesh_bus::BusConfig;
use mesh_eventstore::StoreConfig;
use mesh_eventstore::migrate::Owner;
use mesh_runtime::Settings;
use mesh_runtime::consistency::Signer;
use mesh_runtime::process::{self, Common};
use mesh_runtime::settings::Secret;

use crate::keys::Schedule;

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

/// What access tokens say about where they come from and for whom they are, and how the keys that sign them follow
/// each other.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub issuer: String,
    pub audience: String,
    pub schedule: Schedule,
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
                schedule: schedule(settings),
            },
            operator: operator(settings),
            bus: BusConfig::from_settings(settings, &common.region),
            common,
        }
    }
}

fn schedule(settings: &mut Settings) -> Schedule {
    const LEAD: &str = "TIFFIN_SIGNING_KEY_LEAD_S";
    // A week: seldom enough to be no event, often enough to be known to work.
    let period: NonZeroU32 = settings.parse(
        "TIFFIN_SIGNING_KEY_PERIOD_S",
        "604800",
        "seconds for which a key signs tokens before the next one takes over",
    );
    // Istio looks at published keys every 20 minutes, and one look may fail.
    let lead: NonZeroU32 = settings.parse(
        LEAD,
        "3600",
        "seconds for which a key is published before it signs: longer than anyone keeps published keys",
    );
    if lead > period {
        settings.refuse(LEAD, "is longer than TIFFIN_SIGNING_KEY_PERIOD_S");
    }
    let seconds = |value: NonZeroU32| SignedDuration::from_secs(value.get().into());
    Schedule {
        period: seconds(period),
        lead: seconds(lead),
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
