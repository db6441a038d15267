//! A master as its readers see it: events on the bus, and a feed that still has them all.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use jiff::Timestamp;
use mesh_bus::Bus;
use mesh_contracts::envelope::{Actor, Envelope, EventBody, Meta};
use mesh_contracts::subject::Context;
use mesh_runtime::{Shutdown, server};
use mesh_testkit::{Stage, certificates};
use serde::Deserialize;
use tokio::net::TcpListener;
use uuid::Uuid;

pub struct Master {
    service: &'static str,
    bus: Bus,
    log: Log,
    address: SocketAddr,
}

/// What it has committed.
#[derive(Clone, Default)]
struct Log {
    events: Arc<Mutex<Vec<Envelope>>>,
    down: Arc<AtomicBool>,
}

impl Log {
    fn all(&self, keep: impl Fn(&Envelope) -> bool) -> Vec<Envelope> {
        let events = self.events.lock().expect("no test panics with this lock");
        events.iter().filter(|event| keep(event)).cloned().collect()
    }
}

impl Master {
    /// The owner of a context.
    pub async fn start(stage: &Stage, context: Context) -> Self {
        let service = context.owner();
        let bus = Bus::connect(stage.bus(service)).await.expect("the address is one");
        bus.ensure_streams(&[context]).await.expect("the broker is up");
        let log = Log::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let router = Router::new()
            .route("/feed", get(page))
            .route("/feed/heads", get(heads))
            .route("/feed/streams/{id}", get(stream))
            .with_state(log.clone())
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

    /// As settings name it.
    pub fn upstream(&self) -> String {
        format!("{}={}", self.service, self.address)
    }

    /// Commits events and publishes them. Gives the stream's version.
    pub async fn tell<E: EventBody>(&self, stream: impl ToString, events: impl IntoIterator<Item = E>) -> u64 {
        let mut version = 0;
        for event in events {
            let envelope = self.keep(stream.to_string(), event);
            version = envelope.version;
            self.publish(&envelope).await;
        }
        version
    }

    /// Commits an event that the bus then loses.
    pub fn keep<E: EventBody>(&self, stream: String, event: E) -> Envelope {
        let mut log = self.log.events.lock().expect("no test panics with this lock");
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

async fn refuse_when_down(State(log): State<Log>, request: Request, next: Next) -> Response {
    if log.down.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    next.run(request).await
}

async fn page(State(log): State<Log>, Query(query): Query<After<u64>>) -> Json<Vec<Envelope>> {
    let mut events = log.all(|event| event.position > query.after);
    events.truncate(query.limit);
    Json(events)
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
