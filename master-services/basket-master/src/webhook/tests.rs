use serde_json::json;
use uuid::Uuid;

use super::*;

const NOON: Timestamp = Timestamp::constant(1_700_000_000, 0);
const BODY: &[u8] = br#"{"type":"payment_intent.succeeded"}"#;

#[test]
fn the_providers_signature_is_accepted() {
    assert_eq!(verify(&secret(), &signed(NOON, BODY), BODY, NOON), Ok(()));
}

#[test]
fn one_good_signature_of_several_suffices() {
    let both = format!("{},v1=00ff", signed(NOON, BODY));
    assert_eq!(verify(&secret(), &both, BODY, NOON), Ok(()));
}

#[test]
fn another_body_secret_or_time_is_forged() {
    let other = Secret::new("another secret of the same size");
    assert_eq!(verify(&secret(), &signed(NOON, BODY), b"{}", NOON), Err(Forged));
    assert_eq!(verify(&other, &signed(NOON, BODY), BODY, NOON), Err(Forged));
    let moved = signed(NOON, BODY).replace("t=1700000000", "t=1700000001");
    assert_eq!(verify(&secret(), &moved, BODY, NOON), Err(Forged));
}

#[test]
fn an_old_or_future_signature_is_forged() {
    for at in [
        NOON - SignedDuration::from_secs(301),
        NOON + SignedDuration::from_secs(301),
    ] {
        assert_eq!(verify(&secret(), &signed(at, BODY), BODY, NOON), Err(Forged));
    }
}

#[test]
fn a_signature_of_another_shape_is_forged() {
    for shape in [
        "",
        "t=",
        "t=1700000000",
        "v1=00",
        "t=x,v1=00",
        "t=1700000000,v1=0",
        "t=1700000000,v1=zz",
    ] {
        assert_eq!(verify(&secret(), shape, BODY, NOON), Err(Forged), "{shape}");
    }
}

#[test]
fn a_webhook_names_its_call_and_its_outcome() {
    let order = OrderId(Uuid::from_u128(7));
    let body = json!({
        "type": "payment_intent.payment_failed",
        "data": {"object": {
            "id": "pi_1", "status": "requires_payment_method", "metadata": {"order_id": order},
            "last_payment_error": {"code": "card_declined", "decline_code": "insufficient_funds"},
        }},
        "request": {"id": null, "idempotency_key": "pay-1"},
    });
    let notice = read(body.to_string().as_bytes()).expect("JSON").expect("ours");
    let answer = Answer::Refused {
        code: "insufficient_funds".into(),
    };
    assert_eq!(
        notice,
        Notice {
            order,
            key: "pay-1".into(),
            operation: Operation::Authorize,
            answer
        }
    );
}

#[test]
fn a_webhook_about_something_else_is_no_news() {
    for body in [
        json!({"type": "customer.created", "data": {"object": {}}}),
        json!({"type": "payment_intent.succeeded", "data": {"object": {"id": "pi_1", "status": "succeeded"}}}),
    ] {
        assert_eq!(read(body.to_string().as_bytes()).expect("JSON"), None);
    }
    assert!(read(b"not JSON").is_err());
}

fn secret() -> Secret {
    Secret::new("a secret of some size, 32 bytes.")
}

fn signed(at: Timestamp, body: &[u8]) -> String {
    let seconds = at.as_second();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret().expose().as_bytes());
    let tag = hmac::sign(&key, &[format!("{seconds}.").as_bytes(), body].concat());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}
