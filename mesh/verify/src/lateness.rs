//! I8: nothing is past its deadline. Deadlines are business time, patience is wall time.

use jiff::{SignedDuration, Timestamp};

use crate::findings::Breach;

/// How late an action may be, in wall time.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);

/// When it was looked, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// On the business clock.
    pub business: Timestamp,
    /// On the wall clock.
    pub wall: Timestamp,
    /// How many times faster than the wall clock business time runs.
    pub rate: f64,
}

/// A deadline that somebody keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct Timer {
    /// Who keeps it.
    pub master: &'static str,
    /// Whose it is.
    pub stream: String,
    /// Which.
    pub kind: String,
    /// When it is due, on the business clock.
    pub due: Timestamp,
}

impl Moment {
    /// How long ago a business instant was, in wall time.
    pub fn since(&self, due: Timestamp) -> SignedDuration {
        self.business.duration_since(due).div_f64(self.rate)
    }

    /// Whether a deadline passed longer ago than any action may take.
    pub fn is_late(&self, due: Timestamp) -> bool {
        self.since(due) > PATIENCE
    }
}

/// I8.
pub fn overdue(timers: &[Timer], moment: &Moment) -> Vec<Breach> {
    timers
        .iter()
        .filter(|timer| moment.is_late(timer.due))
        .map(|timer| {
            let late = moment.since(timer.due).as_secs();
            let what = format!("{}: timer {} was due {late} s ago", timer.master, timer.kind);
            Breach::of(&timer.stream, what)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().expect("a timestamp")
    }

    fn moment(rate: f64) -> Moment {
        Moment {
            business: noon(),
            wall: noon(),
            rate,
        }
    }

    fn due(seconds_ago: i64) -> Timer {
        Timer {
            master: "order-master",
            stream: "ord_x".into(),
            kind: "pay".into(),
            due: noon() - SignedDuration::from_secs(seconds_ago),
        }
    }

    #[test]
    fn a_deadline_ahead_or_just_passed_is_no_breach() {
        assert_eq!(overdue(&[due(-60), due(0), due(30)], &moment(1.0)), []);
    }

    #[test]
    fn a_deadline_that_passed_half_a_minute_ago_is_one() {
        let found = overdue(&[due(31), due(1), due(3_600)], &moment(1.0));
        assert_eq!(found.len(), 2);
        assert!(found[0].what.contains("pay was due 31 s ago"), "{found:?}");
    }

    #[test]
    fn patience_is_counted_on_the_wall_clock() {
        assert_eq!(overdue(&[due(29 * 300)], &moment(300.0)), []);
        assert_eq!(overdue(&[due(31 * 300)], &moment(300.0)).len(), 1);
    }
}
