//! Payments whose step fell due, on the work queue: whoever leads the timers puts them there, whichever replica is
//! free drives them on.
//!
//! A job says which payment and no more, so a late or repeated one finds nothing due. It may be lost; its timer is not.

use std::time::Duration;

use futures::future::join_all;
use mesh_bus::{Bus, NewJob, Verdict, Work};
use mesh_contracts::id::PaymentId;
use mesh_contracts::subject::Queue;
use mesh_eventstore::BoxError;
use mesh_eventstore::inbox::Drained;
use mesh_runtime::{Shutdown, clock};
use serde::{Deserialize, Serialize};

use crate::settle::{Driven, Settler};

/// Payments driven at once per replica: when the provider is back after an hour, it is not met by all that waited.
const LANES: usize = 16;

/// First pause of a job that could not be done; the timer brings it again anyway.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// Longest pause: an ended order has no open promise a minute later.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// A broker that takes longer is taken for away.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// A payment that stands still is put on the queue again after so long, in seconds: until then the broker takes the
/// second job for a repeat of the first.
const AGAIN_AFTER_S: i64 = 15;

/// The body of a job. Which step is due, the payment's events say.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    payment: PaymentId,
}

/// Asks for a payment, in the state of this version, to be driven on.
pub async fn ask_for(bus: &Bus, payment: PaymentId, version: u64) -> Result<(), BoxError> {
    if !bus.is_connected() {
        return Err("the bus is away".into());
    }
    let turn = clock::wall().as_second() / AGAIN_AFTER_S;
    let job = NewJob::new(format!("{payment}/{version}/{turn}"), payment, &Job { payment })?;
    tokio::time::timeout(PUBLISH_TIMEOUT, bus.publish_job(Queue::Payment, &job)).await??;
    Ok(())
}

/// Drives payments on until shutdown, once the inbox has drained.
pub async fn run(settler: &Settler, bus: &Bus, drained: Drained, shutdown: Shutdown) {
    tokio::select! {
        () = shutdown.triggered() => return,
        () = drained.wait() => {}
    }
    let work = Work::on(Queue::Payment).lanes(LANES).backoff(RETRY_MIN, RETRY_MAX);
    bus.work(work, shutdown, |jobs| {
        join_all(jobs.into_iter().map(|job| carry_out(settler, job)))
    })
    .await;
}

async fn carry_out(settler: &Settler, job: mesh_bus::Job) -> Verdict {
    let Ok(Job { payment }) = job.read() else {
        return Verdict::Poison("job is no payment".into());
    };
    match settler.drive(payment, None).await {
        Ok(Driven::Done) => Verdict::Done,
        Ok(Driven::InOtherHands) => Verdict::Later("another task has this payment in hand".into()),
        Err(err) => Verdict::Retry(err.to_string()),
    }
}
