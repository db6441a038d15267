//! The gateway as a process: two doors with one router behind them, signing keys kept fresh, an orderly end.

use gateway::config::{Config, Public};
use gateway::{Entrance, Gateway, NAME, router};
use mesh_identity::{Mesh, mesh};
use mesh_runtime::process::{self, Command};
use mesh_runtime::{Settings, Shutdown, admin, server, telemetry};

fn main() -> anyhow::Result<()> {
    process::run(start())
}

async fn start() -> anyhow::Result<()> {
    let mut settings = Settings::new(NAME);
    let config = Config::from_settings(&mut settings);
    if process::command(&settings, &[Command::Serve])?.is_none() {
        return Ok(());
    }
    settings.finish()?;
    telemetry::init(NAME, &config.common.telemetry)?;
    mesh_identity::install_crypto_provider();

    let shutdown = Shutdown::on_signals()?;
    let mesh = Mesh::of(&config.common.tls, NAME)?;
    let app = Gateway::new(&config, &mesh, shutdown.clone());
    let mesh_listener = process::listen(config.common.mesh_listen).await?;
    let admin_listener = process::listen(config.common.admin_listen).await?;
    let public = async {
        let Some(Public { listen, tls_dir }) = &config.public else {
            return Ok(());
        };
        let (listener, accept) = (process::listen(*listen).await?, mesh::public(tls_dir)?);
        server::serve(listener, accept, router(&app, Entrance::Public), shutdown.clone()).await?;
        anyhow::Ok(())
    };
    let inside = router(&app, Entrance::Mesh);
    tokio::try_join!(
        public,
        async { Ok(server::serve(mesh_listener, mesh.server(), inside, shutdown.clone()).await?) },
        async { Ok(admin::serve(admin_listener, app.ready.clone(), shutdown.clone()).await?) },
        async {
            app.verifier.run(shutdown.clone()).await;
            Ok(())
        },
        async {
            app.share_limits(config.counts.as_ref()).await;
            Ok(())
        },
    )?;
    Ok(())
}
