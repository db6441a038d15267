use mesh_contracts::geo::Coordinates;
use mesh_contracts::view::person::fold;
use uuid::Uuid;

use super::*;

fn place(lat_e6: i32) -> Place {
    let at = Coordinates::new(lat_e6, 13_404_951).expect("on earth");
    Place {
        country: Country::parse("DE").expect("a country"),
        at,
    }
}

fn address(number: u128) -> AddressId {
    AddressId(Uuid::from_u128(number))
}

fn registered() -> Event {
    Event::Registered {
        role: Role::Customer,
        points: Vec::new(),
        country: None,
    }
}

fn register() -> Command {
    Command::Register {
        role: Role::Customer,
        points: Vec::new(),
        country: None,
    }
}

fn address_set(number: u128) -> Event {
    Event::AddressSet {
        address: address(number),
        place: Place {
            at: place(52_520_449).at.coarse(),
            ..place(0)
        },
    }
}

fn set_address(number: u128) -> Command {
    Command::SetAddress {
        address: address(number),
        place: place(52_520_449),
    }
}

fn remove_address(number: u128) -> Command {
    Command::RemoveAddress {
        address: address(number),
    }
}

#[track_caller]
fn check(given: impl IntoIterator<Item = Event>, when: Command, then: Result<Vec<Event>, Rejection>) {
    let at = "2026-03-01T12:00:00Z".parse().expect("a timestamp");
    let person = given.into_iter().fold(None, |person, event| fold(person, &event, at));
    assert_eq!(decide(person.as_ref(), when), then);
}

#[test]
fn an_account_opens_once() {
    check([], register(), Ok(vec![registered()]));
    check([registered()], register(), Err(Rejection::EmailTaken));
    check([registered(), Event::Erased {}], register(), Err(Rejection::EmailTaken));
}

#[test]
fn nothing_happens_to_an_account_that_is_not_there() {
    for command in [
        Command::ChangeProfile,
        set_address(1),
        remove_address(1),
        Command::Erase,
    ] {
        check([], command, Err(Rejection::NoSuchPerson));
    }
}

#[test]
fn the_event_of_an_address_knows_its_place_only_roughly() {
    check([registered()], set_address(1), Ok(vec![address_set(1)]));
    assert_ne!(place(52_520_449).at, place(52_520_449).at.coarse());
}

#[test]
fn a_person_keeps_twenty_addresses_and_may_replace_each() {
    let full = || std::iter::once(registered()).chain((0..20).map(address_set));
    check(full(), set_address(20), Err(Rejection::TooManyAddresses));
    check(full(), set_address(19), Ok(vec![address_set(19)]));
}

#[test]
fn only_an_address_that_is_there_is_removed() {
    let removed = Event::AddressRemoved { address: address(1) };
    check(
        [registered(), address_set(1)],
        remove_address(1),
        Ok(vec![removed.clone()]),
    );
    check(
        [registered(), address_set(1), removed],
        remove_address(1),
        Err(Rejection::NoSuchAddress),
    );
}

#[test]
fn a_change_of_profile_is_told_without_what_changed() {
    check(
        [registered()],
        Command::ChangeProfile,
        Ok(vec![Event::ProfileChanged {}]),
    );
}

#[test]
fn an_erased_person_is_gone_and_erasing_again_changes_nothing() {
    check([registered()], Command::Erase, Ok(vec![Event::Erased {}]));
    let gone = || [registered(), Event::Erased {}];
    check(gone(), Command::Erase, Ok(Vec::new()));
    for command in [Command::ChangeProfile, set_address(1), remove_address(1)] {
        check(gone(), command, Err(Rejection::NoSuchPerson));
    }
}
