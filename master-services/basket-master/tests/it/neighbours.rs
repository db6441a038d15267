//! order-master and menu-master as their neighbours see them: events on the bus, and a feed that still has them all.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use jiff::Timestamp;
use mesh_bus::Bus;
use mesh_contracts::envelope::{Actor, Envelope, EventBody, Meta};
use mesh_contracts::subject::Context;
use mesh_runtime::{Shutdown, server};
use mesh_testkit::{Stage, certificates};
use serde::Deserialize;
use tokio::net::TcpListener;
use uuid::Uuid;

type Log = Arc<Mutex<BTreeMap<String, Vec<Envelope>>>>;

/// Another master.
pub struct Neighbour {
    service: &'static str,
    bus: Bus,
    log: Log,
    address: SocketAddr,
}

#[derive(Deserialize)]
struct After {
    after: u64,
}

impl Neighbour {
    pub async fn start(stage: &Stage, context: Context) -> Self {
        let service = context.owner();
        let bus = Bus::connect(stage.bus(service)).await.expect("the address is one");
        bus.ensure_streams(&[context]).await.expect("the broker is up");
        let log = Log::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let router = Router::new()
            .route("/feed/streams/{id}", get(feed))
            .with_state(log.clone());
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

    /// Stores an event and publishes it.
    pub async fn tell(&self, stream: impl ToString, event: impl EventBody) -> Envelope {
        let envelope = self.keep(stream, event);
        self.publish(&envelope).await;
        envelope
    }

    /// Stores an event that the bus then loses.
    pub fn keep(&self, stream: impl ToString, event: impl EventBody) -> Envelope {
        let stream = stream.to_string();
        let mut log = self.log.lock().expect("no test panics with this lock");
        let events = log.entry(stream.clone()).or_default();
        let version = events.len() as u64 + 1;
        let envelope = Envelope {
            event_id: Uuid::now_v7(),
            stream,
            version,
            position: version,
            event_type: event.event_type().to_owned(),
            schema_version: 1,
            at: Timestamp::now(),
            recorded_at: Timestamp::now(),
            meta: Meta::by(Actor::service(self.service)),
            data: event.encode(),
        };
        events.push(envelope.clone());
        envelope
    }

    pub async fn publish(&self, envelope: &Envelope) {
        let publishing = self.bus.publish(envelope).await.expect("the broker is up");
        publishing.await.expect("the broker takes it");
    }
}

async fn feed(State(log): State<Log>, Path(id): Path<String>, Query(query): Query<After>) -> axum::Json<Vec<Envelope>> {
    let log = log.lock().expect("no test panics with this lock");
    let events = log.get(&id).into_iter().flatten();
    axum::Json(events.filter(|event| event.version > query.after).cloned().collect())
}
