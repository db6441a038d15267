//! What happens when a courier slips: the job is given back, taken away, handed on, lost, or ends at a closed door.

use anyhow::Result;
use mesh_contracts::api::FailOutcome;
use mesh_contracts::order::Reason;

use super::{Conduct, Courier, Rider, Slip, Then, WAITS_AT_DOOR};
use crate::client::Job;
use crate::simulation::{key_of, unless_too_late};

impl<C: Conduct> Courier<'_, C> {
    /// Whether the courier goes away from the counter without it.
    pub(super) async fn leaves(&self, job: Job) -> Result<bool> {
        let Rider { person, conduct, .. } = self.rider;
        let delivery = job.delivery;
        if conduct.slips(delivery, Slip::Drops) {
            let told = person.drop_job(delivery, &key_of("drop", delivery)).await;
            if unless_too_late(told)?.is_some() {
                conduct.slipped(delivery, Slip::Drops);
            }
            return Ok(true);
        }
        if conduct.slips(delivery, Slip::Vanishes) {
            self.road.fall_silent(true);
            self.is_taken_away(job).await;
            self.road.fall_silent(false);
            self.come_back().await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Every job before its pick-up has a deadline, so this ends.
    async fn is_taken_away(&self, job: Job) {
        let mut sight = self.sight.subscribe();
        sight
            .wait_for(|sight| !sight.jobs.contains_key(&job.delivery))
            .await
            .expect("we hold the sender");
    }

    /// Whether the bag went on without this courier.
    pub(super) async fn is_rid_of(&self, bag: Job) -> Result<bool> {
        let Rider { person, conduct, .. } = self.rider;
        let delivery = bag.delivery;
        if conduct.slips(delivery, Slip::Loses) {
            let key = key_of("lost", delivery);
            let told = person
                .fail_delivery(delivery, Reason::Other, FailOutcome::Lost, &key)
                .await;
            if unless_too_late(told)?.is_some() {
                conduct.slipped(delivery, Slip::Loses);
            }
            self.is_over(delivery);
            return Ok(true);
        }
        if conduct.slips(delivery, Slip::BreaksDown) && conduct.calls_for_help(delivery).await {
            return Ok(self.is_taken_over(bag).await);
        }
        Ok(false)
    }

    /// Waits until the other courier has it, or will not; then it goes on as if nothing had been.
    async fn is_taken_over(&self, bag: Job) -> bool {
        let mut sight = self.sight.subscribe();
        let answered = sight
            .wait_for(|sight| sight.jobs.get(&bag.delivery).is_none_or(|seen| seen.stays))
            .await
            .expect("we hold the sender");
        !answered.jobs.contains_key(&bag.delivery)
    }

    /// Whether the door stays closed.
    pub(super) async fn is_not_let_in(&self, bag: Job) -> Result<bool> {
        let Rider {
            person, pace, conduct, ..
        } = self.rider;
        let delivery = bag.delivery;
        let closed = Then::ALL
            .into_iter()
            .find(|then| conduct.slips(delivery, Slip::ClosedDoor(*then)));
        let Some(then) = closed else {
            return Ok(false);
        };
        let fail = async |outcome, verb| {
            let key = key_of(verb, delivery);
            let told = person.fail_delivery(delivery, Reason::CustomerNotFound, outcome, &key);
            anyhow::Ok(unless_too_late(told.await)?.is_some())
        };
        self.road.stay(WAITS_AT_DOOR).await;
        let is_noted = fail(FailOutcome::Attempted, "attempt").await?;
        match then {
            Then::OpensLate => {
                if is_noted {
                    conduct.slipped(delivery, Slip::ClosedDoor(then));
                }
                return Ok(false);
            }
            Then::GoesBack if is_noted => {
                self.road.go(bag.pickup, pace.speed_m_per_min).await;
                if fail(FailOutcome::Returned, "return").await? {
                    conduct.slipped(delivery, Slip::ClosedDoor(then));
                }
            }
            Then::IsKept if is_noted => conduct.slipped(delivery, Slip::ClosedDoor(then)),
            Then::GoesBack | Then::IsKept => {}
        }
        self.is_over(delivery);
        Ok(true)
    }
}
