//! A command is carried out once, however often it comes.

use futures::future::join_all;
use mesh_eventstore::{Aside, Store, Streams, SubmitError};
use mesh_runtime::settings::Secret;
use mesh_testkit::Stage;
use serde_json::json;

use crate::tally::{Refusal, Tally, add, anyone, command, connect, count, migrated, new_id, open, tallies, versions};

#[tokio::test]
async fn a_repetition_gets_the_stored_answer_byte_for_byte() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let streams: Streams<Tally> = Streams::new(connect(&database).await);
    let id = new_id();
    streams.submit(&id, anyone(), open(10)).await.expect("a new tally");
    let adding = || command("k1", &json!({ "amount": 3 })).created();
    let first = streams.submit(&id, adding(), add(3)).await.expect("it fits");
    streams.submit(&id, anyone(), add(7)).await.expect("it fits");

    // By now the rules would refuse it, and another process answers.
    let restarted: Streams<Tally> = Streams::new(connect(&database).await);
    for streams in [&streams, &restarted] {
        let again = streams.submit(&id, adding(), add(3)).await.expect("carried out before");
        assert!(again.replayed);
        assert_eq!(again.answer.status, 201);
        assert_eq!(again.answer.body.get(), first.answer.body.get());
        assert_eq!(again.answer.tag(), first.answer.tag());
    }
    assert_eq!(versions(streams.store(), &id).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_key_used_for_another_body_is_refused() {
    let stage = Stage::new();
    let streams = tallies(&stage).await;
    let id = new_id();
    streams.submit(&id, anyone(), open(3)).await.expect("a new tally");
    streams
        .submit(&id, command("k1", &json!({ "amount": 1 })), add(1))
        .await
        .expect("it fits");
    // Both where the rules would accept and where they would refuse.
    for amount in [2, 100] {
        let other = command("k1", &json!({ "amount": amount }));
        let refused = streams.submit(&id, other, add(amount)).await;
        assert!(matches!(refused, Err(SubmitError::KeyReused)), "{refused:?}");
    }
    assert_eq!(versions(streams.store(), &id).await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_taps_of_one_button_are_one_command() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let left: Streams<Tally> = Streams::new(connect(&database).await);
    let right: Streams<Tally> = Streams::new(connect(&database).await);
    let id = new_id();
    left.submit(&id, anyone(), open(1)).await.expect("a new tally");
    let taps = (0..100).map(|n| {
        let streams = if n % 2 == 0 { &left } else { &right };
        streams.submit(&id, command("tap", &json!({})), add(1))
    });
    let outcomes: Vec<_> = join_all(taps)
        .await
        .into_iter()
        .map(|outcome| outcome.expect("carried out once, answered always"))
        .collect();
    assert_eq!(outcomes.iter().filter(|outcome| !outcome.replayed).count(), 1);
    for outcome in &outcomes {
        assert_eq!(outcome.answer.body.get(), outcomes[0].answer.body.get());
    }
    assert_eq!(versions(left.store(), &id).await, [1, 2]);
}

#[tokio::test]
async fn a_refused_command_may_succeed_later() {
    let stage = Stage::new();
    let streams = tallies(&stage).await;
    let id = new_id();
    let refused = streams.submit(&id, command("k", &json!({})), add(1)).await;
    assert!(matches!(refused, Err(SubmitError::Rejected(Refusal::NotOpen))));
    streams.submit(&id, anyone(), open(1)).await.expect("a new tally");
    let outcome = streams.submit(&id, command("k", &json!({})), add(1)).await;
    assert!(!outcome.expect("it fits now").replayed);
    assert_eq!(count(streams.store(), "select count(*) from commands").await, 1);
}

fn aside(key: &str, secret: &str) -> Option<Aside> {
    Some(Aside {
        key: key.into(),
        about: "somebody".into(),
        secret: Secret::new(secret),
    })
}

async fn secrets(store: &Store) -> Vec<(String, String)> {
    let kept = sqlx::query_as("select key, secret from secrets order by key");
    kept.fetch_all(store.pool()).await.expect("the table is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_bodies_under_one_key_only_the_secret_of_the_one_that_is_carried_out_is_kept() {
    let stage = Stage::new();
    let database = migrated(&stage).await;
    let left: Streams<Tally> = Streams::new(connect(&database).await);
    let right: Streams<Tally> = Streams::new(connect(&database).await);
    let id = new_id();
    left.submit(&id, anyone(), open(100)).await.expect("a new tally");
    for round in 0..20 {
        let name = format!("k{round:02}");
        // Each body brings a secret under the same name.
        let asked = |amount: u32| {
            command(&name, &json!({ "amount": amount })).keeping(aside(&name, &format!("secret {amount}")))
        };
        let (one, other) = tokio::join!(left.submit(&id, asked(1), add(1)), right.submit(&id, asked(2), add(2)),);
        let winner = match (one.is_ok(), other.is_ok()) {
            (true, false) => "secret 1",
            (false, true) => "secret 2",
            both => panic!("{both:?} were carried out"),
        };
        assert_eq!(secrets(left.store()).await.pop(), Some((name, winner.to_owned())));
    }
}

#[tokio::test]
async fn what_is_refused_keeps_no_secret_and_a_repeat_keeps_no_other() {
    let stage = Stage::new();
    let streams = tallies(&stage).await;
    let id = new_id();
    streams.submit(&id, anyone(), open(3)).await.expect("a new tally");
    let refused = command("k1", &json!({})).keeping(aside("k1", "of a refusal"));
    assert!(streams.submit(&id, refused, add(100)).await.is_err());
    let adding = |secret| command("k2", &json!({})).keeping(aside("k2", secret));
    streams.submit(&id, adding("first"), add(1)).await.expect("it fits");
    let again = streams.submit(&id, adding("second"), add(1)).await;
    assert!(again.expect("carried out before").replayed);
    assert_eq!(secrets(streams.store()).await, [("k2".to_owned(), "first".to_owned())]);
}

#[test]
fn a_secret_is_in_no_debug_output() {
    let request = anyone().keeping(aside("k1", "open sesame"));
    assert!(!format!("{request:?}").contains("sesame"));
}
