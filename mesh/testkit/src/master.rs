//! A master as those who hear it see it: events on the bus, and a feed that still has them all.
//!
//! Decides nothing: it commits what a test tells it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use mesh_bus::Bus;
use mesh_bus::feed::Extent;
use mesh_contracts::envelope::{Actor, Envelope, EventBody, Meta};
use mesh_contracts::subject::Context;
use mesh_runtime::{Shutdown, server};
use serde::Deserialize;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::certificates;
use crate::stage::Stage;

/// The owner of a context, played by a test.
pub struct Master {
    service: &'static str,
    bus: Bus,
    log: Log,
    address: SocketAddr,
}

/// What it has committed. Clones share it.
#[derive(Clone, Default)]
pub struct Log {
    events: Arc<Mutex<Vec<Envelope>>>,
    down: Arc<AtomicBool>,
}

impl Log {
    /// Every event of a stream.
    pub fn of(&self, stream: &str) -> Vec<Envelope> {
        self.all(|event| event.stream == stream)
    }

    fn all(&self, keep: impl Fn(&Envelope) -> bool) -> Vec<Envelope> {
        let events = self.events.lock().expect("nobody panics with this lock");
        events.iter().filter(|event| keep(event)).cloned().collect()
    }
}

impl Master {
    /// The owner of `context`, with its streams on the stage's bus and its feed over mutual TLS.
    ///
    /// # Panics
    /// If the broker does not answer.
    pub async fn start(stage: &Stage, context: Context) -> Self {
        Self::answering(stage, context, |_| Router::new()).await
    }

    /// The same, answering `more` beside its feed.
    ///
    /// # Panics
    /// If the broker does not answer.
    pub async fn answering(stage: &Stage, context: Context, more: impl FnOnce(Log) -> Router) -> Self {
        let service = context.owner();
        let bus = Bus::connect(stage.bus(service)).await.expect("the address is one");
        bus.ensure_streams(&[context]).await.expect("the broker is up");
        let log = Log::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let router = Router::new()
            .route("/feed", get(page))
            .route("/feed/heads", get(heads))
            .route("/feed/extent", get(extent))
            .route("/feed/streams/{id}", get(stream))
            .with_state(log.clone())
            .merge(more(log.clone()))
            .layer(middleware::from_fn_with_state(log.clone(), refuse_when_down));
        let accept = certificates::mesh(service).server();
        tokio::spawn(server::serve(listener, accept, router, Shutdown::new()));
        Self {
            service,
            bus,
            log,
            address,
        }
    }

    /// As `TIFFIN_UPSTREAMS` names it.
    pub fn upstream(&self) -> String {
        format!("{}={}", self.service, self.address)
    }

    /// Commits an event and publishes it.
    ///
    /// # Panics
    /// If the broker does not take it.
    pub async fn tell(&self, stream: impl ToString, event: impl EventBody) -> Envelope {
        let envelope = self.keep(stream, event);
        self.publish(&envelope).await;
        envelope
    }

    /// Tells several events of one stream; gives its version.
    ///
    /// # Panics
    /// As [`Master::tell`].
    pub async fn tell_all<E: EventBody>(&self, stream: impl ToString, events: impl IntoIterator<Item = E>) -> u64 {
        let stream = stream.to_string();
        let mut version = 0;
        for event in events {
            version = self.tell(&stream, event).await.version;
        }
        version
    }

    /// Commits an event that the bus then loses.
    pub fn keep(&self, stream: impl ToString, event: impl EventBody) -> Envelope {
        let stream = stream.to_string();
        let mut log = self.log.events.lock().expect("nobody panics with this lock");
        let version = log.iter().filter(|event| event.stream == stream).count() as u64 + 1;
        let envelope = Envelope {
            event_id: Uuid::now_v7(),
            stream,
            version,
            position: log.len() as u64 + 1,
            event_type: event.event_type().to_owned(),
            schema_version: 1,
            at: Timestamp::now(),
            recorded_at: Timestamp::now(),
            meta: Meta::by(Actor::service(self.service)),
            data: event.encode(),
        };
        log.push(envelope.clone());
        envelope
    }

    /// Publishes what was committed, once more if it was before.
    ///
    /// # Panics
    /// If the broker does not take it.
    pub async fn publish(&self, envelope: &Envelope) {
        let publishing = self.bus.publish(envelope).await.expect("the broker is up");
        publishing.await.expect("the broker takes it");
    }

    /// From now on it answers 503, or answers again.
    pub fn set_down(&self, down: bool) {
        self.log.down.store(down, Ordering::SeqCst);
    }
}

#[derive(Deserialize)]
struct After<T> {
    after: T,
    limit: usize,
}

#[derive(Deserialize)]
struct Behind {
    after: String,
    version: u64,
    limit: usize,
}

#[derive(Deserialize)]
struct Beginning {
    prefix: String,
}

async fn refuse_when_down(State(log): State<Log>, request: Request, next: Next) -> Response {
    if log.down.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    next.run(request).await
}

async fn page(State(log): State<Log>, Query(query): Query<Behind>) -> Json<Vec<Envelope>> {
    let after = (query.after.as_str(), query.version);
    let mut events = log.all(|event| (event.stream.as_str(), event.version) > after);
    events.sort_by(|one, other| (&one.stream, one.version).cmp(&(&other.stream, other.version)));
    events.truncate(query.limit);
    Json(events)
}

async fn extent(State(log): State<Log>, Query(query): Query<Beginning>) -> Json<Extent> {
    let events = log.all(|event| event.stream.starts_with(&query.prefix));
    Json(Extent {
        streams: events.iter().filter(|event| event.version == 1).count() as u64,
        events: events.len() as u64,
    })
}

async fn stream(
    State(log): State<Log>,
    Path(id): Path<String>,
    Query(query): Query<After<u64>>,
) -> Json<Vec<Envelope>> {
    let mut events = log.all(|event| event.stream == id && event.version > query.after);
    events.truncate(query.limit);
    Json(events)
}

async fn heads(State(log): State<Log>, Query(query): Query<After<String>>) -> Json<Vec<(String, u64)>> {
    let events = log.all(|event| event.stream > query.after);
    let heads: BTreeMap<String, u64> = events.into_iter().map(|event| (event.stream, event.version)).collect();
    Json(heads.into_iter().take(query.limit).collect())
}
