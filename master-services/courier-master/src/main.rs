//! courier-master: `serve` (default), `migrate`, `--help`.

use anyhow::Context as _;
use courier_master::config::Config;
use courier_master::{App, NAME, http as routes, migrations};
use http::Request;
use mesh_bus::Bus;
use mesh_bus::feed::Feeds;
use mesh_eventstore::{BoxError, Store, StoreConfig, migrate};
use mesh_identity::{Mesh, Upstreams};
use mesh_runtime::admin::{self, Ready};
use mesh_runtime::process::{self, Command};
use mesh_runtime::{Settings, Shutdown, server, telemetry};

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
            Ok(migrate::run(owner.expose(), migrations()).await?)
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
    let feeds = feeds(&mesh, config.upstreams);
    let app = App::new(&store, config.signer);
    tokio::try_join!(
        server::serve(listener, mesh.server(), routes::router(app.clone()), shutdown.clone()),
        admin::serve(admin_listener, Ready::default(), shutdown.clone()),
        async {
            app.run(bus, feeds, shutdown.clone()).await;
            Ok(())
        },
    )?;
    Ok(())
}

/// Other masters' events, asked of them under our own identity.
fn feeds(mesh: &Mesh, upstreams: Upstreams) -> Feeds {
    let client = mesh.client();
    Feeds::new(move |owner, path| {
        let (client, upstream) = (client.clone(), upstreams.get(owner));
        async move {
            let request = Request::get(path).body(Default::default())?;
            let answer = client.request(&upstream, request).await?;
            if answer.status().is_success() {
                Ok(answer.into_body())
            } else {
                Err(BoxError::from(format!("answered {}", answer.status())))
            }
        }
    })
}
