//! A broker of one test's own, to be killed and wiped.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use mesh_bus::{Bus, BusConfig};
use mesh_local::install::Machine;
use mesh_testkit::eventually;
use tempfile::TempDir;

pub struct OwnBroker {
    address: SocketAddr,
    store: TempDir,
    child: Child,
}

impl OwnBroker {
    pub async fn start() -> Self {
        let store = tempfile::tempdir().expect("a writable temporary folder");
        let address = mesh_testkit::free_address();
        let child = spawn(address, &store).await;
        Self { address, store, child }
    }

    pub async fn bus(&self) -> Bus {
        let config = BusConfig::new(format!("nats://{}", self.address), "", "", "local");
        Bus::connect(config).await.expect("a valid configuration")
    }

    /// As if its disk had been lost: killed, and started again with nothing.
    pub async fn wipe(&mut self) {
        self.kill();
        self.store = tempfile::tempdir().expect("a writable temporary folder");
        self.start_again().await;
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it was our child");
    }

    pub async fn start_again(&mut self) {
        self.child = spawn(self.address, &self.store).await;
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn spawn(address: SocketAddr, store: &TempDir) -> Child {
    let find = || Machine::this().executables(&mesh_local::unwatched());
    let executables = tokio::task::spawn_blocking(find)
        .await
        .expect("no panic")
        .expect("a broker is installed or can be");
    let child = Command::new(executables.nats)
        .args(["--addr", &address.ip().to_string()])
        .args(["--port", &address.port().to_string()])
        .arg("--jetstream")
        .arg("--store_dir")
        .arg(store.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the broker is executable");
    eventually("the broker listens", async || {
        tokio::net::TcpStream::connect(address).await.ok()
    })
    .await;
    child
}
