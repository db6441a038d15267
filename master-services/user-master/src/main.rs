//! user-master: `serve` (default), `migrate`, `--help`.

use std::sync::Arc;

use mesh_bus::Bus;
use mesh_eventstore::{Store, StoreConfig, migrate};
use mesh_identity::Mesh;
use mesh_runtime::admin::{self, Ready};
use mesh_runtime::process::{self, Command, endless};
use mesh_runtime::{Clock, Settings, Shutdown, server, telemetry};
use user_master::config::Config;
use user_master::keys::Keys;
use user_master::{App, NAME, http as routes, migrations, provision};

fn main() -> anyhow::Result<()> {
    process::run(start())
}

async fn start() -> anyhow::Result<()> {
    let mut settings = Settings::new(NAME);
    let config = Config::from_settings(&mut settings);
    match process::command(&settings, &[Command::Serve, Command::Migrate])? {
        None => Ok(()),
        Some(Command::Migrate) => {
            let owner = config.owner.url()?;
            migrate::run(owner, migrations()).await?;
            let store = connect(StoreConfig::new(owner, NAME), config.common.clock).await?;
            provision(&store, config.operator).await
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
    let store = connect(config.store, common.clock).await?;
    let keys = Keys::open(&store, &config.tokens).await?;
    let app = Arc::new(App::new(&store, keys, config.signer));
    tokio::try_join!(
        server::serve(listener, mesh.server(), routes::router(app.clone()), shutdown.clone()),
        admin::serve(admin_listener, Ready::default(), shutdown.clone()),
        endless(app.run(bus, shutdown.clone())),
    )?;
    Ok(())
}

async fn connect(config: StoreConfig, clock: Clock) -> anyhow::Result<Store> {
    Store::connect(config, clock).await.map_err(anyhow::Error::from_boxed)
}
