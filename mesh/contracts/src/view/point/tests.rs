use super::*;
use crate::geo::{Coordinates, Country, Place};
use uuid::Uuid;

const NOON: Timestamp = Timestamp::UNIX_EPOCH;
const BREAD: IngredientId = IngredientId(Uuid::from_u128(1));
const CHEESE: IngredientId = IngredientId(Uuid::from_u128(2));
const FIRST: OrderId = OrderId(Uuid::from_u128(11));
const SECOND: OrderId = OrderId(Uuid::from_u128(12));

fn registered() -> Event {
    Event::Registered {
        settings: Settings {
            name: "Alexanderplatz".into(),
            place: Place {
                country: Country::parse("DE").expect("a country"),
                at: Coordinates::new(52_521_918, 13_413_215).expect("on earth"),
            },
            kinds: vec![Kind::Delivery],
            radius_m: 5_000,
            pool: 2,
            auto_accept: false,
            hours: Vec::new(),
            utc_offset_minutes: 60,
        },
    }
}

fn received(quantity: u32) -> Event {
    Event::Received {
        ingredient: BREAD,
        quantity,
    }
}

fn need(ingredient: IngredientId, quantity: u64) -> Need {
    Need { ingredient, quantity }
}

fn held(order: OrderId, quantity: u64) -> Event {
    Event::HoldHeld {
        order,
        attempt: 1,
        needs: vec![need(BREAD, quantity)],
        expires_at: NOON,
    }
}

fn released(order: OrderId, cause: ReleaseCause) -> Event {
    Event::HoldReleased {
        order,
        attempt: 1,
        cause,
    }
}

#[track_caller]
fn folded(events: &[Event]) -> FoodPoint {
    let point = events
        .iter()
        .fold(None, |point, event| fold(point, event, NOON))
        .expect("it starts with its registration");
    assert_eq!(point.version, events.len() as u64);
    assert!(point.balances(), "{:?}", point.stock);
    point
}

#[track_caller]
fn bread(point: &FoodPoint) -> Stock {
    point.stock[&BREAD]
}

#[test]
fn a_hold_moves_stock_aside_and_takes_a_slot() {
    let point = folded(&[registered(), received(10), held(FIRST, 4)]);
    assert_eq!((bread(&point).available, bread(&point).held), (6, 4));
    assert_eq!(point.free_slots(), 1);
}

#[test]
fn every_end_of_a_hold_frees_the_slot_and_settles_the_stock() {
    let ended = |event| folded(&[registered(), received(10), held(FIRST, 4), event]);
    let (order, attempt) = (FIRST, 1);
    let consumed = ended(Event::HoldConsumed { order, attempt });
    assert_eq!((bread(&consumed).available, bread(&consumed).consumed), (6, 4));
    let wasted = ended(Event::HoldWasted { order, attempt });
    assert_eq!((bread(&wasted).available, bread(&wasted).wasted), (6, 4));
    for back in [
        released(FIRST, ReleaseCause::Abandoned),
        Event::HoldExpired { order, attempt },
    ] {
        let point = ended(back);
        assert_eq!((bread(&point).available, bread(&point).held), (10, 0));
        assert_eq!(point.free_slots(), 2);
    }
}

#[test]
fn an_event_of_another_attempt_leaves_the_hold_alone() {
    let point = folded(&[
        registered(),
        received(10),
        held(FIRST, 4),
        Event::HoldExpired {
            order: FIRST,
            attempt: 2,
        },
    ]);
    assert_eq!(point.holds.len(), 1);
    assert_eq!(bread(&point).held, 4);
}

#[test]
fn a_count_below_and_above_the_book_is_a_correction() {
    let point = folded(&[
        registered(),
        received(10),
        held(FIRST, 4),
        Event::Counted {
            ingredient: BREAD,
            counted: 1,
            corrected: -5,
        },
        Event::Counted {
            ingredient: BREAD,
            counted: 9,
            corrected: 8,
        },
        Event::Gone {
            ingredient: BREAD,
            corrected: -9,
        },
    ]);
    assert_eq!(bread(&point).available, 0);
    assert_eq!(bread(&point).held, 4);
    assert_eq!(bread(&point).corrected, -6);
}

#[test]
fn a_book_that_lost_something_does_not_balance() {
    let wrong = Event::Counted {
        ingredient: BREAD,
        counted: 1,
        corrected: 0,
    };
    let point = [registered(), received(10), wrong]
        .iter()
        .fold(None, |point, event| fold(point, event, NOON))
        .expect("registered");
    assert!(!point.balances());
}

#[test]
fn unanswered_tickets_count_until_one_is_confirmed() {
    let missed = [
        registered(),
        received(10),
        held(FIRST, 1),
        released(FIRST, ReleaseCause::TimedOut),
    ];
    assert_eq!(folded(&missed).misses, 1);
    let mut answered = missed.to_vec();
    answered.push(held(SECOND, 1));
    answered.push(Event::HoldConfirmed {
        order: SECOND,
        attempt: 1,
    });
    assert_eq!(folded(&answered).misses, 0);
    // The kitchen had answered; the confirmation came too late.
    answered.push(released(SECOND, ReleaseCause::TimedOut));
    assert_eq!(folded(&answered).misses, 0);
}

#[test]
fn opening_forgets_why_it_was_closed() {
    let closed = Event::Closed {
        by: ClosedBy::MissedTickets,
    };
    let point = folded(&[registered(), closed.clone()]);
    assert_eq!((point.open, point.closed_by), (false, Some(ClosedBy::MissedTickets)));
    let point = folded(&[registered(), closed, Event::Opened {}]);
    assert_eq!((point.open, point.closed_by), (true, None));
    assert_eq!(point.status_version, 3);
}

#[test]
fn the_first_rule_that_fails_is_the_reason() {
    let needs = [need(BREAD, 4)];
    let stocked = folded(&[registered(), received(10)]);
    let refusal = |point: &FoodPoint, kind| point.passes(kind, &needs, NOON);
    assert_eq!(refusal(&stocked, Kind::Delivery), None);
    assert_eq!(refusal(&stocked, Kind::PickUp), Some(HoldRefusal::Kind));
    assert_eq!(
        refusal(&folded(&[registered()]), Kind::Delivery),
        Some(HoldRefusal::Stock)
    );
    let full = folded(&[registered(), received(10), held(FIRST, 1), held(SECOND, 1)]);
    assert_eq!(refusal(&full, Kind::Delivery), Some(HoldRefusal::Full));
    let closed = folded(&[registered(), Event::Closed { by: ClosedBy::Staff }]);
    assert_eq!(refusal(&closed, Kind::PickUp), Some(HoldRefusal::Closed));
}

#[test]
fn an_ingredient_named_twice_is_needed_twice() {
    let point = folded(&[registered(), received(10)]);
    assert!(point.is_available(&[need(BREAD, 5), need(BREAD, 5)]));
    assert!(!point.is_available(&[need(BREAD, 5), need(BREAD, 6)]));
    assert!(!point.is_available(&[need(BREAD, u64::MAX), need(BREAD, u64::MAX)]));
    assert!(!point.is_available(&[need(BREAD, 1), need(CHEESE, 1)]));
}

#[test]
fn the_document_survives_json() {
    let point = folded(&[registered(), received(10), held(FIRST, 4)]);
    let json = serde_json::to_string(&point).expect("string keys");
    assert_eq!(serde_json::from_str::<FoodPoint>(&json).expect("as written"), point);
}
