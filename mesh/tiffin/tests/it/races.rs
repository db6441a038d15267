//! What happens at the same moment on a real platform: each race has one winner, the others are told where things
//! stand, and nobody's money is left anywhere.

mod interleavings;
mod last_portion;
mod meddling;
mod one_key;
mod pairs;
mod plan;
mod witness;

use http::StatusCode;
use mesh_contracts::id::OrderId;
use mesh_contracts::order::Status;
use mesh_runtime::problem::TYPE_PREFIX;
use mesh_testkit::eventually_in;
use serde_json::Value;
use tiffin::client::{Failure, Person};
use tokio::sync::Mutex;

use crate::platform::DEADLINE;
use witness::{Record, Witness};

/// The hurried platform is for one at a time: a killed service is nobody else's business.
static TURN: Mutex<()> = Mutex::const_new(());

/// What was refused: with which status and kind, and the whole problem.
#[track_caller]
fn refusal(failure: &Failure) -> (StatusCode, &str, &Value) {
    match failure {
        Failure::Refused(refusal) => {
            let problem = &refusal.problem;
            let is_clear = problem["type"] == format!("{TYPE_PREFIX}{}", refusal.kind)
                && problem["status"] == refusal.status.as_u16()
                && problem["title"].as_str().is_some_and(|title| !title.is_empty());
            assert!(is_clear, "an unclear refusal: {problem}");
            (refusal.status, &refusal.kind, problem)
        }
        Failure::Unknown { .. } => panic!("{failure}"),
    }
}

/// The loser of a race is told where the order stands.
#[track_caller]
fn is_told(failure: &Failure, kind: &str, order_status: Status) {
    let (status, said, problem) = refusal(failure);
    assert_eq!((status, said), (StatusCode::CONFLICT, kind), "{failure}");
    assert_eq!(problem["order_status"], order_status.as_str(), "{failure}");
}

/// Waits until somebody's order is shown as they expect; what it showed.
async fn shows(person: &Person, order: OrderId, what: &str, expected: impl Fn(&Value) -> bool) -> Value {
    let name = format!("{order} is shown {what}");
    eventually_in(&name, DEADLINE, || async {
        // What was placed a moment ago may still be on its way to the read side.
        let shown = person.order(order).await.ok()?;
        expected(&shown).then_some(shown)
    })
    .await
}

/// Waits until nothing of the order's money is under way or promised, and all witnesses agree on what is kept.
async fn settled(witness: &Witness, order: OrderId) -> Record {
    let name = format!("the money of {order} is settled");
    eventually_in(&name, DEADLINE, || async {
        let record = witness.record(order).await;
        record.is_settled().then_some(record)
    })
    .await
}
