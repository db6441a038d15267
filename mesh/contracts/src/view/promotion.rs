//! A promotion, folded from its events: what the operator described last, and whether it was ended.
//!
//! Knows no clock: whether its time is now is asked with the time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::promotion::{self, Event};

/// A promotion of the menu.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PromotionDocument)]
pub struct Promotion {
    /// As the operator describes it.
    pub promotion: promotion::Promotion,
    /// Over before its time.
    pub ended: bool,
    /// Version of its last event, and its status version too.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Promotion {
    /// Whether it applies now.
    pub fn is_on(&self, now: Timestamp) -> bool {
        !self.ended && self.promotion.is_on(now)
    }
}

/// The next state; `None` only for a stream that does not start with `promotion.created`.
pub fn fold(promotion: Option<Promotion>, event: &Event, at: Timestamp) -> Option<Promotion> {
    let Some(mut promotion) = promotion else {
        return match event {
            Event::Created { promotion } => Some(Promotion {
                promotion: promotion.clone(),
                ended: false,
                version: 1,
                created_at: at,
                updated_at: at,
            }),
            Event::Changed { .. } | Event::Ended {} => None,
        };
    };
    skip(&mut promotion, at);
    match event {
        Event::Created { .. } => {}
        Event::Changed { promotion: newer } => promotion.promotion = newer.clone(),
        Event::Ended {} => promotion.ended = true,
    }
    Some(promotion)
}

/// An event that this build does not know: only the version moves.
pub fn skip(promotion: &mut Promotion, at: Timestamp) {
    promotion.version += 1;
    promotion.updated_at = at;
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::geo::Country;
    use crate::menu::Names;
    use crate::promotion::Discount;

    const NOON: Timestamp = Timestamp::UNIX_EPOCH;

    fn lunch(basis_points: u32) -> promotion::Promotion {
        promotion::Promotion {
            names: Names::default(),
            country: Country::parse("DE").expect("a country"),
            food_point: None,
            products: Vec::new(),
            discount: Discount::BasisPoints(basis_points),
            starts_at: NOON,
            ends_at: NOON + SignedDuration::from_hours(1),
        }
    }

    fn folded(events: &[Event]) -> Option<Promotion> {
        events
            .iter()
            .fold(None, |promotion, event| fold(promotion, event, NOON))
    }

    #[test]
    fn the_last_description_counts_until_it_is_ended() {
        let created = Event::Created { promotion: lunch(500) };
        let changed = Event::Changed { promotion: lunch(900) };
        let on = folded(&[created.clone(), changed.clone()]).expect("created");
        assert_eq!((on.version, on.promotion.discount), (2, Discount::BasisPoints(900)));
        assert!(on.is_on(NOON));
        let ended = folded(&[created, changed, Event::Ended {}]).expect("created");
        assert!(!ended.is_on(NOON));
    }

    #[test]
    fn a_stream_that_starts_in_the_middle_is_no_promotion() {
        assert_eq!(folded(&[Event::Ended {}]), None);
    }
}
