//! Deliveries: one per order, from the first offer to the door.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::envelope::events;
use crate::geo::Coordinates;
use crate::id::{CourierId, FoodPointId, OrderId, UserId};
use crate::order::{Destination, Proof, Reason};

/// Why a courier is off a job before pick-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DropCause {
    /// Said so.
    Dropped,
    /// No position for five minutes.
    Silent,
    /// The food was ready for twenty minutes.
    NotPickedUp,
    /// The order is to be cooked elsewhere.
    Rerouted,
}

/// Why a delivery stayed with its courier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HandOverEnd {
    /// The other courier said no.
    Declined,
    /// The other courier said nothing.
    Lapsed,
    /// The operator asked somebody else instead.
    Replaced,
}

/// Why a courier who could have brought it was not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotAsked {
    /// Would be there later, or keep another customer waiting.
    Slower,
    /// Is asked or kept for another delivery.
    Taken,
    /// Has passed on this one before.
    Passed,
}

/// A courier who was considered for a delivery and not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Considered {
    /// Who.
    pub courier: CourierId,
    /// The whole way to the food, in metres.
    pub pickup_distance_m: u32,
    /// Why somebody else is.
    pub not_asked: NotAsked,
}

events! {
    /// The life of a delivery.
    pub enum Event {
        /// order-master asked for a courier.
        "delivery.opened" Opened { order: OrderId, customer: UserId, food_point: FoodPointId, pickup: Coordinates, destination: Destination, ready_by: Timestamp, offer_from: Timestamp }
        /// A courier is asked; silence after `answer_by` passes it on. `considered` are the next best and the better
        /// ones who could not be asked.
        "delivery.offered" Offered { attempt: u32, courier: CourierId, pickup_distance_m: u32, answer_by: Timestamp, #[serde(default, skip_serializing_if = "Vec::is_empty")] considered: Vec<Considered> }
        /// The courier won't.
        "delivery.declined" Declined { attempt: u32, courier: CourierId }
        /// The courier did not answer, or cannot any more.
        "delivery.offer_lapsed" OfferLapsed { attempt: u32, courier: CourierId }
        /// The courier takes it. `pick_up_by` is set when the food is ready already.
        "delivery.assigned" Assigned { courier: CourierId, pick_up_by: Option<Timestamp> }
        /// The food is ready. `pick_up_by` is set when a courier has the job already.
        "delivery.food_ready" FoodReady { pick_up_by: Option<Timestamp> }
        /// The courier is off the job before pick-up.
        "delivery.dropped" Dropped { courier: CourierId, cause: DropCause }
        /// The courier has it.
        "delivery.picked_up" PickedUp { courier: CourierId, eta: Timestamp }
        /// Nobody opened.
        "delivery.attempted" Attempted { courier: CourierId, reason: Reason }
        /// The order is cooked elsewhere: whoever is asked or has the job is off it, and others are asked for the new place.
        "delivery.moved" Moved { food_point: FoodPointId, pickup: Coordinates, ready_by: Timestamp, offer_from: Timestamp }
        /// An operator asks another courier to go on with what is on its way; silence after `answer_by` leaves it.
        "delivery.hand_over_offered" HandOverOffered { from: CourierId, to: CourierId, answer_by: Timestamp }
        /// The other courier won't, or said nothing: it stays with the first.
        "delivery.hand_over_ended" HandOverEnded { to: CourierId, cause: HandOverEnd }
        /// The other courier has it now.
        "delivery.handed_over" HandedOver { from: CourierId, to: CourierId }
        /// Brought back to the counter after an attempt.
        "delivery.returned" Returned { courier: CourierId, reason: Reason }
        /// Gone on the way.
        "delivery.lost" Lost { courier: CourierId }
        /// Handed over.
        "delivery.delivered" Delivered { courier: CourierId, proof: Proof }
        /// The order ended otherwise; whoever had the job is free.
        "delivery.cancelled" Cancelled { courier: Option<CourierId> }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_json_snapshot;
    use uuid::Uuid;

    use super::*;
    use crate::envelope::EventBody;
    use crate::geo::{Country, Place};
    use crate::id::AddressId;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + minute * 60).expect("in range")
    }

    fn every_event() -> Vec<Event> {
        let courier = CourierId(Uuid::from_u128(1));
        let place = |lat_e6| Coordinates::new(lat_e6, 13_405_000).expect("on earth");
        vec![
            Event::Opened {
                order: OrderId(Uuid::from_u128(9)),
                customer: UserId(Uuid::from_u128(8)),
                food_point: FoodPointId(Uuid::from_u128(7)),
                pickup: place(52_520_000),
                destination: Destination {
                    address: AddressId(Uuid::from_u128(6)),
                    place: Place {
                        country: Country::parse("DE").expect("a country"),
                        at: place(52_530_000),
                    },
                },
                ready_by: at(20),
                offer_from: at(5),
            },
            Event::Offered {
                attempt: 1,
                courier,
                pickup_distance_m: 700,
                answer_by: at(6),
                considered: vec![Considered {
                    courier: CourierId(Uuid::from_u128(2)),
                    pickup_distance_m: 900,
                    not_asked: NotAsked::Slower,
                }],
            },
            Event::Declined { attempt: 1, courier },
            Event::OfferLapsed { attempt: 1, courier },
            Event::Assigned {
                courier,
                pick_up_by: None,
            },
            Event::FoodReady {
                pick_up_by: Some(at(40)),
            },
            Event::Dropped {
                courier,
                cause: DropCause::NotPickedUp,
            },
            Event::PickedUp { courier, eta: at(35) },
            Event::Attempted {
                courier,
                reason: Reason::CustomerNotFound,
            },
            Event::Moved {
                food_point: FoodPointId(Uuid::from_u128(5)),
                pickup: place(52_540_000),
                ready_by: at(30),
                offer_from: at(15),
            },
            Event::HandOverOffered {
                from: courier,
                to: CourierId(Uuid::from_u128(2)),
                answer_by: at(30),
            },
            Event::HandOverEnded {
                to: CourierId(Uuid::from_u128(2)),
                cause: HandOverEnd::Lapsed,
            },
            Event::HandedOver {
                from: courier,
                to: CourierId(Uuid::from_u128(2)),
            },
            Event::Returned {
                courier,
                reason: Reason::CustomerNotFound,
            },
            Event::Lost { courier },
            Event::Delivered {
                courier,
                proof: Proof::Photo("p-1".into()),
            },
            Event::Cancelled { courier: Some(courier) },
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
            "type": "delivery.opened",
            "data": {
              "order": "ord_00000000000000000000000009",
              "customer": "usr_00000000000000000000000008",
              "food_point": "pnt_00000000000000000000000007",
              "pickup": {
                "lat_e6": 52520000,
                "lon_e6": 13405000
              },
              "destination": {
                "address": "adr_00000000000000000000000006",
                "place": {
                  "country": "DE",
                  "at": {
                    "lat_e6": 52530000,
                    "lon_e6": 13405000
                  }
                }
              },
              "ready_by": "2023-11-14T22:33:20Z",
              "offer_from": "2023-11-14T22:18:20Z"
            }
          },
          {
            "type": "delivery.offered",
            "data": {
              "attempt": 1,
              "courier": "cou_00000000000000000000000001",
              "pickup_distance_m": 700,
              "answer_by": "2023-11-14T22:19:20Z",
              "considered": [
                {
                  "courier": "cou_00000000000000000000000002",
                  "pickup_distance_m": 900,
                  "not_asked": "slower"
                }
              ]
            }
          },
          {
            "type": "delivery.declined",
            "data": {
              "attempt": 1,
              "courier": "cou_00000000000000000000000001"
            }
          },
          {
            "type": "delivery.offer_lapsed",
            "data": {
              "attempt": 1,
              "courier": "cou_00000000000000000000000001"
            }
          },
          {
            "type": "delivery.assigned",
            "data": {
              "courier": "cou_00000000000000000000000001",
              "pick_up_by": null
            }
          },
          {
            "type": "delivery.food_ready",
            "data": {
              "pick_up_by": "2023-11-14T22:53:20Z"
            }
          },
          {
            "type": "delivery.dropped",
            "data": {
              "courier": "cou_00000000000000000000000001",
              "cause": "not_picked_up"
            }
          },
          {
            "type": "delivery.picked_up",
            "data": {
              "courier": "cou_00000000000000000000000001",
              "eta": "2023-11-14T22:48:20Z"
            }
          },
          {
            "type": "delivery.attempted",
            "data": {
              "courier": "cou_00000000000000000000000001",
              "reason": "customer_not_found"
            }
          },
          {
            "type": "delivery.moved",
            "data": {
              "food_point": "pnt_00000000000000000000000005",
              "pickup": {
                "lat_e6": 52540000,
                "lon_e6": 13405000
              },
              "ready_by": "2023-11-14T22:43:20Z",
              "offer_from": "2023-11-14T22:28:20Z"
            }
          },
          {
            "type": "delivery.hand_over_offered",
            "data": {
              "from": "cou_00000000000000000000000001",
              "to": "cou_00000000000000000000000002",
              "answer_by": "2023-11-14T22:43:20Z"
            }
          },
          {
            "type": "delivery.hand_over_ended",
            "data": {
              "to": "cou_00000000000000000000000002",
              "cause": "lapsed"
            }
          },
          {
            "type": "delivery.handed_over",
            "data": {
              "from": "cou_00000000000000000000000001",
              "to": "cou_00000000000000000000000002"
            }
          },
          {
            "type": "delivery.returned",
            "data": {
              "courier": "cou_00000000000000000000000001",
              "reason": "customer_not_found"
            }
          },
          {
            "type": "delivery.lost",
            "data": {
              "courier": "cou_00000000000000000000000001"
            }
          },
          {
            "type": "delivery.delivered",
            "data": {
              "courier": "cou_00000000000000000000000001",
              "proof": {
                "photo": "p-1"
              }
            }
          },
          {
            "type": "delivery.cancelled",
            "data": {
              "courier": "cou_00000000000000000000000001"
            }
          }
        ]
        "#);
    }
}
