//! A person's account, folded from its events: role, food points, addresses by reference.
//!
//! Knows no personal data: names, e-mails, phones and the text of addresses are asked of user-master.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::geo::{Country, Place};
use crate::id::FoodPointId;
use crate::user::{Event, Role};

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Person {
    /// Version of the last event.
    pub version: u64,
    /// What the person may do.
    pub role: Role,
    /// Where a courier works.
    pub country: Option<Country>,
    /// The food points of kitchen staff.
    pub points: Vec<FoodPointId>,
    /// Addresses by id, their places rounded to 100 m.
    pub addresses: BTreeMap<String, Place>,
    /// Version of the last event that changed what user-master would answer about the person.
    pub profile_version: u64,
    /// The person and all personal data are gone.
    pub erased: bool,
    /// When anything last changed.
    pub updated_at: Timestamp,
}

/// The next state; `None` only for a stream that does not start with `user.registered`.
pub fn fold(person: Option<Person>, event: &Event, at: Timestamp) -> Option<Person> {
    let Some(mut person) = person else {
        return match event {
            Event::Registered { role, points, country } => Some(Person {
                version: 1,
                role: *role,
                country: *country,
                points: points.clone(),
                addresses: BTreeMap::new(),
                profile_version: 1,
                erased: false,
                updated_at: at,
            }),
            _ => None,
        };
    };
    person.version += 1;
    person.updated_at = at;
    apply(&mut person, event);
    Some(person)
}

/// An event that this build does not know: only the version moves.
pub fn skip(person: &mut Person, at: Timestamp) {
    person.version += 1;
    person.updated_at = at;
}

fn apply(person: &mut Person, event: &Event) {
    match event {
        Event::Registered { .. } => {}
        Event::ProfileChanged {} => person.profile_version = person.version,
        Event::AddressSet { address, place } => {
            person.profile_version = person.version;
            person.addresses.insert(address.to_string(), *place);
        }
        Event::AddressRemoved { address } => {
            person.profile_version = person.version;
            person.addresses.remove(&address.to_string());
        }
        Event::PointsChanged { points } => person.points = points.clone(),
        Event::Erased {} => {
            person.profile_version = person.version;
            person.erased = true;
            person.points.clear();
            person.addresses.clear();
        }
    }
}

#[cfg(test)]
mod tests;
