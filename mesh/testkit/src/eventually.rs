//! Waiting for what must come true, with a name and a deadline instead of a sleep.

use std::time::{Duration, Instant};

/// Generous, since it is only reached when the test fails, and machines that build are slow.
const DEADLINE: Duration = Duration::from_secs(20);

/// Often enough that a test loses no time, seldom enough that what it waits for gets the core.
const POLL: Duration = Duration::from_millis(10);

/// Asks until the answer is there, and returns it.
///
/// # Panics
/// With `name` if it is not there after 20 s.
#[track_caller]
pub fn eventually<T, F>(name: &str, ask: impl FnMut() -> F) -> impl Future<Output = T>
where
    F: Future<Output = Option<T>>,
{
    eventually_in(name, DEADLINE, ask)
}

/// As `eventually`, with a deadline of one's own.
///
/// # Panics
/// With `name` if the answer is not there by then.
#[track_caller]
pub fn eventually_in<T, F>(name: &str, deadline: Duration, mut ask: impl FnMut() -> F) -> impl Future<Output = T>
where
    F: Future<Output = Option<T>>,
{
    let caller = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(
                started.elapsed() < deadline,
                "{name}: not within {deadline:?} ({caller})"
            );
            tokio::time::sleep(POLL).await;
        }
    }
}
