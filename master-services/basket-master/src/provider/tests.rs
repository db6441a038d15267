use mesh_contracts::money::{Currency, Money};
use serde_json::json;
use uuid::Uuid;

use super::*;

#[test]
fn each_operation_is_one_form() {
    let asked = |operation, proof| question(order(), &call(operation), proof);
    let id = order();
    let authorize = format!(
        "amount=1290&currency=eur&payment_method=pm_1&capture_method=manual&confirm=true&metadata%5Border_id%5D={id}"
    );
    assert_eq!(
        asked(Operation::Authorize, "pm_1"),
        ("/v1/payment_intents".into(), authorize)
    );
    let capture = (
        "/v1/payment_intents/pi_1/capture".into(),
        "amount_to_capture=1290".into(),
    );
    assert_eq!(asked(Operation::Capture, "pi_1"), capture);
    assert_eq!(
        asked(Operation::Void, "pi_1"),
        ("/v1/payment_intents/pi_1/cancel".into(), String::new())
    );
    assert_eq!(
        asked(Operation::Refund, "pi_1"),
        ("/v1/refunds".into(), "payment_intent=pi_1&amount=1290".into())
    );
}

#[test]
fn only_a_settled_answer_settles_a_call() {
    let lost = [401, 403, 409, 429, 500, 503, 504];
    for status in lost {
        let answer = understand(Operation::Capture, &answered(status, &json!({"error": {"code": "x"}})));
        assert_eq!(answer, Answer::Lost, "{status}");
    }
    let torn = Response::new(Bytes::from_static(b"{\"id\""));
    assert_eq!(understand(Operation::Capture, &torn), Answer::Lost);
}

#[test]
fn a_refusal_carries_the_banks_code() {
    let declined =
        json!({"error": {"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds"}});
    let answer = understand(Operation::Authorize, &answered(402, &declined));
    assert_eq!(
        answer,
        Answer::Refused {
            code: "insufficient_funds".into()
        }
    );
    let failed = json!({"id": "re_1", "status": "failed", "failure_reason": "declined"});
    let answer = understand(Operation::Refund, &answered(200, &failed));
    assert_eq!(
        answer,
        Answer::Refused {
            code: "declined".into()
        }
    );
}

#[test]
fn a_promise_given_back_before_is_given_back() {
    let canceled = json!({"error": {
        "type": "invalid_request_error", "code": "payment_intent_unexpected_state",
        "payment_intent": {"id": "pi_1", "status": "canceled"},
    }});
    let done = Answer::Done {
        provider_id: "pi_1".into(),
    };
    assert_eq!(understand(Operation::Void, &answered(400, &canceled)), done);
    let refused = Answer::Refused {
        code: "payment_intent_unexpected_state".into(),
    };
    assert_eq!(understand(Operation::Capture, &answered(400, &canceled)), refused);
}

#[test]
fn a_key_that_is_taken_settles_nothing() {
    let taken = json!({"error": {"type": "idempotency_error", "code": "idempotency_key_in_use"}});
    assert_eq!(understand(Operation::Authorize, &answered(400, &taken)), Answer::Lost);
}

#[test]
fn a_later_state_says_nothing_about_an_earlier_call() {
    let captured = json!({"id": "pi_1", "status": "succeeded"});
    assert_eq!(understand_object(Operation::Authorize, &captured), Answer::Lost);
}

fn answered(status: u16, body: &Value) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .body(Bytes::from(body.to_string()))
        .expect("a plain answer")
}

fn call(operation: Operation) -> Call {
    Call {
        attempt: 1,
        operation,
        amount: Money::new(1290, Currency::EUR),
        key: "key".into(),
        lost: 0,
        ask_again_at: jiff::Timestamp::UNIX_EPOCH,
    }
}

fn order() -> OrderId {
    OrderId(Uuid::from_u128(7))
}
