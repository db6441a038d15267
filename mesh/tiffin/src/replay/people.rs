//! Kitchens and couriers as the instance wants them, and as the plan of mischief does.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::api::StockQuantity;
use mesh_contracts::id::{CourierId, DeliveryId, OrderId};
use mesh_contracts::order::Reason;

use super::cast::STOCK;
use super::chaos::{Mischief, Moment, Trouble, Whim};
use super::day::Stage;
use crate::simulation::courier::{Conduct, Slip};
use crate::simulation::kitchen::{Answer, Cook};

/// How far ahead a promise must lie, in wall time, to be still ahead when it arrives.
const PROMISE_AHEAD: Duration = Duration::from_secs(2);

/// What a kitchen with others to cook first adds to its promise, so that there is a time between word and stove.
const QUEUE: SignedDuration = SignedDuration::from_mins(15);
/// How long a kitchen looks at a ticket whose customer is about to change the mind: less than the three minutes it has.
const LOOKS_FOR: SignedDuration = SignedDuration::from_mins(2);
/// From the neighbour's shop.
const RESTOCKS_AFTER: SignedDuration = SignedDuration::from_mins(15);
/// Until somebody is at the screen again; never so short that the pause which it ends has not come.
const BACK_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// A kitchen that promises and keeps the instance's ready time.
#[derive(Clone)]
pub(super) struct ByTheBook(pub(super) Arc<Stage>);

impl ByTheBook {
    fn ready_at(&self, order: usize) -> Timestamp {
        self.0.at(self.0.instance.orders[order].ready_minute)
    }

    async fn promise(&self, order: usize) -> Answer {
        let clock = &self.0.clock;
        let queue = match self.0.deeds.of(order) {
            Some(Mischief::Kitchen(Trouble::Stops) | Mischief::Customer(Whim::Cancels(Moment::Queued))) => QUEUE,
            Some(Mischief::Customer(Whim::Cancels(Moment::Paid))) => {
                clock.sleep_until(clock.now() + LOOKS_FOR).await;
                SignedDuration::ZERO
            }
            Some(Mischief::Customer(_) | Mischief::Kitchen(_) | Mischief::Courier(_)) | None => SignedDuration::ZERO,
        };
        let ahead = SignedDuration::try_from(PROMISE_AHEAD).expect("seconds");
        let earliest = clock.now() + ahead.mul_f64(clock.rate());
        Answer::Accept {
            ready_by: Some(self.ready_at(order).max(earliest) + queue),
        }
    }
}

impl Cook for ByTheBook {
    async fn answer(&self, order: OrderId, attempt: u32) -> Answer {
        let order = self.0.book.index_of(order).await;
        let is_first = attempt == 1;
        let strikes = |trouble| is_first && self.0.deeds.strikes(order, Mischief::Kitchen(trouble));
        if strikes(Trouble::Rejects) {
            Answer::Reject(Reason::Busy)
        } else if strikes(Trouble::IsSilent) {
            Answer::Silence
        } else if strikes(Trouble::ShelfEmpty) {
            Answer::OutOf(self.0.cast.portion)
        } else {
            self.promise(order).await
        }
    }

    async fn is_done(&self, order: OrderId, _: Timestamp) {
        let order = self.0.book.index_of(order).await;
        self.0.clock.sleep_until(self.ready_at(order)).await;
    }

    fn says_when_it_starts(&self) -> bool {
        false
    }

    async fn regrets(&self, order: OrderId) -> Option<Reason> {
        let order = self.0.book.index_of(order).await;
        let strikes = self.0.deeds.strikes(order, Mischief::Kitchen(Trouble::Stops));
        strikes.then_some(Reason::Busy)
    }

    async fn restocks(&self) -> StockQuantity {
        let clock = &self.0.clock;
        clock.sleep_until(clock.now() + RESTOCKS_AFTER).await;
        StockQuantity::new(STOCK).expect("within its bounds")
    }

    async fn is_back(&self) {
        let clock = &self.0.clock;
        clock.sleep_until(clock.deadline(clock.now(), BACK_AFTER)).await;
    }

    fn refused(&self, order: OrderId) {
        let Some(order) = self.0.book.find(order) else { return };
        if let Some(mischief @ Mischief::Kitchen(_)) = self.0.deeds.of(order) {
            self.0.deeds.applied(order, mischief);
        }
    }
}

/// A courier who does as the plan wants.
#[derive(Clone)]
pub(super) struct AsPlanned {
    pub(super) stage: Arc<Stage>,
    /// Which of the instance.
    pub(super) index: usize,
}

impl Conduct for AsPlanned {
    fn slips(&self, delivery: DeliveryId, slip: Slip) -> bool {
        let order = self.stage.book.find(delivery.order());
        order.is_some_and(|order| self.stage.deeds.strikes(order, Mischief::Courier(slip)))
    }

    fn slipped(&self, delivery: DeliveryId, slip: Slip) {
        if let Some(order) = self.stage.book.find(delivery.order()) {
            self.stage.deeds.applied(order, Mischief::Courier(slip));
        }
    }

    async fn calls_for_help(&self, delivery: DeliveryId) -> bool {
        for courier in self.others_on_shift() {
            let key = format!("hand-over/{delivery}/{courier}");
            match self.stage.operator.hand_over(delivery, courier, &key).await {
                Ok(_) => return true,
                Err(failure) => tracing::debug!(%failure, "a courier cannot go on with it"),
            }
        }
        false
    }
}

impl AsPlanned {
    /// By the roster, beginning with the next.
    fn others_on_shift(&self) -> Vec<CourierId> {
        let (stage, now) = (&self.stage, self.stage.clock.now());
        let shifts = &stage.instance.couriers;
        let others = (1..shifts.len()).map(|step| (self.index + step) % shifts.len());
        others
            .filter(|other| stage.at(shifts[*other].on_minute) <= now && now < stage.at(shifts[*other].off_minute))
            .map(|other| stage.cast.couriers[other].id)
            .collect()
    }
}
