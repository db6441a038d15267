//! From taking it to the door, and every other end.

use super::*;

#[test]
fn a_job_can_be_dropped_until_it_is_picked_up() {
    let drop = || Command::Drop { courier: ANNA };
    check(
        [opened(), offered(1, ANNA), assigned(ANNA)],
        drop(),
        Ok(dropped(DropCause::Dropped)),
    );
    let given = [opened(), offered(1, ANNA), assigned(ANNA), food_ready(), picked_up()];
    check(given, drop(), Err(Rejection::WrongState(Status::PickedUp)));
}

#[test]
fn a_courier_who_fell_silent_loses_the_job() {
    let given = [opened(), offered(1, ANNA), assigned(ANNA)];
    check(
        given,
        Command::Silence { courier: ANNA },
        Ok(dropped(DropCause::Silent)),
    );
}

#[test]
fn food_that_waits_too_long_goes_to_another_courier() {
    let given = [opened(), offered(1, ANNA), assigned(ANNA), called_for_pick_up()];
    check(given, Command::NotPickedUp, Ok(dropped(DropCause::NotPickedUp)));
}

#[test]
fn ready_food_starts_the_time_to_pick_up_for_whoever_has_the_job() {
    check([opened()], Command::FoodReady, Ok(alone(food_ready())));
    let called = Event::FoodReady {
        pick_up_by: Some(after(22)),
    };
    check(
        [opened(), offered(1, ANNA), assigned(ANNA)],
        Command::FoodReady,
        Ok(alone(called)),
    );
    check([opened(), food_ready()], Command::FoodReady, Ok(nothing()));
}

#[test]
fn nothing_is_picked_up_before_it_is_ready() {
    let given = [opened(), offered(1, ANNA), assigned(ANNA)];
    check(given, Command::PickUp { courier: ANNA }, Err(Rejection::NotReady));
}

#[test]
fn a_pick_up_says_when_it_should_be_at_the_door() {
    // Ten minutes on the way and four at the door.
    let given = [opened(), offered(1, ANNA), assigned(ANNA), food_ready()];
    check(given, Command::PickUp { courier: ANNA }, Ok(alone(picked_up())));
}

#[test]
fn a_delivery_ends_at_the_door_with_its_proof() {
    let deliver = || Command::Deliver {
        courier: ANNA,
        proof: Some(Proof::Pin),
    };
    let start = || [opened(), offered(1, ANNA), assigned(ANNA), food_ready(), picked_up()];
    check(start(), deliver(), Ok(both(delivered(), job_ended())));
    let [a, b, c, d, e] = start();
    check(
        [a, b, c, d, e, attempted()],
        deliver(),
        Ok(both(delivered(), job_ended())),
    );
    let [a, b, c, d, e] = start();
    check(
        [a, b, c, d, e, delivered()],
        deliver(),
        Err(Rejection::WrongState(Status::Delivered)),
    );
    let early = [opened(), offered(1, ANNA), assigned(ANNA)];
    check(early, deliver(), Err(Rejection::WrongState(Status::Assigned)));
}

#[test]
fn a_wrong_pin_hands_nothing_over() {
    let given = [opened(), offered(1, ANNA), assigned(ANNA), food_ready(), picked_up()];
    let guess = |courier| Command::Deliver { courier, proof: None };
    check(given.clone(), guess(ANNA), Err(Rejection::WrongPin));
    // A stranger learns nothing about the PIN.
    check(given, guess(BORIS), Err(Rejection::NoSuchDelivery));
}

#[test]
fn a_closed_door_is_recorded_once() {
    let fail = || Command::Fail {
        courier: ANNA,
        reason: Reason::CustomerNotFound,
    };
    let given = [opened(), offered(1, ANNA), assigned(ANNA), food_ready(), picked_up()];
    check(given.clone(), fail(), Ok(alone(attempted())));
    let [a, b, c, d, e] = given;
    check(
        [a, b, c, d, e, attempted()],
        fail(),
        Err(Rejection::WrongState(Status::Attempted)),
    );
}

#[test]
fn an_order_that_ends_frees_whoever_has_the_job() {
    check([opened()], Command::Cancel, Ok(alone(cancelled(None))));
    check(
        [opened(), offered(1, ANNA)],
        Command::Cancel,
        Ok(alone(cancelled(None))),
    );
    let given = [opened(), offered(1, ANNA), assigned(ANNA)];
    check(given, Command::Cancel, Ok(both(cancelled(Some(ANNA)), job_ended())));
    let over = [
        opened(),
        offered(1, ANNA),
        assigned(ANNA),
        food_ready(),
        picked_up(),
        delivered(),
    ];
    check(over, Command::Cancel, Ok(nothing()));
}

#[test]
fn timers_follow_the_events() {
    let due = after(3);
    let watch_offer = Event::Offered {
        attempt: 1,
        courier: ANNA,
        pickup_distance_m: 1,
        answer_by: due,
    };
    assert_eq!(react(&watch_offer), [Effect::set("offer", due)]);
    let watch_pick_up = Event::Assigned {
        courier: ANNA,
        pick_up_by: Some(due),
    };
    assert_eq!(
        react(&watch_pick_up),
        [Effect::clear("offer"), Effect::set("pick_up", due)]
    );
    assert_eq!(
        react(&Event::FoodReady { pick_up_by: Some(due) }),
        [Effect::set("pick_up", due)]
    );
    assert_eq!(react(&picked_up()), [Effect::clear("pick_up")]);
    assert_eq!(
        react(&cancelled(None)),
        [Effect::clear("offer"), Effect::clear("pick_up")]
    );
    assert_eq!(Command::of_timer("offer"), Some(Command::Lapse));
    assert_eq!(Command::of_timer("pick_up"), Some(Command::NotPickedUp));
    assert_eq!(Command::of_timer("other"), None);
}
