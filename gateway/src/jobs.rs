//! A courier's jobs with the addresses of the active ones.
//!
//! Who may see an address is user-info's decision; this only asks for those that matter.

use std::time::Duration;

use axum::response::IntoResponse as _;
use bytes::Bytes;
use futures::future::join_all;
use http::StatusCode;
use mesh_contracts::id::OrderId;
use mesh_contracts::view::delivery::Status;
use mesh_identity::client::CALL_TIMEOUT;
use mesh_runtime::Problem;
use mesh_runtime::json::Json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::ask::Ask;
use crate::{Answer, Gateway};

/// A courier at the door can ask again; the rest of the list is worth more than the wait.
const ADDRESS_TIMEOUT: Duration = Duration::from_millis(800);

#[derive(Serialize, Deserialize)]
struct Jobs {
    items: Vec<Job>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct Job {
    order: OrderId,
    status: Status,
    #[serde(skip_deserializing)]
    address: Option<Box<RawValue>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

pub(crate) async fn mine(app: &Gateway, ask: Ask) -> Answer {
    let orders = &app.services.order_info;
    let answer = orders.call(ask.clone(), CALL_TIMEOUT).await?;
    if answer.status() != StatusCode::OK {
        return Ok(orders.relay(answer));
    }
    let mut jobs: Jobs = serde_json::from_slice(answer.body()).map_err(Problem::internal)?;
    let active = jobs.items.iter_mut().filter(|job| is_active(job.status));
    join_all(active.map(|job| add_address(app, &ask, job))).await;
    Ok(Json(jobs).into_response())
}

fn is_active(status: Status) -> bool {
    match status {
        Status::Assigned | Status::PickedUp | Status::Attempted => true,
        Status::Waiting | Status::Offered | Status::Delivered | Status::Cancelled | Status::Returned | Status::Lost => {
            false
        }
    }
}

async fn add_address(app: &Gateway, ask: &Ask, job: &mut Job) {
    let address = address(app, ask, &job.order).await.unwrap_or_else(|problem| {
        tracing::warn!(order.id = %job.order, error = %problem, "address missing");
        Some(Bytes::from_static(br#"{"unavailable":true}"#))
    });
    job.address = address.and_then(|json| serde_json::from_slice(&json).ok());
}

/// None if user-info does not let this courier see it, or sees no active job yet.
async fn address(app: &Gateway, ask: &Ask, order: &OrderId) -> Result<Option<Bytes>, Problem> {
    let users = &app.services.user_info;
    let ask = ask.also_get(&format!("/deliveries/{}/address", order.delivery()))?;
    let answer = users.call(ask, ADDRESS_TIMEOUT).await?;
    match answer.status() {
        StatusCode::OK => Ok(Some(answer.into_body())),
        StatusCode::NOT_FOUND => Ok(None),
        _ => Err(users.refusal(&answer)),
    }
}
