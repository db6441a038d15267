//! A headless browser, driven as WebDriver says: for pages that no other test can see.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use mesh_local::Progress;
use mesh_local::install::Machine;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::eventually::eventually_in;
use crate::process::free_address;

/// A browser that starts cold on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// The page is on this machine, and its work is small.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// Nothing may go anywhere but to this machine, and the sandbox needs what a container does not grant.
const FLAGS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=1280,900",
];

/// A browser with one page; dropping it ends it with all its processes.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
}

impl Browser {
    /// Starts one, after installing it if that is possible. `None` where there is none and none can be had: the
    /// reason is printed, and a test has nothing to see.
    ///
    /// # Panics
    /// If there is one and it does not start.
    #[expect(
        clippy::print_stderr,
        reason = "whoever reads the tests' output is to know what was not tested"
    )]
    pub async fn start() -> Option<Self> {
        let progress: Progress = mesh_local::unwatched();
        let found = tokio::task::spawn_blocking(move || Machine::this().browser(&progress));
        match found.await.expect("looking does not panic") {
            Ok(found) => Some(Self::of(&found).await.expect("the browser starts")),
            Err(err) => {
                eprintln!("NOT TESTED, since there is no browser: {err:#}");
                None
            }
        }
    }

    async fn of(found: &mesh_local::install::Browser) -> Result<Self> {
        let address = free_address();
        let driver = Command::new(&found.driver)
            .arg(format!("--port={}", address.port()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // So that the browser ends with it.
            .process_group(0)
            .spawn()
            .context("cannot start the driver")?;
        let mut browser = Self {
            driver,
            address,
            session: String::new(),
        };
        eventually_in("the driver is ready", START_DEADLINE, async || {
            let ready = browser.call(Method::GET, "/status", &Value::Null).await.ok()?;
            (ready["ready"] == true).then_some(())
        })
        .await;
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "acceptInsecureCerts": true,
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "binary": found.chromium, "args": FLAGS },
        }}});
        let session = browser.call(Method::POST, "/session", &wanted).await?;
        browser.session = session["sessionId"].as_str().context("a session")?.to_owned();
        Ok(browser)
    }

    /// Goes to a page.
    ///
    /// # Panics
    /// If it does not load.
    pub async fn go(&self, url: &str) {
        self.command("/url", &json!({ "url": url })).await;
    }

    /// Makes the page so large, in CSS pixels; smaller than any window can be, if it must.
    ///
    /// # Panics
    /// If it can't.
    pub async fn size(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": false });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        self.command("/goog/cdp/execute", &command).await;
    }

    /// Whether the reader likes it dark.
    ///
    /// # Panics
    /// If it can't.
    pub async fn dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        let command = json!({ "cmd": "Emulation.setEmulatedMedia", "params": features });
        self.command("/goog/cdp/execute", &command).await;
    }

    /// What a function body of JavaScript returns in the page.
    ///
    /// # Panics
    /// If it throws.
    pub async fn run(&self, script: &str) -> Value {
        self.command("/execute/sync", &json!({ "script": script, "args": [] }))
            .await
    }

    /// Types into what a selector finds.
    ///
    /// # Panics
    /// If there is nothing to type into.
    pub async fn fill(&self, css: &str, text: &str) {
        let element = self.find(css).await;
        self.command(&format!("/element/{element}/value"), &json!({ "text": text }))
            .await;
    }

    /// Clicks what a selector finds.
    ///
    /// # Panics
    /// If it can't be clicked.
    pub async fn click(&self, css: &str) {
        let element = self.find(css).await;
        self.command(&format!("/element/{element}/click"), &json!({})).await;
    }

    /// What the page complained about: errors, violations of its policy, requests that failed.
    ///
    /// # Panics
    /// If the browser does not say.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.command("/se/log", &json!({ "type": "browser" })).await;
        let entries = log.as_array().expect("a log").iter();
        let bad = entries.filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING");
        bad.map(|entry| entry["message"].to_string()).collect()
    }

    /// The page as a PNG, in Base64.
    ///
    /// # Panics
    /// If the browser does not give it.
    pub async fn shot(&self) -> String {
        let shot = self.call(Method::GET, &self.path("/screenshot"), &Value::Null).await;
        let shot = shot.expect("a picture");
        shot.as_str().expect("text").to_owned()
    }

    async fn find(&self, css: &str) -> String {
        let found = self
            .command("/element", &json!({ "using": "css selector", "value": css }))
            .await;
        let element = found.as_object().and_then(|found| found.values().next());
        element.and_then(Value::as_str).expect("an element").to_owned()
    }

    async fn command(&self, path: &str, body: &Value) -> Value {
        let answer = self.call(Method::POST, &self.path(path), body).await;
        answer.unwrap_or_else(|err| panic!("{path}: {err:#}"))
    }

    fn path(&self, path: &str) -> String {
        format!("/session/{}{path}", self.session)
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        tokio::time::timeout(ANSWER_DEADLINE, self.send(method, path, body)).await?
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let body = match body {
            Value::Null => Bytes::new(),
            body => serde_json::to_vec(body)?.into(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        connection.abort();
        let mut answer: Value = serde_json::from_slice(&body)?;
        ensure!(answer.is_object(), "no WebDriver answer");
        let value = answer["value"].take();
        if !status.is_success() {
            bail!("{}: {}", value["error"], value["message"]);
        }
        Ok(value)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = i32::try_from(self.driver.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.driver.wait();
    }
}
