//! The payment provider's own word on an order's money.

use bytes::Bytes;
use http::{Request, header};
use mesh_contracts::id::OrderId;
use mesh_identity::{Mesh, Upstream};
use serde_json::Value;

use super::{DEADLINE, Shared, shared};

/// The provider's entries for an order of the shared platform.
///
/// # Panics
/// If the provider does not answer.
pub async fn ledger_of(order: OrderId) -> Vec<Value> {
    let ledger = provider_says(shared(), "/v1/ledger").await;
    let entries = ledger["payments"].as_array().expect("a list").iter();
    entries
        .filter(|entry| entry["order_id"] == order.to_string())
        .cloned()
        .collect()
}

/// What a platform's provider answers, asked in basket-master's name.
///
/// # Panics
/// If the provider does not answer.
pub async fn provider_says(platform: &Shared, path: &str) -> Value {
    let running = platform.running();
    let payer = "basket-master";
    let mesh = Mesh::load(&running.certificates(payer), payer).expect("its certificates are good");
    let process = running.process("sandbox-payments").expect("it runs");
    let provider = Upstream::new("sandbox-payments", process.address.to_string());
    let key = running.payments_key().expect("the data directory knows");
    let request = Request::get(path)
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .body(Bytes::new())
        .expect("a good request");
    // The whole ledger of a platform that is being raced on takes longer than one call may.
    let client = mesh.client();
    let answer = client.request_within(&provider, request, DEADLINE).await;
    let answer = answer.expect("it answers");
    serde_json::from_slice(answer.body()).expect("it answers in JSON")
}
