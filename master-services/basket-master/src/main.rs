//! The process: settings, connections, everything that runs, and the drain.

use std::sync::Arc;

use basket_master::config::Config;
use basket_master::provider::Provider;
use basket_master::{App, NAME, http, run};
use mesh_bus::Bus;
use mesh_bus::feed::Feeds;
use mesh_eventstore::{Store, migrate};
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
            Ok(migrate::run(config.owner.url()?, sqlx::migrate!("../../migrations/basket-master")).await?)
        }
        Some(Command::Serve) => {
            settings.finish()?;
            serve(config).await
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    telemetry::init(NAME, &config.common.telemetry)?;
    mesh_identity::install_crypto_provider();
    let shutdown = Shutdown::on_signals()?;
    let mesh = Mesh::of(&config.common.tls, NAME)?;
    let listener = process::listen(config.common.mesh_listen).await?;
    let admin_listener = process::listen(config.common.admin_listen).await?;
    let store = Store::connect(config.store, config.common.clock)
        .await
        .map_err(anyhow::Error::from_boxed)?;
    let bus = Bus::connect(config.bus).await?;
    let provider = Provider::new(mesh.client(), config.payments.upstream, config.payments.key);
    let app = Arc::new(App::new(store, provider, config.signer, config.payments.webhook_secret));
    let ready = Ready::new(&["bus"]);
    let feeds = Feeds::over(mesh.client(), config.upstreams);
    tokio::try_join!(
        server::serve(listener, mesh.server(), http::router(app.clone()), shutdown.clone()),
        admin::serve(admin_listener, ready.clone(), shutdown.clone()),
        async {
            // Once is enough: without the bus, what is asked of us is still durable, and goes out later.
            bus.connected().await;
            ready.set("bus", true);
            Ok(())
        },
        endless(run(app, bus.clone(), feeds, shutdown.clone())),
    )?;
    Ok(())
}
