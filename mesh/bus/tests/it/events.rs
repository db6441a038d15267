//! Events of nobody in particular, and a consumer that only notes what it gets.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use mesh_bus::{Bus, Subscription, Verdict};
use mesh_contracts::envelope::{Actor, Envelope, Meta};
use mesh_contracts::subject::Context;
use mesh_runtime::Shutdown;
use serde_json::json;
use uuid::Uuid;

pub const DURABLE: &str = "order-info-order";

pub fn event(stream: &str, version: u64) -> Envelope {
    Envelope {
        event_id: Uuid::now_v7(),
        stream: stream.into(),
        version,
        position: version,
        event_type: "order.noted".into(),
        schema_version: 1,
        at: Timestamp::UNIX_EPOCH,
        recorded_at: Timestamp::now(),
        meta: Meta::by(Actor::service("order-master")),
        data: json!({ "version": version }).into(),
    }
}

/// Stands for 200 streams a test can tell apart.
pub fn stream(number: usize) -> String {
    format!("ord_{number:032}")
}

pub async fn publish(bus: &Bus, events: &[Envelope]) {
    for event in events {
        bus.publish(event).await.expect("sent").await.expect("kept");
    }
}

/// What a consumer got, in order.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Vec<(String, u64)>>>);

impl Notes {
    pub fn note(&self, event: &Envelope) {
        let entry = (event.stream.clone(), event.version);
        self.0.lock().expect("no panic while noting").push(entry);
    }

    pub fn all(&self) -> Vec<(String, u64)> {
        self.0.lock().expect("no panic while noting").clone()
    }

    pub fn of(&self, stream: &str) -> Vec<u64> {
        let mut versions = self.all();
        versions.retain(|(noted, _)| noted == stream);
        versions.into_iter().map(|(_, version)| version).collect()
    }

    pub async fn has(&self, stream: String, version: u64) -> Option<()> {
        self.of(&stream).contains(&version).then_some(())
    }
}

/// Consumes on a task until the guard is dropped.
pub struct Consumer {
    shutdown: Shutdown,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

pub fn consume(
    bus: &Bus,
    subscription: Subscription,
    judge: impl Fn(&Envelope) -> Verdict + Send + Sync + 'static,
) -> Consumer {
    let shutdown = Shutdown::new();
    let (bus, until) = (bus.clone(), shutdown.clone());
    tokio::spawn(async move {
        bus.consume(subscription, until, |batch| {
            let verdicts = batch.iter().map(&judge).collect();
            async move { verdicts }
        })
        .await;
    });
    Consumer { shutdown }
}

pub fn note_everything(bus: &Bus, notes: &Notes) -> Consumer {
    let notes = notes.clone();
    consume(bus, Subscription::new(Context::Order, DURABLE), move |event| {
        notes.note(event);
        Verdict::Done
    })
}
