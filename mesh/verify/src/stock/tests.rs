use jiff::Timestamp;
use mesh_contracts::point::{ReleaseCause, WasteReason};
use uuid::Uuid;

use super::*;
use crate::log::{log, said};

const BREAD: IngredientId = IngredientId(Uuid::from_u128(1));

fn order(number: u128) -> OrderId {
    OrderId(Uuid::from_u128(number))
}

fn received(quantity: u32) -> Event {
    Event::Received {
        ingredient: BREAD,
        quantity,
    }
}

fn counted(counted: u32, corrected: i64) -> Event {
    Event::Counted {
        ingredient: BREAD,
        counted,
        corrected,
    }
}

fn held(number: u128, quantity: u64) -> Event {
    Event::HoldHeld {
        order: order(number),
        attempt: 1,
        needs: vec![Need {
            ingredient: BREAD,
            quantity,
        }],
        expires_at: Timestamp::UNIX_EPOCH,
    }
}

fn consumed(number: u128) -> Event {
    Event::HoldConsumed {
        order: order(number),
        attempt: 1,
    }
}

fn released(number: u128) -> Event {
    Event::HoldReleased {
        order: order(number),
        attempt: 1,
        cause: ReleaseCause::OrderEnded,
    }
}

fn wasted(number: u128) -> Event {
    Event::HoldWasted {
        order: order(number),
        attempt: 1,
    }
}

fn gone(corrected: i64) -> Event {
    Event::Gone {
        ingredient: BREAD,
        corrected,
    }
}

fn restored(counted: u32, corrected: i64) -> Event {
    Event::Restored {
        ingredient: BREAD,
        counted,
        corrected,
    }
}

fn thrown_away(quantity: u32) -> Event {
    Event::Wasted {
        ingredient: BREAD,
        quantity,
        reason: WasteReason::Spoiled,
    }
}

#[track_caller]
fn check(events: &[Event], expected: &str) {
    let breaches = conserved("pnt_a", &log("pnt_a", events));
    assert_eq!(breaches.len(), usize::from(!expected.is_empty()), "{}", said(&breaches));
    assert!(said(&breaches).contains(expected), "{}", said(&breaches));
}

#[test]
fn stock_that_only_moves_is_fine() {
    check(
        &[
            received(10),
            held(1, 3),
            held(2, 2),
            held(3, 5),
            consumed(1),
            released(2),
            wasted(3),
            counted(1, -1),
            gone(-1),
            restored(2, 2),
            received(4),
            thrown_away(6),
        ],
        "",
    );
}

#[test]
fn throwing_away_more_than_there_is_is_a_breach() {
    check(&[received(2), thrown_away(3)], "version 2 (stock.wasted): negative");
}

#[test]
fn stock_that_closes_while_held_is_a_breach() {
    let closed = || Event::StockClosed { ingredient: BREAD };
    check(&[received(10), held(1, 3), consumed(1), closed()], "");
    check(&[received(10), held(1, 3), closed()], "closed while 3 of it are held");
}

#[test]
fn more_held_than_there_is_is_a_breach() {
    check(&[received(2), held(1, 3)], "version 2 (hold.held)");
}

#[test]
fn a_correction_that_is_not_the_difference_is_a_breach() {
    check(&[received(10), counted(8, -1)], "9 came in, 8 are accounted for");
    check(&[received(10), gone(-9)], "1 came in, 0 are accounted for");
}

#[test]
fn what_is_not_held_cannot_end() {
    check(&[received(10), consumed(1)], "nothing is held");
    check(&[received(10), held(1, 1), consumed(1), released(1)], "version 4");
}

#[test]
fn holding_twice_is_a_breach() {
    check(&[received(10), held(1, 1), held(1, 1)], "held twice");
}

#[test]
fn a_received_amount_that_was_deleted_shows_where_it_is_missed() {
    let mut events = log("pnt_a", &[received(10), held(1, 3), consumed(1)]);
    events.remove(0);
    let breaches = conserved("pnt_a", &events);
    assert_eq!(breaches.len(), 2, "{}", said(&breaches));
}
