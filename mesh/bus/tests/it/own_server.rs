//! A broker of one test's own, to be killed and wiped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mesh_bus::{Bus, BusConfig};
use mesh_local::install::Machine;
use mesh_testkit::eventually;
use tempfile::TempDir;

pub struct OwnServer {
    address: SocketAddr,
    store: TempDir,
    tls: Option<PathBuf>,
    child: Child,
}

impl OwnServer {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Speaks TLS only, with the certificate in this folder.
    pub async fn start_with_tls(folder: PathBuf) -> Self {
        Self::start_with(Some(folder)).await
    }

    async fn start_with(tls: Option<PathBuf>) -> Self {
        let store = tempfile::tempdir().expect("a writable temporary folder");
        let address = mesh_testkit::free_address();
        let child = spawn(address, &store, tls.as_deref()).await;
        Self {
            address,
            store,
            tls,
            child,
        }
    }

    pub fn config(&self) -> BusConfig {
        let scheme = if self.tls.is_some() { "tls" } else { "nats" };
        BusConfig::new(format!("{scheme}://{}", self.address), "", "", "local")
    }

    pub async fn bus(&self) -> Bus {
        Bus::connect(self.config()).await.expect("a valid configuration")
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it was our child");
    }

    pub async fn start_again(&mut self) {
        self.child = spawn(self.address, &self.store, self.tls.as_deref()).await;
    }

    /// What the store holds now, to fall back to. The broker must not run.
    pub fn store(&self) -> TempDir {
        let kept = tempfile::tempdir().expect("a writable temporary folder");
        copy(self.store.path(), kept.path()).expect("the store is readable");
        kept
    }

    /// As after a loss of power: what came after is gone.
    pub fn fall_back(&mut self, to: TempDir) {
        self.store = to;
    }

    pub fn wipe(&mut self) {
        self.store = tempfile::tempdir().expect("a writable temporary folder");
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            std::fs::create_dir(&to)?;
            copy(&from, &to)?;
        } else {
            std::fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

async fn spawn(address: SocketAddr, store: &TempDir, tls: Option<&Path>) -> Child {
    let find = || Machine::this().executables(&mesh_local::unwatched());
    let executables = tokio::task::spawn_blocking(find)
        .await
        .expect("no panic")
        .expect("a broker is installed or can be");
    let mut command = Command::new(executables.nats);
    command
        .args(["--addr", &address.ip().to_string()])
        .args(["--port", &address.port().to_string()])
        .arg("--jetstream")
        .arg("--store_dir")
        .arg(store.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(folder) = tls {
        command.arg("--tls");
        command.arg("--tlscert").arg(folder.join("tls.crt"));
        command.arg("--tlskey").arg(folder.join("tls.key"));
    }
    let child = command.spawn().expect("the broker is executable");
    eventually("the broker listens", async || {
        tokio::net::TcpStream::connect(address).await.ok()
    })
    .await;
    child
}
