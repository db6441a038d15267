//! The real program: who may look into it, and what a kill leaves.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{Request, header};
use mesh_identity::ca::Authority;
use mesh_identity::{Mesh, Upstream};
use sandbox_mail::http::Mails;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A debug build on a busy machine starts well within.
const START_TIMEOUT: Duration = Duration::from_secs(20);

const DIALOG: &str = "EHLO us\r\nMAIL FROM:<us@example.org>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n\
                      Subject: Hello\r\n\r\nOne.\r\n.\r\nQUIT\r\n";

struct Program {
    dir: TempDir,
    address: SocketAddr,
    smtp: SocketAddr,
    admin: SocketAddr,
    child: Child,
}

impl Program {
    async fn started() -> Self {
        mesh_identity::install_crypto_provider();
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(&dir.path().join("ca")).unwrap();
        for service in ["sandbox-mail", "tiffin", "notifier"] {
            authority.write_bundle(&dir.path().join("tls"), service).unwrap();
        }
        let [address, smtp, admin] = [(); 3].map(|()| free_address());
        let child = spawn(&dir, address, smtp, admin);
        let program = Self {
            dir,
            address,
            smtp,
            admin,
            child,
        };
        program.answers().await;
        program
    }

    /// As if the power failed, as far as a process can tell.
    async fn killed_and_started_again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.dir, self.address, self.smtp, self.admin);
        self.answers().await;
    }

    async fn answers(&self) {
        let started = Instant::now();
        while TcpStream::connect(self.smtp).await.is_err() || TcpStream::connect(self.address).await.is_err() {
            assert!(started.elapsed() < START_TIMEOUT, "it does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn hand_in(&self) {
        let mut connection = TcpStream::connect(self.smtp).await.unwrap();
        connection.write_all(DIALOG.as_bytes()).await.unwrap();
        let mut replies = String::new();
        connection.read_to_string(&mut replies).await.unwrap();
        assert!(replies.contains(" is taken"), "{replies}");
    }

    async fn ask(&self, peer: &str, request: Request<Bytes>) -> (u16, Bytes) {
        let mesh = Mesh::load(&self.dir.path().join("tls").join(peer), peer).unwrap();
        let upstream = Upstream::new("sandbox-mail", self.address.to_string());
        let answer = mesh.client().request(&upstream, request).await.unwrap();
        (answer.status().as_u16(), answer.into_body())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &TempDir, address: SocketAddr, smtp: SocketAddr, admin: SocketAddr) -> Child {
    let folder = |name: &str| -> PathBuf { dir.path().join(name) };
    Command::new(env!("CARGO_BIN_EXE_sandbox-mail"))
        .env("TIFFIN_SANDBOX_LISTEN", address.to_string())
        .env("TIFFIN_SANDBOX_SMTP_LISTEN", smtp.to_string())
        .env("TIFFIN_ADMIN_LISTEN", admin.to_string())
        .env("TIFFIN_TLS_DIR", folder("tls").join("sandbox-mail"))
        .env("TIFFIN_SANDBOX_DATA_DIR", folder("mails"))
        .env("TIFFIN_LOG", "warn")
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn mails() -> Request<Bytes> {
    Request::get("/v1/mails?to=anna@example.org")
        .body(Bytes::new())
        .unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill_and_only_for_those_who_may_look() {
    let mut program = Program::started().await;
    program.hand_in().await;
    program.killed_and_started_again().await;
    program.hand_in().await;
    let (status, body) = program.ask("tiffin", mails()).await;
    assert_eq!(status, 200);
    let shown: Mails = serde_json::from_slice(&body).unwrap();
    let numbers: Vec<u64> = shown.mails.iter().map(|mail| mail.number).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(program.ask("notifier", mails()).await.0, 403);
}

#[tokio::test]
async fn a_mood_that_there_is_not_is_refused() {
    let program = Program::started().await;
    let set = |body: serde_json::Value| {
        Request::put("/v1/mood")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body.to_string()))
            .unwrap()
    };
    assert_eq!(program.ask("tiffin", set(json!({ "mood": "stalling" }))).await.0, 200);
    for bad in [
        json!({ "mood": "sulking" }),
        json!({}),
        json!({ "mood": "refusing", "more": 1 }),
    ] {
        assert_eq!(program.ask("tiffin", set(bad)).await.0, 422);
    }
}
