//! A certificate authority with services around it, for one test.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use jiff::SignedDuration;
use mesh_identity::ca::{Authority, LEAF_VALID_FOR};
use mesh_identity::{Mesh, Peer, Upstream, peer};
use mesh_runtime::server::{self, Accept, with_layers};
use mesh_runtime::{Shutdown, telemetry};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Two polls of the certificate files and a slow machine.
pub const RELOAD_DEADLINE: Duration = Duration::from_secs(15);

pub struct Site {
    pub dir: TempDir,
    pub authority: Authority,
}

impl Site {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let authority = Authority::create(&dir.path().join("ca")).unwrap();
        Self { dir, authority }
    }

    pub fn bundle(&self, service: &str) -> PathBuf {
        self.authority.write_bundle(self.dir.path(), service).unwrap()
    }

    pub fn mesh(&self, service: &str) -> Mesh {
        Mesh::load(&self.bundle(service), service).unwrap()
    }

    /// A service whose certificate was issued by `issuer` and that trusts this site's authority.
    pub fn mesh_issued_by(&self, issuer: &Authority, service: &str, valid_for: SignedDuration) -> Mesh {
        let issued = issuer.issue(service, &[], valid_for).unwrap();
        let dir = self.dir.path().join(format!("odd-{service}"));
        self.authority.write_issued(&dir, &issued).unwrap();
        Mesh::load(&dir, service).unwrap()
    }

    pub fn mesh_of_other_authority(&self, service: &str) -> Mesh {
        let other = Authority::create(&self.dir.path().join("other-ca")).unwrap();
        self.mesh_issued_by(&other, service, LEAF_VALID_FOR)
    }
}

pub struct Server {
    pub address: SocketAddr,
    shutdown: Shutdown,
}

impl Server {
    pub fn as_service(&self, service: &str) -> Upstream {
        Upstream::new(service, self.address.to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

pub async fn serve(accept: Accept, router: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    tokio::spawn(server::serve(listener, accept, with_layers(router), shutdown.clone()));
    Server { address, shutdown }
}

/// `/peer` tells anyone who they are; `/guarded` is for the gateway and order-info.
pub fn routes() -> Router {
    Router::new()
        .route("/guarded", get(|| async { "\"welcome\"" }))
        .route_layer(peer::allow(&["gateway", "order-info"]))
        .route("/peer", get(|peer: Peer| async move { format!("\"{peer}\"") }))
        .route("/trace", get(|| async { format!("{:?}", telemetry::traceparent()) }))
}

/// Polls until it holds; fails the test with the deadline's name otherwise.
pub async fn eventually<F: Future<Output = bool>>(what: &str, deadline: Duration, holds: impl Fn() -> F) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < deadline, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub fn corrupt(path: &std::path::Path) {
    fs::write(
        path,
        "-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
}
