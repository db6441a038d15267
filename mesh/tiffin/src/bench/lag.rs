//! How long events took from their commit to Redis, as the info services counted it themselves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What `mesh-projection` counts, in buckets.
const METRIC: &str = "projection_lag_seconds_bucket";

/// An admin port that is silent for longer is away.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Samples at or below each bound, in milliseconds; the last bound is infinite.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Lag(BTreeMap<u64, u64>);

/// Above every bound.
const INFINITE: u64 = u64::MAX;

impl Lag {
    /// Of all views of these services together.
    pub(super) async fn of(admins: &[SocketAddr]) -> Result<Self> {
        let mut lag = Self::default();
        for admin in admins {
            lag.add(&metrics(*admin).await?);
        }
        Ok(lag)
    }

    /// What came since.
    pub(super) fn since(mut self, before: &Self) -> Self {
        for (bound, count) in &mut self.0 {
            *count = count.saturating_sub(before.0.get(bound).copied().unwrap_or_default());
        }
        self
    }

    /// How many samples.
    pub(super) fn count(&self) -> u64 {
        self.0.get(&INFINITE).copied().unwrap_or_default()
    }

    /// The bound of the bucket in which this part of the samples ends, in milliseconds: it is never said to be less
    /// than it was.
    pub(super) fn percentile(&self, percent: f64) -> Option<u64> {
        let wanted = (self.count() as f64 * percent / 100.0).ceil() as u64;
        let found = self.0.iter().find(|(_, count)| **count >= wanted.max(1));
        found.map(|(bound, _)| *bound)
    }

    fn add(&mut self, text: &str) {
        for line in text.lines().filter(|line| line.starts_with(METRIC)) {
            if let Some((bound_ms, count)) = bucket(line) {
                *self.0.entry(bound_ms).or_default() += count;
            }
        }
    }
}

/// `name{…,le="0.05"} 17`.
fn bucket(line: &str) -> Option<(u64, u64)> {
    let (labels, count) = line.rsplit_once(' ')?;
    let bound = labels.split_once("le=\"")?.1.split_once('"')?.0;
    let bound_ms = match bound {
        "+Inf" => INFINITE,
        // Bounds are a millisecond or more, some with a half.
        seconds => (seconds.parse::<f64>().ok()? * 1_000.0).ceil() as u64,
    };
    Some((bound_ms, count.parse().ok()?))
}

async fn metrics(admin: SocketAddr) -> Result<String> {
    let ask = async {
        let mut stream = TcpStream::connect(admin).await?;
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(TIMEOUT, ask)
        .await
        .with_context(|| format!("{admin} does not answer"))??;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{admin} has no metrics");
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# TYPE projection_lag_seconds histogram
projection_lag_seconds_bucket{service=\"order-info\",view=\"order\",le=\"0.01\"} 90
projection_lag_seconds_bucket{service=\"order-info\",view=\"order\",le=\"0.1\"} 99
projection_lag_seconds_bucket{service=\"order-info\",view=\"order\",le=\"+Inf\"} 100
projection_lag_seconds_sum{service=\"order-info\",view=\"order\"} 1.5
";

    fn lag(text: &str) -> Lag {
        let mut lag = Lag::default();
        lag.add(text);
        lag
    }

    #[test]
    fn a_percentile_is_the_bound_of_its_bucket() {
        let lag = lag(TEXT);
        assert_eq!(lag.count(), 100);
        assert_eq!(lag.percentile(50.0), Some(10));
        assert_eq!(lag.percentile(99.0), Some(100));
        assert_eq!(lag.percentile(99.5), Some(INFINITE));
        assert_eq!(Lag::default().percentile(50.0), None);
    }

    #[test]
    fn what_was_before_does_not_count() {
        let later = TEXT
            .replace(" 90", " 110")
            .replace(" 99", " 119")
            .replace(" 100", " 120");
        let since = lag(&later).since(&lag(TEXT));
        assert_eq!((since.count(), since.percentile(99.0)), (20, Some(10)));
    }

    #[test]
    fn views_add_up() {
        let mut both = lag(TEXT);
        both.add(&TEXT.replace("order-info", "basket-info"));
        assert_eq!(both.count(), 200);
    }
}
