//! Views built anew, and Redis emptied, in the middle of a replay: no read fails or goes back, and nothing is done twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use mesh_identity::{Client, Upstream};
use mesh_local::running::Running;
use mesh_local::services::{Kind, of_kind};
use mesh_testkit::eventually_in;
use mesh_verify::collect::open_redis;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tiffin::rebuild;

use crate::chaos::instance;
use crate::command::{Folder, Started};

/// Twelve minutes with two orders a minute, in eight seconds: a burst in which all is done to them.
const ORDERS: u32 = 24;
const PER_MINUTE: u32 = 2;
const SPEED: &str = "90";

/// Orders on their way before anything is done.
const UNDER_WAY: usize = 6;

/// A platform and its people, on a machine that does other things, too.
const SET_UP_DEADLINE: Duration = Duration::from_secs(120);
const REPLAY_TIMEOUT: Duration = Duration::from_secs(300);

/// What is promised for a hundred thousand orders.
const FILLED_WITHIN: Duration = Duration::from_secs(30);

/// Any answer of the gateway.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// From the first service to the last server, when the platform ends.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two reads: one eager operator's worth.
const READ_PAUSE: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr, reason = "figures are for whoever reads the log")]
async fn views_are_rebuilt_and_come_back_by_themselves_during_a_replay() -> Result<()> {
    mesh_identity::install_crypto_provider();
    let folder = Folder::new()?;
    let instance = instance(ORDERS, PER_MINUTE)?;
    let path = instance.path().to_str().context("a path in UTF-8")?;
    let arguments = ["replay", path, "--up", "--speed", SPEED, "--verify", "--json"];
    let mut replay = Started::new(folder.path(), &arguments)?;
    eventually_in("orders are on their way", SET_UP_DEADLINE, || async {
        let orders = Orders::of(folder.path()).ok()?.all().await.ok()?;
        (orders.len() >= UNDER_WAY).then_some(())
    })
    .await;
    let running = Running::find(folder.path())?;
    let watched = Arc::new(Watched::default());
    let reading = tokio::spawn(Reader::new(&running, watched.clone()).await?.read());

    let before = Orders::of(folder.path())?.all().await?.len() as u64;
    for service in of_kind(Kind::Info) {
        for view in rebuild::of_service(&running, service.name, false, |_, _| {}).await? {
            ensure!(view.previous.is_some(), "the old edition is kept: {view:?}");
            // All of them: an edition takes over only when each is where its master has it.
            ensure!(view.view != "order" || view.compared >= before, "{view:?} of {before}");
        }
    }
    watched.is_lost.store(true, Ordering::SeqCst);
    let lost_at = Instant::now();
    let mut redis = open_redis(&running.redis()?.admin_url()).await?;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await?;
    eventually_in("every view is complete again", FILLED_WITHIN, || async {
        all_filled(&running).await.then_some(())
    })
    .await;
    let filled_after = lost_at.elapsed();
    watched.is_lost.store(false, Ordering::SeqCst);
    let orders = Orders::of(folder.path())?.all().await?.len();
    eprintln!("{orders} orders, of {ORDERS}, were shown again {filled_after:?} after Redis was emptied");

    let report = replay
        .line("the report", REPLAY_TIMEOUT, |line| line["orders"].is_object())
        .await?;
    replay.ended().await?;
    let seen = reading.await??;
    eprintln!(
        "{} reads, {} of them refused while Redis was empty",
        seen.good, seen.refused
    );
    ensure!(seen.good > 100, "too few reads to say anything");
    assert_eq!(
        (&report["orders"]["placed"], &report["orders"]["completed"]),
        (&ORDERS.into(), &ORDERS.into()),
        "{report}"
    );
    // I2: no payment was captured or refunded twice; I6: nobody with a token was shown anything older.
    let violations = report["violations"].as_object().context("it was verified")?;
    assert!(violations.values().all(|count| count == 0), "{report}");
    // One mail at paid and one at the end, each once.
    let mails = message_ids(
        &running
            .sandbox_ledger()
            .with_file_name("sandbox-mail")
            .join("mails.mbox"),
    )?;
    assert_eq!(mails.len(), 2 * ORDERS as usize);
    assert_eq!(mails.iter().collect::<BTreeSet<_>>().len(), mails.len());
    Ok(())
}

async fn all_filled(running: &Running) -> bool {
    for service in of_kind(Kind::Info) {
        match rebuild::standings(running, service.name).await {
            Ok(views) if views.iter().all(|view| view.is_filled) => {}
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

/// What the mail server was handed in.
fn message_ids(file: &Path) -> Result<Vec<String>> {
    let mails = std::fs::read(file)?;
    let mails = String::from_utf8_lossy(&mails);
    let ids = mails.lines().filter_map(|line| line.strip_prefix("Message-ID: "));
    Ok(ids.map(str::to_owned).collect())
}

/// The orders and food points that the masters have.
struct Orders {
    url: String,
}

impl Orders {
    fn of(data_dir: &Path) -> Result<Self> {
        let order_master = of_kind(Kind::Master).find(|service| service.name == "order-master");
        let url = Running::find(data_dir)?.database_url(order_master.context("it is in the table")?)?;
        Ok(Self { url })
    }

    async fn all(&self) -> Result<Vec<String>> {
        let mut database = PgConnection::connect(&self.url).await?;
        let orders = sqlx::query_scalar("select stream_id from streams where category = 'ord'")
            .fetch_all(&mut database)
            .await?;
        database.close().await?;
        Ok(orders)
    }
}

/// What the reader is told.
#[derive(Default)]
struct Watched {
    /// Redis is empty: an honest 503 is as good as an answer.
    is_lost: AtomicBool,
}

#[derive(Default)]
struct Seen {
    good: u64,
    refused: u64,
}

/// An operator who looks at every order again and again, once each: no answer is asked for twice.
struct Reader {
    client: Client,
    door: Upstream,
    token: String,
    orders: Orders,
    watched: Arc<Watched>,
    versions: BTreeMap<String, u64>,
    seen: Seen,
}

impl Reader {
    async fn new(running: &Running, watched: Arc<Watched>) -> Result<Self> {
        let client = Client::public(&std::fs::read(running.ca_cert())?)?;
        let url = running.public_url();
        let door = Upstream::new("gateway", url.strip_prefix("https://").context("it speaks TLS")?);
        let (email, password) = running.operator()?;
        let login = json!({ "email": email, "password": password }).to_string();
        let request = Request::post("/v1/sessions")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(login))?;
        let answer = client.request_within(&door, request, READ_TIMEOUT).await?;
        let session: Value = serde_json::from_slice(answer.body())?;
        Ok(Self {
            token: session["access_token"].as_str().context("signed in")?.to_owned(),
            client,
            door,
            orders: Orders::of(running.data_dir())?,
            watched,
            versions: BTreeMap::new(),
            seen: Seen::default(),
        })
    }

    /// Until the platform ends.
    async fn read(mut self) -> Result<Seen> {
        while let Ok(orders) = self.orders.all().await {
            for order in orders {
                if !self.look_at(&order).await? {
                    return Ok(self.seen);
                }
                tokio::time::sleep(READ_PAUSE).await;
            }
        }
        Ok(self.seen)
    }

    /// False at the platform's end.
    async fn look_at(&mut self, order: &str) -> Result<bool> {
        let was_lost = self.watched.is_lost.load(Ordering::SeqCst);
        let request = Request::get(format!("/v1/orders/{order}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Bytes::new())?;
        let Ok(answer) = self.client.request_within(&self.door, request, READ_TIMEOUT).await else {
            // The gateway is the first to go.
            return Ok(false);
        };
        let may_be_refused = was_lost || self.watched.is_lost.load(Ordering::SeqCst);
        match answer.status() {
            StatusCode::OK => {
                let body: Value = serde_json::from_slice(answer.body())?;
                let version = body["version"].as_u64().context("a version")?;
                let known = self.versions.insert(order.to_owned(), version).unwrap_or(0);
                ensure!(version >= known, "{order} went back from {known} to {version}");
                self.seen.good += 1;
            }
            StatusCode::SERVICE_UNAVAILABLE if may_be_refused => self.seen.refused += 1,
            // Not shown yet.
            StatusCode::NOT_FOUND if !self.versions.contains_key(order) => {}
            // The end comes to services before it comes to the gateway, and to servers last.
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY if self.is_the_end().await => {
                return Ok(false);
            }
            status => anyhow::bail!("{order}: {status} {}", String::from_utf8_lossy(answer.body())),
        }
        Ok(true)
    }

    async fn is_the_end(&self) -> bool {
        let gone = async {
            while self.orders.all().await.is_ok() {
                tokio::time::sleep(READ_PAUSE).await;
            }
        };
        tokio::time::timeout(END_TIMEOUT, gone).await.is_ok()
    }
}
