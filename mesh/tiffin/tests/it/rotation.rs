//! Keys and certificates are replaced and the issuer falls silent while people read, order and watch: nobody who may
//! come in is refused.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{Method, header};
use mesh_contracts::api::KeyState;
use mesh_identity::ca::{self, Authority, LEAF_VALID_FOR};
use mesh_identity::{ClientError, Mesh, Upstream};
use mesh_local::probe;
use mesh_local::running::Running;
use mesh_testkit::eventually_in;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tiffin::client::{Live, News};

use crate::command::program;
use crate::platform::{Answer, Customer, DEADLINE, Door, Sent, Site, rotating};

/// The next key is published 75 s before it signs, and was when the platform started.
const KEY_DEADLINE: Duration = Duration::from_secs(120);
/// A key that signs for the first time must be known by then.
const KNOWN_WITHIN: Duration = Duration::from_secs(1);
/// Long enough for two tries of the gateway to fetch keys.
const SILENCE: Duration = Duration::from_secs(25);
/// The issuer is asked once in this time at most.
const FETCH_SPACING: Duration = Duration::from_secs(10);

/// Between two requests of one reader: four of them leave a small machine room for the platform.
const READ_PAUSE: Duration = Duration::from_millis(50);
const ORDER_PAUSE: Duration = Duration::from_millis(250);
/// Whoever is answered nothing else for so long was refused.
const PATIENCE: Duration = Duration::from_secs(60);

/// `{"alg":"ES256","typ":"at+jwt","kid":"nobody-knows-it"}`, and not much more.
const FORGED: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6Im5vYm9keS1rbm93cy1pdCJ9.e30.AAAA";

/// What TLS says when the two ends do not trust each other.
const DISTRUST: [&str; 3] = ["ertificate", "fatal alert", "UnknownIssuer"];

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stdout, reason = "figures are for whoever reads the log")]
async fn nobody_is_refused_while_keys_and_certificates_change_and_the_issuer_is_silent() {
    let site = Site::open_on(rotating(), "rotation", 1).await;
    let running = site.platform.running();
    let (started, asked_before) = (Instant::now(), times_asked_for_keys(&running).await);
    let load = Load::on(&site).await;

    let took = the_next_key_signs_and_is_known_at_once(&site, &load).await;
    println!("the new key's first token worked after {took:?}");
    certificates_are_replaced(&running).await;
    let strangers = the_authority_is_replaced(&running).await;
    println!("{strangers} services refuse the old authority");
    the_issuer_is_silent(&running, &load).await;

    load.goes_on().await;
    let asked = times_asked_for_keys(&running).await - asked_before;
    let asked_max = started.elapsed().as_secs() / FETCH_SPACING.as_secs() + 1;
    println!("the issuer was asked for keys {asked} times in {:?}", started.elapsed());
    // Once a minute, whatever happens.
    assert!(
        (1..=asked_max).contains(&asked),
        "asked {asked} times, {asked_max} are allowed"
    );
    let [answered, orders, again] = load.end();
    println!("{answered} requests answered, {orders} of them orders; {again} sent again to a busy machine");
    nobody_distrusted_anybody(&running);
}

async fn the_next_key_signs_and_is_known_at_once(site: &Site, load: &Arc<Load>) -> Duration {
    let current = |keys: Vec<mesh_contracts::api::SigningKey>| {
        let mut keys = keys.into_iter().filter(|key| key.state == KeyState::Current);
        keys.next().expect("a key signs").kid
    };
    let old = current(site.operator.signing_keys().await.expect("operators see keys"));
    site.operator.retire_key(&old).await.expect("operators retire keys");
    eventually_in("the next key signs", KEY_DEADLINE, || async {
        let keys = site.operator.signing_keys().await.ok()?;
        (current(keys) != old).then_some(())
    })
    .await;
    let customer = site.customer().await;
    let token = load.door.token_of(&customer.email).await;
    assert_ne!(head(&token), head(&load.first_token), "another key has signed it");
    let started = Instant::now();
    load.ask(&Sent::get("/v1/orders").by(&token)).await;
    let took = started.elapsed();
    assert!(took <= KNOWN_WITHIN, "the new key was known after {took:?}");
    load.read(token);
    took
}

/// Which names the key.
fn head(token: &str) -> &str {
    token.split('.').next().expect("a token has a head")
}

async fn certificates_are_replaced(running: &Running) {
    let before = ca::describe(&running.certificates("order-master")).expect("it has one");
    certs(running, &["certs", "rotate"]).await;
    let after = ca::describe(&running.certificates("order-master")).expect("it has one");
    assert_ne!(before.der, after.der);
    assert_eq!(before.authority, after.authority);
}

/// How many services refuse what the old one issued, and take what the new one does.
async fn the_authority_is_replaced(running: &Running) -> usize {
    let old = Authority::load(&running.certificates("authority")).expect("it is there");
    let before = authorities(&certs(running, &["certs"]).await);
    let after = authorities(&certs(running, &["certs", "rotate", "--authority"]).await);
    assert_eq!((before.len(), after.len()), (1, 1), "everybody has the same");
    assert_ne!(before, after);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let new = Authority::load(&running.certificates("authority")).expect("it is there");
    let [by_old, by_new] = [(&old, "old"), (&new, "new")].map(|(authority, name)| {
        let bundle = folder.path().join(name);
        let issued = authority.issue("gateway", &[], LEAF_VALID_FOR).expect("a certificate");
        ca::write_trusted(&bundle, &[&new]).expect("a temporary folder is writable");
        issued.write(&bundle).expect("a temporary folder is writable");
        Mesh::load(&bundle, "gateway")
            .expect("it loads, whatever it is worth")
            .client()
    });
    let mut asked = 0;
    for process in running.processes().iter().filter(|process| process.admin.is_some()) {
        let upstream = Upstream::new(process.name.as_str(), process.address.to_string());
        assert!(
            by_new.meet(&upstream).await.is_ok(),
            "{} takes the new one",
            process.name
        );
        assert!(
            by_old.meet(&upstream).await.is_err(),
            "{} refuses the old one",
            process.name
        );
        asked += 1;
    }
    assert!(asked > 10, "only {asked} services were asked");
    asked
}

async fn certs(running: &Running, arguments: &[&str]) -> Value {
    let output = program(running.data_dir(), arguments).arg("--json").output().await;
    let output = output.expect("the program runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

fn authorities(certificates: &Value) -> BTreeSet<String> {
    let certificates = certificates.as_array().expect("a list of certificates");
    assert!(certificates.len() > 10, "{certificates:?}");
    certificates
        .iter()
        .map(|certificate| certificate["authority"].as_str().expect("a name").to_owned())
        .collect()
}

/// What needs it is left alone meanwhile; whoever invents keys goes on.
async fn the_issuer_is_silent(running: &Running, load: &Load) {
    let _nobody_orders = load.issuer.write().await;
    let issuer = Stopped::new(running, "user-master");
    let started = Instant::now();
    while started.elapsed() < SILENCE {
        let answer = load.door.try_send(&Sent::get("/v1/orders").by(FORGED)).await;
        if let Ok(answer) = answer {
            assert_eq!(answer.problem_kind().as_deref(), Ok("token_invalid"));
        }
        tokio::time::sleep(READ_PAUSE).await;
    }
    drop(issuer);
}

/// A process that stands still until it is dropped.
struct Stopped(Pid);

impl Stopped {
    fn new(running: &Running, name: &str) -> Self {
        let pid = Pid::from_raw(running.process(name).expect("it runs").pid).expect("a pid");
        kill_process(pid, Signal::STOP).expect("it is ours");
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

async fn times_asked_for_keys(running: &Running) -> u64 {
    let admin = running
        .process("user-master")
        .expect("it runs")
        .admin
        .expect("it has an admin port");
    let metrics = probe::metrics(admin).await.expect("it counts");
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("http_requests_total{") && line.contains("route=\"/jwks\""));
    counted
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

fn nobody_distrusted_anybody(running: &Running) {
    let logs = std::fs::read_dir(running.data_dir().join("logs")).expect("services have logs");
    for log in logs {
        let path = log.expect("a log").path();
        let text = std::fs::read_to_string(&path).expect("it is readable");
        let said = text.lines().find(|line| {
            let error = serde_json::from_str::<Value>(line).unwrap_or_default()["error"].to_string();
            DISTRUST.iter().any(|sign| error.contains(sign))
        });
        assert_eq!(said, None, "{}", path.display());
    }
}

/// People with valid tokens who go on and on.
struct Load {
    door: Door,
    answered: AtomicUsize,
    orders: AtomicUsize,
    again: AtomicUsize,
    refused: Mutex<Vec<String>>,
    /// What the kitchen's screen has shown.
    tickets: Mutex<BTreeSet<String>>,
    /// Of whoever came first.
    first_token: String,
    /// Nobody orders while somebody holds it for writing.
    issuer: tokio::sync::RwLock<()>,
    is_over: AtomicBool,
}

impl Load {
    /// Two who read, one who orders and thinks better of it, and a kitchen that watches.
    async fn on(site: &Site) -> Arc<Self> {
        let (door, customer) = (Door::of(site.platform), site.customer().await);
        let first_token = door.token_of(&customer.email).await;
        let load = Arc::new(Self {
            door,
            answered: AtomicUsize::default(),
            orders: AtomicUsize::default(),
            again: AtomicUsize::default(),
            refused: Mutex::default(),
            tickets: Mutex::default(),
            first_token: first_token.clone(),
            issuer: tokio::sync::RwLock::default(),
            is_over: AtomicBool::default(),
        });
        for _ in 0..2 {
            let reader = site.customer().await;
            load.read(load.door.token_of(&reader.email).await);
        }
        let (product, country) = (site.product.to_string(), site.country.to_string());
        tokio::spawn(load.clone().order(customer, first_token, product, country));
        let point = &site.points[0];
        tokio::spawn(load.clone().watch(point.cook.person.tickets_live(point.id)));
        load.goes_on().await;
        load
    }

    /// Sends a valid request until it is answered.
    async fn ask(&self, sent: &Sent) -> Option<Answer> {
        let started = Instant::now();
        loop {
            let why = match self.door.try_send(sent).await {
                Ok(answer) if answer.status.is_success() => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    return Some(answer);
                }
                Ok(answer) => {
                    let said = String::from_utf8_lossy(&answer.body).into_owned();
                    if !answer.is_come_again() && !answer.status.is_server_error() {
                        self.refused(sent, &said);
                        return None;
                    }
                    said
                }
                Err(err) => {
                    let said = with_causes(&err);
                    if DISTRUST.iter().any(|sign| said.contains(sign)) {
                        self.refused(sent, &said);
                        return None;
                    }
                    said
                }
            };
            if self.is_over() {
                return None;
            }
            self.again.fetch_add(1, Ordering::Relaxed);
            if started.elapsed() > PATIENCE {
                self.refused(sent, &format!("not in {PATIENCE:?}: {why}"));
                return None;
            }
            tokio::time::sleep(READ_PAUSE).await;
        }
    }

    /// Waits until somebody more has ordered.
    async fn goes_on(&self) {
        let before = self.orders.load(Ordering::Relaxed);
        let ordered = || async {
            self.nobody_was_refused();
            (self.orders.load(Ordering::Relaxed) > before).then_some(())
        };
        eventually_in("people go on ordering", DEADLINE, ordered).await;
    }

    #[track_caller]
    fn nobody_was_refused(&self) {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(refused.is_empty(), "{refused:#?}");
    }

    /// Ends it: how many requests were answered, how many were orders, and how many had to be sent again.
    ///
    /// # Panics
    /// If anybody was refused.
    fn end(&self) -> [usize; 3] {
        self.is_over.store(true, Ordering::Relaxed);
        self.nobody_was_refused();
        [&self.answered, &self.orders, &self.again].map(|count| count.load(Ordering::Relaxed))
    }

    fn refused(&self, sent: &Sent, why: &str) {
        let said = format!("{} {}: {why}", sent.method, sent.path);
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).push(said);
    }

    fn read(self: &Arc<Self>, token: String) {
        let load = self.clone();
        tokio::spawn(async move {
            for path in ["/v1/orders", "/v1/home", "/v1/menu?country=DE"].iter().cycle() {
                if load.is_over() {
                    return;
                }
                load.ask(&Sent::get(*path).by(&token)).await;
                tokio::time::sleep(READ_PAUSE).await;
            }
        });
    }

    async fn order(self: Arc<Self>, customer: Customer, token: String, product: String, country: String) {
        while !self.is_over() {
            {
                let _issuer = self.issuer.read().await;
                if self.place(&customer, &token, &product, &country).await.is_some() {
                    self.orders.fetch_add(1, Ordering::Relaxed);
                }
            }
            tokio::time::sleep(ORDER_PAUSE).await;
        }
    }

    /// And cancels, so that the kitchen always has a free slot.
    async fn place(&self, customer: &Customer, token: &str, product: &str, country: &str) -> Option<()> {
        let line = Sent::put(
            format!("/v1/basket/lines/{product}"),
            &json!({"quantity": 1, "country": country}),
        );
        let basket = self.ask(&line.by(token)).await?;
        let order = json!({
            "basket_version": version(&basket),
            "kind": "delivery",
            "address_id": customer.address,
            "payment": {"method": "card", "token": "pm_card_visa"},
        });
        let placed = self.ask(&Sent::post("/v1/orders", &order).by(token)).await?.json();
        let id = placed["id"].as_str()?.to_owned();
        let cancel = json!({"reason": "customer_cancelled"});
        // Once it is paid.
        let shown = || async { self.has_ticket(&id).then_some(()) };
        eventually_in("the kitchen's screen shows the order", DEADLINE, shown).await;
        self.ask(&Sent::json(Method::POST, format!("/v1/orders/{id}/cancel"), &cancel).by(token))
            .await?;
        Some(())
    }

    fn has_ticket(&self, order: &str) -> bool {
        self.tickets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(order)
    }

    async fn watch(self: Arc<Self>, mut live: Live) {
        while let Some(news) = live.next().await {
            let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
            match news {
                News::Snapshot(documents) => {
                    tickets.extend(
                        documents
                            .iter()
                            .filter_map(|shown| shown["id"].as_str().map(str::to_owned)),
                    );
                }
                News::Event(happened) => {
                    tickets.insert(happened.stream);
                }
                News::Resumed => {}
                News::Refused(why) => {
                    let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                    refused.push(format!("the kitchen's live stream: {why}"));
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// Of what an answer is about; `"VERSION.STATUS_VERSION"`.
fn version(answer: &Answer) -> u64 {
    let etag = answer.headers[header::ETAG].to_str().expect("it is text");
    let version = etag.trim_matches('"').split('.').next();
    version.and_then(|version| version.parse().ok()).expect("a number")
}

/// An error with its causes, in one line.
fn with_causes(err: &ClientError) -> String {
    let causes = std::iter::successors(Some(err as &dyn std::error::Error), |err| err.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
