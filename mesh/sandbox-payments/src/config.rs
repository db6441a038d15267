//! Every setting of the stand-in, with its default and the reason for it.

use std::net::SocketAddr;
use std::path::PathBuf;

use mesh_identity::Upstream;
use mesh_runtime::Settings;
use mesh_runtime::process::MeshTls;
use mesh_runtime::settings::Secret;
use mesh_runtime::telemetry::Telemetry;

/// What the process runs with.
pub struct Config {
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub tls: MeshTls,
    pub data_dir: PathBuf,
    pub key: Secret,
    pub webhook: Option<Webhook>,
    pub telemetry: Telemetry,
}

/// Who hears of payments.
pub struct Webhook {
    pub receiver: Upstream,
    pub path: String,
    pub secret: Secret,
}

impl Config {
    /// Reads them; good once [`Settings::finish`] says so.
    pub fn from_settings(settings: &mut Settings) -> Config {
        const LISTEN: &str = "TIFFIN_SANDBOX_LISTEN";
        let listen = settings.parse_required(
            LISTEN,
            "127.0.0.1:4020",
            "where basket-master reaches the provider; two processes cannot share one",
        );
        Config {
            listen,
            admin_listen: settings.parse_required(
                "TIFFIN_ADMIN_LISTEN",
                "127.0.0.1:5020",
                "plain health and metrics; keep it off the network",
            ),
            tls: MeshTls::from_settings(settings, LISTEN, listen),
            data_dir: settings
                .required("TIFFIN_SANDBOX_DATA_DIR", "holds the journal, which is the ledger")
                .into(),
            key: settings.secret(
                "TIFFIN_SANDBOX_KEY",
                "the API key that callers present as a bearer token",
            ),
            webhook: webhook(settings),
            telemetry: Telemetry::from_settings(settings),
        }
    }
}

fn webhook(settings: &mut Settings) -> Option<Webhook> {
    const URL: &str = "TIFFIN_SANDBOX_WEBHOOK_URL";
    const SECRET: &str = "TIFFIN_SANDBOX_WEBHOOK_SECRET";
    let url = settings.text(URL, "", "where webhooks go, as https://HOST:PORT/PATH; empty: nowhere");
    let service = settings.text(
        "TIFFIN_SANDBOX_WEBHOOK_SERVICE",
        "gateway",
        "the mesh identity that must answer at the webhook's address",
    );
    let secret = settings.optional_secret(SECRET, "signs webhooks; required with a webhook address");
    if url.is_empty() {
        return None;
    }
    if secret.is_none() {
        settings.refuse(SECRET, format!("is required with {URL}"));
    }
    let Some((address, path)) = url.strip_prefix("https://").and_then(|rest| rest.split_once('/')) else {
        settings.refuse(URL, "is not https://HOST:PORT/PATH");
        return None;
    };
    let receiver = Upstream {
        service,
        address: address.to_owned(),
    };
    Some(Webhook {
        receiver,
        path: format!("/{path}"),
        secret: secret?,
    })
}
