//! Each check can fail: a rule is broken on purpose, and the explorer finds the way to what comes of it.

use courier_master::streams::Couriers;
use mesh_contracts::{courier, order, point};
use order_master::Orders;
use point_master::FoodPoints;

use super::search::{Scenario, explore};
use super::step::Act;
use super::{PLACED, courier_asked, just_placed, once, plain};
use crate::silence::actors::{BREAD, COURIERS, ORDER};
use crate::silence::world::World;
use crate::table;

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// An inbox applies again what it has marked.
    HearsRepeats,
    /// An inbox does not fill the gap before an event.
    HearsOverGaps,
    /// An inbox dies between mark and effect, and the mark was first.
    MarksBeforeTheEffect,
    /// A kitchen may accept whatever has become of the order.
    AcceptsAtTheEnd,
    /// A courier may take what others are asked for.
    TakesUnasked,
    /// A lost call is repeated as another call.
    NewKeys,
    /// The last deadline of an order is not stored.
    ForgetsTimers,
    /// What a hold gives back is lost.
    LosesStock,
}

/// An act that asks no rule, if that is the flaw.
pub fn act(flaw: Flaw, act: Act, world: &mut World) -> bool {
    let order = world.orders.get(ORDER).expect("placed");
    match (flaw, act, order.food_point) {
        (Flaw::AcceptsAtTheEnd, Act::Accept(_), Some(food_point)) => {
            let accepted = order::Event::TicketAccepted {
                attempt: order.attempt,
                food_point,
                ready_by: world.now,
                confirm_by: world.now,
            };
            world.append::<Orders>(|world| &mut world.orders, &ORDER.to_string(), vec![accepted]);
            true
        }
        (Flaw::TakesUnasked, Act::Take(nth), _) => {
            let taken = courier::Event::JobTaken {
                delivery: ORDER.delivery(),
            };
            let id = COURIERS[usize::from(nth)].to_string();
            world.append::<Couriers>(|world| &mut world.couriers, &id, vec![taken]);
            true
        }
        _ => act.carry_out(world, ORDER),
    }
}

/// What goes wrong after every step, if that is the flaw.
pub fn spoil(flaw: Flaw, world: &mut World) {
    let last = world.log.last().cloned();
    match (flaw, last) {
        (Flaw::ForgetsTimers, _) => {
            let order = ORDER.to_string();
            world
                .timers
                .retain(|(stream, kind), _| *stream != order || kind != "give_up");
        }
        (Flaw::LosesStock, Some(event)) if event.event_type == "hold.released" => {
            let (ingredient, corrected) = (BREAD, 0);
            let gone = point::Event::Gone { ingredient, corrected };
            world.append::<FoodPoints>(|world| &mut world.points, &event.stream, vec![gone]);
        }
        _ => {}
    }
}

#[track_caller]
#[allow(clippy::print_stdout, reason = "the way there is worth reading")]
fn finds(scenario: Scenario, flaw: Flaw, what: &str) {
    let sound = explore(&scenario);
    assert_eq!(sound.breach, None, "nothing is wrong without the flaw");
    let seen = explore(&Scenario { flaw, ..scenario });
    let witness = seen.breach.unwrap_or_else(|| panic!("{flaw:?} was not noticed"));
    println!("{witness}");
    assert!(witness.contains(what), "{flaw:?} is found as something else: {witness}");
}

#[test]
fn an_order_without_its_last_deadline_is_found_to_wait_for_ever() {
    let scenario = Scenario {
        waits: 2,
        ..plain("no last deadline", table::cooking())
    };
    finds(scenario, Flaw::ForgetsTimers, "I1");
}

#[test]
fn a_lost_call_that_is_repeated_as_another_one_is_found_to_take_the_money_twice() {
    let scenario = Scenario {
        acts: once(&[Act::Accept(0)]),
        losses: 1,
        ..plain("a new key for a lost call", table::offered())
    };
    finds(scenario, Flaw::NewKeys, "I2");
}

#[test]
fn stock_that_a_hold_loses_is_found_missing() {
    let scenario = Scenario {
        acts: once(&[Act::Reject(0)]),
        ..plain("stock lost", table::offered())
    };
    finds(scenario, Flaw::LosesStock, "I3");
}

#[test]
fn a_kitchen_that_accepts_what_has_ended_is_found_off_the_table() {
    let scenario = Scenario {
        acts: once(&[Act::Cancel, Act::Accept(0)]),
        ..plain("accepted after the end", table::offered())
    };
    finds(scenario, Flaw::AcceptsAtTheEnd, "I4");
}

#[test]
fn a_courier_who_takes_what_another_is_asked_for_is_found_with_the_same_job() {
    let scenario = Scenario {
        acts: once(&[Act::Take(1)]),
        ..plain("taken unasked", courier_asked())
    };
    finds(scenario, Flaw::TakesUnasked, "have the job");
}

#[test]
fn an_inbox_that_applies_repeats_is_found_to_hold_for_an_order_that_ended() {
    let scenario = Scenario {
        acts: once(&[Act::Cancel]),
        unheard: PLACED,
        ..plain("repeats applied", just_placed())
    };
    finds(scenario, Flaw::HearsRepeats, "at rest");
}

#[test]
fn an_inbox_that_leaves_gaps_is_found_out() {
    let scenario = Scenario {
        acts: once(&[Act::Reject(0)]),
        ..plain("gaps left", table::offered())
    };
    finds(scenario, Flaw::HearsOverGaps, "at rest");
}

#[test]
fn an_inbox_that_marks_before_the_effect_is_found_out() {
    let scenario = Scenario {
        acts: once(&[Act::Cancel]),
        ..plain("marked before the effect", table::offered())
    };
    finds(scenario, Flaw::MarksBeforeTheEffect, "at rest");
}
