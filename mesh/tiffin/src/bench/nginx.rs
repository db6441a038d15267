//! The same document as a file that nginx serves over TLS: what a static page would cost.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mesh_local::exec::Launcher;
use mesh_local::install::Machine;
use mesh_local::running::Running;
use mesh_local::supervise::{Spec, Tier, start_tied, tail};
use rustix::process::Signal;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;

use super::door::Door;
use crate::say::Steps;

/// It listens within milliseconds.
const READY_WITHIN: Duration = Duration::from_secs(10);
const READY_POLL: Duration = Duration::from_millis(20);

/// One nginx with one file; dropping it ends it.
pub(super) struct Nginx {
    pub door: Door,
    _child: Child,
}

/// Where the file is.
pub(super) const DOCUMENT: &str = "/document.json";

impl Nginx {
    /// Installs it if it is missing, and serves these bytes.
    pub(super) async fn serving(running: &Running, document: &[u8], steps: &Steps) -> Result<Self> {
        let sink = steps.sink();
        let program = tokio::task::spawn_blocking(move || Machine::this().nginx(&sink)).await??;
        let folder = running.data_dir().join("nginx");
        std::fs::create_dir_all(folder.join("files"))?;
        std::fs::write(folder.join("files").join(&DOCUMENT[1..]), document)?;
        let address = free_port().await?;
        std::fs::write(
            folder.join("nginx.conf"),
            config(&folder, &running.certificates("gateway"), address),
        )?;
        let spec = Spec {
            name: "nginx".to_owned(),
            tier: Tier::Server,
            program,
            args: ["-p".into(), folder.clone().into(), "-c".into(), "nginx.conf".into()].to_vec(),
            env: std::collections::BTreeMap::new(),
            current_dir: folder.clone(),
            user: None,
            niceness: 0,
            stop_signal: Signal::QUIT,
            address,
            held: Vec::new(),
            admin: None,
        };
        let log = folder.join("nginx.log");
        let child = start_tied(&Launcher::own(), &spec, &log).await?;
        let listens = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(READY_POLL).await;
            }
        };
        let started = tokio::time::timeout(READY_WITHIN, listens).await;
        started.with_context(|| format!("nginx does not listen:\n{}", tail(&log)))?;
        Ok(Self {
            door: Door::at(running, &format!("https://{address}"))?,
            _child: child,
        })
    }
}

async fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?)
}

/// A worker for each core, as Debian has it; connections stay open, and nothing is logged.
fn config(folder: &Path, certificates: &Path, address: SocketAddr) -> String {
    let (folder, certificates) = (folder.display(), certificates.display());
    format!(
        "daemon off;
worker_processes auto;
user root;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    keepalive_timeout 65;
    keepalive_requests 1000000000;
    open_file_cache max=10;
    types {{ application/json json; }}
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {address} ssl backlog=4096;
        ssl_certificate {certificates}/tls.crt;
        ssl_certificate_key {certificates}/tls.key;
        ssl_protocols TLSv1.3;
        root {folder}/files;
    }}
}}
"
    )
}

/// Somebody who calls again and again.
pub(super) fn reader(door: &Door, path: &str, token: &str) -> super::pace::Call {
    let (door, path, token): (_, Arc<str>, Arc<str>) = (door.clone(), path.into(), token.into());
    Arc::new(move |_| {
        let (door, path, token) = (door.clone(), path.clone(), token.clone());
        Box::pin(async move {
            door.get(&path, &token).await?;
            Ok(())
        })
    })
}
