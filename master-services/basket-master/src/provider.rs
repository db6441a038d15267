//! The payment provider's client: the part of Stripe's PaymentIntents that we speak.
//!
//! Says what came of a call and nothing more: done, refused, or not known. Never logs a token.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http::{Request, Response, StatusCode, header};
use mesh_contracts::id::OrderId;
use mesh_contracts::payment::Operation;
use mesh_contracts::view::payment::Call;
use mesh_identity::{Client, ClientError, Upstream};
use mesh_runtime::headers::IDEMPOTENCY_KEY;
use mesh_runtime::settings::Secret;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::domain::payment::Answer;

/// A provider that thinks longer is asked again, under the same key.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Calls at once: plenty at 200 orders a second and 50 ms a call, and no flood for a provider that is slow.
const CALLS_MAX: usize = 64;

/// The provider, as one client with a bounded number of calls.
#[derive(Clone)]
pub struct Provider {
    client: Client,
    upstream: Arc<Upstream>,
    key: Arc<Secret>,
    slots: Arc<Semaphore>,
}

impl Provider {
    pub fn new(client: Client, upstream: Upstream, key: Secret) -> Self {
        Self {
            client,
            upstream: Arc::new(upstream),
            key: Arc::new(key),
            slots: Arc::new(Semaphore::new(CALLS_MAX)),
        }
    }

    /// Asks under the call's key; the same question again gets the same answer. `proof` is the card's token for
    /// an authorisation, and the promise's id for everything after it.
    pub async fn ask(&self, order: OrderId, call: &Call, proof: &str) -> Answer {
        let _slot = self.slots.acquire().await.expect("nobody closes the semaphore");
        let operation = call.operation;
        let answered = self
            .client
            .request_within(&self.upstream, self.request(order, call, proof), TIMEOUT)
            .await;
        let answer = match &answered {
            Ok(response) => understand(operation, response),
            Err(_) => Answer::Lost,
        };
        let outcome = match &answer {
            Answer::Done { .. } => "done",
            Answer::Refused { .. } => "refused",
            Answer::Lost => "lost",
        };
        metrics::counter!("payment_calls_total", "operation" => name(operation), "outcome" => outcome).increment(1);
        if answer == Answer::Lost {
            let status = answered.as_ref().map_or(0, |response| response.status().as_u16());
            let error = answered.as_ref().err().map(ClientError::to_string);
            tracing::warn!(order.id = %order, ?operation, attempt = call.attempt, status, error, "payment call without an outcome");
        }
        answer
    }

    fn request(&self, order: OrderId, call: &Call, proof: &str) -> Request<Bytes> {
        let (path, form) = question(order, call, proof);
        Request::post(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key.expose()))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(IDEMPOTENCY_KEY, &call.key)
            .body(Bytes::from(form))
            .expect("keys and ids are visible ASCII")
    }
}

fn name(operation: Operation) -> &'static str {
    match operation {
        Operation::Authorize => "authorize",
        Operation::Capture => "capture",
        Operation::Void => "void",
        Operation::Refund => "refund",
    }
}

fn question(order: OrderId, call: &Call, proof: &str) -> (String, String) {
    let amount = call.amount.amount.to_string();
    let mut form = form_urlencoded::Serializer::new(String::new());
    let path = match call.operation {
        Operation::Authorize => {
            form.append_pair("amount", &amount)
                .append_pair("currency", &call.amount.currency.as_str().to_ascii_lowercase())
                .append_pair("payment_method", proof)
                .append_pair("capture_method", "manual")
                .append_pair("confirm", "true")
                .append_pair("metadata[order_id]", &order.to_string());
            "/v1/payment_intents".to_owned()
        }
        Operation::Capture => {
            form.append_pair("amount_to_capture", &amount);
            format!("/v1/payment_intents/{proof}/capture")
        }
        Operation::Void => format!("/v1/payment_intents/{proof}/cancel"),
        Operation::Refund => {
            form.append_pair("payment_intent", proof).append_pair("amount", &amount);
            "/v1/refunds".to_owned()
        }
    };
    (path, form.finish())
}

fn understand(operation: Operation, response: &Response<Bytes>) -> Answer {
    let Ok(body) = serde_json::from_slice::<Value>(response.body()) else {
        return Answer::Lost;
    };
    match response.status() {
        StatusCode::OK => understand_object(operation, &body),
        StatusCode::BAD_REQUEST | StatusCode::PAYMENT_REQUIRED | StatusCode::NOT_FOUND => {
            understand_refusal(operation, &body["error"])
        }
        // Not us, too fast, or their fault: nothing is settled by it.
        _ => Answer::Lost,
    }
}

/// What the provider's object says about the operation that it answers or announces.
pub fn understand_object(operation: Operation, object: &Value) -> Answer {
    let (Some(id), Some(status)) = (object["id"].as_str(), object["status"].as_str()) else {
        return Answer::Lost;
    };
    let done = || Answer::Done {
        provider_id: id.to_owned(),
    };
    match (operation, status) {
        (Operation::Authorize, "requires_capture")
        | (Operation::Capture, "succeeded")
        | (Operation::Void, "canceled")
        | (Operation::Refund, "succeeded" | "pending") => done(),
        (Operation::Authorize, "requires_payment_method" | "requires_action" | "canceled") => {
            refused(&object["last_payment_error"])
        }
        (Operation::Refund, "failed" | "canceled") => Answer::Refused {
            code: object["failure_reason"].as_str().unwrap_or("unknown").to_owned(),
        },
        // A later state of the same payment, announced late: it says nothing about this call.
        (Operation::Authorize | Operation::Capture | Operation::Void | Operation::Refund, _) => Answer::Lost,
    }
}

fn understand_refusal(operation: Operation, error: &Value) -> Answer {
    // The key is in use for another question: whatever that one's outcome is, this is not it.
    if error["type"] == "idempotency_error" {
        return Answer::Lost;
    }
    let promise = &error["payment_intent"];
    match (operation, promise["status"].as_str(), promise["id"].as_str()) {
        // Given back already, which is all that was asked.
        (Operation::Void, Some("canceled"), Some(id)) => Answer::Done {
            provider_id: id.to_owned(),
        },
        (Operation::Authorize | Operation::Capture | Operation::Void | Operation::Refund, _, _) => refused(error),
    }
}

fn refused(error: &Value) -> Answer {
    let code = error["decline_code"].as_str().or_else(|| error["code"].as_str());
    Answer::Refused {
        code: code.unwrap_or("unknown").to_owned(),
    }
}

#[cfg(test)]
#[path = "provider/tests.rs"]
mod tests;
