//! Others' events: applied once, in order, without a gap; and what happens to those that cannot be.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use mesh_bus::Bus;
use mesh_bus::feed::Feeds;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::subject::Context;
use mesh_eventstore::inbox::{Drained, Fault, Handled, Inbox, settled};
use mesh_eventstore::{Request, Store, Streams, feed};
use mesh_runtime::Shutdown;
use mesh_testkit::{Stage, eventually};
use metrics_exporter_prometheus::PrometheusBuilder;
use tower::ServiceExt as _;

use crate::tally::{
    Event, Tally, add, anyone, connect, connect_auditing, count, forget_outbox, migrated, new_id, open, versions,
};

const CONSUMER: &str = "basket-master";

/// The owner's feed, asked through its routes.
fn feeds(owner: &Store) -> Feeds {
    let routes: axum::Router = feed::routes(owner.clone());
    Feeds::new(move |_, path| {
        let routes = routes.clone();
        async move {
            let request = axum::http::Request::get(path).body(axum::body::Body::empty())?;
            let response = routes.oneshot(request).await?;
            Ok(response.into_body().collect().await?.to_bytes())
        }
    })
}

/// An owner with events, and a listener that copies them into tallies of its own.
struct Scene {
    bus: Bus,
    owner: Streams<Tally>,
    listener: Streams<Tally>,
    inbox: Inbox,
    seen: Arc<Mutex<Vec<(String, u64)>>>,
}

impl Scene {
    async fn set(stage: &Stage) -> Self {
        let bus = Bus::connect(stage.bus("order-master")).await.expect("valid");
        bus.ensure_streams(&[Context::Order]).await.expect("the broker answers");
        let owner: Streams<Tally> = Streams::new(connect(&migrated(stage).await).await);
        let listener: Streams<Tally> = Streams::new(connect(&migrated(stage).await).await);
        let inbox = Inbox::new(listener.store(), &bus, &feeds(owner.store()), CONSUMER);
        Self {
            bus,
            owner,
            listener,
            inbox,
            seen: Arc::default(),
        }
    }

    /// `count` events of one stream, not yet published.
    async fn events(&self, count: usize) -> Vec<Envelope> {
        let id = new_id();
        self.owner.submit(&id, anyone(), open(1_000)).await.expect("new");
        for _ in 1..count {
            self.owner.submit(&id, anyone(), add(1)).await.expect("open");
        }
        forget_outbox(self.owner.store()).await;
        self.owner.store().history(&id).await.expect("readable")
    }

    async fn publish(&self, event: &Envelope) {
        let sent = self.bus.publish(event).await.expect("connected");
        sent.await.expect("acknowledged");
    }

    /// Copies each event; amounts of 13 bring bad luck.
    fn handler(&self) -> impl Fn(Envelope) -> BoxFuture<'static, Result<Handled, Fault>> + Send + Sync + use<> {
        let (listener, seen) = (self.listener.clone(), self.seen.clone());
        move |envelope| {
            let (listener, seen) = (listener.clone(), seen.clone());
            Box::pin(async move {
                let Some(event) = envelope.body::<Event>()? else {
                    return Ok(Handled::Ignored);
                };
                if event == (Event::Added { amount: 13 }) {
                    return Err(Fault::poison("thirteen"));
                }
                seen.lock().unwrap().push((envelope.stream.clone(), envelope.version));
                let request = Request::because(CONSUMER, &envelope);
                let copy = listener.submit(&envelope.stream, request, move |_, _| {
                    Ok::<_, std::convert::Infallible>(vec![event.clone()])
                });
                settled(copy.await)
            })
        }
    }

    fn listen(&self) -> (Shutdown, Drained) {
        let (shutdown, drained) = (Shutdown::new(), Drained::new());
        let (inbox, handler) = (self.inbox.clone(), self.handler());
        let (part, until) = (drained.part(), shutdown.clone());
        tokio::spawn(async move { inbox.run(Context::Order, part, until, handler).await });
        (shutdown, drained)
    }

    async fn mark(&self, stream: &str) -> Option<i64> {
        sqlx::query_scalar("select version from inbox where consumer = $1 and source_stream = $2")
            .bind(CONSUMER)
            .bind(stream)
            .fetch_optional(self.listener.store().pool())
            .await
            .expect("readable")
    }

    async fn stands_at(&self, stream: &str, version: i64) {
        eventually("the inbox stands there", async || {
            (self.mark(stream).await == Some(version)).then_some(())
        })
        .await;
    }

    async fn end(self, shutdown: Shutdown) {
        shutdown.trigger();
        forget_outbox(self.listener.store()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_and_wrong_order_have_one_effect_each_in_order() {
    let stage = Stage::new();
    let scene = Scene::set(&stage).await;
    let events = scene.events(6).await;
    let id = events[0].stream.clone();
    // Backwards, then forwards again under other message ids, as a second relay might.
    for event in events.iter().rev() {
        scene.publish(event).await;
    }
    for event in &events {
        let again = Envelope {
            event_id: uuid::Uuid::now_v7(),
            ..event.clone()
        };
        scene.publish(&again).await;
    }
    let (shutdown, drained) = scene.listen();
    scene.stands_at(&id, 6).await;
    drained.wait().await;
    assert_eq!(versions(scene.listener.store(), &id).await, [1, 2, 3, 4, 5, 6]);
    let seen = scene.seen.lock().unwrap().clone();
    assert_eq!(seen, (1..=6).map(|version| (id.clone(), version)).collect::<Vec<_>>());
    scene.end(shutdown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_event_that_comes_again_to_a_process_without_memory_has_one_effect() {
    let stage = Stage::new();
    let mut scene = Scene::set(&stage).await;
    let events = scene.events(2).await;
    let id = events[0].stream.clone();
    scene.publish(&events[0]).await;
    let (before, _) = scene.listen();
    scene.stands_at(&id, 1).await;
    before.trigger();

    let feeds = feeds(scene.owner.store());
    scene.inbox = Inbox::new(scene.listener.store(), &scene.bus, &feeds, CONSUMER);
    let again = Envelope {
        event_id: uuid::Uuid::now_v7(),
        ..events[0].clone()
    };
    scene.publish(&again).await;
    scene.publish(&events[1]).await;
    let (shutdown, _) = scene.listen();
    scene.stands_at(&id, 2).await;
    assert_eq!(versions(scene.listener.store(), &id).await, [1, 2]);
    scene.end(shutdown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_filled_from_the_owners_feed() {
    let stage = Stage::new();
    let scene = Scene::set(&stage).await;
    let events = scene.events(5).await;
    let id = events[0].stream.clone();
    let (shutdown, _) = scene.listen();
    scene.publish(&events[4]).await;
    scene.stands_at(&id, 5).await;
    assert_eq!(versions(scene.listener.store(), &id).await, [1, 2, 3, 4, 5]);
    let copied = scene.listener.store().history(&id).await.expect("readable");
    for (original, copy) in events.iter().zip(copied) {
        assert_eq!(copy.data, original.data);
        assert_eq!(copy.meta.causation, Some(original.event_id));
    }
    scene.end(shutdown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_event_quarantines_its_stream_and_no_other() {
    let stage = Stage::new();
    let scene = Scene::set(&stage).await;
    let healthy = scene.events(3).await;
    let sick = {
        let id = new_id();
        scene.owner.submit(&id, anyone(), open(1_000)).await.expect("new");
        scene.owner.submit(&id, anyone(), add(13)).await.expect("open");
        scene.owner.submit(&id, anyone(), add(1)).await.expect("open");
        forget_outbox(scene.owner.store()).await;
        scene.owner.store().history(&id).await.expect("readable")
    };
    let (shutdown, drained) = scene.listen();
    for event in sick.iter().chain(&healthy) {
        scene.publish(event).await;
    }
    scene.stands_at(&healthy[0].stream, 3).await;
    let quarantine = "select count(*) from quarantine where since_version = 2 and error like '%thirteen%'";
    eventually("the stream is quarantined", async || {
        (count(scene.listener.store(), quarantine).await == 1).then_some(())
    })
    .await;
    // The event behind the poison is acknowledged, and not applied.
    drained.wait().await;
    forget_outbox(scene.listener.store()).await;
    stage.settled().await;
    assert_eq!(scene.mark(&sick[0].stream).await, Some(1));
    scene.end(shutdown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bus_never_brought_is_applied_by_the_audit_and_counted() {
    let metrics = PrometheusBuilder::new().install_recorder().expect("the only one");
    let repaired = || {
        let text = metrics.render();
        let mut lines = text.lines().filter(|line| line.starts_with("audit_repaired_total{"));
        lines
            .find_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let stage = Stage::new();
    let mut scene = Scene::set(&stage).await;
    let store = connect_auditing(&migrated(&stage).await, Duration::from_millis(150)).await;
    scene.listener = Streams::new(store);
    let feeds = feeds(scene.owner.store());
    scene.inbox = Inbox::new(scene.listener.store(), &scene.bus, &feeds, CONSUMER);
    let (begun, unheard) = (scene.events(3).await, scene.events(2).await);
    scene.publish(&begun[0]).await;
    let (shutdown, _) = scene.listen();
    for events in [&begun, &unheard] {
        let last = events.last().expect("some");
        scene.stands_at(&last.stream, last.version.cast_signed()).await;
        let expected: Vec<_> = events.iter().map(|event| event.version).collect();
        assert_eq!(versions(scene.listener.store(), &last.stream).await, expected);
    }
    eventually("both are counted", async || (repaired() == 2).then_some(())).await;

    scene.end(shutdown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_commits_with_its_mark_or_not_at_all() {
    let stage = Stage::new();
    let scene = Scene::set(&stage).await;
    let events = scene.events(1).await;
    let copy = || {
        let request = Request::because(CONSUMER, &events[0]);
        scene.listener.submit(&events[0].stream, request, |_, _| {
            Ok::<_, std::convert::Infallible>(vec![Event::Added { amount: 1 }])
        })
    };
    let (first, second, third) = tokio::join!(copy(), copy(), copy());
    let replayed = [first, second, third]
        .into_iter()
        .filter(|outcome| outcome.as_ref().expect("answered").replayed)
        .count();
    assert_eq!(replayed, 2);
    assert_eq!(versions(scene.listener.store(), &events[0].stream).await, [1]);
    scene.end(Shutdown::new()).await;
}
