use uuid::Uuid;

use super::*;
use crate::geo::Coordinates;
use crate::id::AddressId;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + minute * 60).expect("in range")
}

fn point(number: u128) -> FoodPointId {
    FoodPointId(Uuid::from_u128(number))
}

fn registered() -> Event {
    Event::Registered {
        role: Role::Kitchen,
        points: vec![point(1)],
        country: None,
    }
}

fn address(number: u128) -> AddressId {
    AddressId(Uuid::from_u128(number))
}

fn address_set(number: u128) -> Event {
    Event::AddressSet {
        address: address(number),
        place: Place {
            country: Country::parse("DE").expect("a country"),
            at: Coordinates::new(52_520_000, 13_405_000).expect("on earth"),
        },
    }
}

fn folded<const N: usize>(events: [Event; N]) -> Person {
    events
        .iter()
        .zip(0..)
        .fold(None, |person, (event, minute)| fold(person, event, at(minute)))
        .expect("the first event registers")
}

#[test]
fn nothing_happens_to_a_person_before_the_registration() {
    assert_eq!(fold(None, &Event::ProfileChanged {}, at(0)), None);
}

#[test]
fn addresses_are_known_by_reference() {
    let removed = Event::AddressRemoved { address: address(1) };
    let person = folded([registered(), address_set(1), address_set(2), removed]);
    assert_eq!(person.addresses.keys().collect::<Vec<_>>(), [&address(2).to_string()]);
    assert_eq!((person.version, person.profile_version), (4, 4));
}

#[test]
fn new_food_points_do_not_change_the_profile() {
    let moved = Event::PointsChanged {
        points: vec![point(2), point(3)],
    };
    let person = folded([registered(), moved]);
    assert_eq!(person.points, [point(2), point(3)]);
    assert_eq!((person.version, person.profile_version), (2, 1));
}

#[test]
fn an_erased_person_has_no_address_and_no_food_point_left() {
    let person = folded([registered(), address_set(1), Event::Erased {}]);
    assert!(person.erased && person.addresses.is_empty() && person.points.is_empty());
    assert_eq!(person.profile_version, 3);
}

#[test]
fn an_unknown_event_moves_only_the_version() {
    let mut person = folded([registered()]);
    skip(&mut person, at(9));
    assert_eq!((person.version, person.profile_version), (2, 1));
}
