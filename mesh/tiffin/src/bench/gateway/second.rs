//! A second gateway of the platform, which asks services over HTTP/1.1.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mesh_local::exec::Launcher;
use mesh_local::probe;
use mesh_local::running::Running;
use mesh_local::supervise::{Process, Spec, Tier, start_tied, tail};
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::process::Child;

/// It fetches the signing keys first.
const READY_WITHIN: Duration = Duration::from_secs(20);
const READY_POLL: Duration = Duration::from_millis(20);

/// Dropping it ends it.
pub(super) struct Second {
    pub process: Process,
    _child: Child,
}

impl Second {
    /// Told what the first is told, but for its ports and how it asks.
    pub(super) async fn start(running: &Running) -> Result<Self> {
        let first = running.process("gateway")?;
        let told =
            std::fs::read_to_string(format!("/proc/{}/environ", first.pid)).context("what the gateway was told")?;
        let mut env: BTreeMap<String, String> = told
            .split('\0')
            .filter_map(|pair| pair.split_once('='))
            .filter(|(name, _)| name.starts_with("TIFFIN_") || name.starts_with("TOKIO_"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let free = async || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr();
        let (address, admin) = (free().await?, free().await?);
        env.remove("TIFFIN_PUBLIC_LISTEN");
        env.extend(
            [
                ("TIFFIN_MESH_LISTEN", address.to_string()),
                ("TIFFIN_ADMIN_LISTEN", admin.to_string()),
                ("TIFFIN_HTTP2_CONNECTIONS", "0".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let spec = Spec {
            name: first.name,
            tier: Tier::Service,
            program: std::env::current_exe()?.with_file_name("gateway"),
            args: vec!["serve".into()],
            env,
            current_dir: running.data_dir().to_owned(),
            user: None,
            niceness: 0,
            stop_signal: Signal::TERM,
            address,
            held: Vec::new(),
            admin: Some(admin),
        };
        let log = running.data_dir().join("bench-gateway.log");
        let child = start_tied(&Launcher::own(), &spec, &log).await?;
        let pid = child.id().context("it has just been started")?.try_into()?;
        let ready = async {
            while !probe::is_ready(admin).await {
                tokio::time::sleep(READY_POLL).await;
            }
        };
        let started = tokio::time::timeout(READY_WITHIN, ready).await;
        started.with_context(|| format!("the second gateway is not ready:\n{}", tail(&log)))?;
        Ok(Self {
            process: Process {
                name: spec.name,
                pid,
                address,
                admin: Some(admin),
                restarts: 0,
            },
            _child: child,
        })
    }
}
