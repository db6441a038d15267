//! A food point as the operators' board shows it: where it is, whether it takes orders, and how busy it is.
//!
//! A part of [`point`](super::point)'s fold: no stock, so that a point's document stays as small as its pool.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::geo::{Coordinates, Country};
use crate::id::OrderId;
use crate::point::{ClosedBy, Event};

/// A food point with the orders it holds or cooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kitchen {
    /// On the sign over the door.
    pub name: String,
    /// Where it sells.
    pub country: Country,
    /// Where it is.
    pub at: Coordinates,
    /// Orders it can hold or cook at a time.
    pub pool: u16,
    /// Whether it takes orders within its hours.
    pub open: bool,
    /// Why not.
    pub closed_by: Option<ClosedBy>,
    /// What it holds or cooks, with the attempt that each hold answers.
    pub holds: BTreeSet<(OrderId, u32)>,
    /// Version of its last event.
    pub version: u64,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// The next state; `None` only for a stream that does not start with `point.registered`.
pub fn fold(kitchen: Option<Kitchen>, event: &Event, at: Timestamp) -> Option<Kitchen> {
    let Some(mut kitchen) = kitchen else {
        return match event {
            Event::Registered { settings } => Some(Kitchen {
                name: settings.name.clone(),
                country: settings.place.country,
                at: settings.place.at,
                pool: settings.pool,
                open: true,
                closed_by: None,
                holds: BTreeSet::new(),
                version: 1,
                updated_at: at,
            }),
            _ => None,
        };
    };
    skip(&mut kitchen, at);
    apply(&mut kitchen, event);
    Some(kitchen)
}

/// An event that this build does not know: only the version moves.
pub fn skip(kitchen: &mut Kitchen, at: Timestamp) {
    kitchen.version += 1;
    kitchen.updated_at = at;
}

fn apply(kitchen: &mut Kitchen, event: &Event) {
    match event {
        Event::Changed { settings } => {
            kitchen.name.clone_from(&settings.name);
            kitchen.country = settings.place.country;
            kitchen.at = settings.place.at;
            kitchen.pool = settings.pool;
        }
        Event::Opened {} => {
            kitchen.open = true;
            kitchen.closed_by = None;
        }
        Event::Closed { by } => {
            kitchen.open = false;
            kitchen.closed_by = Some(*by);
        }
        Event::HoldHeld { order, attempt, .. } => {
            kitchen.holds.retain(|(held, _)| held != order);
            kitchen.holds.insert((*order, *attempt));
        }
        Event::HoldConsumed { order, attempt }
        | Event::HoldReleased { order, attempt, .. }
        | Event::HoldWasted { order, attempt }
        | Event::HoldExpired { order, attempt } => {
            kitchen.holds.remove(&(*order, *attempt));
        }
        Event::Registered { .. }
        | Event::HoldFailed { .. }
        | Event::HoldConfirmed { .. }
        | Event::StockOpened { .. }
        | Event::StockUnneeded { .. }
        | Event::StockClosed { .. }
        | Event::Received { .. }
        | Event::Counted { .. }
        | Event::Restored { .. }
        | Event::Gone { .. }
        | Event::Wasted { .. }
        | Event::StockSettingsChanged { .. } => {}
    }
}
