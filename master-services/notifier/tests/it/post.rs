//! The mail server: `mesh/sandbox-mail` as a process of its own, to be killed and started again.
//!
//! Cargo builds no other package's program for a test, so this binary plays it: what it is started with, `serve`,
//! is a filter to the test harness, which then runs the one test of that name.

use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use http::{Request, header};
use mesh_identity::{Client, Upstream};
use mesh_local::secrets::random_hex;
use mesh_runtime::Settings;
use mesh_testkit::{ServiceProcess, Stage, certificates, eventually, free_address, shared};
use sandbox_mail::config::Config;
use sandbox_mail::http::{Behave, Mails};
use sandbox_mail::mail::Mail;
use sandbox_mail::office::Mood;

/// The child's life; in the parent's run there is nothing to do. No other name here may contain `serve`.
#[test]
fn serve() {
    let mut settings = Settings::new(sandbox_mail::NAME);
    let config = Config::from_settings(&mut settings);
    if settings.finish().is_err() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(sandbox_mail::serve(config)).expect("it can");
}

/// A mail server and a look into it.
pub struct Post {
    pub process: ServiceProcess,
    pub smtp: SocketAddr,
    window: Client,
}

impl Post {
    /// Described and not started.
    pub fn new(stage: &Stage) -> Self {
        let this = std::env::current_exe().expect("this binary has a path");
        let smtp = free_address();
        let folder: PathBuf = shared().folder().join(format!("mails-{}", random_hex(4)));
        let process = ServiceProcess::new(stage, sandbox_mail::NAME, this);
        let address = process.address().to_string();
        Self {
            process: process
                .env("TIFFIN_SANDBOX_LISTEN", address)
                .env("TIFFIN_SANDBOX_SMTP_LISTEN", smtp.to_string())
                .env("TIFFIN_SANDBOX_DATA_DIR", folder.display().to_string()),
            smtp,
            window: certificates::mesh("tiffin").client(),
        }
    }

    /// Every mail to an address.
    pub async fn mails(&self, to: &str) -> Vec<Mail> {
        let path = format!("/v1/mails?to={to}");
        let mails: Mails = self.window.get_json(&self.upstream(), &path).await.expect("a list");
        mails.mails
    }

    /// The one mail to an address, once it is there.
    pub async fn mail(&self, to: &str) -> Mail {
        let name = format!("a mail to {to}");
        let mut mails = eventually(&name, async || {
            let mails = self.mails(to).await;
            (!mails.is_empty()).then_some(mails)
        })
        .await;
        assert_eq!(mails.len(), 1, "{mails:?}");
        mails.remove(0)
    }

    pub async fn set_mood(&self, mood: Mood) {
        let body = serde_json::to_vec(&Behave { mood }).expect("plain data");
        let request = Request::put("/v1/mood").header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Bytes::from(body)).expect("a request");
        let answer = self.window.request(&self.upstream(), request).await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }

    fn upstream(&self) -> Upstream {
        self.process.upstream()
    }
}
