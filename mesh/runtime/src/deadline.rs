//! How long whoever asked us still waits, carried from hop to hop in `Tiffin-Deadline-Ms`.
//!
//! What comes too late is refused before anything is done, and a read ends where its deadline is: nobody waits for
//! it any more. A command that was begun is not cut off here, since it is decided all the same; its outgoing calls
//! ask [`remaining`] and give up in time.

use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use tokio::time::Instant;

use crate::{Problem, headers};

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

/// Serves a request under its caller's deadline, and refuses with 503 `deadline_passed` what is past it.
pub(crate) async fn adopt<F>(request: Request, serve: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let millis = request
        .headers()
        .get(headers::DEADLINE)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let Some(millis) = millis else {
        return serve(request).await;
    };
    let limit = Duration::from_millis(millis).min(DEADLINE_MAX);
    if limit.is_zero() {
        return passed().into_response();
    }
    let is_read = request.method().is_safe();
    let answer = within(limit, serve(request));
    if is_read {
        let answer = tokio::time::timeout(limit, answer).await;
        return answer.unwrap_or_else(|_| passed().into_response());
    }
    answer.await
}

fn passed() -> Problem {
    metrics::counter!("deadlines_passed_total").increment(1);
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "deadline_passed",
        "there was no time left for it",
    )
    .retry_after(Duration::from_secs(1))
}
