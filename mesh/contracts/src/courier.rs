//! Couriers: shifts and the jobs they have. Positions are ephemeral and never here.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::envelope::events;
use crate::geo::Country;
use crate::id::DeliveryId;

/// Why a shift ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShiftEnd {
    /// The courier said so.
    Courier,
    /// Three offers in a row went unanswered.
    MissedOffers,
}

events! {
    /// What happens to a courier.
    pub enum Event {
        /// A courier works for the chain in a country.
        "courier.registered" Registered { country: Country }
        /// The courier takes offers.
        "courier.shift_started" ShiftStarted { speed_m_per_min: u32 }
        /// The courier takes no more offers; jobs in hand go on.
        "courier.shift_ended" ShiftEnded { reason: ShiftEnd }
        /// An offer went unanswered.
        "courier.offer_missed" OfferMissed { delivery: DeliveryId }
        /// An offer was declined: the courier is there, so the row of misses ends.
        "courier.offer_declined" OfferDeclined { delivery: DeliveryId }
        /// One more active job.
        "courier.job_taken" JobTaken { delivery: DeliveryId }
        /// One job less: delivered, dropped or cancelled.
        "courier.job_ended" JobEnded { delivery: DeliveryId }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_json_snapshot;
    use uuid::Uuid;

    use super::*;
    use crate::envelope::EventBody;

    fn every_event() -> Vec<Event> {
        let delivery = DeliveryId(Uuid::from_u128(9));
        vec![
            Event::Registered {
                country: Country::parse("DE").expect("a country"),
            },
            Event::ShiftStarted { speed_m_per_min: 320 },
            Event::ShiftEnded {
                reason: ShiftEnd::MissedOffers,
            },
            Event::OfferMissed { delivery },
            Event::OfferDeclined { delivery },
            Event::JobTaken { delivery },
            Event::JobEnded { delivery },
        ]
    }

    #[test]
    fn every_event_reads_back_what_it_wrote() {
        for event in every_event() {
            let read = Event::decode(event.event_type(), &event.encode());
            assert_eq!(read.expect("same shape"), Some(event));
        }
        assert_eq!(every_event().len(), Event::TYPES.len());
    }

    #[test]
    fn the_wire_is_pinned() {
        assert_json_snapshot!(every_event(), @r#"
        [
          {
            "type": "courier.registered",
            "data": {
              "country": "DE"
            }
          },
          {
            "type": "courier.shift_started",
            "data": {
              "speed_m_per_min": 320
            }
          },
          {
            "type": "courier.shift_ended",
            "data": {
              "reason": "missed_offers"
            }
          },
          {
            "type": "courier.offer_missed",
            "data": {
              "delivery": "dlv_00000000000000000000000009"
            }
          },
          {
            "type": "courier.offer_declined",
            "data": {
              "delivery": "dlv_00000000000000000000000009"
            }
          },
          {
            "type": "courier.job_taken",
            "data": {
              "delivery": "dlv_00000000000000000000000009"
            }
          },
          {
            "type": "courier.job_ended",
            "data": {
              "delivery": "dlv_00000000000000000000000009"
            }
          }
        ]
        "#);
    }
}
