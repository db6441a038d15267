//! Calls at a fixed rate, whoever is slow; and as many as there can be.
//!
//! Latency counts from when a call was meant to be sent, so that a stall is not hidden by calls that were never sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use futures::future::{BoxFuture, join_all};
use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::insert::Count;

/// Latencies up to a minute, to three digits.
const LATENCY_MAX_US: u64 = 60_000_000;

/// The first call is this far ahead, so that none is late because the clock was looked at before.
const HEAD_START: Duration = Duration::from_millis(100);

/// As many connections as the load has. Whoever finds none free waits, and that counts: with a new one for each, a moment's
/// stall would be answered with a thousand handshakes, which no crowd of phones does, since theirs are open.
const IN_FLIGHT_MAX: usize = 120;

/// What came of many calls.
pub(super) struct Outcome {
    /// Calls sent.
    pub sent: u64,
    /// Why, and how many, that did not succeed.
    pub errors: BTreeMap<String, u64>,
    /// From the intended start to the end, of all that succeeded.
    pub latency: Latency,
}

/// How long things took. Microseconds inside, milliseconds outside.
#[derive(Debug, Clone)]
pub(super) struct Latency(Histogram<u64>);

impl Latency {
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_max(LATENCY_MAX_US, 3).expect("the bounds are constants"))
    }

    pub(super) fn record(&mut self, took: Duration) {
        self.0
            .saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Milliseconds in which this part of them was done, from 0 to 1.
    pub(super) fn ms(&self, part: f64) -> f64 {
        self.0.value_at_quantile(part) as f64 / 1_000.0
    }
}

impl Outcome {
    pub(super) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Something to be done again and again, the nth time with its number.
pub(super) type Call = Arc<dyn Fn(usize) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// As often as so many callers get it done who begin anew when they are answered; per second, and how often in all.
pub(super) async fn most(callers: usize, span: Duration, call: &Call) -> Result<(f64, u64)> {
    let count = Count::default();
    let next = Arc::new(AtomicUsize::new(0));
    let callers = (0..callers).map(|_| {
        let (count, call, next) = (count.clone(), call.clone(), next.clone());
        async move {
            while count.goes_on() {
                call(next.fetch_add(1, Ordering::Relaxed)).await?;
                count.more(1);
            }
            Ok(())
        }
    });
    let per_s = count.over(span, callers).await?;
    Ok((per_s, next.load(Ordering::Relaxed) as u64))
}

/// Starts so many calls evenly over this time, and waits for all of them.
pub(super) async fn evenly<F>(total: usize, span: Duration, mut call: impl FnMut(usize) -> F) -> Result<Outcome>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let first_at = Instant::now() + HEAD_START;
    let mut under_way = Vec::with_capacity(total);
    let connections = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    for nth in 0..total {
        let intended = first_at + span.mul_f64(nth as f64 / total as f64);
        tokio::time::sleep_until(intended).await;
        let (call, connections) = (call(nth), connections.clone());
        under_way.push(tokio::spawn(async move {
            let connection = connections.acquire_owned().await;
            let result = call.await;
            drop(connection);
            (result, intended.elapsed())
        }));
    }
    let mut outcome = Outcome {
        sent: total as u64,
        errors: BTreeMap::new(),
        latency: Latency::new(),
    };
    for ended in join_all(under_way).await {
        match ended? {
            (Ok(()), took) => outcome.latency.record(took),
            (Err(err), _) => *outcome.errors.entry(err.to_string()).or_default() += 1,
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds() {
        let mut latency = Latency::new();
        for ms in 1..=100 {
            latency.record(Duration::from_millis(ms));
        }
        assert_eq!(latency.count(), 100);
        assert!((latency.ms(0.5) - 50.0).abs() < 0.1);
        assert!((latency.ms(0.99) - 99.0).abs() < 0.1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_counts_for_everyone_who_should_have_been_served_in_it() {
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        let outcome = evenly(100, Duration::from_secs(1), |nth| {
            let lock = lock.clone();
            async move {
                let _turn = lock.lock().await;
                if nth == 0 {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                anyhow::ensure!(nth != 99, "the last one fails");
                Ok(())
            }
        });
        let outcome = outcome.await.expect("it runs");
        assert_eq!((outcome.sent, outcome.failed(), outcome.latency.count()), (100, 1, 99));
        // The second was meant to be sent 10 ms after the first and waited 990 ms.
        assert!((outcome.latency.ms(0.5) - 500.0).abs() < 20.0);
    }
}
