//! Killed in the middle of its work, again and again.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::mpsc;

use crate::program::{Caller, Program, authorization};

/// Customers at the same time, so that a kill hits several calls at several stages.
const CUSTOMERS: usize = 12;
const ORDERS_PER_CUSTOMER: usize = 15;
/// Answers between two kills: some twenty kills in a run.
const ANSWERS_PER_LIFE: usize = 25;

struct Sent {
    path: String,
    key: String,
    form: String,
    answer: Bytes,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_time_it_loses_nothing_acknowledged_and_applies_no_key_twice() {
    let mut program = Program::new();
    program.start();
    let caller = program.caller("basket-master");
    let (answers, mut answered) = mpsc::unbounded_channel();
    for customer in 0..CUSTOMERS {
        tokio::spawn(shop(caller.clone(), customer, answers.clone()));
    }
    drop(answers);

    let mut history = Vec::new();
    let mut kills = 0;
    while let Some(sent) = answered.recv().await {
        history.push(sent);
        if history.len() % ANSWERS_PER_LIFE == 0 {
            program.kill();
            program.start();
            kills += 1;
        }
    }
    assert!(kills >= 10, "only {kills} kills");
    program.kill();
    program.start();

    for sent in &history {
        let again = caller.post_until_answered(&sent.path, &sent.key, &sent.form).await;
        assert_eq!(again.headers()["idempotent-replayed"], "true", "{} was lost", sent.key);
        assert_eq!(again.body(), &sent.answer, "{} was answered differently", sent.key);
    }
    let ledger = caller.ledger().await;
    let mut per_order: HashMap<String, usize> = HashMap::new();
    for entry in &ledger {
        *per_order
            .entry(entry["order_id"].as_str().unwrap().to_owned())
            .or_default() += 1;
        let amounts = ["captured", "voided", "refunded", "open", "captures"].map(|name| entry[name].as_u64().unwrap());
        let order: usize = entry["order_id"]
            .as_str()
            .unwrap()
            .rsplit('_')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let expected = match order % 3 {
            0 => [1290, 0, 0, 0, 1],
            1 => [1290, 0, 290, 0, 1],
            _ => [0, 1290, 0, 0, 0],
        };
        assert_eq!(amounts, expected, "{entry}");
    }
    assert_eq!(per_order.len(), CUSTOMERS * ORDERS_PER_CUSTOMER);
    assert!(
        per_order.values().all(|payments| *payments == 1),
        "a key was applied twice: {per_order:?}"
    );
}

/// Orders and pays, then by the order's number keeps, sends back a part, or cancels.
async fn shop(caller: Caller, customer: usize, answers: mpsc::UnboundedSender<Sent>) {
    let answers = Arc::new(answers);
    let send = async |path: String, key: String, form: String| {
        let response = caller.post_until_answered(&path, &key, &form).await;
        assert_eq!(response.status(), 200, "{key}");
        let answer = response.into_body();
        let id = serde_json::from_slice::<serde_json::Value>(&answer).unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        answers
            .send(Sent {
                path,
                key,
                form,
                answer,
            })
            .unwrap();
        id
    };
    for order in 0..ORDERS_PER_CUSTOMER {
        let name = format!("ord_{customer}_{order}");
        let form = authorization(&name, "pm_card_visa");
        let id = send("/v1/payment_intents".to_owned(), format!("{name}/authorize"), form).await;
        if order % 3 == 2 {
            send(
                format!("/v1/payment_intents/{id}/cancel"),
                format!("{name}/cancel"),
                String::new(),
            )
            .await;
            continue;
        }
        send(
            format!("/v1/payment_intents/{id}/capture"),
            format!("{name}/capture"),
            String::new(),
        )
        .await;
        if order % 3 == 1 {
            let form = format!("payment_intent={id}&amount=290");
            send("/v1/refunds".to_owned(), format!("{name}/refund"), form).await;
        }
    }
}

#[tokio::test]
async fn a_record_torn_by_the_kill_is_cut_off_and_the_rest_is_kept() {
    let mut program = Program::new();
    program.start();
    let caller = program.caller("basket-master");
    for order in ["ord_1", "ord_2"] {
        caller
            .post_until_answered("/v1/payment_intents", order, &authorization(order, "pm_card_visa"))
            .await;
    }
    program.kill();
    let journal = program.data().join("journal.jsonl");
    let whole = fs::read(&journal).unwrap();
    fs::write(&journal, &whole[..whole.len() - 40]).unwrap();

    program.start();
    assert_eq!(caller.ledger().await.len(), 1);
    let again = caller
        .post("/v1/payment_intents", "ord_2", &authorization("ord_2", "pm_card_visa"))
        .await
        .unwrap();
    assert!(!again.headers().contains_key("idempotent-replayed"));
    program.kill();
    program.start();
    assert_eq!(caller.ledger().await.len(), 2);
}

#[tokio::test]
async fn only_named_peers_may_call() {
    let mut program = Program::new();
    program.start();
    program.caller("basket-master").ledger().await;
    let refused = program.caller("order-master").get("/v1/ledger").await.unwrap();
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn asked_to_end_it_does_even_while_it_keeps_a_caller_waiting() {
    let mut program = Program::new();
    program.start();
    let caller = program.caller("basket-master");
    caller.ledger().await;
    let form = authorization("ord_1", "pm_card_timeout_after_success");
    let silence = tokio::spawn({
        let (caller, form) = (caller.clone(), form.clone());
        async move { caller.post("/v1/payment_intents", "a", &form).await }
    });
    while caller.ledger().await.is_empty() {}
    assert!(program.terminate().success());
    if let Ok(answer) = silence.await.unwrap() {
        assert_eq!(answer.status(), 504);
    }
    program.start();
    let again = caller.post_until_answered("/v1/payment_intents", "a", &form).await;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
}
