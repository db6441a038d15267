use serde_json::json;

use super::*;
use crate::log::{NOON, said};

const CUSTOMER: UserId = UserId(Uuid::from_u128(2));
const COMMAND: Uuid = Uuid::from_u128(77);

fn kept() -> Kept {
    Kept {
        master: "order-master",
        command: COMMAND,
        status: 200,
        body: json!({"id": "ord_a", "status": "cancelled"}),
        stream: "ord_a".into(),
        version: 4,
        head: 9,
        read: 9,
    }
}

fn effect() -> Effect {
    Effect {
        streams: [("ord_a".to_owned(), 4)].into(),
        stored_at: [NOON].into(),
        by_person: true,
    }
}

fn effects(effect: Effect) -> Effects {
    [(("order-master", COMMAND), effect)].into()
}

fn sent(answers: &[u16]) -> Sent {
    let answer = |status: &u16| (*status, kept().body);
    Sent {
        what: "POST /v1/orders/ord_a/cancel".into(),
        command: Some(COMMAND),
        answers: answers.iter().map(answer).collect(),
        refusals: 0,
        unknown: 1,
        first_at: NOON,
    }
}

#[track_caller]
fn check(kept: &[Kept], effects: &Effects, sent: Sent, expected: &str) {
    let sent = [("one".to_owned(), sent)].into();
    let breaches = once(kept, effects, &sent, NOON);
    assert_eq!(breaches.is_empty(), expected.is_empty(), "{}", said(&breaches));
    assert!(said(&breaches).contains(expected), "{}", said(&breaches));
}

#[test]
fn one_key_with_one_effect_and_one_answer_is_fine() {
    check(&[kept()], &effects(effect()), sent(&[200, 200]), "");
    check(&[kept()], &effects(effect()), sent(&[]), "");
    check(&[kept()], &Effects::new(), sent(&[200]), "");
}

#[test]
fn two_effects_of_one_key_are_a_breach() {
    let twice = Effect {
        stored_at: [NOON, NOON + SignedDuration::from_secs(1)].into(),
        ..effect()
    };
    check(&[kept()], &effects(twice), sent(&[200]), "2 effects on ord_a");
}

#[test]
fn an_altered_answer_is_a_breach() {
    let elsewhere = Kept { version: 3, ..kept() };
    check(&[elsewhere], &effects(effect()), sent(&[200]), "left it at 4");
    let elsewhere_entirely = Kept {
        stream: "ord_b".into(),
        ..kept()
    };
    check(
        std::slice::from_ref(&elsewhere_entirely),
        &effects(effect()),
        sent(&[200]),
        "changed others",
    );
    let beyond = Kept { head: 3, ..kept() };
    check(&[beyond], &effects(effect()), sent(&[200]), "and it stands at 3");
    let otherwise = Kept {
        body: json!({"id": "ord_a", "status": "paid"}),
        ..kept()
    };
    check(&[otherwise], &effects(effect()), sent(&[200]), "keeps 200 ord_a paid");
}

#[test]
fn an_answer_about_events_that_we_have_not_read_is_no_breach() {
    let unread = Kept {
        stream: "ord_b".into(),
        read: 3,
        ..kept()
    };
    check(&[unread], &effects(effect()), sent(&[200]), "");
}

#[test]
fn an_effect_whose_answer_was_dropped_is_a_breach_for_a_week() {
    check(&[], &effects(effect()), sent(&[]), "no answer is kept");
    let old = Effect {
        stored_at: [NOON - SignedDuration::from_hours(7 * 24)].into(),
        ..effect()
    };
    check(&[], &effects(old), sent(&[]), "");
    let by_service = Effect {
        by_person: false,
        ..effect()
    };
    check(&[], &effects(by_service), sent(&[]), "");
}

#[test]
fn two_answers_to_one_key_are_a_breach() {
    check(&[kept()], &effects(effect()), sent(&[200, 201]), "and later 201");
}

#[test]
fn an_answer_that_no_master_keeps_is_a_breach() {
    check(&[], &Effects::new(), sent(&[200]), "no master keeps that");
}

#[test]
fn what_was_refused_was_not_carried_out() {
    let refused = Sent {
        refusals: 1,
        unknown: 0,
        ..sent(&[])
    };
    check(
        &[kept()],
        &effects(effect()),
        refused.clone(),
        "refused, and carried out",
    );
    check(&[], &Effects::new(), refused, "");
}

fn line(method: &str, path: &str, outcome: Outcome) -> Line {
    Line {
        sent_at: NOON,
        took_ms: 1,
        subject: Some(CUSTOMER),
        method: method.into(),
        path: path.into(),
        key: "k".into(),
        body_hash: "h".into(),
        attempt: 1,
        outcome,
    }
}

fn answered(status: u16) -> Outcome {
    let body = json!({"id": CUSTOMER.to_string(), "status": "x"});
    Outcome::Answered { status, body }
}

#[test]
fn attempts_of_one_key_are_gathered() {
    let mut all = BTreeMap::new();
    for outcome in [
        Outcome::Unknown { why: "cut".into() },
        answered(503),
        answered(409),
        answered(422),
        answered(201),
        answered(201),
    ] {
        gather(&mut all, line("POST", "/v1/orders", outcome));
    }
    let sent = all.into_values().next().expect("one");
    assert_eq!((sent.answers.len(), sent.refusals, sent.unknown), (2, 1, 3));
    assert_eq!(sent.command, Some(order_id(CUSTOMER, "k")));
}

#[test]
fn a_line_names_its_command_as_the_services_do() {
    let cancel = line("POST", "/v1/orders/ord_a/cancel", answered(200));
    let expected = command_id(&CUSTOMER.to_string(), "POST /orders/ord_a/cancel", "k");
    assert_eq!(command_of(&cancel), Some(expected));
    let register = line("POST", "/v1/users", answered(201));
    assert_eq!(command_of(&register), Some(CUSTOMER.uuid()));
    assert_eq!(command_of(&line("PATCH", "/v1/me", answered(200))), None);
}

#[test]
fn an_acknowledged_order_is_one_that_was_answered_with_success() {
    let placed = line("POST", "/v1/orders", answered(201));
    assert_eq!(acknowledged_order(&placed), Some(CUSTOMER.to_string().as_str()));
    assert_eq!(acknowledged_order(&line("POST", "/v1/orders", answered(409))), None);
}
