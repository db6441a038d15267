//! What may go wrong with a courier's job, and who says when it does.

use std::future::Future;

use mesh_contracts::id::DeliveryId;

/// What a courier does instead of what was agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slip {
    /// Leaves the offer to others.
    Declines,
    /// Does not see the offer.
    Ignores,
    /// Has taken it, and gives it back at the counter.
    Drops,
    /// Has taken it, and is not heard of until it is taken away.
    Vanishes,
    /// Has the food, and cannot ride on.
    BreaksDown,
    /// Has the food no more.
    Loses,
    /// Stands before a closed door.
    ClosedDoor(Then),
}

/// What becomes of food at a closed door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The customer opens after all.
    OpensLate,
    /// It goes back to the counter.
    GoesBack,
    /// The courier keeps it, and says nothing more.
    IsKept,
}

impl Then {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::OpensLate, Self::GoesBack, Self::IsKept];
}

/// How a courier behaves. Whoever always does as agreed needs none of this.
pub trait Conduct: Clone + Send + Sync + 'static {
    /// Whether that goes wrong with that job now; says yes to it once.
    fn slips(&self, _: DeliveryId, _: Slip) -> bool {
        false
    }

    /// The platform has taken note of it.
    fn slipped(&self, _: DeliveryId, _: Slip) {}

    /// Calls an operator, who asks another courier to go on; whether somebody is asked.
    fn calls_for_help(&self, _: DeliveryId) -> impl Future<Output = bool> + Send {
        async { false }
    }
}

/// Does as agreed.
#[derive(Debug, Clone, Copy)]
pub struct Reliable;

impl Conduct for Reliable {}
