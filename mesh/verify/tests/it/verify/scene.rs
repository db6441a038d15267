//! Real stores with one order in them, from its placing to the door, as the services would have left them.
//!
//! The events are those of the masters' own rules; documents, marks and answers are written as their owners write them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use http::{Request, header};
use jiff::{SignedDuration, Timestamp};
use mesh_bus::Bus;
use mesh_contracts::envelope::{Actor, Envelope, EventBody, Meta};
use mesh_contracts::id::UserId;
use mesh_contracts::ledger;
use mesh_contracts::subject::{self, Context};
use mesh_contracts::user::{self, Role};
use mesh_eventstore::{SqlTime, migrate};
use mesh_identity::Upstream;
use mesh_projection::keys;
use mesh_runtime::headers::IDEMPOTENCY_KEY;
use mesh_runtime::settings::Secret;
use mesh_runtime::{Clock, Shutdown, server};
use mesh_testkit::{Stage, certificates, servers};
use mesh_verify::collect::{Database, Provider, Stores, open_redis};
use mesh_verify::history::{Line, Outcome};
use mesh_verify::readers::{Keeps, READERS};
use mesh_verify::{Report, check_stores, documents};
use sandbox_payments::bank::Bank;
use sandbox_payments::http::{App, routes};
use serde_json::{Value, json};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPool;
use tempfile::TempDir;
use uuid::Uuid;

use crate::silence::actors::{CUSTOMER, ORDER, Pace, Run, Script};

/// The key under which the customer placed the order.
const KEY: &str = "k1";

/// The provider's key.
const SECRET: &str = "sk_test";

/// Each event is stored a millisecond after the one before; all of them some minutes ago.
const STORED_BEFORE: SignedDuration = SignedDuration::from_mins(5);

/// Everything, ready to be spoilt.
pub struct Scene {
    pub stores: Stores,
    pub events: Vec<Envelope>,
    bus: Bus,
    history: PathBuf,
    shutdown: Shutdown,
    _folder: TempDir,
}

impl Scene {
    /// Stores in which everything holds.
    pub async fn new(stage: &Stage) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let events = events();
        let bus = Bus::connect(stage.bus("order-master")).await.expect("a bus");
        bus.ensure_streams(&Context::ALL).await.expect("streams");
        let shutdown = Shutdown::new();
        let history = folder.path().join("history.jsonl");
        let redis = stage.redis().await;
        let scene = Self {
            stores: Stores {
                masters: databases(stage).await,
                redis: open_redis(&servers().redis.admin_url()).await.expect("redis"),
                redis_prefix: redis.prefix,
                bus: jetstream::new(stage.bus_admin().await),
                bus_prefix: stage.bus_prefix(),
                provider: provider(&folder, &shutdown).await,
                history: history.clone(),
                clock: Clock::real(),
                patience: Duration::from_millis(300),
            },
            events,
            bus,
            history,
            shutdown,
            _folder: folder,
        };
        scene.store().await;
        scene.show().await;
        scene.pay("pi-1", true).await;
        scene.note(&placed_line());
        scene
    }

    pub async fn check(&self) -> Report {
        check_stores(&self.stores).await.expect("all stores can be read")
    }

    pub fn pool(&self, master: &str) -> &PgPool {
        &self.stores.database(master).expect("a master").pool
    }

    /// Runs statements in a master's database as its superuser.
    pub async fn spoil(&self, master: &str, statements: &[&str]) {
        for statement in statements {
            let done = sqlx::query(sqlx::AssertSqlSafe((*statement).to_owned()))
                .execute(self.pool(master))
                .await;
            let done = done.unwrap_or_else(|err| panic!("{statement}: {err}"));
            assert!(done.rows_affected() > 0, "{statement}: nothing was there to spoil");
        }
    }

    /// Runs a command of Redis on a key of a service.
    pub async fn spoil_redis(&self, command: &str, key: &str, args: &[&str]) {
        let key = format!("{}{key}", self.stores.redis_prefix);
        redis::cmd(command)
            .arg(key)
            .arg(args)
            .exec_async(&mut self.stores.redis.clone())
            .await
            .expect("redis does it");
    }

    /// Adds a line to the clients' history.
    pub fn note(&self, line: &impl serde::Serialize) {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.history)
            .expect("writable");
        let line = serde_json::to_string(line).expect("a line");
        writeln!(file, "{line}").expect("writable");
    }

    /// Pays for the order once more, behind our back.
    pub async fn pay(&self, key: &str, capture: bool) {
        let total = total(&self.events);
        let form = format!(
            "amount={total}&currency=eur&payment_method=pm_card_visa&capture_method=manual&confirm=true\
             &metadata%5Border_id%5D={ORDER}"
        );
        let intent = self.ask("/v1/payment_intents", key, form).await;
        if capture {
            let id = intent["id"].as_str().expect("an id");
            let path = format!("/v1/payment_intents/{id}/capture");
            self.ask(&path, &format!("{key}-capture"), format!("amount_to_capture={total}"))
                .await;
        }
    }

    async fn ask(&self, path: &str, key: &str, form: String) -> Value {
        let provider = &self.stores.provider;
        let request = Request::post(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", provider.key))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(IDEMPOTENCY_KEY, key)
            .body(Bytes::from(form))
            .expect("a request");
        let answer = provider
            .client
            .request(&provider.upstream, request)
            .await
            .expect("an answer");
        assert!(answer.status().is_success(), "{:?}", answer.body());
        serde_json::from_slice(answer.body()).expect("JSON")
    }

    /// Publishes an event that a consumer has been promised, and does not take.
    pub async fn leave_a_message(&self) {
        let event = self.events.iter().find(|event| event.stream == ORDER.to_string());
        let publishing = self.bus.publish(event.expect("an order's event")).await.expect("sent");
        publishing.await.expect("acknowledged");
        let name = format!("{}{}", self.stores.bus_prefix, Context::Order.as_str());
        let stream = self.stores.bus.get_stream(&name).await.expect("there");
        let consumer = jetstream::consumer::pull::Config {
            durable_name: Some(format!("{}point-master", self.stores.bus_prefix)),
            ..Default::default()
        };
        stream.create_consumer(consumer).await.expect("made");
    }

    /// Takes the message away again, so that the stage is left tidy.
    pub async fn remove_the_message(&self) {
        let name = format!("{}{}", self.stores.bus_prefix, Context::Order.as_str());
        let stream = self.stores.bus.get_stream(&name).await.expect("there");
        let consumer = format!("{}point-master", self.stores.bus_prefix);
        stream.delete_consumer(&consumer).await.expect("deleted");
    }

    async fn store(&self) {
        for event in &self.events {
            let owner = Context::of_stream(&event.stream).expect("of a context").owner();
            insert(self.pool(owner), event).await;
        }
        for (stream, version) in heads(&self.events) {
            let context = Context::of_stream(&stream).expect("of a context");
            sqlx::query("insert into streams (stream_id, category, version) values ($1, $2, $3)")
                .bind(&stream)
                .bind(stream.split('_').next())
                .bind(version)
                .execute(self.pool(context.owner()))
                .await
                .expect("a stream");
            let consumers = READERS.iter().filter(|reader| reader.keeps == Keeps::Inbox);
            for reader in consumers.filter(|reader| reader.context == context) {
                sqlx::query("insert into inbox (consumer, source_stream, version) values ($1, $2, $3)")
                    .bind(reader.service)
                    .bind(&stream)
                    .bind(version)
                    .execute(self.pool(reader.service))
                    .await
                    .expect("a mark");
            }
        }
        self.book().await;
        let answer = json!({
            "status": 201, "body": receipt(), "stream": ORDER.to_string(), "version": 2, "status_version": 1,
        });
        sqlx::query(
            "insert into commands (command_id, stream_id, request_hash, response, at) values ($1, $2, '', $3, now())",
        )
        .bind(command())
        .bind(ORDER.to_string())
        .bind(answer.to_string())
        .execute(self.pool("order-master"))
        .await
        .expect("an answer");
        // Some point's backstop, far ahead.
        sqlx::query(
            "insert into timers (stream_id, kind, category, due_at, dedup) values ($1, 'hold:x', 'pnt', $2, $3)",
        )
        .bind(self.stream("pnt_"))
        .bind(SqlTime(Timestamp::now() + SignedDuration::from_hours(1)))
        .bind(Uuid::nil())
        .execute(self.pool("point-master"))
        .await
        .expect("a timer");
        sqlx::query("insert into people (person, email, name, role, created_at) values ($1, 'a@b.c', 'Anna', 'customer', now())")
            .bind(CUSTOMER.to_string())
            .execute(self.pool("user-master"))
            .await
            .expect("a person");
    }

    /// What basket-master's ledger has of the payment.
    async fn book(&self) {
        let payment = ORDER.payment().to_string();
        let events = self.events.iter().filter(|event| event.stream == payment);
        let events: Vec<_> = events
            .map(|event| (event.body().expect("readable"), event.at))
            .collect();
        let pool = self.pool("basket-master");
        sqlx::query("insert into ledger_heads (stream_id, version) values ($1, $2)")
            .bind(&payment)
            .bind(i64::try_from(events.len()).expect("few"))
            .execute(pool)
            .await
            .expect("a head");
        let page = ledger::entries(events);
        let column = |of: fn(&ledger::Entry) -> String| page.iter().map(of).collect::<Vec<_>>();
        sqlx::query(
            "insert into ledger_entries (stream_id, version, line, account, currency, amount, at)
             select $1, n.version::bigint, n.line::smallint, n.account, n.currency, n.amount::bigint, n.at
             from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
                 as n (version, line, account, currency, amount, at)",
        )
        .bind(&payment)
        .bind(column(|entry| entry.version.to_string()))
        .bind(column(|entry| entry.line.to_string()))
        .bind(column(|entry| entry.posting.account.to_string()))
        .bind(column(|entry| entry.posting.amount.currency.to_string()))
        .bind(column(|entry| entry.posting.amount.amount.to_string()))
        .bind(page.iter().map(|entry| SqlTime(entry.at)).collect::<Vec<_>>())
        .execute(pool)
        .await
        .expect("entries");
    }

    async fn show(&self) {
        let mut streams: BTreeMap<&str, Vec<&Envelope>> = BTreeMap::new();
        for event in &self.events {
            streams.entry(&event.stream).or_default().push(event);
        }
        for reader in READERS {
            let Keeps::Documents(kind) = reader.keeps else { continue };
            let sentinel = format!("{}:sentinel", reader.service);
            let current = [&*keys::current(kind), &*edition(kind)];
            self.spoil_redis("HSET", &sentinel, &current).await;
            for (stream, events) in streams.iter().filter(|(stream, _)| stream.starts_with(reader.prefix)) {
                let document = documents::expected(kind, stream, events)
                    .expect("folds")
                    .expect("a document");
                let key = document_key(reader.service, kind, stream);
                let version = events.len().to_string();
                self.spoil_redis(
                    "HSET",
                    &key,
                    &["v", &version, "doc", &document.to_string(), "idx", "{}"],
                )
                .await;
            }
        }
        let profile = json!({"profile_version": 1, "profile": {
            "id": CUSTOMER, "role": "customer", "email": "a@b.c", "name": "Anna", "phone": null, "addresses": {},
        }});
        let key = format!("user-info:profile:{CUSTOMER}");
        self.spoil_redis("SET", &key, &[&profile.to_string()]).await;
    }

    /// The first stream of a kind.
    pub fn stream(&self, prefix: &str) -> String {
        let event = self.events.iter().find(|event| event.stream.starts_with(prefix));
        event.expect("the story has one").stream.clone()
    }
}

/// The edition of the scene's documents.
fn edition(kind: &str) -> String {
    format!("{kind}.1.1")
}

/// Where the scene has a document.
pub fn document_key(service: &str, kind: &str, stream: impl std::fmt::Display) -> String {
    keys::document(&format!("{service}:"), &edition(kind), &stream.to_string())
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

/// The line of the client who placed the order.
pub fn placed_line() -> Line {
    Line {
        sent_at: Timestamp::now(),
        took_ms: 5,
        subject: Some(CUSTOMER),
        method: "POST".into(),
        path: "/v1/orders".into(),
        key: KEY.into(),
        body_hash: "h".into(),
        attempt: 1,
        outcome: Outcome::Answered {
            status: 201,
            body: receipt(),
        },
    }
}

fn receipt() -> Value {
    json!({"id": ORDER.to_string(), "status": "created", "number": ORDER.number()})
}

/// The gateway's name for the customer's wish.
fn command() -> Uuid {
    Uuid::new_v5(&CUSTOMER.uuid(), format!("POST /v1/orders\n{KEY}").as_bytes())
}

/// A whole order, and the customer's registration.
fn events() -> Vec<Envelope> {
    let script = Script::default();
    let mut run = Run::new(&script, Pace::Prompt);
    while run.step() {}
    let mut events: Vec<Envelope> = run.world().log.iter().map(|event| Envelope::clone(event)).collect();
    events.push(registered(events.len() as u64 + 1, CUSTOMER));
    let first = Timestamp::now() - STORED_BEFORE;
    for event in &mut events {
        let position = i64::try_from(event.position).expect("few");
        // Postgres keeps microseconds.
        let stored_at = first + SignedDuration::from_millis(position);
        event.recorded_at = Timestamp::from_microsecond(stored_at.as_microsecond()).expect("now");
    }
    // What the customer's command did, in one append.
    let order = ORDER.to_string();
    let placed_at = events
        .iter()
        .find(|event| event.stream == order)
        .map(|event| event.recorded_at);
    for event in events
        .iter_mut()
        .filter(|event| event.stream == order && event.version <= 2)
    {
        event.recorded_at = placed_at.expect("placed");
        event.meta = Meta {
            causation: Some(command()),
            ..Meta::by(Actor::person(Role::Customer, CUSTOMER))
        };
    }
    events
}

fn registered(position: u64, person: UserId) -> Envelope {
    let event = user::Event::Registered {
        role: Role::Customer,
        points: Vec::new(),
        country: None,
    };
    Envelope {
        event_id: Uuid::from_u128(position.into()),
        stream: person.to_string(),
        version: 1,
        position,
        event_type: event.event_type().to_owned(),
        schema_version: 1,
        at: Timestamp::UNIX_EPOCH,
        recorded_at: Timestamp::UNIX_EPOCH,
        meta: Meta::by(Actor::service("user-master")),
        data: event.encode(),
    }
}

fn heads(events: &[Envelope]) -> BTreeMap<String, i64> {
    let mut heads = BTreeMap::new();
    for event in events {
        heads.insert(event.stream.clone(), i64::try_from(event.version).expect("few"));
    }
    heads
}

/// What the order costs, in minor units.
fn total(events: &[Envelope]) -> i64 {
    let created = events.iter().find(|event| event.event_type == "order.created");
    created
        .and_then(|event| event.data.value()["quote"]["total"]["amount"].as_i64())
        .expect("a total")
}

async fn insert(pool: &PgPool, event: &Envelope) {
    sqlx::query(
        "insert into events
             (stream_id, version, position, shard, event_id, type, schema_version, data, meta, at, recorded_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(&event.stream)
    .bind(i64::try_from(event.version).expect("few"))
    .bind(i64::try_from(event.position).expect("few"))
    .bind(i16::from(subject::shard(&event.stream)))
    .bind(event.event_id)
    .bind(&event.event_type)
    .bind(i16::try_from(event.schema_version).expect("small"))
    .bind(sqlx::types::Json(&event.data))
    .bind(sqlx::types::Json(&event.meta))
    .bind(SqlTime(event.at))
    .bind(SqlTime(event.recorded_at))
    .execute(pool)
    .await
    .expect("an event");
}

async fn databases(stage: &Stage) -> Vec<Database> {
    const MASTERS: [&str; 6] = [
        "order-master",
        "basket-master",
        "menu-master",
        "point-master",
        "courier-master",
        "user-master",
    ];
    let mut databases = Vec::new();
    for master in MASTERS {
        let database = stage.database().await;
        let migrated = match master {
            "basket-master" | "user-master" => migrate::run(&database.owner_url, migrations_of(master).await).await,
            _ => migrate::engine(&database.owner_url).await,
        };
        migrated.expect("migrated");
        let superuser = servers().postgres.superuser_url(&database.name);
        databases.push(Database::open(master, &superuser).await.expect("open"));
    }
    databases
}

/// Read when the test runs: what is compiled in may be older than the folder.
async fn migrations_of(master: &str) -> Migrator {
    let folders = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations"));
    Migrator::new(folders.join(master)).await.expect("migrations")
}

/// The sandbox's own routes over mutual TLS, in this process.
async fn provider(folder: &TempDir, shutdown: &Shutdown) -> Provider {
    let (bank, _writer) = Bank::open(&folder.path().join("ledger"), false).expect("a ledger");
    let app = App {
        bank,
        key: Arc::new(Secret::new(SECRET)),
        shutdown: shutdown.clone(),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let accept = certificates::mesh("sandbox-payments").server();
    tokio::spawn(server::serve(listener, accept, routes(app), shutdown.clone()));
    Provider {
        client: certificates::mesh("basket-master").client(),
        upstream: Upstream::new("sandbox-payments", address.to_string()),
        key: SECRET.to_owned(),
    }
}
