//! The numbers of the rules, each with its reason.

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::eta::{SERVICE, SPEED_M_PER_MIN};
use mesh_contracts::geo;

/// Long enough to look at the phone at a red light, short enough that the food does not wait.
const ANSWER_WITHIN: SignedDuration = SignedDuration::from_secs(45);
/// Long enough for two couriers to meet and agree, short enough that the food does not get cold over it.
const HAND_OVER_WITHIN: SignedDuration = SignedDuration::from_mins(5);
/// Counted from when the food is ready and the courier could be there: more than any queue at the counter.
const PICK_UP_WITHIN: SignedDuration = SignedDuration::from_mins(20);
/// A tunnel or a lift takes less; a courier who gave up takes more.
const SILENT_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// Nobody is bound to a job earlier: whoever is nearest then is not known yet.
const OFFER_AHEAD: SignedDuration = SignedDuration::from_mins(15);
/// Answering an offer, parking and finding the counter.
/// Tried on three days of the Grubhub instances: less makes food wait, more makes couriers wait.
const MARGIN: SignedDuration = SignedDuration::from_mins(3);
/// How far away a courier may be when a job is first offered. Who is farther is asked later by as much:
/// somebody nearer may come free. Without it the worst pick-up of those days is two hours late instead of forty minutes.
const REACH: SignedDuration = SignedDuration::from_mins(20);
/// Food of one counter that is ready within this may go in one bag.
const SAME_POINT_WITHIN: SignedDuration = SignedDuration::from_mins(5);
/// How long a courier who passed a job is left alone with it when there is nobody else.
const REASK_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// A courier kept for a job that is due this soon does no other first.
const RESERVE_AHEAD: SignedDuration = SignedDuration::from_mins(3);
/// The second bag still arrives warm; the third does not.
const JOBS_MAX: usize = 2;
/// One may be bad luck and two a phone in the pocket; three is nobody there.
const MISSES_MAX: u32 = 3;
/// Streets are longer than the bee line by about 1.3 in cities, but speeds here are those of the bee line:
/// they come from couriers and are measured from door to door.
const DETOUR_PERCENT: u32 = 100;

/// Deadlines and limits, the same for a whole platform for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// An offer lapses after this.
    pub answer_within: SignedDuration,
    /// A courier who is asked to go on with another's delivery is no longer asked after this.
    pub hand_over_within: SignedDuration,
    /// A job is taken away after this.
    pub pick_up_within: SignedDuration,
    /// A job is taken from a courier who sent no position for this long.
    pub silent_after: SignedDuration,
    /// No offer earlier than this before the food is ready.
    pub offer_ahead: SignedDuration,
    /// Offers go out this much earlier than the way takes.
    pub margin: SignedDuration,
    /// Who is farther away than this is asked later by as much.
    pub reach: SignedDuration,
    /// A drop-off takes this long at the door.
    pub service: SignedDuration,
    /// Two jobs of one point may go together if they are ready within this.
    pub same_point_within: SignedDuration,
    /// A courier is asked for the same job again after this, if there is nobody else.
    pub reask_after: SignedDuration,
    /// A courier is kept free for a job due within this.
    pub reserve_ahead: SignedDuration,
    /// Jobs a courier may have in hand.
    pub jobs_max: usize,
    /// Unanswered offers in a row that end a shift.
    pub misses_max: u32,
    /// Of a courier who did not say.
    pub speed_m_per_min: u32,
    /// How much longer a way is than the bee line.
    pub detour_percent: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            answer_within: ANSWER_WITHIN,
            hand_over_within: HAND_OVER_WITHIN,
            pick_up_within: PICK_UP_WITHIN,
            silent_after: SILENT_AFTER,
            offer_ahead: OFFER_AHEAD,
            margin: MARGIN,
            reach: REACH,
            service: SERVICE,
            same_point_within: SAME_POINT_WITHIN,
            reask_after: REASK_AFTER,
            reserve_ahead: RESERVE_AHEAD,
            jobs_max: JOBS_MAX,
            misses_max: MISSES_MAX,
            speed_m_per_min: SPEED_M_PER_MIN,
            detour_percent: DETOUR_PERCENT,
        }
    }
}

impl Policy {
    /// The same, with no deadline shorter than `shortest`: what people and machines need in wall time,
    /// however fast the business clock runs.
    pub fn floored(self, shortest: SignedDuration) -> Self {
        Self {
            answer_within: self.answer_within.max(shortest),
            hand_over_within: self.hand_over_within.max(shortest),
            pick_up_within: self.pick_up_within.max(shortest),
            silent_after: self.silent_after.max(shortest),
            ..self
        }
    }

    /// How long a way takes, rounded up to whole seconds.
    pub fn travel(&self, distance_m: u32, speed_m_per_min: u32) -> SignedDuration {
        geo::travel(distance_m.saturating_mul(self.detour_percent) / 100, speed_m_per_min)
    }
}

/// An instant and a span after it.
pub fn later(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.saturating_add(span).expect("a signed duration only saturates")
}
