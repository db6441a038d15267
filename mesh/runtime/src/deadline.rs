//! How long whoever asked us still waits, carried from hop to hop in `Tiffin-Deadline-Ms`.
//!
//! Nothing is cancelled here: a command that was submitted is decided even if nobody waits for
//! it any more. Outgoing calls and waits ask [`remaining`] and give up in time.

use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;

use crate::headers;

/// No caller waits longer for an answer, whatever the header says.
pub const DEADLINE_MAX: Duration = Duration::from_secs(30);

tokio::task_local! {
    static DEADLINE: Instant;
}

/// The time left for the current request; none outside of one, or when its caller set no limit.
pub fn remaining() -> Option<Duration> {
    DEADLINE
        .try_with(|deadline| deadline.saturating_duration_since(Instant::now()))
        .ok()
}

/// Runs a future under a deadline, or under the one it already has if that is nearer.
pub async fn within<F: Future>(limit: Duration, work: F) -> F::Output {
    let limit = remaining().map_or(limit, |remaining| remaining.min(limit));
    DEADLINE.scope(Instant::now() + limit, work).await
}

/// The middleware that adopts the caller's deadline.
pub async fn adopt(request: Request, next: Next) -> Response {
    let millis = request
        .headers()
        .get(headers::DEADLINE)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    match millis {
        Some(millis) => within(Duration::from_millis(millis).min(DEADLINE_MAX), next.run(request)).await,
        None => next.run(request).await,
    }
}
