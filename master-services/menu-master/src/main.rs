//! menu-master: `serve` (default), `migrate`, `--help`.

use std::sync::Arc;

use menu_master::config::Config;
use menu_master::{App, NAME, http as routes};
use mesh_bus::Bus;
use mesh_contracts::subject::Context;
use mesh_eventstore::{Store, migrate, relay};
use mesh_identity::Mesh;
use mesh_runtime::admin::{self, Ready};
use mesh_runtime::process::{self, Command, endless};
use mesh_runtime::{Settings, Shutdown, server, telemetry};

fn main() -> anyhow::Result<()> {
    process::run(start())
}

async fn start() -> anyhow::Result<()> {
    let mut settings = Settings::new(NAME);
    let config = Config::from_settings(&mut settings);
    match process::command(&settings, &[Command::Serve, Command::Migrate])? {
        None => Ok(()),
        Some(Command::Migrate) => {
            Ok(migrate::run(config.owner.url()?, sqlx::migrate!("../../migrations/menu-master")).await?)
        }
        Some(Command::Serve) => {
            settings.finish()?;
            serve(config).await
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let common = config.common;
    telemetry::init(NAME, &common.telemetry)?;
    mesh_identity::install_crypto_provider();
    let shutdown = Shutdown::on_signals()?;
    let mesh = Mesh::of(&common.tls, NAME)?;
    let listener = process::listen(common.mesh_listen).await?;
    let admin_listener = process::listen(common.admin_listen).await?;
    let bus = Bus::connect(config.bus).await?;
    let store = Store::connect(config.store, common.clock)
        .await
        .map_err(anyhow::Error::from_boxed)?;
    let app = Arc::new(App::new(store.clone(), config.signer));
    tokio::try_join!(
        server::serve(listener, mesh.server(), routes::router(app), shutdown.clone()),
        admin::serve(admin_listener, Ready::default(), shutdown.clone()),
        endless(relay::run(store, bus, Context::Menu, shutdown.clone())),
    )?;
    Ok(())
}
