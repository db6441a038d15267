//! I11: people without a valid token, who ask for what is not theirs while everything breaks.

use std::time::Duration;

use http::{Method, Request, header};
use jiff::Timestamp;
use mesh_identity::{Client, Upstream};
use mesh_local::running::Running;
use serde::Serialize;
use uuid::Uuid;

/// Between two tries.
const EVERY: Duration = Duration::from_millis(100);

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What they ask for, each for another role.
const WISHES: [(Method, &str); 6] = [
    (Method::GET, "/v1/orders"),
    (Method::GET, "/v1/me"),
    (Method::GET, "/v1/couriers/me/jobs"),
    (Method::POST, "/v1/orders"),
    (Method::POST, "/v1/food-points"),
    (Method::GET, "/v1/ops/dead-letters"),
];

/// Has the form of a token, and nobody's signature.
const FORGED: &str = "Bearer eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6Ii0ifQ.eyJzdWIiOiItIn0.AAAA";

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Tries {
    pub(super) asked: u64,
    /// I11: answers that should never have been given.
    pub(super) let_in: Vec<String>,
}

/// Tries until it is dropped.
pub(super) async fn keep_trying(running: &Running, tries: &mut Tries) -> anyhow::Result<()> {
    let client = Client::public(&std::fs::read(running.ca_cert())?)?;
    let url = running.public_url();
    let door = Upstream::new("gateway", url.trim_start_matches("https://"));
    for (nth, (method, path)) in WISHES.iter().cycle().enumerate() {
        let mut wish = Request::builder().method(method.clone()).uri(*path);
        if nth % 2 == 1 {
            wish = wish.header(header::AUTHORIZATION, FORGED);
        }
        if *method == Method::POST {
            wish = wish.header(mesh_runtime::headers::IDEMPOTENCY_KEY, Uuid::now_v7().to_string());
        }
        let answer = client
            .request_within(&door, wish.body(bytes::Bytes::from_static(b"{}"))?, TIMEOUT)
            .await;
        tries.asked += 1;
        if let Ok(answer) = answer
            && answer.status().is_success()
        {
            let what = format!("{method} {path}: {} at {}", answer.status(), Timestamp::now());
            tries.let_in.push(what);
        }
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}
