//! What can go wrong around a payment: its webhooks come a hundred times more, and the process that hears them dies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use http::StatusCode;
use jiff::Timestamp;
use mesh_contracts::id::OrderId;
use mesh_contracts::payment::{self, Operation};
use mesh_local::secrets::Secrets;
use mesh_testkit::eventually_in;
use sandbox_payments::webhooks;
use serde_json::{Value, json};

use super::witness::Witness;
use crate::faults;
use crate::platform::{DEADLINE, Door, Sent, Shared, provider_says};

/// The design's number.
const REPEATS: usize = 100;

/// Whoever lived for ten seconds is started again at once; who dies sooner waits longer each time.
const BETWEEN_CRASHES: Duration = Duration::from_millis(10_500);

/// Often enough to catch a call that the provider is slow to answer.
const POLL: Duration = Duration::from_millis(20);

/// Repeats and kills, and counts both.
pub struct Meddler {
    platform: &'static Shared,
    door: Door,
    secret: String,
    pub webhooks: AtomicUsize,
    pub crashes: AtomicUsize,
}

impl Meddler {
    pub fn on(platform: &'static Shared) -> Self {
        let secrets = Secrets::open(platform.running().data_dir()).expect("the data directory knows");
        Self {
            platform,
            door: Door::of(platform),
            secret: secrets.get("payments/webhook").expect("it was made at the start"),
            webhooks: AtomicUsize::new(0),
            crashes: AtomicUsize::new(0),
        }
    }

    /// As soon as the provider has carried out the order's first call of this kind, its webhook comes a hundred times,
    /// all at once. Waits for good if there never is such a call.
    pub async fn repeats(&self, witness: &Witness, order: OrderId, operation: Operation) {
        let Some(webhook) = self.webhook(witness, order, operation).await else {
            return std::future::pending().await;
        };
        let body = webhook.to_string();
        let copies = join_all((0..REPEATS).map(|_| self.door.send(self.signed(&body)))).await;
        for answer in copies {
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            self.webhooks.fetch_add(1, Ordering::Relaxed);
        }
        std::future::pending().await
    }

    fn signed(&self, body: &str) -> Sent {
        let signature = webhooks::sign(self.secret.as_bytes(), Timestamp::now(), body.as_bytes());
        Sent::post("/v1/webhooks/payments", &Value::Null)
            .saying(body.to_owned())
            .with(http::HeaderName::from_static("stripe-signature"), &signature)
    }

    /// As the provider words it; `None` if the call came to something else.
    async fn webhook(&self, witness: &Witness, order: OrderId, operation: Operation) -> Option<Value> {
        let key = self.call(witness, order, operation).await;
        let (kind, status) = match operation {
            Operation::Authorize => ("payment_intent.amount_capturable_updated", "requires_capture"),
            Operation::Capture => ("payment_intent.succeeded", "succeeded"),
            Operation::Void => ("payment_intent.canceled", "canceled"),
            Operation::Refund => return None,
        };
        let path = format!("/v1/payment_intents?metadata%5Border_id%5D={order}");
        let object = eventually_in("the provider has carried it out", DEADLINE, || async {
            let intents = provider_says(self.platform, &path).await;
            let newest = intents["data"].as_array()?.last()?.clone();
            // Carried out, or overtaken by what came after it.
            let is_done = newest["status"] == status || operation == Operation::Authorize;
            is_done.then_some(newest)
        })
        .await;
        (object["status"] == status).then(|| {
            json!({
                "id": "evt_repeated", "object": "event", "created": Timestamp::now().as_second(), "livemode": false,
                "type": kind, "data": {"object": object}, "request": {"id": null, "idempotency_key": key},
            })
        })
    }

    /// The key of the first call of this kind, once there is one.
    async fn call(&self, witness: &Witness, order: OrderId, operation: Operation) -> String {
        let payment = vec![order.payment().to_string()];
        loop {
            let events = witness.events_of("basket-master", &payment).await;
            let mut said = events
                .values()
                .flatten()
                .filter_map(|event| event.body::<payment::Event>().ok()?);
            let key = said.find_map(|event| match event {
                payment::Event::Intended { operation: of, key, .. } if of == operation => Some(key),
                _ => None,
            });
            if let Some(key) = key {
                return key;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// kill -9 of whoever pays, again and again, for as long as it is polled.
    pub async fn kills_the_payer(&self) {
        let running = self.platform.running();
        loop {
            tokio::time::sleep(BETWEEN_CRASHES).await;
            faults::kill(&running, "basket-master").await.expect("it runs");
            self.crashes.fetch_add(1, Ordering::Relaxed);
        }
    }
}
