//! The business clock of a platform across starts: where it was, how fast it runs, and that it never goes back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::{SignedDuration, Timestamp};
use mesh_runtime::Clock;
use mesh_runtime::clock::RATE_MAX;
use serde::{Deserialize, Serialize};

use crate::data_dir::{read_json, write_json};

const FILE: &str = "clock.json";

/// How often the last instant is written down.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// After a crash the last note is up to this old, writing it included.
const NOTE_AGE_MAX: SignedDuration = SignedDuration::from_secs(3);

/// What the file holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Kept {
    rate: f64,
    origin_wall: Timestamp,
    origin_business: Timestamp,
    last_business: Timestamp,
}

/// A clock that is written down while it runs.
#[derive(Debug, Clone)]
pub struct KeptClock {
    path: PathBuf,
    kept: Kept,
    clock: Clock,
}

impl KeptClock {
    /// Starts the clock of a data directory: where the last run ended, or at the wall clock.
    ///
    /// At rate 1 it is the wall clock, unless a faster run left it ahead of that; then it goes on from there.
    pub fn start(data_dir: &Path, rate: f64) -> Result<Self> {
        ensure!(
            (1.0..=RATE_MAX).contains(&rate),
            "the clock rate is from 1 to {RATE_MAX}, not {rate}"
        );
        let path = data_dir.join(FILE);
        let before: Option<Kept> = read_json(&path)?;
        let this = Self::new(path, continued(before, rate, Timestamp::now()));
        this.note()?;
        Ok(this)
    }

    /// The clock of a platform that runs.
    pub fn find(data_dir: &Path) -> Result<Option<Clock>> {
        let path = data_dir.join(FILE);
        Ok(read_json(&path)?.map(|kept| Self::new(path, kept).clock))
    }

    /// What it shows.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The settings that make a service's clock the same.
    pub fn env(&self) -> [(&'static str, String); 3] {
        [
            ("TIFFIN_CLOCK_RATE", self.kept.rate.to_string()),
            ("TIFFIN_CLOCK_ORIGIN_WALL", self.kept.origin_wall.to_string()),
            ("TIFFIN_CLOCK_ORIGIN_BUSINESS", self.kept.origin_business.to_string()),
        ]
    }

    /// Writes down what it shows now.
    pub fn note(&self) -> Result<()> {
        write_json(
            &self.path,
            &Kept {
                last_business: self.clock.now(),
                ..self.kept
            },
        )
    }

    /// Writes it down every second, until dropped.
    pub async fn keep(self) {
        let mut ticks = tokio::time::interval(NOTE_EVERY);
        loop {
            ticks.tick().await;
            if let Err(err) = self.note() {
                tracing::error!(error = %err, "the clock could not be written down");
            }
        }
    }

    fn new(path: PathBuf, kept: Kept) -> Self {
        let clock = Clock::new(kept.rate, kept.origin_wall, kept.origin_business);
        Self { path, kept, clock }
    }
}

#[expect(clippy::float_cmp, reason = "1 is exact, and means the wall clock")]
fn continued(before: Option<Kept>, rate: f64, wall: Timestamp) -> Kept {
    // The run before may have ended without a note.
    let last = before.map(|before| before.last_business.saturating_add(NOTE_AGE_MAX.mul_f64(before.rate)));
    let last = last.map(|last| last.expect("a signed duration only saturates"));
    let (origin_wall, origin_business) = match last {
        Some(last) if rate == 1.0 && last <= wall => (wall, wall),
        Some(last) => (wall, last),
        None => (wall, wall),
    };
    Kept {
        rate,
        origin_wall,
        origin_business,
        last_business: origin_business,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn noon() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().expect("a timestamp")
    }

    #[test]
    fn the_first_start_is_at_the_wall_clock() {
        let kept = continued(None, 20.0, noon());
        assert_eq!((kept.origin_wall, kept.origin_business), (noon(), noon()));
    }

    #[test]
    fn at_rate_1_the_business_clock_is_the_wall_clock_again_once_that_has_caught_up() {
        let before = continued(None, 20.0, noon());
        let ahead = Kept {
            last_business: noon() + HOUR * 20,
            ..before
        };
        let soon = continued(Some(ahead), 1.0, noon() + HOUR);
        assert!(soon.origin_business >= ahead.last_business);
        let later = continued(Some(ahead), 1.0, noon() + HOUR * 30);
        assert_eq!(later.origin_business, later.origin_wall);
    }

    #[test]
    fn a_run_that_ended_without_a_note_is_not_lived_twice() {
        let before = continued(None, 300.0, noon());
        let crashed_at = before.last_business + SignedDuration::from_secs(2 * 300);
        let after = continued(Some(before), 300.0, noon() + SignedDuration::from_secs(2));
        assert!(after.origin_business >= crashed_at);
    }
}
