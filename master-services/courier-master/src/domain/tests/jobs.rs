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
        outcome: FailOutcome::Attempted,
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
        considered: Vec::new(),
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
        [
            Effect::clear("offer"),
            Effect::clear("pick_up"),
            Effect::clear("hand_over")
        ]
    );
    let invited = hand_over_offered(BORIS);
    assert_eq!(react(&invited), [Effect::set("hand_over", after(5))]);
    for over in [handed_over(), delivered(), returned(), lost(), declined_hand_over()] {
        assert_eq!(react(&over), [Effect::clear("hand_over")]);
    }
    assert_eq!(Command::of_timer("hand_over"), Some(Command::HandOverLapse));
    assert_eq!(Command::of_timer("offer"), Some(Command::Lapse));
    assert_eq!(Command::of_timer("pick_up"), Some(Command::NotPickedUp));
    assert_eq!(Command::of_timer("other"), None);
}

fn hand_over_offered(to: CourierId) -> Event {
    Event::HandOverOffered {
        from: ANNA,
        to,
        answer_by: after(5),
    }
}

fn handed_over() -> Event {
    Event::HandedOver { from: ANNA, to: BORIS }
}

fn declined_hand_over() -> Event {
    Event::HandOverEnded {
        to: BORIS,
        cause: HandOverEnd::Declined,
    }
}

fn returned() -> Event {
    Event::Returned {
        courier: ANNA,
        reason: Reason::CustomerNotFound,
    }
}

fn lost() -> Event {
    Event::Lost { courier: ANNA }
}

fn on_its_way() -> [Event; 5] {
    [opened(), offered(1, ANNA), assigned(ANNA), food_ready(), picked_up()]
}

fn and<const N: usize, const M: usize>(given: [Event; N], more: Event) -> [Event; M] {
    let mut given = Vec::from(given);
    given.push(more);
    given.try_into().expect("one more")
}

fn failed(outcome: FailOutcome) -> Command {
    Command::Fail {
        courier: ANNA,
        reason: Reason::CustomerNotFound,
        outcome,
    }
}

#[test]
fn row_17_food_comes_back_only_after_an_attempt_and_frees_its_courier() {
    check(
        on_its_way(),
        failed(FailOutcome::Returned),
        Err(Rejection::WrongState(Status::PickedUp)),
    );
    let attempted: [Event; 6] = and(on_its_way(), attempted());
    check(
        attempted.clone(),
        failed(FailOutcome::Returned),
        Ok(both(returned(), job_ended())),
    );
    let back: [Event; 7] = and(attempted, returned());
    for again in [FailOutcome::Attempted, FailOutcome::Returned, FailOutcome::Lost] {
        check(
            back.clone(),
            failed(again),
            Err(Rejection::WrongState(Status::Returned)),
        );
    }
    check(back, Command::Cancel, Ok(nothing()));
}

#[test]
fn row_17_what_is_lost_is_lost_before_an_attempt_and_after_it() {
    let ended = || Ok(both(lost(), job_ended()));
    check(on_its_way(), failed(FailOutcome::Lost), ended());
    let attempted: [Event; 6] = and(on_its_way(), attempted());
    check(attempted, failed(FailOutcome::Lost), ended());
    let early = [opened(), offered(1, ANNA), assigned(ANNA)];
    check(
        early,
        failed(FailOutcome::Lost),
        Err(Rejection::WrongState(Status::Assigned)),
    );
    let gone: [Event; 6] = and(on_its_way(), lost());
    check(gone, Command::Cancel, Ok(nothing()));
}

#[test]
fn row_16_the_first_courier_keeps_it_until_the_other_one_has_said_yes() {
    let ask = Command::HandOver { to: BORIS };
    check(on_its_way(), ask, Ok(alone(hand_over_offered(BORIS))));
    let pending: [Event; 6] = and(on_its_way(), hand_over_offered(BORIS));
    let taken = Decision {
        delivery: vec![handed_over()],
        courier: vec![job_taken()],
        former: vec![job_ended()],
    };
    let accept = Command::Accept { courier: BORIS };
    assert_eq!(accept.party(folded(pending.clone()).as_ref()), Some(BORIS));
    assert_eq!(accept.former(folded(pending.clone()).as_ref()), Some(ANNA));
    check(pending.clone(), accept, Ok(taken));
    let deliver = |courier| Command::Deliver {
        courier,
        proof: Some(Proof::Pin),
    };
    check(pending.clone(), deliver(ANNA), Ok(both(delivered(), job_ended())));
    check(
        pending.clone(),
        deliver(BORIS),
        Err(Rejection::WrongState(Status::PickedUp)),
    );
    let theirs: [Event; 7] = and(pending, handed_over());
    check(
        theirs.clone(),
        deliver(ANNA),
        Err(Rejection::WrongState(Status::PickedUp)),
    );
    let by_boris = Event::Delivered {
        courier: BORIS,
        proof: Proof::Pin,
    };
    check(theirs, deliver(BORIS), Ok(both(by_boris, job_ended())));
}

#[test]
fn row_16_a_no_or_five_minutes_of_silence_leave_it_with_the_first() {
    let pending: [Event; 6] = and(on_its_way(), hand_over_offered(BORIS));
    let ended = |cause| Event::HandOverEnded { to: BORIS, cause };
    check(
        pending.clone(),
        Command::Decline { courier: BORIS },
        Ok(alone(ended(HandOverEnd::Declined))),
    );
    check(
        pending.clone(),
        Command::HandOverLapse,
        Ok(alone(ended(HandOverEnd::Lapsed))),
    );
    let over: [Event; 7] = and(pending.clone(), ended(HandOverEnd::Lapsed));
    assert_eq!(folded(over.clone()).and_then(|delivery| delivery.courier), Some(ANNA));
    check(over.clone(), Command::HandOverLapse, Ok(nothing()));
    check(
        over,
        Command::Accept { courier: BORIS },
        Err(Rejection::WrongState(Status::PickedUp)),
    );
    // Asked once more, the time starts again; asked another, the first one is no longer.
    check(
        pending.clone(),
        Command::HandOver { to: BORIS },
        Ok(alone(hand_over_offered(BORIS))),
    );
    let third = CourierId(Uuid::from_u128(3));
    let replaced = Decision {
        delivery: vec![ended(HandOverEnd::Replaced), hand_over_offered(third)],
        ..Decision::default()
    };
    check(pending, Command::HandOver { to: third }, Ok(replaced));
}

#[test]
fn row_16_only_what_is_on_its_way_goes_to_another_who_can_take_it() {
    let ask = || Command::HandOver { to: BORIS };
    check([opened()], ask(), Err(Rejection::WrongState(Status::Waiting)));
    check(
        [opened(), offered(1, ANNA), assigned(ANNA)],
        ask(),
        Err(Rejection::WrongState(Status::Assigned)),
    );
    let over: [Event; 6] = and(on_its_way(), delivered());
    check(over, ask(), Err(Rejection::WrongState(Status::Delivered)));
    check(
        on_its_way(),
        Command::HandOver { to: ANNA },
        Err(Rejection::SameCourier),
    );
    check_with(Vec::new(), on_its_way(), ask(), Err(Rejection::NoSuchCourier));
    let off = with([CourierEvent::ShiftEnded {
        reason: ShiftEnd::Courier,
    }]);
    check_with(off.clone(), on_its_way(), ask(), Err(Rejection::OffShift));
    let pending: [Event; 6] = and(on_its_way(), hand_over_offered(BORIS));
    let accept = || Command::Accept { courier: BORIS };
    check_with(off, pending.clone(), accept(), Err(Rejection::OffShift));
    let full = with([
        CourierEvent::JobTaken { delivery: OTHER_JOB },
        CourierEvent::JobTaken {
            delivery: DeliveryId(Uuid::from_u128(11)),
        },
    ]);
    check_with(full.clone(), on_its_way(), ask(), Err(Rejection::TooManyJobs));
    check_with(full, pending, accept(), Err(Rejection::TooManyJobs));
}

fn open_at(food_point: u128) -> Command {
    let Command::Open {
        order,
        customer,
        destination,
        ..
    } = open(after(30))
    else {
        unreachable!("it was just made")
    };
    Command::Open {
        order,
        customer,
        food_point: FoodPointId(Uuid::from_u128(food_point)),
        pickup: place(9_000),
        destination,
        ready_by: after(30),
    }
}

#[test]
fn row_10_an_order_cooked_elsewhere_takes_the_courier_off_and_asks_anew_for_the_new_place() {
    let moved = Event::Moved {
        food_point: FoodPointId(Uuid::from_u128(5)),
        pickup: place(9_000),
        ready_by: after(30),
        offer_from: after(15),
    };
    check([opened()], open_at(5), Ok(alone(moved.clone())));
    check([opened(), offered(1, ANNA)], open_at(5), Ok(alone(moved.clone())));
    let mut rerouted = dropped(DropCause::Rerouted);
    rerouted.delivery.push(moved.clone());
    let assigned = [opened(), offered(1, ANNA), assigned(ANNA)];
    check(assigned.clone(), open_at(5), Ok(rerouted.clone()));
    let [a, b, c] = assigned;
    let [d, e] = <[Event; 2]>::try_from(rerouted.delivery).expect("two");
    let delivery = folded([a, b, c, d, e]).expect("opened");
    assert_eq!((delivery.status, delivery.courier), (Status::Waiting, None));
    assert_eq!((delivery.pickup, delivery.passed), (place(9_000), vec![]));
    assert_eq!(react(&moved), [Effect::clear("offer"), Effect::clear("pick_up")]);
    // The same place again, or food that is made, changes nothing.
    check([opened()], open(after(20)), Ok(nothing()));
    check([opened(), food_ready()], open_at(5), Ok(nothing()));
    check(on_its_way(), open_at(5), Ok(nothing()));
}
