//! A stand-in mail server: takes mails over SMTP, keeps them on disk, shows them to tests, delivers nothing.
//!
//! It knows nothing of the platform and shares no store with it, so that what it has is a witness of what was sent.

pub mod mail;
pub mod office;

pub mod http;
pub mod smtp;

pub mod config;

use mesh_identity::{Mesh, peer};
use mesh_runtime::admin::{self, Ready};
use mesh_runtime::server::{self, with_layers};
use mesh_runtime::{Shutdown, process, telemetry};

use crate::config::Config;
use crate::office::Office;

/// The name of the service, everywhere.
pub const NAME: &str = "sandbox-mail";

/// Who reads others' mail: whoever tests and demonstrates.
const PEERS: &[&str] = &["tiffin"];

/// Everything the process does, until it is told to stop.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    telemetry::init(NAME, &config.telemetry)?;
    mesh_identity::install_crypto_provider();
    let shutdown = Shutdown::on_signals()?;
    let mesh = Mesh::load(&config.tls_dir, NAME)?;
    let listener = process::listen(config.listen).await?;
    let smtp_listener = process::listen(config.smtp_listen).await?;
    let admin_listener = process::listen(config.admin_listen).await?;
    let office = Office::open(&config.data_dir)?;
    let window = with_layers(http::routes(office.clone()).layer(peer::allow(PEERS)));
    tokio::try_join!(
        smtp::serve(smtp_listener, office, shutdown.clone()),
        server::serve(listener, mesh.server(), window, shutdown.clone()),
        admin::serve(admin_listener, Ready::default(), shutdown.clone()),
    )?;
    Ok(())
}
