//! Customers are told: the job on the queue, again until its answer, and what a crash or a wiped queue leaves of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use jiff::Timestamp;
use mesh_bus::{Bus, Verdict, Work};
use mesh_contracts::id::OrderId;
use mesh_contracts::notification::{Event, Failure, Occasion};
use mesh_contracts::subject::{Context, Queue};
use mesh_contracts::{payment, point};
use mesh_runtime::Shutdown;
use mesh_testkit::{Stage, eventually, run};
use serde_json::{Value, json};

use crate::world::{PRICE, World};

/// The timers that ask for notices.
const ASKING: &str = "SELECT count(*) FROM timers WHERE kind LIKE 'notify%'";

/// Who takes the jobs, and answers when a test says so.
struct Notifier {
    bus: Bus,
    jobs: Arc<Mutex<Vec<(String, Value)>>>,
    shutdown: Shutdown,
}

impl Notifier {
    async fn at_work(stage: &Stage) -> Self {
        let bus = Bus::connect(stage.bus("notifier"))
            .await
            .expect("the broker lets it in");
        bus.ensure_streams(&[Context::Notify]).await.expect("its own stream");
        let this = Self {
            bus,
            jobs: Arc::default(),
            shutdown: Shutdown::new(),
        };
        let (bus, jobs, until) = (this.bus.clone(), this.jobs.clone(), this.shutdown.clone());
        tokio::spawn(async move {
            bus.work(Work::on(Queue::Notify), until, |asked| {
                let verdicts = vec![Verdict::Done; asked.len()];
                let asked = asked.into_iter().map(|job| (job.id.clone(), job.read().expect("JSON")));
                jobs.lock().expect("no panic while noting").extend(asked);
                async { verdicts }
            })
            .await;
        });
        this
    }

    fn jobs(&self) -> Vec<(String, Value)> {
        self.jobs.lock().expect("no panic while noting").clone()
    }

    async fn has_been_asked(&self, times: usize) {
        let name = format!("notifier is asked {times} times");
        eventually(&name, async || (self.jobs().len() >= times).then_some(())).await;
    }

    async fn says(&self, world: &World, order: OrderId, version: u64, event: &Event) {
        let envelope = world.envelope(order.notifications(), version, event);
        let sent = self.bus.publish(&envelope).await.expect("published");
        sent.await.expect("acknowledged");
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

async fn paid(world: &World) -> OrderId {
    let order = world.placed().await;
    let held = point::Event::HoldHeld {
        order,
        attempt: 1,
        needs: vec![],
        expires_at: Timestamp::now(),
    };
    world.point_says(&held).await;
    world.hears(order, "payment.requested").await;
    let promised = payment::Event::Authorized {
        attempt: 1,
        amount: PRICE,
        provider_id: "pi_1".into(),
    };
    world.say(order.payment(), 1, &promised).await;
    world.hears(order, "order.paid").await;
    order
}

async fn cancelled(world: &World, order: OrderId) {
    let reason = json!({ "reason": "customer_cancelled" });
    let answer = world
        .post(&world.customer, &format!("/orders/{order}/cancel"), &reason)
        .await;
    assert_eq!(answer.status(), StatusCode::OK);
}

async fn asks_for(world: &World, notices: i64) {
    let name = format!("{notices} notices are open");
    eventually(&name, async || (world.count(ASKING).await == notices).then_some(())).await;
}

#[tokio::test]
async fn a_notice_is_asked_for_under_new_ids_until_its_answer_comes() {
    run(async |stage| {
        let world = World::new(stage).await;
        let notifier = Notifier::at_work(stage).await;
        let order = paid(&world).await;
        notifier.has_been_asked(3).await;
        let jobs = notifier.jobs();
        let ids: BTreeSet<&String> = jobs.iter().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), jobs.len(), "no id twice: {jobs:?}");
        let wanted = json!({
            "order": order, "number": order.number(), "customer": world.customer.subject,
            "occasion": "paid", "amount": PRICE,
        });
        assert!(jobs.iter().all(|(_, body)| *body == wanted), "{jobs:?}");

        let occasion = Occasion::Paid;
        notifier.says(&world, order, 1, &Event::Sent { occasion }).await;
        asks_for(&world, 0).await;
        let events = world.events().await;
        cancelled(&world, order).await;
        asks_for(&world, 1).await;
        let occasion = Occasion::Cancelled;
        let reason = Failure::NoRecipient;
        notifier
            .says(&world, order, 2, &Event::Failed { occasion, reason })
            .await;
        asks_for(&world, 0).await;
        // Being told changes nothing about an order: only the end and what is due then were added.
        assert!(world.events().await <= events + 3);
        (world, notifier)
    })
    .await;
}

#[tokio::test]
async fn an_end_says_what_the_customer_pays() {
    run(async |stage| {
        let world = World::new(stage).await;
        let notifier = Notifier::at_work(stage).await;
        let order = world.placed().await;
        cancelled(&world, order).await;
        notifier.has_been_asked(1).await;
        let (_, body) = notifier.jobs().remove(0);
        assert_eq!(body["occasion"], "cancelled");
        assert_eq!(body["amount"], json!({ "amount": 0, "currency": "EUR" }));
        (world, notifier)
    })
    .await;
}

#[tokio::test]
async fn neither_a_crash_nor_a_wiped_queue_loses_a_notice() {
    run(async |stage| {
        let mut world = World::new(stage).await;
        let order = paid(&world).await;
        world.service.kill().await;
        let admin = async_nats::jetstream::new(stage.bus_admin().await);
        let queue = format!("{}JOBS_NOTIFY", stage.bus_prefix());
        // There is none if the kill came before the first job.
        let _ = admin.delete_stream(queue).await;
        world.service.start().await;
        let notifier = Notifier::at_work(stage).await;
        notifier.has_been_asked(1).await;
        assert_eq!(notifier.jobs()[0].1["order"], json!(order));
        (world, notifier)
    })
    .await;
}
