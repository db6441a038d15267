//! Every setting of the stand-in, with its default and the reason for it.

use std::net::SocketAddr;
use std::path::PathBuf;

use mesh_runtime::Settings;
use mesh_runtime::telemetry::Telemetry;

/// What the process runs with.
pub struct Config {
    pub listen: SocketAddr,
    pub smtp_listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub tls_dir: PathBuf,
    pub data_dir: PathBuf,
    pub telemetry: Telemetry,
}

impl Config {
    /// Reads them; good once [`Settings::finish`] says so.
    pub fn from_settings(settings: &mut Settings) -> Self {
        Self {
            listen: settings.parse_required(
                "TIFFIN_SANDBOX_LISTEN",
                "127.0.0.1:4021",
                "the window onto the mails, over mutual TLS; two processes cannot share one",
            ),
            smtp_listen: settings.parse_required(
                "TIFFIN_SANDBOX_SMTP_LISTEN",
                "127.0.0.1:2525",
                "where mails are handed in, in plain text; keep it off the network",
            ),
            admin_listen: settings.parse_required(
                "TIFFIN_ADMIN_LISTEN",
                "127.0.0.1:5021",
                "plain health and metrics; keep it off the network",
            ),
            tls_dir: settings
                .required(
                    "TIFFIN_TLS_DIR",
                    "tls.crt, tls.key and ca.crt; re-read when they change",
                )
                .into(),
            data_dir: settings
                .required("TIFFIN_SANDBOX_DATA_DIR", "holds the mails, in one file")
                .into(),
            telemetry: Telemetry::from_settings(settings),
        }
    }
}
