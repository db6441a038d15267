//! The provider's webhooks: who sent one, and what it says about which call.
//!
//! A webhook decides nothing: it only brings the answer to a call that is still open.

use aws_lc_rs::hmac;
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::id::OrderId;
use mesh_contracts::payment::Operation;
use mesh_runtime::settings::Secret;
use serde::Deserialize;
use serde_json::Value;

use crate::domain::payment::Answer;
use crate::provider::understand_object;

/// Stripe's own: older ones are replayed by somebody else.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// Not signed by the provider, or too long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not signed by the payment provider")]
pub struct Forged;

/// Checks `t=SECONDS,v1=HEX[,v1=HEX…]` over `SECONDS.BODY`, in constant time.
pub fn verify(secret: &Secret, signature: &str, body: &[u8], now: Timestamp) -> Result<(), Forged> {
    let parts = || signature.split(',').filter_map(|part| part.trim().split_once('='));
    let seconds = parts()
        .find_map(|(name, value)| (name == "t").then_some(value))
        .ok_or(Forged)?;
    let at = seconds
        .parse()
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or(Forged)?;
    if now.duration_since(at).abs() > TOLERANCE {
        return Err(Forged);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let signed = [seconds.as_bytes(), b".", body].concat();
    parts()
        .filter(|(name, _)| *name == "v1")
        .filter_map(|(_, hex)| unhex(hex))
        .any(|tag| hmac::verify(&key, &signed, &tag).is_ok())
        .then_some(())
        .ok_or(Forged)
}

/// What a webhook says.
#[derive(Debug, PartialEq, Eq)]
pub struct Notice {
    pub order: OrderId,
    /// The idempotency key of the call that it announces.
    pub key: String,
    pub operation: Operation,
    pub answer: Answer,
}

/// `None` for what is not about a call of ours.
pub fn read(body: &[u8]) -> Result<Option<Notice>, serde_json::Error> {
    let event: Event = serde_json::from_slice(body)?;
    let operation = match event.kind.as_str() {
        "payment_intent.amount_capturable_updated" | "payment_intent.payment_failed" => Operation::Authorize,
        "payment_intent.succeeded" => Operation::Capture,
        "payment_intent.canceled" => Operation::Void,
        "refund.created" | "refund.failed" => Operation::Refund,
        _ => return Ok(None),
    };
    let object = &event.data.object;
    let order = object["metadata"]["order_id"]
        .as_str()
        .and_then(|order| order.parse().ok());
    let key = event.request.and_then(|request| request.idempotency_key);
    let (Some(order), Some(key)) = (order, key) else {
        return Ok(None);
    };
    Ok(Some(Notice {
        order,
        key,
        operation,
        answer: understand_object(operation, object),
    }))
}

// Stripe adds fields as it likes; what we do not read may be there.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    data: Data,
    #[serde(default)]
    request: Option<Asked>,
}

#[derive(Deserialize)]
struct Data {
    object: Value,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    idempotency_key: Option<String>,
}

fn unhex(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    hex.as_bytes()
        .chunks(2)
        .map(|pair| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8))
        .collect()
}

#[cfg(test)]
#[path = "webhook/tests.rs"]
mod tests;
