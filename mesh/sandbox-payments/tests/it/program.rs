//! The real program as a child process, its certificates, and a caller with an identity.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{Request, Response};
use mesh_identity::ca::Authority;
use mesh_identity::{Client, ClientError, Mesh, Upstream};
use serde_json::Value;
use tempfile::TempDir;

pub const API_KEY: &str = "sk_test_1";
pub const WEBHOOK_SECRET: &str = "whsec_test_1";
/// A debug build on a busy machine starts well within.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A folder with the ledger and everybody's certificates, and the program when it runs.
pub struct Program {
    dir: TempDir,
    address: SocketAddr,
    admin: SocketAddr,
    webhook: Option<String>,
    child: Option<Child>,
}

impl Program {
    /// Not started yet.
    pub fn new() -> Program {
        mesh_identity::install_crypto_provider();
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(&dir.path().join("ca")).unwrap();
        for service in ["sandbox-payments", "basket-master", "order-master"] {
            authority.write_bundle(&dir.path().join("tls"), service).unwrap();
        }
        Program {
            dir,
            address: free_address(),
            admin: free_address(),
            webhook: None,
            child: None,
        }
    }

    /// Webhooks go to `basket-master` at this address.
    pub fn announcing_to(mut self, address: SocketAddr) -> Program {
        self.webhook = Some(format!("https://{address}/v1/webhooks/payments"));
        self
    }

    pub fn start(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox-payments"));
        command
            .env("TIFFIN_SANDBOX_LISTEN", self.address.to_string())
            .env("TIFFIN_ADMIN_LISTEN", self.admin.to_string())
            .env("TIFFIN_TLS_DIR", self.tls("sandbox-payments"))
            .env("TIFFIN_SANDBOX_DATA_DIR", self.data())
            .env("TIFFIN_SANDBOX_KEY", API_KEY)
            .env("TIFFIN_SANDBOX_WEBHOOK_SERVICE", "basket-master")
            .env("TIFFIN_SANDBOX_WEBHOOK_SECRET", WEBHOOK_SECRET)
            .env(
                "TIFFIN_SANDBOX_WEBHOOK_URL",
                self.webhook.as_deref().unwrap_or_default(),
            )
            .env("TIFFIN_LOG", "warn")
            .stdout(Stdio::null());
        self.child = Some(command.spawn().unwrap());
    }

    /// As if the power failed, as far as a process can tell.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to end, as a supervisor does, and waits for its exit status.
    pub fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let asked = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(asked.success());
        child.wait().unwrap()
    }

    pub fn mesh(&self, service: &str) -> Mesh {
        Mesh::load(&self.tls(service), service).unwrap()
    }

    pub fn caller(&self, service: &str) -> Caller {
        Caller {
            client: self.mesh(service).client(),
            upstream: Upstream::new("sandbox-payments", self.address.to_string()),
        }
    }

    pub fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    fn tls(&self, service: &str) -> std::path::PathBuf {
        Path::join(self.dir.path(), "tls").join(service)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

#[derive(Clone)]
pub struct Caller {
    client: Client,
    upstream: Upstream,
}

impl Caller {
    pub async fn post(&self, path: &str, key: &str, form: &str) -> Result<Response<Bytes>, ClientError> {
        let request = Request::post(path)
            .header("authorization", format!("Bearer {API_KEY}"))
            .header("idempotency-key", key)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from(form.to_owned()));
        self.client.request(&self.upstream, request.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Result<Response<Bytes>, ClientError> {
        let request = Request::get(path).header("authorization", format!("Bearer {API_KEY}"));
        self.client
            .request(&self.upstream, request.body(Bytes::new()).unwrap())
            .await
    }

    /// Sends the same request until it is answered, as basket-master does with unknown outcomes.
    pub async fn post_until_answered(&self, path: &str, key: &str, form: &str) -> Response<Bytes> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match self.post(path, key, form).await {
                Ok(response) => return response,
                Err(err) => assert!(Instant::now() < deadline, "no answer to {path}: {err}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn ledger(&self) -> Vec<Value> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match self.get("/v1/ledger").await {
                Ok(response) => {
                    let ledger: Value = serde_json::from_slice(response.body()).unwrap();
                    assert_eq!(ledger["has_more"], false);
                    return ledger["payments"].as_array().unwrap().clone();
                }
                Err(err) => assert!(Instant::now() < deadline, "no ledger: {err}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub fn authorization(order: &str, card: &str) -> String {
    format!(
        "amount=1290&currency=eur&payment_method={card}&capture_method=manual&confirm=true&metadata%5Border_id%5D={order}"
    )
}

/// Free when asked; the program binds it a moment later, and again after each kill.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
