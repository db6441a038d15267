//! A courier, folded from the courier's events: on shift or not, and the jobs in hand.
//!
//! Knows no name, no phone and no position.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::courier::{Event, ShiftEnd};
use crate::geo::Country;
use crate::id::DeliveryId;

/// Whether a courier takes offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = CourierStatus)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Takes no offers; may still have jobs in hand.
    Off,
    /// Takes offers.
    On,
}

impl Status {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Off, Self::On];

    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
        }
    }
}

/// A courier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Courier {
    /// Whether the courier takes offers.
    pub status: Status,
    /// Version of the last change of status.
    pub status_version: u64,
    /// Version of the last event.
    pub version: u64,
    /// Where the courier works.
    pub country: Country,
    /// On the current or last shift; 0 before the first.
    pub speed_m_per_min: u32,
    /// Jobs in hand, oldest first.
    pub jobs: Vec<DeliveryId>,
    /// Offers in a row that went unanswered.
    pub misses: u32,
    /// Why the last shift ended.
    pub shift_ended: Option<ShiftEnd>,
    /// When anything last changed.
    pub updated_at: Timestamp,
}

impl Courier {
    fn moved(&mut self, status: Status) {
        self.status = status;
        self.status_version = self.version;
        self.misses = 0;
    }
}

/// Of the form of [`Courier`] and of [`fold`]. Raise it whenever the form changes, or the same events fold to
/// something else: snapshots of another version are not read.
pub const FOLD_VERSION: u16 = 1;

/// The next state; `None` only for a stream that does not start with `courier.registered`.
pub fn fold(courier: Option<Courier>, event: &Event, at: Timestamp) -> Option<Courier> {
    let Some(mut courier) = courier else {
        return match event {
            Event::Registered { country } => Some(Courier {
                status: Status::Off,
                status_version: 1,
                version: 1,
                country: *country,
                speed_m_per_min: 0,
                jobs: Vec::new(),
                misses: 0,
                shift_ended: None,
                updated_at: at,
            }),
            _ => None,
        };
    };
    courier.version += 1;
    courier.updated_at = at;
    apply(&mut courier, event);
    Some(courier)
}

/// An event that this build does not know: only the version moves.
pub fn skip(courier: &mut Courier, at: Timestamp) {
    courier.version += 1;
    courier.updated_at = at;
}

fn apply(courier: &mut Courier, event: &Event) {
    match event {
        Event::Registered { .. } => {}
        Event::ShiftStarted { speed_m_per_min } => {
            courier.moved(Status::On);
            courier.speed_m_per_min = *speed_m_per_min;
            courier.shift_ended = None;
        }
        Event::ShiftEnded { reason } => {
            courier.moved(Status::Off);
            courier.shift_ended = Some(*reason);
        }
        Event::OfferMissed { .. } => courier.misses += 1,
        Event::OfferDeclined { .. } => courier.misses = 0,
        Event::JobTaken { delivery } => {
            courier.misses = 0;
            courier.jobs.push(*delivery);
        }
        Event::JobEnded { delivery } => courier.jobs.retain(|job| job != delivery),
    }
}

#[cfg(test)]
mod tests;
