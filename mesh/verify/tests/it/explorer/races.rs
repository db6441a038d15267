//! Two who act at the same time, in every order in which it can happen and be heard, until nothing is left to happen:
//! it ends in one of the ways that the table has, and in no other.

use mesh_contracts::order::Status;

use super::search::{Scenario, explore};
use super::step::Act::{self, *};
use super::{PLACED, courier_asked, just_placed, once, plain, uncollected};
use crate::silence::actors::ORDER;
use crate::silence::world::World;
use crate::table;

/// No race takes more steps to its end.
const STEPS_MAX: usize = 100;

#[track_caller]
fn race(acts: &[Act], scenario: Scenario, ends: &[&str]) {
    let seen = explore(&Scenario {
        acts: once(acts),
        losses: 1,
        to_the_end: true,
        depth: STEPS_MAX,
        ..scenario
    });
    if let Some(breach) = seen.breach {
        panic!("{breach}");
    }
    let found: Vec<&str> = seen.ends.keys().map(String::as_str).collect();
    assert_eq!(found, ends);
}

/// The moment at which a deadline of the order or its delivery passes.
fn at_deadline(mut world: World, timer: &str) -> World {
    let of_order = |stream: &str| {
        [ORDER.to_string(), ORDER.delivery().to_string()]
            .iter()
            .any(|id| id == stream)
    };
    let due = world
        .timers
        .iter()
        .find(|((stream, kind), _)| of_order(stream) && kind == timer);
    world.now = *due.expect("it is set").1;
    world
}

/// Cooking may begin as soon as the hold is confirmed: then the customer pays half.
#[test]
fn cancel_and_accept() {
    race(
        &[Cancel, Accept(0)],
        plain("cancel and accept", table::offered()),
        &[
            "cancel, accept 0 refused: cancelled for CustomerCancelled, 0 kept, 0 used",
            "cancel, accept 0: cancelled for CustomerCancelled, 0 kept, 0 used",
            "cancel, accept 0: cancelled for CustomerCancelled, 900 kept, 4 used",
        ],
    );
}

#[test]
fn cancel_and_reject() {
    race(
        &[Cancel, Reject(0)],
        plain("cancel and reject", table::offered()),
        &[
            "cancel, reject 0 refused: cancelled for CustomerCancelled, 0 kept, 0 used",
            "cancel, reject 0: cancelled for CustomerCancelled, 0 kept, 0 used",
        ],
    );
}

/// Nobody cooks after that: an order that was accepted in time is given up by its last deadline.
#[test]
fn accept_and_its_deadline() {
    let root = at_deadline(table::offered(), "ticket");
    race(
        &[Accept(0)],
        plain("accept and its deadline", root),
        &[
            "accept 0 refused: rejected for NoCandidate, 0 kept, 0 used",
            "accept 0: cancelled for Late, 0 kept, 4 used",
        ],
    );
}

#[test]
fn a_kitchen_rejects_while_another_accepts_and_the_customer_cancels() {
    let scenario = plain("reject, accept and cancel", table::offered());
    race(
        &[Reject(0), Accept(1), Cancel],
        scenario,
        &[
            "reject 0 refused, accept 1 refused, cancel: cancelled for CustomerCancelled, 0 kept, 0 used",
            "reject 0, accept 1 refused, cancel: cancelled for CustomerCancelled, 0 kept, 0 used",
            "reject 0, accept 1, cancel: cancelled for CustomerCancelled, 0 kept, 0 used",
            "reject 0, accept 1, cancel: cancelled for CustomerCancelled, 900 kept, 4 used",
        ],
    );
}

#[test]
fn cancel_and_the_promise_of_the_money() {
    let scenario = Scenario {
        unheard: PLACED,
        ..plain("cancel and the promise", just_placed())
    };
    race(
        &[Cancel],
        scenario,
        &["cancel: cancelled for CustomerCancelled, 0 kept, 0 used"],
    );
}

/// What the customer owes of food that was begun is a debt.
#[test]
fn cancel_and_a_capture_that_fails() {
    let paid = |world: &World| {
        world
            .orders
            .get(ORDER)
            .is_some_and(|order| order.status == Status::Paid)
    };
    let root = table::state(&uncollected(), paid);
    race(
        &[Cancel, Accept(0)],
        plain("cancel and a capture that fails", root),
        &[
            "cancel, accept 0 refused: cancelled for CustomerCancelled, 0 kept, 0 used",
            "cancel, accept 0: cancelled for CustomerCancelled, 0 kept, 0 used",
            "cancel, accept 0: cancelled for CustomerCancelled, 0 kept, 4 used",
        ],
    );
}

/// Accepted and not confirmed, it is asked elsewhere (row 6); confirmed, it is stopped (row 10); on the stove, it stays.
#[test]
fn accept_and_the_closing_of_the_point() {
    race(
        &[Accept(0), Close(0)],
        plain("accept and close", table::offered()),
        &[
            "accept 0 refused, close 0: rejected for NoCandidate, 0 kept, 0 used",
            "accept 0, close 0: cancelled for ClosingEarly, 0 kept, 0 used",
            "accept 0, close 0: cancelled for Late, 0 kept, 4 used",
            "accept 0, close 0: rejected for NoCandidate, 0 kept, 0 used",
        ],
    );
}

/// Neither stops what is on the stove already.
#[test]
fn cancel_and_stop() {
    race(
        &[Cancel, Stop(0)],
        plain("cancel and stop", table::queued()),
        &[
            "cancel, stop 0 refused: cancelled for CustomerCancelled, 0 kept, 0 used",
            "cancel, stop 0 refused: cancelled for CustomerCancelled, 900 kept, 4 used",
            "cancel, stop 0: cancelled for CustomerCancelled, 0 kept, 0 used",
        ],
    );
}

#[test]
fn cancel_and_ready() {
    race(
        &[Cancel, MarkReady(0)],
        plain("cancel and ready", table::cooking()),
        &[
            "cancel refused, mark ready 0: cancelled for CourierNotFound, 0 kept, 4 used",
            "cancel, mark ready 0 refused: cancelled for CustomerCancelled, 900 kept, 4 used",
        ],
    );
}

/// Whoever is asked may take it, and nobody else; then nothing more is done.
#[test]
fn two_couriers_for_one_job() {
    let root = at_deadline(courier_asked(), "offer");
    race(
        &[Take(0), Offer(1), Take(1)],
        plain("two couriers", root),
        &[
            "take 0 refused, offer 1 refused, take 1 refused: cancelled for CourierNotFound, 0 kept, 4 used",
            "take 0 refused, offer 1, take 1 refused: cancelled for CourierNotFound, 0 kept, 4 used",
            "take 0 refused, offer 1, take 1: cancelled for CourierNotFound, 0 kept, 4 used",
            "take 0, offer 1 refused, take 1 refused: cancelled for CourierNotFound, 0 kept, 4 used",
        ],
    );
}

/// A customer cannot cancel what is cooked.
#[test]
fn pick_up_and_cancel() {
    race(
        &[PickUp(0), Cancel],
        plain("pick up and cancel", table::ready()),
        &["pick up 0, cancel refused: undelivered for Late, 0 kept, 4 used"],
    );
}

/// What the courier has taken and order-master has not heard of ends as what waits on the counter.
#[test]
fn pick_up_and_override() {
    race(
        &[PickUp(0), Override],
        plain("pick up and override", table::ready()),
        &[
            "pick up 0 refused, override: cancelled for Other, 0 kept, 4 used",
            "pick up 0, override: cancelled for Other, 0 kept, 4 used",
            "pick up 0, override: undelivered for Other, 0 kept, 4 used",
        ],
    );
}

#[test]
fn pick_up_and_drop() {
    race(
        &[PickUp(0), Drop(0)],
        plain("pick up and drop", table::ready()),
        &[
            "pick up 0 refused, drop 0: cancelled for CourierNotFound, 0 kept, 4 used",
            "pick up 0, drop 0 refused: undelivered for Late, 0 kept, 4 used",
        ],
    );
}

#[test]
fn pick_up_and_its_deadline() {
    let root = at_deadline(table::ready(), "pick_up");
    race(
        &[PickUp(0)],
        plain("pick up and its deadline", root),
        &[
            "pick up 0 refused: cancelled for CourierNotFound, 0 kept, 4 used",
            "pick up 0: undelivered for Late, 0 kept, 4 used",
        ],
    );
}

#[test]
fn deliver_and_override() {
    race(
        &[Deliver(0), Override],
        plain("deliver and override", table::on_its_way()),
        &[
            "deliver 0 refused, override: undelivered for Other, 0 kept, 4 used",
            "deliver 0, override refused: completed, 1800 kept, 4 used",
            "deliver 0, override: undelivered for Other, 0 kept, 4 used",
        ],
    );
}

#[test]
fn deliver_and_hand_over() {
    let scenario = plain("deliver and hand over", table::on_its_way());
    race(
        &[Deliver(0), HandOver(1), Take(1), Deliver(1)],
        scenario,
        &[
            "deliver 0 refused, hand over 1, take 1, deliver 1 refused: undelivered for Late, 0 kept, 4 used",
            "deliver 0 refused, hand over 1, take 1, deliver 1: completed, 1800 kept, 4 used",
            "deliver 0, hand over 1 refused, take 1 refused, deliver 1 refused: completed, 1800 kept, 4 used",
            "deliver 0, hand over 1, take 1 refused, deliver 1 refused: completed, 1800 kept, 4 used",
        ],
    );
}

#[test]
fn collect_and_override() {
    race(
        &[Collect(0), Override],
        plain("collect and override", table::on_the_counter()),
        &[
            "collect 0 refused, override: cancelled for Other, 0 kept, 4 used",
            "collect 0, override refused: completed, 1800 kept, 4 used",
        ],
    );
}

#[test]
fn collect_and_its_deadline() {
    let root = at_deadline(table::on_the_counter(), "give_up");
    race(
        &[Collect(0)],
        plain("collect and its deadline", root),
        &[
            "collect 0 refused: undelivered for CustomerNotFound, 1800 kept, 4 used",
            "collect 0: completed, 1800 kept, 4 used",
        ],
    );
}
