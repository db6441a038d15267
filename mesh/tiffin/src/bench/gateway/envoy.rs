//! One Envoy in the gateway's place.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use mesh_local::exec::Launcher;
use mesh_local::install::Machine;
use mesh_local::running::Running;
use mesh_local::supervise::{Process, Spec, Tier, start_tied, tail};
use rustix::process::Signal;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;

use super::Protocol;
use crate::say::Steps;

const CONFIG: &str = include_str!("envoy.yaml");

/// Verified tokens that it remembers when it may.
const CACHE: &str = "jwt_cache_config: { jwt_cache_size: 10000 }";

/// It listens within a second.
const READY_WITHIN: Duration = Duration::from_secs(20);
const READY_POLL: Duration = Duration::from_millis(20);

/// Dropping it ends it.
pub(super) struct Envoy {
    pub address: SocketAddr,
    pub process: Process,
    _child: Child,
}

impl Envoy {
    /// Installs it if it is missing. One worker, as our gateway has one thread.
    pub(super) async fn start(
        running: &Running,
        jwks: &Value,
        has_cache: bool,
        upstream: Protocol,
        steps: &Steps,
    ) -> Result<Self> {
        let sink = steps.sink();
        let program = tokio::task::spawn_blocking(move || Machine::this().envoy(&sink)).await??;
        let folder = running.data_dir().join("bench-envoy");
        std::fs::create_dir_all(&folder)?;
        let keys = folder.join("jwks.json");
        std::fs::write(&keys, jwks.to_string())?;
        let (address, admin) = (free_port().await?, free_port().await?);
        let values = [
            ("port", address.port().to_string()),
            ("admin_port", admin.port().to_string()),
            (
                "upstream_port",
                running.process("order-info")?.address.port().to_string(),
            ),
            ("upstream_http", upstream.of_envoy().0.to_owned()),
            ("upstream_alpn", upstream.of_envoy().1.to_owned()),
            ("certs", running.certificates("gateway").display().to_string()),
            ("jwks", keys.display().to_string()),
            ("cache", if has_cache { CACHE } else { "" }.to_owned()),
        ];
        let config = values.iter().fold(CONFIG.to_owned(), |text, (name, value)| {
            text.replace(&format!("${{{name}}}"), value)
        });
        std::fs::write(folder.join("envoy.yaml"), config)?;
        let args = "--config-path envoy.yaml --concurrency 1 --disable-hot-restart --log-level warning";
        let spec = Spec {
            name: "envoy".to_owned(),
            tier: Tier::Service,
            program,
            args: args.split(' ').map(Into::into).collect(),
            env: BTreeMap::new(),
            current_dir: folder.clone(),
            user: None,
            niceness: 0,
            stop_signal: Signal::TERM,
            address,
            held: Vec::new(),
            admin: None,
        };
        let log = folder.join("envoy.log");
        let child = start_tied(&Launcher::own(), &spec, &log).await?;
        let pid = child.id().context("it has just been started")?.try_into()?;
        let listens = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(READY_POLL).await;
            }
        };
        let started = tokio::time::timeout(READY_WITHIN, listens).await;
        started.with_context(|| format!("Envoy does not listen:\n{}", tail(&log)))?;
        Ok(Self {
            address,
            process: Process {
                name: "envoy".to_owned(),
                pid,
                address,
                admin: None,
                restarts: 0,
            },
            _child: child,
        })
    }
}

async fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?)
}
