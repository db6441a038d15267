//! The stand-in payment provider as a process: journal, routes, webhooks, and their end.

use std::sync::Arc;

use anyhow::Context as _;
use mesh_identity::{Mesh, peer};
use mesh_runtime::admin::{self, Ready};
use mesh_runtime::process::{self, Command};
use mesh_runtime::server::{self, with_layers};
use mesh_runtime::{Settings, Shutdown, telemetry};
use sandbox_payments::bank::{Bank, Writer};
use sandbox_payments::config::Config;
use sandbox_payments::http::{App, routes};
use sandbox_payments::webhooks::{self, Receiver};

const SERVICE: &str = "sandbox-payments";
/// Who moves money, and who checks what was moved.
const PEERS: &[&str] = &["basket-master", "tiffin"];

fn main() -> anyhow::Result<()> {
    process::run(start())
}

async fn start() -> anyhow::Result<()> {
    let mut settings = Settings::new(SERVICE);
    let config = Config::from_settings(&mut settings);
    if process::command(&settings, &[Command::Serve])?.is_none() {
        return Ok(());
    }
    settings.finish()?;
    telemetry::init(SERVICE, &config.telemetry)?;
    serve(config).await
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals()?;
    let mesh = Mesh::of(&config.tls, SERVICE)?;
    let listener = process::listen(config.listen).await?;
    let admin_listener = process::listen(config.admin_listen).await?;
    let (bank, writer) = Bank::open(&config.data_dir, config.webhook.is_some())?;
    let Writer { notices, mut ended } = writer;

    let app = App {
        bank: bank.clone(),
        key: Arc::new(config.key),
        shutdown: shutdown.clone(),
    };
    let router = with_layers(routes(app).layer(peer::allow(PEERS)));
    let announce = async {
        if let Some(webhook) = config.webhook {
            let receiver = Receiver::new(mesh.client(), webhook.receiver, webhook.path);
            let secret = webhook.secret.expose().as_bytes();
            webhooks::run(notices, bank, secret, shutdown.clone(), |message| {
                receiver.tell(message)
            })
            .await;
        }
        Ok(())
    };
    let serving = async {
        tokio::try_join!(
            server::serve(listener, mesh.server(), router, shutdown.clone()),
            admin::serve(admin_listener, Ready::default(), shutdown.clone()),
            announce,
        )
    };
    tokio::select! {
        served = serving => drop(served?),
        // Nothing can be promised any more; the supervisor starts us anew.
        end = &mut ended => return end.context("the writer died")?.context("the journal cannot be written"),
    }
    // Every handle is gone: the writer finishes what it took and says how that went.
    ended
        .await
        .context("the writer died")?
        .context("the journal cannot be written")
}
