//! user-info: `serve` (default), `--help`.

use std::sync::Arc;

use mesh_bus::Bus;
use mesh_bus::feed::Feeds;
use mesh_identity::Mesh;
use mesh_projection::Projection;
use mesh_runtime::admin::{self, Ready};
use mesh_runtime::process::{self, Command, endless};
use mesh_runtime::{Settings, Shutdown, server, telemetry};
use user_info::config::Config;
use user_info::profiles::Profiles;
use user_info::{App, NAME, http as routes, projector};

fn main() -> anyhow::Result<()> {
    process::run(start())
}

async fn start() -> anyhow::Result<()> {
    let mut settings = Settings::new(NAME);
    let config = Config::from_settings(&mut settings);
    if process::command(&settings, &[Command::Serve])?.is_some() {
        settings.finish()?;
        serve(config).await?;
    }
    Ok(())
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
    let client = mesh.client();
    let feeds = Feeds::over(client.clone(), config.upstreams.clone());
    let projection = Projection::connect(config.redis.clone(), feeds).await?;
    let user_master = config.upstreams.get("user-master");
    let profiles = Profiles::new(projection.clone(), &config.redis, client, user_master)?;
    let app = Arc::new(App {
        projection: projection.clone(),
        signer: config.signer,
        profiles: profiles.clone(),
    });
    let projecting = projector::run(&projection, &bus, &shutdown);
    let ready = Ready::new(&["filled"]);
    tokio::try_join!(
        server::serve(listener, mesh.server(), routes::router(app), shutdown.clone()),
        admin::serve(admin_listener, ready.clone(), shutdown.clone()),
        endless(projecting),
        endless(profiles.follow(bus, shutdown.clone())),
        endless(projection.tell_filled(ready, shutdown)),
    )?;
    Ok(())
}
