//! basket-info: `serve` (default), `--help`.

use basket_info::config::Config;
use basket_info::{App, NAME, http as routes, projector};
use bytes::Bytes;
use http::Request;
use mesh_bus::feed::Feeds;
use mesh_bus::{BoxError, Bus};
use mesh_identity::{Client, Mesh, Upstreams};
use mesh_projection::Projection;
use mesh_runtime::admin::{self, Ready};
use mesh_runtime::process::{self, Command};
use mesh_runtime::{Settings, Shutdown, server, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
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
    let mesh = Mesh::load(&common.tls_dir, NAME)?;
    let listener = process::listen(common.mesh_listen).await?;
    let admin_listener = process::listen(common.admin_listen).await?;
    let bus = Bus::connect(config.bus).await?;
    let feeds = feeds(mesh.client(), config.upstreams);
    let projection = Projection::connect(config.redis, feeds).await?;
    let app = App {
        projection: projection.clone(),
        signer: config.signer,
    };
    let projecting = projector::run(&projection, &bus, &shutdown);
    let ready = Ready::new(&["filled"]);
    tokio::try_join!(
        server::serve(listener, mesh.server(), routes::router(app), shutdown.clone()),
        admin::serve(admin_listener, ready.clone(), shutdown.clone()),
        ok(projecting),
        ok(tell_filled(&projection, ready, shutdown)),
    )?;
    Ok(())
}

/// What never fails stands among what may.
async fn ok(work: impl Future<Output = ()>) -> std::io::Result<()> {
    work.await;
    Ok(())
}

/// Ready while every view is complete.
async fn tell_filled(projection: &Projection, ready: Ready, shutdown: Shutdown) {
    let mut filled = projection.filled();
    loop {
        ready.set("filled", *filled.borrow_and_update());
        tokio::select! {
            () = shutdown.triggered() => return,
            changed = filled.changed() => if changed.is_err() { return },
        }
    }
}

/// The masters' events, asked of them under our own identity.
fn feeds(client: Client, upstreams: Upstreams) -> Feeds {
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
