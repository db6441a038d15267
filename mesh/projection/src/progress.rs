//! How far an edition is, and how it came to be: numbers for whoever watches.

use serde::{Deserialize, Serialize};

/// An edition on its way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Events read from the feed.
    pub events: u64,
    /// Events that there were at the beginning; 0 until they are counted.
    pub events_total: u64,
    /// (stream, version) pairs compared with the master.
    pub compared: u64,
    /// Since this process began, in milliseconds of wall time.
    pub duration_ms: u64,
}

/// A part of the work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reading the master's log.
    #[default]
    History,
    /// Applying what happened meanwhile.
    Drain,
    /// Comparing every version with the master's.
    Compare,
}

/// An edition that was filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// Its name.
    pub edition: String,
    /// Events read from the log.
    pub events: u64,
    /// (stream, version) pairs that were equal to the master's.
    pub compared: u64,
    /// From beginning to end, in milliseconds of wall time.
    pub duration_ms: u64,
}

impl Built {
    /// Per second of wall time.
    pub fn events_per_s(&self) -> f64 {
        per_second(self.events, self.duration_ms)
    }
}

impl Progress {
    /// Per second of wall time.
    pub fn events_per_s(&self) -> f64 {
        per_second(self.events, self.duration_ms)
    }

    /// Seconds until the log is read at this rate; `None` before there is one.
    pub fn eta_s(&self) -> Option<f64> {
        let rate = self.events_per_s();
        let left = self.events_total.saturating_sub(self.events);
        (rate > 0.0).then(|| left as f64 / rate)
    }
}

fn per_second(events: u64, duration_ms: u64) -> f64 {
    events as f64 * 1_000.0 / duration_ms.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_takes_as_long_as_what_is_done_did() {
        let progress = Progress {
            events: 1_000,
            events_total: 3_000,
            duration_ms: 500,
            ..Progress::default()
        };
        assert_eq!(progress.eta_s(), Some(1.0));
        assert_eq!(Progress::default().eta_s(), None);
    }
}
