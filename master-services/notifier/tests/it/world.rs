//! One notifier, a mail server, a user-master with a few people, and the voice of order-master.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use mesh_bus::{Bus, NewJob};
use mesh_contracts::api::Contact;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{OrderId, UserId};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::notification::{Job, Occasion};
use mesh_contracts::subject::{Context, Queue};
use mesh_contracts::user::Language;
use mesh_identity::Client;
use mesh_testkit::{Database, Master, ServiceProcess, Stage, certificates, eventually};
use sqlx::{Connection as _, PgConnection};

use crate::post::Post;

/// First pause before a mail that was put off is tried again: six tries take seven seconds.
const RETRY_MS: &str = "20";

/// notifier and everybody whom it meets.
pub struct World {
    pub service: ServiceProcess,
    pub post: Post,
    pub users: Master,
    pub database: Database,
    people: People,
    orders: Bus,
    order_master: Client,
    published: AtomicU64,
    queue: String,
    stage_admin: async_nats::Client,
}

type People = Arc<Mutex<HashMap<UserId, Contact>>>;

/// How notifier reaches the mail server.
pub struct Way {
    pub address: SocketAddr,
    pub tls: &'static str,
    pub ca_file: Option<PathBuf>,
}

/// Runs a test with a notifier of its own, and fails it if that leaves work undone.
pub async fn run(body: impl AsyncFnOnce(&mut World)) {
    let plain = async |address| Way {
        address,
        tls: "off",
        ca_file: None,
    };
    run_over(plain, body).await;
}

/// The same, over another way to the mail server's port.
pub async fn run_over(way: impl AsyncFnOnce(SocketAddr) -> Way, body: impl AsyncFnOnce(&mut World)) {
    mesh_testkit::run(async |stage| {
        let mut world = World::new(stage, way).await;
        body(&mut world).await;
        // While there is still a process that can do the rest.
        stage.settled().await;
    })
    .await;
}

impl World {
    async fn new(stage: &Stage, way: impl AsyncFnOnce(SocketAddr) -> Way) -> Self {
        let people = People::default();
        let known = people.clone();
        let users = Master::answering(stage, Context::User, |_| {
            Router::new().route("/contacts", post(contacts)).with_state(known)
        })
        .await;
        let mut post = Post::new(stage);
        post.process.start().await;
        let way = way(post.smtp).await;
        let ca_file = way.ca_file.map(|path| path.display().to_string());
        let database = stage.database().await;
        let service = ServiceProcess::new(stage, notifier::NAME, env!("CARGO_BIN_EXE_notifier"))
            .env("TIFFIN_UPSTREAMS", users.upstream())
            .env("TIFFIN_SMTP_ADDRESS", way.address.to_string())
            .env("TIFFIN_SMTP_TLS", way.tls)
            .env("TIFFIN_SMTP_CA_FILE", ca_file.unwrap_or_default())
            .env("TIFFIN_NOTIFY_RETRY_MS", RETRY_MS);
        let mut service = service.migrated(&database).await;
        service.start().await;
        Self {
            service,
            post,
            users,
            database,
            people,
            orders: Bus::connect(stage.bus("order-master")).await.expect("an address"),
            order_master: certificates::mesh("order-master").client(),
            published: AtomicU64::new(0),
            queue: format!("{}JOBS_NOTIFY", stage.bus_prefix()),
            stage_admin: stage.bus_admin().await,
        }
    }

    /// Somebody whom user-master knows.
    pub fn person(&self, name: &str, email: &str, language: Language) -> UserId {
        let id = UserId::new_v7();
        let contact = Contact {
            person: id,
            name: name.to_owned(),
            email: email.to_owned(),
            language,
        };
        self.people.lock().expect("no panic").insert(id, contact);
        id
    }

    /// Anna, who reads English.
    pub fn anna(&self) -> UserId {
        self.person("Anna Berg", "anna@example.org", Language::En)
    }

    /// A job about a new order of somebody.
    pub fn job(&self, customer: UserId, occasion: Occasion) -> Job {
        let order = OrderId::new_v7();
        Job {
            order,
            number: order.number(),
            customer,
            occasion,
            amount: Money::new(1290, Currency::EUR),
        }
    }

    /// Puts a job on the queue as order-master does, under an id of its own each time.
    pub async fn ask(&self, job: &Job) {
        let number = self.published.fetch_add(1, Ordering::SeqCst);
        let new = NewJob::new(format!("job-{number}"), job.order, job).expect("plain data");
        self.orders
            .publish_job(Queue::Notify, &new)
            .await
            .expect("the broker takes it");
    }

    /// Something that is no notification.
    pub async fn ask_nonsense(&self) {
        let new = NewJob::new("nonsense", OrderId::new_v7(), &"nonsense").expect("plain data");
        self.orders
            .publish_job(Queue::Notify, &new)
            .await
            .expect("the broker takes it");
    }

    /// Asks for a mail and waits for what notifier says came of it: `sent`, or why not.
    pub async fn outcome(&self, job: &Job) -> String {
        self.ask(job).await;
        self.answer(job).await
    }

    /// What notifier says came of a job, once it does.
    pub async fn answer(&self, job: &Job) -> String {
        let events = eventually("notifier says what came of it", async || {
            let events = self.events(job).await;
            (!events.is_empty()).then_some(events)
        })
        .await;
        let last = events.last().expect("there is one");
        assert_eq!(last.data.value()["occasion"], job.occasion.as_str());
        match last.event_type.as_str() {
            "notification.sent" => "sent".to_owned(),
            _ => last.data.value()["reason"].as_str().expect("a reason").to_owned(),
        }
    }

    /// Everything said about an order, as the feed tells it.
    pub async fn events(&self, job: &Job) -> Vec<Envelope> {
        let path = format!("/feed/streams/{}", job.order.notifications());
        self.order_master
            .get_json(&self.service.upstream(), &path)
            .await
            .expect("a feed")
    }

    /// Waits until nothing is on the queue any more.
    pub async fn nothing_left(&self) {
        eventually("the queue is empty", async || (self.queued().await == 0).then_some(())).await;
    }

    /// Jobs that are not done.
    pub async fn queued(&self) -> u64 {
        let jetstream = async_nats::jetstream::new(self.stage_admin.clone());
        let stream = jetstream.get_stream(&self.queue).await.expect("the queue is there");
        stream.cached_info().state.messages
    }

    /// Waits until notifier has so many jobs in hand.
    pub async fn in_hand(&self, jobs: usize) {
        let jetstream = async_nats::jetstream::new(self.stage_admin.clone());
        let prefix = self.queue.strip_suffix("JOBS_NOTIFY").expect("so it ends");
        let name = format!("{jobs} jobs are in hand");
        eventually(&name, async || {
            let stream = jetstream.get_stream(&self.queue).await.ok()?;
            let info = stream.consumer_info(format!("{prefix}notifier")).await.ok()?;
            (info.num_ack_pending == jobs).then_some(())
        })
        .await;
    }

    /// Waits until a job has been handed out so many times.
    pub async fn tried(&self, times: u64) {
        let jetstream = async_nats::jetstream::new(self.stage_admin.clone());
        let prefix = self.queue.strip_suffix("JOBS_NOTIFY").expect("so it ends");
        let name = format!("a job is tried {times} times");
        eventually(&name, async || {
            let stream = jetstream.get_stream(&self.queue).await.ok()?;
            let info = stream.consumer_info(format!("{prefix}notifier")).await.ok()?;
            (info.delivered.consumer_sequence >= times).then_some(())
        })
        .await;
    }

    /// Waits for words in notifier's log.
    pub async fn has_logged(&self, words: &str) {
        eventually(words, async || {
            let log = std::fs::read_to_string(self.service.log()).ok()?;
            log.contains(words).then_some(())
        })
        .await;
    }

    /// Takes the queue away with all its jobs, so that the stage is left tidy.
    pub async fn drop_queue(&mut self) {
        self.service.kill().await;
        let jetstream = async_nats::jetstream::new(self.stage_admin.clone());
        jetstream.delete_stream(&self.queue).await.expect("it is there");
    }

    /// Jobs that were given up.
    pub async fn dead_letters(&self) -> u64 {
        let jetstream = async_nats::jetstream::new(self.stage_admin.clone());
        let prefix = self.queue.strip_suffix("JOBS_NOTIFY").expect("so it ends");
        let dead = jetstream
            .get_stream(format!("{prefix}DEAD"))
            .await
            .expect("it is there");
        dead.cached_info().state.messages
    }

    /// Transactions that wrote the sent log.
    pub async fn commits(&self) -> i64 {
        let mut connection = PgConnection::connect(&self.database.url).await.expect("it answers");
        sqlx::query_scalar("select count(distinct xmin::text) from sent_log")
            .fetch_one(&mut connection)
            .await
            .expect("a number")
    }

    /// Rows of the sent log, as text.
    pub async fn sent_log(&self) -> Vec<String> {
        let mut connection = PgConnection::connect(&self.database.url).await.expect("it answers");
        sqlx::query_scalar("select t::text from sent_log t")
            .fetch_all(&mut connection)
            .await
            .expect("rows")
    }
}

async fn contacts(State(people): State<People>, Json(asked): Json<Vec<UserId>>) -> Json<Vec<Contact>> {
    let people = people.lock().expect("no panic");
    Json(asked.iter().filter_map(|id| people.get(id).cloned()).collect())
}
