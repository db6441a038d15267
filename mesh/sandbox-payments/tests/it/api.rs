//! What each request answers. In process, without TLS; the journal is a real file.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, StatusCode};
use mesh_runtime::Shutdown;
use mesh_runtime::settings::Secret;
use sandbox_payments::bank::Bank;
use sandbox_payments::http::{App, routes};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;

const KEY: &str = "sk_test_1";

struct Provider {
    router: Router,
    _dir: TempDir,
}

struct Answer {
    status: StatusCode,
    replayed: bool,
    bytes: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }
}

impl Provider {
    fn start() -> Provider {
        let dir = tempfile::tempdir().unwrap();
        let (bank, _writer) = Bank::open(dir.path(), false).unwrap();
        let app = App {
            bank,
            key: Arc::new(Secret::new(KEY)),
            shutdown: Shutdown::new(),
        };
        Provider {
            router: routes(app),
            _dir: dir,
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        Answer {
            status: response.status(),
            replayed: response.headers().contains_key("idempotent-replayed"),
            bytes: to_bytes(response.into_body(), usize::MAX).await.unwrap(),
        }
    }

    async fn post(&self, path: &str, key: &str, form: &str) -> Answer {
        let request = Request::post(path)
            .header("authorization", format!("Bearer {KEY}"))
            .header("idempotency-key", key)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned()));
        self.send(request.unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header("authorization", format!("Bearer {KEY}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn authorized(&self, card: &str) -> String {
        let answer = self.post("/v1/payment_intents", "authorize", &form(card)).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.json()["id"].as_str().unwrap().to_owned()
    }
}

fn form(card: &str) -> String {
    format!(
        "amount=1290&currency=eur&payment_method={card}&capture_method=manual&confirm=true&metadata%5Border_id%5D=ord_1"
    )
}

#[track_caller]
fn check_error(answer: &Answer, status: u16, kind: &str, code: &str) {
    let error = &answer.json()["error"];
    let found = (answer.status.as_u16(), error["type"].as_str(), error["code"].as_str());
    assert_eq!(found, (status, Some(kind), Some(code)), "{error}");
    assert!(error["message"].is_string(), "{error}");
}

#[tokio::test]
async fn a_payment_goes_from_authorised_to_refunded() {
    let provider = Provider::start();
    let id = provider.authorized("pm_card_visa").await;
    let payment = provider.get(&format!("/v1/payment_intents/{id}")).await.json();
    assert_eq!(payment["object"], "payment_intent");
    assert_eq!(payment["status"], "requires_capture");
    assert_eq!(payment["amount_capturable"], 1290);
    assert_eq!(payment["metadata"]["order_id"], "ord_1");

    let path = format!("/v1/payment_intents/{id}/capture");
    let captured = provider.post(&path, "capture", "amount_to_capture=1290").await.json();
    assert_eq!(
        (&captured["status"], &captured["amount_received"]),
        (&"succeeded".into(), &1290.into())
    );

    let refund = provider
        .post("/v1/refunds", "refund", &format!("payment_intent={id}&amount=290"))
        .await
        .json();
    assert_eq!(
        (&refund["object"], &refund["status"]),
        (&"refund".into(), &"succeeded".into())
    );
    assert_eq!(refund["payment_intent"], *id);
    assert_eq!(refund["metadata"]["order_id"], "ord_1");

    let ledger = provider.get("/v1/ledger").await.json();
    let entry = &ledger["payments"][0];
    assert_eq!((&entry["id"], &entry["order_id"]), (&(*id).into(), &"ord_1".into()));
    let names = [
        "authorized",
        "captured",
        "refunded",
        "voided",
        "open",
        "captures",
        "refunds",
    ];
    let amounts = names.map(|name| entry[name].as_u64().unwrap());
    assert_eq!(amounts, [1290, 1290, 290, 0, 0, 1, 1]);
    assert_eq!(ledger["has_more"], false);
}

#[tokio::test]
async fn a_capture_and_a_cancel_need_no_body() {
    let provider = Provider::start();
    let id = provider.authorized("pm_card_visa").await;
    let request = Request::post(format!("/v1/payment_intents/{id}/cancel"))
        .header("authorization", format!("Bearer {KEY}"))
        .header("idempotency-key", "cancel")
        .body(Body::empty());
    let canceled = provider.send(request.unwrap()).await.json();
    assert_eq!(
        (&canceled["status"], &canceled["amount_capturable"]),
        (&"canceled".into(), &0.into())
    );
}

#[tokio::test]
async fn the_same_key_gets_the_same_bytes_and_says_so() {
    let provider = Provider::start();
    let first = provider.post("/v1/payment_intents", "k", &form("pm_card_visa")).await;
    let id = first.json()["id"].as_str().unwrap().to_owned();
    provider
        .post(&format!("/v1/payment_intents/{id}/capture"), "c", "")
        .await;
    let again = provider.post("/v1/payment_intents", "k", &form("pm_card_visa")).await;
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!((first.status, first.bytes), (again.status, again.bytes));
}

#[tokio::test]
async fn the_order_of_parameters_does_not_make_another_request() {
    let provider = Provider::start();
    provider.post("/v1/payment_intents", "k", &form("pm_card_visa")).await;
    let turned: Vec<_> = form("pm_card_visa").split('&').rev().map(str::to_owned).collect();
    assert!(
        provider
            .post("/v1/payment_intents", "k", &turned.join("&"))
            .await
            .replayed
    );
}

#[tokio::test]
async fn a_key_with_other_parameters_or_another_route_is_refused() {
    let provider = Provider::start();
    let id = provider.authorized("pm_card_visa").await;
    let other = provider
        .post("/v1/payment_intents", "authorize", &form("pm_card_declined"))
        .await;
    check_error(&other, 400, "idempotency_error", "idempotency_key_in_use");
    let path = format!("/v1/payment_intents/{id}/cancel");
    let other = provider.post(&path, "authorize", "").await;
    check_error(&other, 400, "idempotency_error", "idempotency_key_in_use");
}

#[tokio::test]
async fn a_post_without_a_key_does_nothing() {
    let provider = Provider::start();
    let answer = provider.post("/v1/payment_intents", "", &form("pm_card_visa")).await;
    check_error(&answer, 400, "invalid_request_error", "idempotency_key_required");
    assert_eq!(
        provider.get("/v1/ledger").await.json()["payments"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
}

#[tokio::test]
async fn a_wrong_api_key_is_refused_on_every_route() {
    let provider = Provider::start();
    for path in [
        "/v1/ledger",
        "/v1/payment_intents/pi_1",
        "/v1/payment_intents?metadata[order_id]=ord_1",
    ] {
        for key in ["", "Bearer", "Bearer sk_test_2", KEY] {
            let request = Request::get(path).header("authorization", key).body(Body::empty());
            assert_eq!(provider.send(request.unwrap()).await.status, StatusCode::UNAUTHORIZED);
        }
    }
}

#[tokio::test]
async fn a_declined_card_is_402_with_its_reason_and_payment_and_stays_so() {
    for (card, reason) in [
        ("pm_card_declined", "generic_decline"),
        ("pm_card_insufficient_funds", "insufficient_funds"),
    ] {
        let provider = Provider::start();
        let answer = provider.post("/v1/payment_intents", "k", &form(card)).await;
        check_error(&answer, 402, "card_error", "card_declined");
        let error = answer.json()["error"].clone();
        assert_eq!(error["decline_code"], reason);
        assert_eq!(error["payment_intent"]["status"], "requires_payment_method");
        let again = provider.post("/v1/payment_intents", "k", &form(card)).await;
        assert!(again.replayed);
        assert_eq!(again.bytes, answer.bytes);
    }
}

#[tokio::test]
async fn a_timed_out_success_is_found_under_the_same_key() {
    let provider = Provider::start();
    let form = form("pm_card_timeout_after_success");
    let first = provider.post("/v1/payment_intents", "k", &form);
    assert!(tokio::time::timeout(Duration::from_millis(200), first).await.is_err());
    let again = provider.post("/v1/payment_intents", "k", &form).await;
    assert_eq!(again.json()["status"], "requires_capture");
    assert_eq!(
        provider.get("/v1/ledger").await.json()["payments"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_failed_capture_is_402_and_leaves_the_payment_open() {
    let provider = Provider::start();
    let id = provider.authorized("pm_card_capture_fails").await;
    let answer = provider
        .post(&format!("/v1/payment_intents/{id}/capture"), "c", "")
        .await;
    check_error(&answer, 402, "card_error", "card_declined");
    assert_eq!(answer.json()["error"]["payment_intent"]["amount_capturable"], 1290);
}

#[tokio::test]
async fn a_failed_refund_is_200_and_says_failed() {
    let provider = Provider::start();
    let id = provider.authorized("pm_card_refund_fails").await;
    provider
        .post(&format!("/v1/payment_intents/{id}/capture"), "c", "")
        .await;
    let refund = provider.post("/v1/refunds", "r", &format!("payment_intent={id}")).await;
    assert_eq!(refund.status, StatusCode::OK);
    assert_eq!(refund.json()["status"], "failed");
    assert_eq!(provider.get("/v1/ledger").await.json()["payments"][0]["refunded"], 0);
}

#[tokio::test]
async fn a_second_capture_is_refused_with_the_payment_as_it_is() {
    let provider = Provider::start();
    let id = provider.authorized("pm_card_visa").await;
    let path = format!("/v1/payment_intents/{id}/capture");
    provider.post(&path, "c1", "").await;
    let answer = provider.post(&path, "c2", "").await;
    check_error(&answer, 400, "invalid_request_error", "payment_intent_unexpected_state");
    assert_eq!(answer.json()["error"]["payment_intent"]["status"], "succeeded");
}

#[tokio::test]
async fn payments_are_found_by_their_order() {
    let provider = Provider::start();
    provider
        .post("/v1/payment_intents", "k1", &form("pm_card_declined"))
        .await;
    provider.post("/v1/payment_intents", "k2", &form("pm_card_visa")).await;
    let list = provider
        .get("/v1/payment_intents?metadata%5Border_id%5D=ord_1")
        .await
        .json();
    let statuses: Vec<_> = list["data"].as_array().unwrap().iter().map(|p| &p["status"]).collect();
    assert_eq!(statuses, ["requires_payment_method", "requires_capture"]);
    let none = provider
        .get("/v1/payment_intents?metadata[order_id]=ord_2")
        .await
        .json();
    assert_eq!(none["data"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn the_ledger_can_be_read_in_pages() {
    let provider = Provider::start();
    for n in 0..3 {
        provider
            .post("/v1/payment_intents", &format!("k{n}"), &form("pm_card_visa"))
            .await;
    }
    let first = provider.get("/v1/ledger?limit=2").await.json();
    assert_eq!(
        (first["payments"].as_array().unwrap().len(), &first["has_more"]),
        (2, &true.into())
    );
    let last = first["payments"][1]["id"].as_str().unwrap();
    let second = provider.get(&format!("/v1/ledger?limit=2&after={last}")).await.json();
    assert_eq!(
        (second["payments"].as_array().unwrap().len(), &second["has_more"]),
        (1, &false.into())
    );
}

#[tokio::test]
async fn what_does_not_exist_is_404() {
    let provider = Provider::start();
    let missing = "resource_missing";
    check_error(
        &provider.get("/v1/payment_intents/pi_0").await,
        404,
        "invalid_request_error",
        missing,
    );
    for (path, form) in [
        ("/v1/payment_intents/pi_0/capture", ""),
        ("/v1/payment_intents/pi_0/cancel", ""),
        ("/v1/refunds", "payment_intent=pi_0"),
    ] {
        check_error(
            &provider.post(path, path, form).await,
            404,
            "invalid_request_error",
            missing,
        );
    }
}

#[tokio::test]
async fn malformed_requests_are_refused_by_parameter_and_do_nothing() {
    let provider = Provider::start();
    let good = form("pm_card_visa");
    let cases = [
        (good.replace("amount=1290&", ""), "amount", "parameter_missing"),
        (good.replace("1290", "0"), "amount", "parameter_invalid_integer"),
        (good.replace("1290", "-5"), "amount", "parameter_invalid_integer"),
        (good.replace("1290", "12.90"), "amount", "parameter_invalid_integer"),
        (good.replace("1290", "100000000"), "amount", "parameter_invalid_integer"),
        (good.replace("eur", "EUR"), "currency", "parameter_invalid"),
        (
            good.replace("pm_card_visa", "pm_card_amex"),
            "payment_method",
            "resource_missing",
        ),
        (
            good.replace("manual", "automatic"),
            "capture_method",
            "parameter_invalid",
        ),
        (
            good.replace("confirm=true", "confirm=false"),
            "confirm",
            "parameter_invalid",
        ),
        (format!("{good}&amount=1290"), "amount", "parameter_invalid"),
        (format!("{good}&customer=cus_1"), "customer", "parameter_unknown"),
        (format!("{good}&metadata[]=x"), "metadata[]", "parameter_invalid"),
    ];
    for (form, param, code) in cases {
        let answer = provider.post("/v1/payment_intents", "k", &form).await;
        check_error(&answer, 400, "invalid_request_error", code);
        assert_eq!(answer.json()["error"]["param"], param);
    }
    assert_eq!(
        provider.get("/v1/ledger").await.json()["payments"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    // The key is still free.
    assert_eq!(
        provider.post("/v1/payment_intents", "k", &good).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_body_that_is_no_form_is_refused() {
    let provider = Provider::start();
    let request = Request::post("/v1/payment_intents")
        .header("authorization", format!("Bearer {KEY}"))
        .header("idempotency-key", "k")
        .header("content-type", "application/json")
        .body(Body::from("{}"));
    assert_eq!(
        provider.send(request.unwrap()).await.status,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
}

#[tokio::test]
async fn a_hundred_sends_of_one_key_at_once_are_one_payment() {
    let provider = Arc::new(Provider::start());
    let sends = (0..100).map(|_| {
        let provider = provider.clone();
        tokio::spawn(async move { provider.post("/v1/payment_intents", "k", &form("pm_card_visa")).await })
    });
    let mut fresh = 0;
    let mut bodies = std::collections::HashSet::new();
    for send in sends.collect::<Vec<_>>() {
        let answer = send.await.unwrap();
        fresh += usize::from(!answer.replayed);
        bodies.insert(answer.bytes);
    }
    assert_eq!((fresh, bodies.len()), (1, 1));
    assert_eq!(
        provider.get("/v1/ledger").await.json()["payments"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
