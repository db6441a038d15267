//! What goes wrong on a day with `--chaos`: the sorts of mischief, how often each is, and to which order it happens.
//!
//! Knows no platform. A draw depends on nothing but the seed and the order's name, so that the same seed plans the same
//! for an order in whatever part of the day and at whatever speed. An order meets one piece of mischief at most: two at
//! once are rare, and each is to be seen for itself.

use uuid::Uuid;

use crate::simulation::courier::{Slip, Then};

/// Orders in a thousand, on an ordinary day.
///
/// No figure here is measured: there is no public one for most of them, and the instances say nothing of it. They are
/// our assumptions, of the size that people in the trade speak of, and leave four orders in five untouched.
type PerMille = u32;

/// Too many tickets at once: a kitchen of a chain turns down fewer than a restaurant with one cook.
const KITCHEN_REJECTS: PerMille = 20;
/// Nobody looks at the screen for three minutes, about once in a busy week of a kitchen.
const KITCHEN_SILENT: PerMille = 8;
/// The oven fails or the cook misread the shelf, after the ticket was accepted.
const KITCHEN_STOPS: PerMille = 7;
/// A shelf is empty before its book is: stock is counted once a day, and miscounted sometimes.
const SHELF_EMPTY: PerMille = 8;
/// Of card payments without the card at hand about one in twenty is declined; most people have another card.
const CARD_DECLINED: PerMille = 35;
/// The rest of them goes elsewhere.
const CARD_DECLINED_FOR_GOOD: PerMille = 12;
/// A promise that cannot be captured minutes later: rare, since nothing has changed but the account.
const CAPTURE_FAILS: PerMille = 3;
/// The same, and the customer never looks at it.
const CAPTURE_FAILS_FOR_GOOD: PerMille = 2;
/// A wrong address, seen the moment it is sent.
const CANCELLED_AT_ONCE: PerMille = 8;
/// Second thoughts before a kitchen has answered.
const CANCELLED_PAID: PerMille = 6;
/// Second thoughts while the kitchen has others to cook first.
const CANCELLED_QUEUED: PerMille = 6;
/// Second thoughts too late to be free.
const CANCELLED_COOKING: PerMille = 5;
/// The way is too far or the shift nearly over; those who are paid by the hour decline little.
const OFFER_DECLINED: PerMille = 60;
/// The phone is in a pocket for forty-five seconds.
const OFFER_IGNORED: PerMille = 20;
/// A queue at the counter, a call from home.
const JOB_DROPPED: PerMille = 10;
/// An empty battery, an accident on the way to the counter.
const COURIER_VANISHES: PerMille = 4;
/// A puncture on the way to the door: one in some hundred rides.
const COURIER_BREAKS_DOWN: PerMille = 4;
/// Spilled or stolen.
const FOOD_LOST: PerMille = 2;
/// Nobody hears the bell at first.
const DOOR_OPENS_LATE: PerMille = 10;
/// Nobody is there, and the counter is near.
const DOOR_FOOD_GOES_BACK: PerMille = 4;
/// Nobody is there, and the courier forgets to say more.
const DOOR_FOOD_KEPT: PerMille = 2;

/// Kitchens' mischief hits customers who take any kitchen as often as those who want that one.
const ANY_KITCHEN: PerMille = 500;

/// What the customer does wrong, or the customer's bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whim {
    /// The first card is declined.
    CardDeclined(Afterwards),
    /// The promise of the first card cannot be captured.
    CaptureFails(Afterwards),
    /// Does not want it any more.
    Cancels(Moment),
}

/// When the money does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    PaysByAnotherCard,
    GivesUp,
}

/// When the customer's mind changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    AtOnce,
    Paid,
    /// Accepted, and not on the stove yet.
    Queued,
    Cooking,
}

/// What the kitchen does that is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Rejects,
    IsSilent,
    Stops,
    ShelfEmpty,
}

/// One piece of mischief.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mischief {
    Customer(Whim),
    Kitchen(Trouble),
    Courier(Slip),
}

/// A sort of mischief, as the report names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) name: &'static str,
    pub(super) mischief: Mischief,
    per_mille: PerMille,
}

const fn sort(name: &'static str, mischief: Mischief, per_mille: PerMille) -> Sort {
    Sort {
        name,
        mischief,
        per_mille,
    }
}

/// Every sort there is.
#[rustfmt::skip]
pub(super) const SORTS: [Sort; 21] = [
    sort("kitchen_rejects", Mischief::Kitchen(Trouble::Rejects), KITCHEN_REJECTS),
    sort("kitchen_silent", Mischief::Kitchen(Trouble::IsSilent), KITCHEN_SILENT),
    sort("kitchen_stops", Mischief::Kitchen(Trouble::Stops), KITCHEN_STOPS),
    sort("shelf_empty", Mischief::Kitchen(Trouble::ShelfEmpty), SHELF_EMPTY),
    sort("card_declined", Mischief::Customer(Whim::CardDeclined(Afterwards::PaysByAnotherCard)), CARD_DECLINED),
    sort("card_declined_for_good", Mischief::Customer(Whim::CardDeclined(Afterwards::GivesUp)), CARD_DECLINED_FOR_GOOD),
    sort("capture_fails", Mischief::Customer(Whim::CaptureFails(Afterwards::PaysByAnotherCard)), CAPTURE_FAILS),
    sort("capture_fails_for_good", Mischief::Customer(Whim::CaptureFails(Afterwards::GivesUp)), CAPTURE_FAILS_FOR_GOOD),
    sort("cancelled_at_once", Mischief::Customer(Whim::Cancels(Moment::AtOnce)), CANCELLED_AT_ONCE),
    sort("cancelled_paid", Mischief::Customer(Whim::Cancels(Moment::Paid)), CANCELLED_PAID),
    sort("cancelled_queued", Mischief::Customer(Whim::Cancels(Moment::Queued)), CANCELLED_QUEUED),
    sort("cancelled_cooking", Mischief::Customer(Whim::Cancels(Moment::Cooking)), CANCELLED_COOKING),
    sort("offer_declined", Mischief::Courier(Slip::Declines), OFFER_DECLINED),
    sort("offer_ignored", Mischief::Courier(Slip::Ignores), OFFER_IGNORED),
    sort("job_dropped", Mischief::Courier(Slip::Drops), JOB_DROPPED),
    sort("courier_vanishes", Mischief::Courier(Slip::Vanishes), COURIER_VANISHES),
    sort("courier_breaks_down", Mischief::Courier(Slip::BreaksDown), COURIER_BREAKS_DOWN),
    sort("food_lost", Mischief::Courier(Slip::Loses), FOOD_LOST),
    sort("door_opens_late", Mischief::Courier(Slip::ClosedDoor(Then::OpensLate)), DOOR_OPENS_LATE),
    sort("door_food_goes_back", Mischief::Courier(Slip::ClosedDoor(Then::GoesBack)), DOOR_FOOD_GOES_BACK),
    sort("door_food_kept", Mischief::Courier(Slip::ClosedDoor(Then::IsKept)), DOOR_FOOD_KEPT),
];

/// How much mischief, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chaos {
    /// The same seed draws the same.
    pub(crate) seed: u64,
    /// How many times as much as on an ordinary day.
    pub(crate) times: u32,
}

impl Chaos {
    /// What happens to an order, if anything.
    pub(super) fn draw(&self, order: &str) -> Option<Mischief> {
        let mut left = self.lot(order, "mischief");
        for sort in SORTS {
            let share = sort.per_mille.saturating_mul(self.times);
            if left < share {
                return Some(sort.mischief);
            }
            left -= share;
        }
        None
    }

    /// Whether the customer takes any kitchen, and not only the instance's.
    pub(super) fn takes_any_kitchen(&self, order: &str) -> bool {
        let of_kitchen = matches!(self.draw(order), Some(Mischief::Kitchen(_)));
        of_kitchen && self.lot(order, "kitchen") < ANY_KITCHEN
    }

    /// A number below a thousand. A hash by name and not a stream of random numbers: one order more changes no other's
    /// lot, and no library's next version does either.
    fn lot(&self, order: &str, what: &str) -> PerMille {
        let name = format!("{}/{what}/{order}", self.seed);
        let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).as_u128();
        PerMille::try_from(hash % 1000).expect("below a thousand")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDINARY: Chaos = Chaos { seed: 7, times: 1 };

    fn drawn(chaos: Chaos, orders: u32) -> Vec<Option<Mischief>> {
        (0..orders).map(|order| chaos.draw(&format!("o{order}"))).collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_one_something_else() {
        assert_eq!(drawn(ORDINARY, 300), drawn(ORDINARY, 300));
        let other = Chaos { seed: 8, ..ORDINARY };
        assert_ne!(drawn(ORDINARY, 300), drawn(other, 300));
    }

    #[test]
    fn every_sort_comes_about_as_often_as_its_rate_says() {
        const ORDERS: u32 = 20_000;
        let drawn = drawn(ORDINARY, ORDERS);
        for sort in SORTS {
            let expected = f64::from(sort.per_mille * (ORDERS / 1000));
            let count = drawn.iter().filter(|found| **found == Some(sort.mischief)).count() as f64;
            // Five standard deviations of a rare event's count.
            assert!(
                (count - expected).abs() < 5.0 * expected.sqrt(),
                "{}: {count} of {expected}",
                sort.name
            );
        }
    }

    #[test]
    fn four_times_an_ordinary_day_leaves_hardly_an_order_alone() {
        let all: PerMille = SORTS.iter().map(|sort| sort.per_mille).sum();
        assert!(all < 250, "an ordinary day");
        let untouched = drawn(Chaos { seed: 7, times: 4 }, 1000);
        let untouched = untouched.iter().filter(|found| found.is_none()).count();
        assert!(untouched < 120, "{untouched} of a thousand");
    }

    #[test]
    fn only_kitchens_mischief_sends_an_order_to_any_kitchen() {
        for order in (0..500).map(|order| format!("o{order}")) {
            let of_kitchen = matches!(ORDINARY.draw(&order), Some(Mischief::Kitchen(_)));
            assert!(of_kitchen || !ORDINARY.takes_any_kitchen(&order));
        }
    }
}
