//! People: roles, and the events of a person's life with us. No personal data, ever.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::envelope::events;
use crate::geo::{Country, Place};
use crate::id::{AddressId, FoodPointId};

/// What a person may do. One role each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Orders and pays.
    Customer,
    /// Cooks, at the food points the person is bound to.
    Kitchen,
    /// Brings.
    Courier,
    /// Runs the chain.
    Operator,
}

impl Role {
    /// As in tokens and headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Kitchen => "kitchen",
            Self::Courier => "courier",
            Self::Operator => "operator",
        }
    }

    /// The reverse of [`Role::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Customer, Self::Kitchen, Self::Courier, Self::Operator]
            .into_iter()
            .find(|role| role.as_str() == text)
    }
}

/// What a person is written to in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Russian.
    Ru,
}

impl Language {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ru => "ru",
        }
    }

    /// The reverse of [`Language::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::En, Self::Ru]
            .into_iter()
            .find(|language| language.as_str() == text)
    }
}

events! {
    /// What happens to a person's account. Names, e-mails, phones and addresses stay in user-master's tables.
    pub enum Event {
        /// An account was opened. A courier has a country, kitchen staff have food points.
        "user.registered" Registered { role: Role, points: Vec<FoodPointId>, #[serde(default, skip_serializing_if = "Option::is_none")] country: Option<Country> }
        /// Name, phone or language changed; the new values are fetched, not told.
        "user.profile_changed" ProfileChanged {}
        /// An address was added or replaced; coordinates are rounded to 100 m.
        "user.address_set" AddressSet { address: AddressId, place: Place }
        /// An address was removed.
        "user.address_removed" AddressRemoved { address: AddressId }
        /// A kitchen worker's food points changed.
        "user.points_changed" PointsChanged { points: Vec<FoodPointId> }
        /// The person and all personal data are gone.
        "user.erased" Erased {}
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_json_snapshot;
    use uuid::Uuid;

    use super::*;
    use crate::envelope::EventBody;
    use crate::geo::Coordinates;

    fn every_event() -> Vec<Event> {
        let country = Country::parse("DE").expect("a country");
        let point = FoodPointId(Uuid::from_u128(7));
        let address = AddressId(Uuid::from_u128(6));
        vec![
            Event::Registered {
                role: Role::Customer,
                points: Vec::new(),
                country: None,
            },
            Event::ProfileChanged {},
            Event::AddressSet {
                address,
                place: Place {
                    country,
                    at: Coordinates::new(52_520_000, 13_405_000).expect("on earth"),
                },
            },
            Event::AddressRemoved { address },
            Event::PointsChanged { points: vec![point] },
            Event::Erased {},
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
            "type": "user.registered",
            "data": {
              "role": "customer",
              "points": []
            }
          },
          {
            "type": "user.profile_changed",
            "data": {}
          },
          {
            "type": "user.address_set",
            "data": {
              "address": "adr_00000000000000000000000006",
              "place": {
                "country": "DE",
                "at": {
                  "lat_e6": 52520000,
                  "lon_e6": 13405000
                }
              }
            }
          },
          {
            "type": "user.address_removed",
            "data": {
              "address": "adr_00000000000000000000000006"
            }
          },
          {
            "type": "user.points_changed",
            "data": {
              "points": [
                "pnt_00000000000000000000000007"
              ]
            }
          },
          {
            "type": "user.erased",
            "data": {}
          }
        ]
        "#);
        assert_json_snapshot!(
            Event::Registered {
                role: Role::Courier,
                points: Vec::new(),
                country: Country::parse("DE"),
            },
            @r#"
        {
          "type": "user.registered",
          "data": {
            "role": "courier",
            "points": [],
            "country": "DE"
          }
        }
        "#
        );
    }

    #[test]
    fn a_registration_from_before_countries_still_reads() {
        let old = serde_json::json!({ "role": "customer", "points": [] }).into();
        let read = Event::decode("user.registered", &old).expect("same shape");
        assert_eq!(read, every_event().first().cloned());
    }
}
