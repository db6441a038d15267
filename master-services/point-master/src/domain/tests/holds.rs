//! Holds from request to end.

use super::*;

#[test]
fn a_hold_takes_everything_or_says_the_first_thing_that_is_missing() {
    check([registered(), stocked()], hold(FIRST), [held(FIRST)]);
    let refused = |reason| [failed(FIRST, reason)];
    check([registered()], hold(FIRST), refused(HoldRefusal::Stock));
    let full = [registered(), stocked(), held(SECOND), held(THIRD)];
    check(full, hold(FIRST), refused(HoldRefusal::Full));
    let pick_up = Wanted {
        kind: Kind::PickUp,
        ..wanted(FIRST, 1)
    };
    check(
        [registered(), stocked()],
        Command::Hold(pick_up),
        refused(HoldRefusal::Kind),
    );
    check(
        [registered(), stocked(), closed(ClosedBy::Staff)],
        hold(FIRST),
        refused(HoldRefusal::Closed),
    );
}

#[test]
fn one_missing_ingredient_of_two_holds_nothing() {
    let mut both = wanted(FIRST, 4);
    both.needs.push(Need {
        ingredient: CHEESE,
        quantity: 1,
    });
    check(
        [registered(), stocked()],
        Command::Hold(both),
        [failed(FIRST, HoldRefusal::Stock)],
    );
}

/// What a hundred orders are answered, one after the other.
fn answers(point: &[Event], quantity: u64) -> Vec<Event> {
    let mut point = state(point);
    let mut answers = Vec::new();
    for number in 0..100 {
        let order = OrderId(Uuid::from_u128(1_000 + number));
        let events = decide(point.as_ref(), Command::Hold(wanted(order, quantity)), NOON).expect("registered");
        for event in events {
            point = fold(point, &event, NOON);
            assert!(point.as_ref().is_some_and(FoodPoint::balances));
            answers.push(event);
        }
    }
    answers
}

#[test]
fn of_a_hundred_orders_one_gets_the_last_portion_and_one_the_last_slot() {
    let large = Event::Registered {
        settings: Settings {
            pool: 1_000,
            ..settings()
        },
    };
    let small = Event::Registered {
        settings: Settings { pool: 1, ..settings() },
    };
    for (point, quantity, refusal) in [
        ([large, stocked()], 10, HoldRefusal::Stock),
        ([small, stocked()], 1, HoldRefusal::Full),
    ] {
        let answers = answers(&point, quantity);
        assert!(matches!(answers[0], Event::HoldHeld { .. }), "{:?}", answers[0]);
        let refused = |event: &Event| matches!(event, Event::HoldFailed { reason, .. } if *reason == refusal);
        assert!(answers[1..].iter().all(refused), "{answers:?}");
        assert_eq!(answers.len(), 100);
    }
}

#[test]
fn a_hold_outside_the_hours_is_refused() {
    // Open on Mondays; the epoch was a Thursday.
    let mondays = Event::Changed {
        settings: Settings {
            hours: vec![Opening {
                weekday: 1,
                opens_minute: 0,
                closes_minute: 1_440,
            }],
            ..settings()
        },
    };
    check(
        [registered(), stocked(), mondays],
        hold(FIRST),
        [failed(FIRST, HoldRefusal::Closed)],
    );
}

#[test]
fn a_request_that_comes_after_its_own_end_holds_nothing() {
    let stale = Wanted {
        expires_at: NOON,
        ..wanted(FIRST, 4)
    };
    check(
        [registered(), stocked()],
        Command::Hold(stale),
        [failed(FIRST, HoldRefusal::Ended)],
    );
}

#[test]
fn a_request_told_twice_holds_once() {
    check([registered(), stocked(), held(FIRST)], hold(FIRST), []);
    check(
        [registered(), stocked(), held(FIRST), confirmed(FIRST)],
        hold(FIRST),
        [],
    );
}

#[test]
fn a_newer_attempt_replaces_an_older_one_and_an_older_one_is_no_news() {
    let newer = Wanted {
        attempt: 2,
        ..wanted(FIRST, 10)
    };
    let held_again = Event::HoldHeld {
        order: FIRST,
        attempt: 2,
        needs: need(10),
        expires_at: later(18),
    };
    check(
        [registered(), stocked(), held(FIRST)],
        Command::Hold(newer),
        [released(FIRST, ReleaseCause::Abandoned), held_again.clone()],
    );
    let given = || [registered(), stocked(), held_again.clone()];
    check(given(), hold(FIRST), []);
    check(given(), confirm(FIRST), []);
    check(given(), consume(FIRST), []);
    check(given(), release(FIRST, ReleaseCause::Abandoned), []);
}

#[test]
fn a_hold_is_confirmed_once() {
    check(
        [registered(), stocked(), held(FIRST)],
        confirm(FIRST),
        [confirmed(FIRST)],
    );
    check(
        [registered(), stocked(), held(FIRST), confirmed(FIRST)],
        confirm(FIRST),
        [],
    );
}

#[test]
fn confirming_a_hold_that_ended_is_answered_with_ended() {
    check(
        [
            registered(),
            stocked(),
            held(FIRST),
            Event::HoldExpired {
                order: FIRST,
                attempt: 1,
            },
        ],
        confirm(FIRST),
        [failed(FIRST, HoldRefusal::Ended)],
    );
    check([registered()], confirm(FIRST), [failed(FIRST, HoldRefusal::Ended)]);
}

#[test]
fn ready_food_consumes_its_hold_once() {
    let consumed = Event::HoldConsumed {
        order: FIRST,
        attempt: 1,
    };
    let given = || [registered(), stocked(), held(FIRST), confirmed(FIRST)];
    check(given(), consume(FIRST), [consumed.clone()]);
    let [a, b, c, d] = given();
    check([a, b, c, d, consumed], consume(FIRST), []);
}

#[test]
fn an_ended_order_gives_back_what_was_not_cooked() {
    let given = || [registered(), stocked(), held(FIRST), confirmed(FIRST)];
    check(given(), end(FIRST, false), [released(FIRST, ReleaseCause::OrderEnded)]);
    check(
        given(),
        end(FIRST, true),
        [Event::HoldWasted {
            order: FIRST,
            attempt: 1,
        }],
    );
    check([registered()], end(FIRST, true), []);
}

#[test]
fn two_unanswered_tickets_in_a_row_pause_the_point() {
    let timed_out = |order| released(order, ReleaseCause::TimedOut);
    let miss = |order| release(order, ReleaseCause::TimedOut);
    check([registered(), stocked(), held(FIRST)], miss(FIRST), [timed_out(FIRST)]);
    let once = || [registered(), stocked(), held(FIRST), timed_out(FIRST), held(SECOND)];
    check(
        once(),
        miss(SECOND),
        [timed_out(SECOND), closed(ClosedBy::MissedTickets)],
    );
    // Refusing is an answer, and so is accepting.
    check(
        once(),
        release(SECOND, ReleaseCause::Rejected),
        [released(SECOND, ReleaseCause::Rejected)],
    );
    let [a, b, c, d, e] = once();
    check(
        [a, b, c, d, e, confirmed(SECOND), held(THIRD)],
        miss(THIRD),
        [timed_out(THIRD)],
    );
}

#[test]
fn a_point_that_was_opened_again_may_miss_again() {
    let timed_out = released(FIRST, ReleaseCause::TimedOut);
    check(
        [
            registered(),
            stocked(),
            held(FIRST),
            timed_out,
            closed(ClosedBy::Staff),
            Event::Opened {},
            held(SECOND),
        ],
        release(SECOND, ReleaseCause::TimedOut),
        [released(SECOND, ReleaseCause::TimedOut)],
    );
}

#[test]
fn a_closed_point_is_not_closed_by_a_miss() {
    check(
        [
            registered(),
            stocked(),
            held(FIRST),
            held(SECOND),
            released(FIRST, ReleaseCause::TimedOut),
            closed(ClosedBy::Staff),
        ],
        release(SECOND, ReleaseCause::TimedOut),
        [released(SECOND, ReleaseCause::TimedOut)],
    );
}

#[test]
fn a_hold_sets_its_own_timer_and_every_end_of_it_clears_that() {
    let point = state(&[registered(), stocked(), held(FIRST)]).expect("registered");
    let kind = format!("hold:{FIRST}");
    assert_eq!(
        react(&point, &held(FIRST), NOON),
        [Effect::set(kind.clone(), later(18))]
    );
    let (order, attempt) = (FIRST, 1);
    for event in [
        confirmed(FIRST),
        released(FIRST, ReleaseCause::Rejected),
        Event::HoldConsumed { order, attempt },
        Event::HoldWasted { order, attempt },
        Event::HoldExpired { order, attempt },
    ] {
        assert_eq!(react(&point, &event, NOON), [Effect::clear(kind.clone())], "{event:?}");
    }
}

#[test]
fn a_hold_expires_unless_it_was_confirmed_or_has_ended() {
    let fired = |given: &[Event], at| fire(state(given).as_ref(), &format!("hold:{FIRST}"), at);
    let holding = [registered(), stocked(), held(FIRST)];
    assert_eq!(
        fired(&holding, later(18)),
        [Event::HoldExpired {
            order: FIRST,
            attempt: 1
        }]
    );
    assert_eq!(fired(&holding, later(17)), []);
    let firm = [registered(), stocked(), held(FIRST), confirmed(FIRST)];
    assert_eq!(fired(&firm, later(18)), []);
    assert_eq!(fired(&[registered()], later(18)), []);
    assert_eq!(fired(&[], later(18)), []);
    assert_eq!(fire(state(&holding).as_ref(), "other", later(18)), []);
}
