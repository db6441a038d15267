//! A Redis of one test's own, to be killed: it comes back empty, without our functions.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mesh_testkit::{RedisAccess, eventually};

pub struct OwnRedis {
    address: SocketAddr,
    tls: Option<PathBuf>,
    child: Child,
}

impl OwnRedis {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Speaks TLS only, with the certificate in this folder.
    pub async fn start_with_tls(folder: PathBuf) -> Self {
        Self::start_with(Some(folder)).await
    }

    async fn start_with(tls: Option<PathBuf>) -> Self {
        let address = mesh_testkit::free_address();
        let child = spawn(address, tls.as_deref()).await;
        Self { address, tls, child }
    }

    pub fn access(&self) -> RedisAccess {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        RedisAccess {
            url: format!("{scheme}://{}/0", self.address),
            prefix: "order-info:".into(),
        }
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it was our child");
    }

    pub async fn start_again(&mut self) {
        self.child = spawn(self.address, self.tls.as_deref()).await;
    }

    pub async fn restart(&mut self) {
        self.kill();
        self.start_again().await;
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn spawn(address: SocketAddr, tls: Option<&Path>) -> Child {
    let find = || mesh_local::install::Machine::this().executables(&mesh_local::unwatched());
    let executables = tokio::task::spawn_blocking(find)
        .await
        .expect("no panic")
        .expect("a Redis is installed or can be");
    let port = address.port().to_string();
    let mut command = Command::new(executables.redis);
    command
        .args(["--bind", &address.ip().to_string()])
        .args(["--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match tls {
        None => command.args(["--port", &port]),
        Some(folder) => command
            .args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"])
            .arg("--tls-cert-file")
            .arg(folder.join("tls.crt"))
            .arg("--tls-key-file")
            .arg(folder.join("tls.key"))
            .arg("--tls-ca-cert-file")
            .arg(folder.join("ca.crt")),
    };
    let child = command.spawn().expect("Redis is executable");
    eventually("Redis listens", async || {
        tokio::net::TcpStream::connect(address).await.ok()
    })
    .await;
    child
}
