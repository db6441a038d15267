//! order-master as its neighbours see it: events on the bus, and a feed that still has them all.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use jiff::Timestamp;
use mesh_bus::Bus;
use mesh_contracts::envelope::{Actor, Envelope, EventBody as _, Meta};
use mesh_contracts::id::OrderId;
use mesh_contracts::order::Event;
use mesh_contracts::subject::Context;
use mesh_runtime::{Shutdown, server};
use mesh_testkit::{Stage, certificates};
use serde::Deserialize;
use tokio::net::TcpListener;
use uuid::Uuid;

type Log = Arc<Mutex<BTreeMap<String, Vec<Envelope>>>>;

pub struct OrderMaster {
    bus: Bus,
    log: Log,
    address: SocketAddr,
}

#[derive(Deserialize)]
struct After {
    after: u64,
}

impl OrderMaster {
    pub async fn start(stage: &Stage) -> Self {
        let bus = Bus::connect(stage.bus("order-master"))
            .await
            .expect("the address is one");
        bus.ensure_streams(&[Context::Order]).await.expect("the broker is up");
        let log = Log::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let router = Router::new()
            .route("/feed/streams/{id}", get(feed))
            .with_state(log.clone());
        let accept = certificates::mesh("order-master").server();
        tokio::spawn(server::serve(listener, accept, router, Shutdown::new()));
        Self { bus, log, address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stores an event and publishes it.
    pub async fn tell(&self, order: OrderId, event: Event) -> Envelope {
        let envelope = self.keep(order, event);
        self.publish(&envelope).await;
        envelope
    }

    /// Stores an event that the bus then loses.
    pub fn keep(&self, order: OrderId, event: Event) -> Envelope {
        let mut log = self.log.lock().expect("no test panics with this lock");
        let stream = log.entry(order.to_string()).or_default();
        let envelope = Envelope {
            event_id: Uuid::now_v7(),
            stream: order.to_string(),
            version: stream.len() as u64 + 1,
            position: stream.len() as u64 + 1,
            event_type: event.event_type().to_owned(),
            schema_version: 1,
            at: Timestamp::now(),
            recorded_at: Timestamp::now(),
            meta: Meta::by(Actor::service("order-master")),
            data: event.encode(),
        };
        stream.push(envelope.clone());
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
