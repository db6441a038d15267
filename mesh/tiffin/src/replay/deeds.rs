//! What was planned for each order, and what came of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::chaos::{Chaos, Mischief, SORTS};
use super::instance::Instance;

/// The plan of a day; everyone asks it, and tells it what the platform took note of.
#[derive(Default)]
pub(super) struct Deeds {
    plan: Vec<Planned>,
    progress: Mutex<Vec<Progress>>,
}

#[derive(Debug, Clone, Copy)]
struct Planned {
    mischief: Option<Mischief>,
    any_kitchen: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Ahead,
    /// Begun; only once.
    Struck,
    /// And the platform has taken note of it.
    Applied,
}

/// How often a sort was planned and came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Count {
    sort: &'static str,
    /// Orders for which it was drawn.
    planned: usize,
    /// Those where it came to that, as far as the platform says.
    applied: usize,
}

impl Count {
    /// For the report's lines.
    pub(super) fn parts(&self) -> (&'static str, usize, usize) {
        (self.sort, self.planned, self.applied)
    }
}

impl Deeds {
    /// The plan for the orders of an instance.
    pub(super) fn plan(instance: &Instance, chaos: Chaos) -> Self {
        let plan = |name: &str| Planned {
            mischief: chaos.draw(name),
            any_kitchen: chaos.takes_any_kitchen(name),
        };
        let plan: Vec<_> = instance.orders.iter().map(|order| plan(&order.name)).collect();
        let progress = vec![Progress::Ahead; plan.len()];
        Self {
            plan,
            progress: Mutex::new(progress),
        }
    }

    /// Whether anything may go wrong at all.
    pub(super) fn are_planned(&self) -> bool {
        !self.plan.is_empty()
    }

    /// What is planned for an order.
    pub(super) fn of(&self, order: usize) -> Option<Mischief> {
        self.plan.get(order)?.mischief
    }

    /// Whether its customer takes any kitchen.
    pub(super) fn takes_any_kitchen(&self, order: usize) -> bool {
        self.plan.get(order).is_some_and(|planned| planned.any_kitchen)
    }

    /// Whether that is planned and to be begun now; yes only once.
    pub(super) fn strikes(&self, order: usize, mischief: Mischief) -> bool {
        self.goes_on(order, mischief, Progress::Ahead, Progress::Struck)
    }

    /// The platform has taken note of it.
    pub(super) fn applied(&self, order: usize, mischief: Mischief) {
        self.goes_on(order, mischief, Progress::Struck, Progress::Applied);
    }

    /// The sort that was drawn for an order, and whether it came to that.
    pub(super) fn outcome(&self, order: usize) -> Option<(&'static str, bool)> {
        let mischief = self.of(order)?;
        let sort = SORTS.iter().find(|sort| sort.mischief == mischief)?;
        Some((sort.name, self.progress()[order] == Progress::Applied))
    }

    /// All sorts, in the order of the table.
    pub(super) fn counts(&self) -> Vec<Count> {
        let progress = self.progress();
        let count = |mischief, wanted: fn(Progress) -> bool| {
            let all = self.plan.iter().zip(progress.iter());
            all.filter(|(planned, progress)| planned.mischief == Some(mischief) && wanted(**progress))
                .count()
        };
        let sorts = SORTS.iter();
        sorts
            .map(|sort| Count {
                sort: sort.name,
                planned: count(sort.mischief, |_| true),
                applied: count(sort.mischief, |progress| progress == Progress::Applied),
            })
            .collect()
    }

    fn goes_on(&self, order: usize, mischief: Mischief, from: Progress, to: Progress) -> bool {
        if self.of(order) != Some(mischief) {
            return false;
        }
        let mut progress = self.progress();
        let goes_on = progress[order] == from;
        if goes_on {
            progress[order] = to;
        }
        goes_on
    }

    fn progress(&self) -> MutexGuard<'_, Vec<Progress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::chaos::Trouble;

    const REJECTS: Mischief = Mischief::Kitchen(Trouble::Rejects);
    const STOPS: Mischief = Mischief::Kitchen(Trouble::Stops);

    fn rejected_once() -> Deeds {
        let planned = |mischief| Planned {
            mischief,
            any_kitchen: false,
        };
        Deeds {
            plan: vec![planned(None), planned(Some(REJECTS))],
            progress: Mutex::new(vec![Progress::Ahead; 2]),
        }
    }

    #[test]
    fn what_is_planned_strikes_once_and_nothing_else_does() {
        let deeds = rejected_once();
        assert!(!deeds.strikes(0, REJECTS) && !deeds.strikes(1, STOPS));
        assert!(deeds.strikes(1, REJECTS));
        assert!(!deeds.strikes(1, REJECTS));
    }

    #[test]
    fn what_never_began_was_not_applied() {
        let deeds = rejected_once();
        deeds.applied(1, REJECTS);
        assert_eq!(deeds.outcome(1), Some(("kitchen_rejects", false)));
        deeds.strikes(1, REJECTS);
        deeds.applied(1, REJECTS);
        assert_eq!(deeds.outcome(1), Some(("kitchen_rejects", true)));
        assert_eq!(deeds.counts()[0].parts(), ("kitchen_rejects", 1, 1));
        assert_eq!(deeds.outcome(0), None);
    }
}
