//! point-master: `serve` (default), `migrate`, `--help`.

use anyhow::Context as _;
use bytes::Bytes;
use http::Request;
use mesh_bus::feed::Feeds;
use mesh_bus::{BoxError, Bus};
use mesh_contracts::subject::Context;
use mesh_eventstore::inbox::Drained;
use mesh_eventstore::{Store, StoreConfig, migrate, relay};
use mesh_identity::{Mesh, Upstreams};
use mesh_runtime::admin::{self, Ready};
use mesh_runtime::process::{self, Command};
use mesh_runtime::{Settings, Shutdown, server, telemetry};
use point_master::config::Config;
use point_master::{App, NAME, domain, http as routes, reactions};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut settings = Settings::new(NAME);
    let config = Config::from_settings(&mut settings);
    match process::command(&settings, &[Command::Serve, Command::Migrate])? {
        None => Ok(()),
        Some(Command::Migrate) => {
            let owner = config
                .postgres_owner_url
                .context("TIFFIN_POSTGRES_OWNER_URL is required to migrate")?;
            Ok(migrate::engine(owner.expose()).await?)
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
    let mesh = Mesh::load(&common.tls_dir, NAME)?;
    let listener = process::listen(common.mesh_listen).await?;
    let admin_listener = process::listen(common.admin_listen).await?;
    let bus = Bus::connect(config.bus).await?;
    let store = Store::connect(StoreConfig::new(config.postgres_url.expose(), NAME), common.clock)
        .await
        .map_err(anyhow::Error::from_boxed)?;
    let app = App::new(store.clone(), config.signer);
    let drained = Drained::new();
    let hearing = reactions::run(
        app.clone(),
        bus.clone(),
        feeds(&mesh, config.upstreams),
        drained.part(),
        shutdown.clone(),
    );
    tokio::try_join!(
        server::serve(listener, mesh.server(), routes::router(app.clone()), shutdown.clone()),
        admin::serve(admin_listener, Ready::default(), shutdown.clone()),
        ok(relay::run(store, bus, Context::Point, shutdown.clone())),
        ok(app.points.fire_timers(drained, shutdown.clone(), domain::fire)),
        ok(hearing),
    )?;
    Ok(())
}

/// What never fails stands among what may.
async fn ok(work: impl Future<Output = ()>) -> std::io::Result<()> {
    work.await;
    Ok(())
}

/// Other masters' events, asked of them under our own identity.
fn feeds(mesh: &Mesh, upstreams: Upstreams) -> Feeds {
    let client = mesh.client();
    Feeds::new(move |owner, path| {
        let (client, upstream) = (client.clone(), upstreams.get(owner));
        async move {
            let answer = client
                .request(&upstream, Request::get(path).body(Bytes::new())?)
                .await?;
            if answer.status().is_success() {
                Ok(answer.into_body())
            } else {
                Err(BoxError::from(format!("{upstream} answered {}", answer.status())))
            }
        }
    })
}
