//! Tells the receiver what happened, at least once and in no promised order, until it says 2xx.
//! What is still to be told lives in the journal; this file only keeps the schedule.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, Request};
use jiff::{SignedDuration, Timestamp};
use mesh_identity::{Client, Upstream};
use mesh_runtime::Shutdown;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bank::Bank;
use crate::ledger::{Pending, Record};
use crate::wire;

const STRIPE_SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");
/// Enough to keep up with 200 payments a second at 50 ms each, few enough not to flood a restarted receiver.
const IN_FLIGHT_MAX: usize = 16;
/// A receiver that restarts takes about as long.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Bounds how long a receiver that came back waits for what it missed.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Stripe, too, gives up after three days.
const ABANDONED_AFTER: SignedDuration = SignedDuration::from_hours(72);

/// One request to the receiver, ready to be sent.
#[derive(Debug, Clone)]
pub struct Message {
    pub body: Bytes,
    /// The value of the `Stripe-Signature` header.
    pub signature: String,
}

/// Where webhooks go.
#[derive(Clone)]
pub struct Receiver {
    client: Client,
    upstream: Arc<Upstream>,
    path: Arc<str>,
}

impl Receiver {
    /// A mesh service at an address, and the path that takes webhooks there.
    pub fn new(client: Client, upstream: Upstream, path: String) -> Receiver {
        Receiver {
            client,
            upstream: Arc::new(upstream),
            path: path.into(),
        }
    }

    /// Sends it; whether the receiver confirmed.
    pub fn tell(&self, message: Message) -> impl Future<Output = bool> + Send + 'static {
        let Receiver { client, upstream, path } = self.clone();
        async move {
            let request = Request::post(&*path)
                .header(CONTENT_TYPE, "application/json")
                .header(STRIPE_SIGNATURE, message.signature)
                .body(message.body)
                .expect("path and signature are plain ASCII");
            match client.request(&upstream, request).await {
                Ok(response) => response.status().is_success(),
                Err(err) => {
                    tracing::debug!(error = %err, "webhook not delivered");
                    false
                }
            }
        }
    }
}

/// Sends what arrives in `notices` by `deliver`, which says whether the receiver confirmed it, until the shutdown.
pub async fn run<F>(
    mut notices: mpsc::UnboundedReceiver<Pending>,
    bank: Bank,
    secret: &[u8],
    shutdown: Shutdown,
    deliver: impl Fn(Message) -> F,
) where
    F: Future<Output = bool> + Send + 'static,
{
    let mut waiting = BinaryHeap::new();
    let mut in_flight = JoinSet::new();
    loop {
        metrics::gauge!("webhooks_pending").set((waiting.len() + in_flight.len()) as f64);
        let next_due = waiting.peek().map(|Reverse(job): &Reverse<Job>| job.due);
        let can_send = in_flight.len() < IN_FLIGHT_MAX;
        tokio::select! {
            () = shutdown.triggered() => return,
            notice = notices.recv() => match notice {
                Some(pending) => waiting.push(Reverse(Job::first(pending))),
                // The writer is gone, and the process with it.
                None => return,
            },
            () = sleep_until(next_due), if can_send && next_due.is_some() => {
                if let Some(Reverse(job)) = waiting.pop() {
                    let sent = deliver(job.message(secret));
                    in_flight.spawn(async move { (job, sent.await) });
                }
            }
            Some(sent) = in_flight.join_next() => {
                let Ok((job, confirmed)) = sent else {
                    // Cannot happen short of a bug in `deliver`; the next start sends it again.
                    tracing::error!("webhook delivery panicked");
                    continue;
                };
                let (note, rest) = job.after(confirmed);
                waiting.extend(rest.map(Reverse));
                if let Some(note) = note && bank.note(note).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// `t=SECONDS,v1=HEX` over `SECONDS.BODY`, as Stripe signs.
pub fn sign(secret: &[u8], at: Timestamp, body: &[u8]) -> String {
    let seconds = at.as_second();
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(seconds.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    format!("t={seconds},v1={}", wire::hex(context.sign().as_ref()))
}

/// A webhook on its way: ordered by when it is due.
struct Job {
    due: Instant,
    pending: Pending,
    failures: u32,
}

impl Job {
    fn first(pending: Pending) -> Job {
        let wait = pending.notice.due.duration_since(Timestamp::now());
        // In the past after a restart: due now.
        let wait = Duration::try_from(wait).unwrap_or_default();
        Job {
            due: Instant::now() + wait,
            pending,
            failures: 0,
        }
    }

    fn message(&self, secret: &[u8]) -> Message {
        let body = Bytes::from(wire::event(&self.pending).to_string());
        Message {
            signature: sign(secret, Timestamp::now(), &body),
            body,
        }
    }

    /// What to write down after an attempt, and what is left to do.
    fn after(mut self, confirmed: bool) -> (Option<Record>, Option<Job>) {
        let event = self.pending.notice.event.clone();
        if confirmed {
            self.pending.notice.copies -= 1;
            self.failures = 0;
            self.due = Instant::now();
            let rest = (self.pending.notice.copies > 0).then_some(self);
            return (Some(Record::Delivered { event }), rest);
        }
        if Timestamp::now().duration_since(self.pending.notice.created) > ABANDONED_AFTER {
            tracing::warn!(event.id = event, "webhook abandoned");
            return (Some(Record::Abandoned { event }), None);
        }
        let backoff = BACKOFF_MIN.saturating_mul(2_u32.saturating_pow(self.failures));
        self.due = Instant::now() + backoff.min(BACKOFF_MAX);
        self.failures += 1;
        (None, Some(self))
    }
}

impl PartialEq for Job {
    fn eq(&self, other: &Job) -> bool {
        self.due == other.due
    }
}

impl Eq for Job {}

impl PartialOrd for Job {
    fn partial_cmp(&self, other: &Job) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Job {
    fn cmp(&self, other: &Job) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_time_and_body_as_stripe_documents_it() {
        // By Python's hmac module.
        let at = Timestamp::from_second(1_492_774_577).unwrap();
        let signature = sign(b"whsec_test", at, br#"{"id":"evt_1"}"#);
        assert_eq!(
            signature,
            "t=1492774577,v1=7656fc2882a7ca0a651666b36bf2f2f22ee204f54f608f227498a2419f2890b2"
        );
    }
}
