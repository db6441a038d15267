//! What a kitchen says of its shelves, and what it cannot say.

use super::*;

/// More than any shelf holds.
const HUGE: u32 = u32::MAX;

fn receive(quantity: u32) -> Command {
    Command::Receive {
        ingredient: BREAD,
        quantity,
    }
}

fn count(quantity: u32) -> Command {
    Command::Count {
        ingredient: BREAD,
        quantity,
    }
}

fn waste(ingredient: IngredientId, quantity: u32) -> Command {
    Command::Waste {
        ingredient,
        quantity,
        reason: WasteReason::Spoiled,
    }
}

fn mark_gone() -> Command {
    Command::Gone { ingredient: BREAD }
}

fn back(ingredient: IngredientId, quantity: u32) -> Command {
    Command::Back { ingredient, quantity }
}

fn counted(counted: u32, corrected: i64) -> Event {
    Event::Counted {
        ingredient: BREAD,
        counted,
        corrected,
    }
}

fn wasted(quantity: u32) -> Event {
    Event::Wasted {
        ingredient: BREAD,
        quantity,
        reason: WasteReason::Spoiled,
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

fn nothing() -> Rejection {
    Rejection::invalid("quantity", "must be at least 1")
}

#[test]
fn receiving_nothing_is_refused() {
    check([registered()], receive(10), [stocked()]);
    refuse([registered()], receive(0), nothing());
}

#[test]
fn a_count_corrects_what_is_promised_to_nobody() {
    // 10 came in, 4 are held: 6 should be on the shelf.
    let given = || [registered(), stocked(), held(FIRST)];
    check(given(), count(5), [counted(5, -1)]);
    check(given(), count(6), [counted(6, 0)]);
    check(given(), count(9), [counted(9, 3)]);
    check(given(), count(HUGE), [counted(HUGE, i64::from(HUGE) - 6)]);
    check([registered()], count(3), [counted(3, 3)]);
    check([registered()], count(0), [counted(0, 0)]);
}

#[test]
fn only_what_is_promised_to_nobody_can_be_thrown_away() {
    let given = || [registered(), stocked(), held(FIRST)];
    check(given(), waste(BREAD, 6), [wasted(6)]);
    refuse(given(), waste(BREAD, 7), Rejection::NotEnough { available: 6 });
    refuse(given(), waste(BREAD, HUGE), Rejection::NotEnough { available: 6 });
    refuse(given(), waste(BREAD, 0), nothing());
    let [a, b, c] = given();
    refuse(
        [a, b, c, wasted(6)],
        waste(BREAD, 1),
        Rejection::NotEnough { available: 0 },
    );
}

#[test]
fn gone_takes_the_shelf_and_leaves_what_is_held() {
    check([registered(), stocked(), held(FIRST)], mark_gone(), [gone(-6)]);
    check([registered(), stocked(), gone(-10)], mark_gone(), []);
    // An empty shelf can be gone, too: what a hold gives back is then not sold again.
    let given = || [registered(), stocked(), held(FIRST), wasted(6)];
    check(given(), mark_gone(), [gone(0)]);
    let [a, b, c, d] = given();
    let given_back = released(FIRST, ReleaseCause::OrderEnded);
    check([a, b, c, d, gone(0), given_back], mark_gone(), [gone(-4)]);
}

#[test]
fn what_is_gone_holds_no_order_until_it_is_there_again() {
    let other = released(FIRST, ReleaseCause::OrderEnded);
    let given = || [registered(), stocked(), held(FIRST), gone(-6), other.clone()];
    check(given(), hold(SECOND), [failed(SECOND, HoldRefusal::Stock)]);
    for there_again in [restored(4, 0), stocked(), counted(4, 0)] {
        let [a, b, c, d, e] = given();
        check([a, b, c, d, e, there_again], hold(SECOND), [held(SECOND)]);
    }
}

#[test]
fn only_what_is_gone_comes_back_with_what_was_counted() {
    let given = || [registered(), stocked(), gone(-10)];
    check(given(), back(BREAD, 7), [restored(7, 7)]);
    check(given(), back(BREAD, HUGE), [restored(HUGE, i64::from(HUGE))]);
    refuse(given(), back(BREAD, 0), nothing());
    let [a, b, c] = given();
    refuse([a, b, c, restored(7, 7)], back(BREAD, 7), Rejection::NotGone);
    refuse([registered(), stocked()], back(BREAD, 7), Rejection::NotGone);
    // Two of the four that a hold gave back were no good after all.
    let given_back = released(FIRST, ReleaseCause::OrderEnded);
    check(
        [registered(), stocked(), held(FIRST), gone(-6), given_back],
        back(BREAD, 2),
        [restored(2, -2)],
    );
}

#[test]
fn a_threshold_is_said_once_and_taken_back() {
    let change = |low_at| Command::ChangeStock {
        ingredient: BREAD,
        low_at,
    };
    let changed = |low_at| Event::StockSettingsChanged {
        ingredient: BREAD,
        low_at,
    };
    let given = || [registered(), stocked(), changed(Some(5))];
    check([registered(), stocked()], change(Some(5)), [changed(Some(5))]);
    check(given(), change(Some(5)), []);
    check(given(), change(Some(0)), [changed(Some(0))]);
    check(given(), change(None), [changed(None)]);
    check([registered(), stocked()], change(None), []);
}

#[test]
fn of_an_ingredient_that_a_point_does_not_keep_only_goods_and_counts_are_taken() {
    for command in [
        waste(CHEESE, 1),
        Command::Gone { ingredient: CHEESE },
        back(CHEESE, 1),
        Command::ChangeStock {
            ingredient: CHEESE,
            low_at: Some(1),
        },
    ] {
        refuse([registered(), stocked()], command, Rejection::UnknownIngredient);
    }
}

#[test]
fn a_point_keeps_a_bounded_list_of_ingredients() {
    let mut given = vec![registered()];
    given.extend((0..INGREDIENTS_MAX).map(|number| Event::Received {
        ingredient: IngredientId(Uuid::from_u128(1_000 + number as u128)),
        quantity: 1,
    }));
    let point = state(&given);
    let receive = |ingredient| Command::Receive {
        ingredient,
        quantity: 1,
    };
    let known = IngredientId(Uuid::from_u128(1_000));
    assert!(decide(point.as_ref(), receive(known), NOON).is_ok());
    for command in [receive(BREAD), count(1)] {
        assert_eq!(
            decide(point.as_ref(), command, NOON),
            Err(Rejection::TooManyIngredients)
        );
    }
}
