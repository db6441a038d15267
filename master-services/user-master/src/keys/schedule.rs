//! When keys are published, sign and go: pure, over instants of wall time.
//!
//! Keys are always in the order in which they sign.

use jiff::{SignedDuration, Timestamp};
use mesh_identity::jwt::LIFETIME_MAX;

/// Beyond the life of its last token a key stays published for the verifiers' leeway, and for what a replica signs
/// before it has looked at the table.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// How keys follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// How long a key signs.
    pub period: SignedDuration,
    /// How long it is published before, at least.
    pub lead: SignedDuration,
}

/// When a key was published, and from when on it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    pub published_at: Timestamp,
    pub signs_from: Timestamp,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub struct Due {
    /// A new key, which signs from then on.
    pub publish: Option<Timestamp>,
    /// So many of the oldest are not needed any more.
    pub gone: usize,
}

impl Due {
    pub fn is_nothing(&self) -> bool {
        self.publish.is_none() && self.gone == 0
    }
}

impl Schedule {
    /// The next key is published as soon as its predecessor signs: so there is always one that everybody knows, for the
    /// day on which somebody wants to be rid of the other at once.
    pub fn due(&self, keys: &[Times], now: Timestamp) -> Due {
        let Some(current) = current(keys, now) else {
            return Due { publish: None, gone: 0 };
        };
        let is_last = current + 1 == keys.len();
        let gone = keys[1..=current].iter();
        Due {
            publish: is_last.then(|| (keys[current].signs_from + self.period).max(now + self.lead)),
            gone: gone.take_while(|successor| gone_from(**successor) <= now).count(),
        }
    }

    /// From when on a key that waits may sign, if its predecessor is to stop.
    pub fn soonest(&self, next: Times, now: Timestamp) -> Timestamp {
        (next.published_at + self.lead).max(now).min(next.signs_from)
    }
}

/// Which key signs. Before the first one's time, as when a clock went back, the first one.
pub fn current(keys: &[Times], now: Timestamp) -> Option<usize> {
    let begun = keys.iter().take_while(|key| key.signs_from <= now).count();
    (!keys.is_empty()).then(|| begun.saturating_sub(1))
}

/// When nothing is good any more that the predecessor of this key has signed.
pub fn gone_from(successor: Times) -> Timestamp {
    successor.signs_from + LIFETIME_MAX + MARGIN
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule {
        period: SignedDuration::from_hours(24),
        lead: SignedDuration::from_hours(1),
    };

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minute).expect("an instant")
    }

    fn key(published: i64, signs: i64) -> Times {
        Times {
            published_at: at(published),
            signs_from: at(signs),
        }
    }

    #[test]
    fn the_next_key_is_published_when_its_predecessor_begins_to_sign() {
        let day = 24 * 60;
        let first = [key(0, 0)];
        assert_eq!(SCHEDULE.due(&first, at(0)).publish, Some(at(day)));
        let both = [key(0, 0), key(0, day)];
        assert!(SCHEDULE.due(&both, at(0)).is_nothing());
        assert!(SCHEDULE.due(&both, at(day - 1)).is_nothing());
        assert_eq!(SCHEDULE.due(&both, at(day)).publish, Some(at(2 * day)));
    }

    #[test]
    fn no_key_signs_before_it_was_published_for_the_lead() {
        // Nobody was there to publish it in time.
        assert_eq!(SCHEDULE.due(&[key(0, 0)], at(10_000)).publish, Some(at(10_060)));
        assert_eq!(SCHEDULE.soonest(key(0, 1_440), at(30)), at(60));
        assert_eq!(SCHEDULE.soonest(key(0, 1_440), at(600)), at(600));
        // Retiring never puts off what was going to happen.
        assert_eq!(SCHEDULE.soonest(key(0, 60), at(30)), at(60));
    }

    #[test]
    fn a_key_that_has_signed_stays_until_its_last_token_has_expired() {
        let keys = [key(0, 0), key(0, 1_440), key(1_440, 2_880)];
        assert_eq!(SCHEDULE.due(&keys, at(1_440 + 10)).gone, 0);
        assert_eq!(SCHEDULE.due(&keys, at(1_440 + 11)).gone, 1);
        let many = [key(0, 0), key(0, 100), key(100, 105), key(105, 5_000)];
        assert_eq!(SCHEDULE.due(&many, at(112)).gone, 1);
        assert_eq!(SCHEDULE.due(&many, at(116)).gone, 2);
    }

    #[test]
    fn exactly_one_key_signs_at_any_time() {
        let keys = [key(0, 0), key(0, 100)];
        for (minute, signs) in [(-5, 0), (0, 0), (99, 0), (100, 1), (9_000, 1)] {
            assert_eq!(current(&keys, at(minute)), Some(signs), "minute {minute}");
        }
        assert_eq!(current(&[], at(0)), None);
    }
}
