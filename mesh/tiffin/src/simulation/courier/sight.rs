//! What a courier's screen shows, and in which order it is worked through.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use mesh_contracts::id::DeliveryId;

use crate::client::Job;

/// What the courier's screen shows.
#[derive(Debug, Clone, Default)]
pub(super) struct Sight {
    /// Jobs and offers.
    pub(super) jobs: BTreeMap<DeliveryId, Seen>,
    /// Counts the jobs taken, so that the oldest is done first.
    pub(super) taken: u64,
    /// Offers being answered.
    pub(super) answering: usize,
    /// The shift is over.
    pub(super) off: bool,
    /// Over for this courier, whatever a list that lags behind still says.
    pub(super) over: HashSet<DeliveryId>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// Since when the food is ready.
    pub(super) called_at: Option<Timestamp>,
    /// Another courier was asked to go on with it, and does not.
    pub(super) stays: bool,
    /// Once the job is this courier's.
    pub(super) mine: Option<Taken>,
}

/// A job in hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// Counts up.
    pub(super) turn: u64,
    /// Since when.
    pub(super) at: Timestamp,
    pub(super) job: Job,
}

impl Sight {
    /// Jobs in hand, oldest first.
    pub(super) fn mine(&self) -> Vec<(Taken, Option<Timestamp>)> {
        let seen = self.jobs.values();
        let mut mine: Vec<_> = seen.filter_map(|seen| Some((seen.mine?, seen.called_at))).collect();
        mine.sort_by_key(|(taken, _)| taken.turn);
        mine
    }

    pub(super) fn take(&mut self, job: Job, at: Timestamp) {
        if self.over.contains(&job.delivery) {
            return;
        }
        self.taken += 1;
        let turn = self.taken;
        let seen = self.jobs.entry(job.delivery).or_default();
        if job.food_ready {
            seen.called_at.get_or_insert(at);
        }
        let taken = seen.mine.get_or_insert(Taken { turn, at, job });
        taken.job = job;
    }
}

#[cfg(test)]
mod tests {
    use mesh_contracts::geo::Coordinates;

    use super::*;

    fn job(id: u128, pickup_e6: i32) -> Job {
        Job {
            delivery: DeliveryId(uuid::Uuid::from_u128(id)),
            is_taken: true,
            courier: None,
            picked_up: false,
            food_ready: false,
            ready_by: Timestamp::UNIX_EPOCH,
            pickup: Coordinates::new(pickup_e6, 0).expect("on earth"),
            door: Coordinates::new(0, 0).expect("on earth"),
        }
    }

    #[test]
    fn the_oldest_job_comes_first_even_if_it_is_seen_again() {
        let second = |second| Timestamp::from_second(second).expect("in range");
        let mut sight = Sight::default();
        sight.take(job(9, 1), second(1));
        sight.take(job(1, 2), second(2));
        let ready = Job {
            food_ready: true,
            ..job(9, 1)
        };
        sight.take(ready, second(3));
        let mine = sight.mine();
        let order: Vec<u128> = mine
            .iter()
            .map(|(taken, _)| taken.job.delivery.uuid().as_u128())
            .collect();
        assert_eq!(order, [9, 1]);
        assert_eq!(mine[0].0.at, second(1), "it was taken once");
        assert_eq!(mine[0].1, Some(second(3)), "what was heard of it later counts");
    }
}
