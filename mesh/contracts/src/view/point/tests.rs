use super::*;
use crate::geo::{Coordinates, Country, Place};
use crate::point::WasteReason;
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
    assert_eq!(kitchen_of(&point), boards(events), "the board folds the same events");
    point
}

/// If this changes, raise [`FOLD_VERSION`]: snapshots of before would be read as something else.
#[test]
fn the_form_of_its_snapshots_is_pinned() {
    let low = Event::StockSettingsChanged {
        ingredient: BREAD,
        low_at: Some(5),
    };
    let closed = Event::Closed { by: ClosedBy::Staff };
    let point = folded(&[registered(), received(10), held(FIRST, 3), low, closed]);
    let form = serde_json::to_string(&(FOLD_VERSION, point)).expect("plain data");
    insta::assert_snapshot!(form, @r#"[1,{"settings":{"name":"Alexanderplatz","place":{"country":"DE","at":{"lat_e6":52521918,"lon_e6":13413215}},"kinds":["delivery"],"radius_m":5000,"pool":2,"auto_accept":false,"hours":[],"utc_offset_minutes":60},"open":false,"closed_by":"staff","misses":0,"stock":{"ing_00000000000000000000000001":{"available":7,"held":3,"consumed":0,"wasted":0,"received":10,"corrected":0,"gone":false,"low_at":5,"state":"open"}},"holds":{"ord_0000000000000000000000000b":{"attempt":1,"needs":[{"ingredient":"ing_00000000000000000000000001","quantity":3}],"state":"held","expires_at":"1970-01-01T00:00:00Z"}},"status_version":5,"version":5,"registered_at":"1970-01-01T00:00:00Z","updated_at":"1970-01-01T00:00:00Z"}]"#);
}

/// What the operators' board shows of a food point.
type OnBoard = (String, u16, bool, Option<ClosedBy>, Vec<(OrderId, u32)>, u64);

fn kitchen_of(point: &FoodPoint) -> OnBoard {
    let holds = point.holds.iter().map(|(order, hold)| (*order, hold.attempt));
    let FoodPoint {
        settings,
        open,
        closed_by,
        version,
        ..
    } = point;
    (
        settings.name.clone(),
        settings.pool,
        *open,
        *closed_by,
        holds.collect(),
        *version,
    )
}

fn boards(events: &[Event]) -> OnBoard {
    use crate::view::kitchen;
    let kitchen = events
        .iter()
        .fold(None, |kitchen, event| kitchen::fold(kitchen, event, NOON));
    let kitchen = kitchen.expect("it starts with its registration");
    let holds = kitchen.holds.into_iter().collect();
    (
        kitchen.name,
        kitchen.pool,
        kitchen.open,
        kitchen.closed_by,
        holds,
        kitchen.version,
    )
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
fn what_is_gone_is_not_offered_until_it_is_there_again() {
    let gone = || {
        vec![
            registered(),
            received(10),
            held(FIRST, 4),
            Event::Gone {
                ingredient: BREAD,
                corrected: -6,
            },
        ]
    };
    let offers = |events: &[Event]| folded(events).is_available(&[need(BREAD, 1)]);
    assert!(!offers(&gone()));
    // What an order gives back is booked, and is not a reason to sell again what the kitchen said is gone.
    let mut given_back = gone();
    given_back.push(released(FIRST, ReleaseCause::OrderEnded));
    assert_eq!(bread(&folded(&given_back)).available, 4);
    assert!(!offers(&given_back));
    let counted = |counted, corrected| Event::Counted {
        ingredient: BREAD,
        counted,
        corrected,
    };
    let restored = Event::Restored {
        ingredient: BREAD,
        counted: 3,
        corrected: -1,
    };
    for (there_again, available) in [(received(5), 9), (counted(3, -1), 3), (restored, 3)] {
        let mut events = given_back.clone();
        events.push(there_again);
        assert_eq!(bread(&folded(&events)).available, available);
        assert!(offers(&events));
    }
    given_back.extend([counted(0, -4), released(SECOND, ReleaseCause::OrderEnded)]);
    assert!(bread(&folded(&given_back)).gone, "counting none does not bring it back");
}

#[test]
fn stock_is_low_from_its_threshold_down() {
    let threshold = |low_at| Event::StockSettingsChanged {
        ingredient: BREAD,
        low_at,
    };
    let low = |events: &[Event]| bread(&folded(events)).is_low();
    assert!(!low(&[registered(), received(10)]), "nobody said when");
    assert!(!low(&[registered(), received(10), threshold(Some(9))]));
    assert!(low(&[registered(), received(10), threshold(Some(10))]));
    assert!(low(&[registered(), received(10), threshold(Some(6)), held(FIRST, 4)]));
    assert!(!low(&[
        registered(),
        received(10),
        threshold(Some(10)),
        threshold(None)
    ]));
    assert!(low(&[registered(), received(0), threshold(Some(0))]));
    let ingredient = BREAD;
    let unneeded = [
        registered(),
        received(0),
        threshold(Some(0)),
        Event::StockUnneeded { ingredient },
    ];
    assert!(!low(&unneeded), "nobody needs more of it");
    assert!(!low(&[
        registered(),
        threshold(Some(0)),
        Event::StockClosed { ingredient }
    ]));
}

#[test]
fn stock_opens_with_nothing_and_keeps_its_book_when_it_closes() {
    let ingredient = BREAD;
    let opened = folded(&[registered(), Event::StockOpened { ingredient }]);
    assert_eq!(bread(&opened), Stock::default());
    let closed = folded(&[registered(), received(10), Event::StockClosed { ingredient }]);
    assert_eq!(
        (bread(&closed).available, bread(&closed).state),
        (10, StockState::Closed)
    );
    let again = folded(&[
        registered(),
        received(10),
        Event::StockClosed { ingredient },
        Event::StockOpened { ingredient },
    ]);
    assert_eq!((bread(&again).available, bread(&again).state), (10, StockState::Open));
}

#[test]
fn what_is_thrown_away_was_available() {
    let wasted = Event::Wasted {
        ingredient: BREAD,
        quantity: 6,
        reason: WasteReason::Expired,
    };
    let point = folded(&[registered(), received(10), held(FIRST, 4), wasted]);
    assert_eq!(
        (bread(&point).available, bread(&point).held, bread(&point).wasted),
        (0, 4, 6)
    );
}

#[test]
fn a_document_of_before_stock_could_be_gone_still_reads() {
    let old = r#"{"available":6,"held":4,"consumed":0,"wasted":0,"received":10,"corrected":0}"#;
    let stock: Stock = serde_json::from_str(old).expect("as an older build wrote it");
    assert_eq!((stock.on_offer(), stock.gone, stock.low_at), (6, false, None));
    assert_eq!(stock.state, StockState::Open);
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
