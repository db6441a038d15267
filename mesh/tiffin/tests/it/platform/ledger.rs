//! The payment provider's own word on an order's money.

use bytes::Bytes;
use http::{Request, header};
use mesh_contracts::id::OrderId;
use mesh_identity::{Mesh, Upstream};
use serde_json::Value;

use super::shared;

/// The provider's entries for an order, asked for in basket-master's name.
///
/// # Panics
/// If the provider does not answer.
pub async fn ledger_of(order: OrderId) -> Vec<Value> {
    let running = shared().running();
    let payer = "basket-master";
    let mesh = Mesh::load(&running.certificates(payer), payer).expect("its certificates are good");
    let process = running.process("sandbox-payments").expect("it runs");
    let provider = Upstream::new("sandbox-payments", process.address.to_string());
    let key = running.payments_key().expect("the data directory knows");
    let request = Request::get("/v1/ledger")
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .body(Bytes::new())
        .expect("a good request");
    let answer = mesh.client().request(&provider, request).await.expect("it answers");
    let ledger: Value = serde_json::from_slice(answer.body()).expect("a ledger is JSON");
    let entries = ledger["payments"].as_array().expect("a list").iter();
    entries
        .filter(|entry| entry["order_id"] == order.to_string())
        .cloned()
        .collect()
}
