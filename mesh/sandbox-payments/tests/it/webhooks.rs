//! What the receiver hears, from the real program over mutual TLS.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Extension, Router};
use mesh_identity::Peer;
use mesh_runtime::{Shutdown, server};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::program::{Program, WEBHOOK_SECRET, authorization};

/// Backoff after a few refusals, and a busy machine.
const HEARD_TIMEOUT: Duration = Duration::from_secs(20);

/// A stand-in for basket-master that hears webhooks, and confirms them or not.
struct Ear {
    address: SocketAddr,
    confirms: Arc<AtomicBool>,
    heard: mpsc::UnboundedReceiver<Heard>,
    shutdown: Shutdown,
}

struct Heard {
    event: Value,
    confirmed: bool,
}

impl Ear {
    async fn open() -> (Ear, Program) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let program = Program::new().announcing_to(address);
        let (sender, heard) = mpsc::unbounded_channel();
        let confirms = Arc::new(AtomicBool::new(true));
        let shutdown = Shutdown::new();
        let router = Router::new()
            .route("/v1/webhooks/payments", post(hear))
            .with_state((sender, confirms.clone()));
        let accept = program.mesh("basket-master").server();
        tokio::spawn(server::serve(listener, accept, router, shutdown.clone()));
        (
            Ear {
                address,
                confirms,
                heard,
                shutdown,
            },
            program,
        )
    }

    async fn next(&mut self) -> Heard {
        let heard = tokio::time::timeout(HEARD_TIMEOUT, self.heard.recv()).await;
        heard
            .unwrap_or_else(|_| panic!("nothing arrived at {}", self.address))
            .unwrap()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

type Line = (mpsc::UnboundedSender<Heard>, Arc<AtomicBool>);

async fn hear(
    State((sender, confirms)): State<Line>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    assert!(peer.is("sandbox-payments"), "{peer:?}");
    check_signature(headers["stripe-signature"].to_str().unwrap(), &body);
    let confirmed = confirms.load(Ordering::SeqCst);
    let _ = sender.send(Heard {
        event: serde_json::from_slice(&body).unwrap(),
        confirmed,
    });
    if confirmed {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

#[track_caller]
fn check_signature(signature: &str, body: &[u8]) {
    let (time, tag) = signature.split_once(",v1=").unwrap();
    let signed = [time.strip_prefix("t=").unwrap().as_bytes(), b".", body].concat();
    let tag: Vec<u8> = (0..tag.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&tag[at..at + 2], 16).unwrap())
        .collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, WEBHOOK_SECRET.as_bytes());
    hmac::verify(&key, &signed, &tag).expect("the signature fits the body");
}

#[tokio::test]
async fn each_change_is_told_once_with_the_object_and_the_key_that_caused_it() {
    let (mut ear, mut program) = Ear::open().await;
    program.start();
    let caller = program.caller("basket-master");
    let form = authorization("ord_1", "pm_card_visa");
    let answer = caller.post_until_answered("/v1/payment_intents", "a", &form).await;
    let payment: Value = serde_json::from_slice(answer.body()).unwrap();
    let told = ear.next().await.event;
    assert_eq!(told["type"], "payment_intent.amount_capturable_updated");
    assert_eq!(told["data"]["object"], payment);
    assert_eq!(told["request"]["idempotency_key"], "a");

    let id = payment["id"].as_str().unwrap();
    caller
        .post(&format!("/v1/payment_intents/{id}/capture"), "c", "")
        .await
        .unwrap();
    assert_eq!(ear.next().await.event["type"], "payment_intent.succeeded");
    let refund = caller
        .post("/v1/refunds", "r", &format!("payment_intent={id}"))
        .await
        .unwrap();
    let told = ear.next().await.event;
    assert_eq!(told["type"], "refund.created");
    assert_eq!(
        told["data"]["object"],
        serde_json::from_slice::<Value>(refund.body()).unwrap()
    );
    assert!(ear.heard.try_recv().is_err(), "something was told twice");
}

#[tokio::test]
async fn an_unconfirmed_webhook_is_sent_again_and_survives_a_kill() {
    let (mut ear, mut program) = Ear::open().await;
    ear.confirms.store(false, Ordering::SeqCst);
    program.start();
    let caller = program.caller("basket-master");
    let form = authorization("ord_1", "pm_card_visa");
    caller.post_until_answered("/v1/payment_intents", "a", &form).await;
    let first = ear.next().await.event;
    let second = ear.next().await.event;
    assert_eq!(first, second);

    program.kill();
    ear.confirms.store(true, Ordering::SeqCst);
    program.start();
    loop {
        let heard = ear.next().await;
        assert_eq!(heard.event, first);
        if heard.confirmed {
            break;
        }
    }
}

#[tokio::test]
async fn a_confirmed_webhook_is_not_sent_again_after_a_restart() {
    let (mut ear, mut program) = Ear::open().await;
    program.start();
    let caller = program.caller("basket-master");
    let send = async |order: &str| {
        let form = authorization(order, "pm_card_visa");
        caller.post_until_answered("/v1/payment_intents", order, &form).await;
    };
    send("ord_1").await;
    let first = ear.next().await.event;
    let note = format!(r#"{{"delivered":{{"event":{}}}}}"#, first["id"]);
    let deadline = Instant::now() + HEARD_TIMEOUT;
    while !fs::read_to_string(program.data().join("journal.jsonl"))
        .unwrap()
        .contains(&note)
    {
        assert!(Instant::now() < deadline, "the confirmation was not noted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    program.kill();
    program.start();
    send("ord_2").await;
    let mut told = Vec::new();
    while !told
        .iter()
        .any(|event: &Value| event["data"]["object"]["metadata"]["order_id"] == "ord_2")
    {
        told.push(ear.next().await.event);
    }
    assert!(!told.contains(&first), "{told:?}");
}

#[tokio::test]
async fn a_repeated_webhook_comes_five_times_with_one_id() {
    let (mut ear, mut program) = Ear::open().await;
    program.start();
    let form = authorization("ord_1", "pm_card_webhook_repeated");
    program
        .caller("basket-master")
        .post_until_answered("/v1/payment_intents", "a", &form)
        .await;
    let mut ids = HashSet::new();
    for _ in 0..5 {
        ids.insert(ear.next().await.event["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_late_webhook_comes_five_seconds_after_the_answer() {
    let (mut ear, mut program) = Ear::open().await;
    program.start();
    let caller = program.caller("basket-master");
    caller.ledger().await;
    let asked = Instant::now();
    let form = authorization("ord_1", "pm_card_webhook_late");
    caller.post("/v1/payment_intents", "a", &form).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(4));
    ear.next().await;
    assert!(asked.elapsed() >= Duration::from_secs(5), "after {:?}", asked.elapsed());
}
