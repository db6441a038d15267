//! From the request to somebody who takes it.

use super::*;

#[test]
fn a_delivery_opens_and_asks_nobody_earlier_than_a_quarter_of_an_hour_before_the_food() {
    check([], open(after(20)), Ok(alone(opened())));
    let Ok(decision) = decide(None, None, open(after(5)), noon(), &Policy::default()) else {
        panic!("it opens")
    };
    assert!(matches!(decision.delivery[..], [Event::Opened { offer_from, .. }] if offer_from == noon()));
}

#[test]
fn a_delivery_opens_once() {
    check([opened()], open(after(20)), Ok(nothing()));
}

#[test]
fn an_order_without_delivery_is_none_of_ours() {
    for command in [
        Command::FoodReady,
        Command::Cancel,
        Command::Lapse,
        Command::NotPickedUp,
    ] {
        check([], command, Ok(nothing()));
    }
}

#[test]
fn an_offer_counts_up_and_has_45_seconds() {
    check(
        [opened()],
        Command::Offer {
            courier: ANNA,
            pickup_distance_m: 640,
            considered: Vec::new(),
        },
        Ok(alone(offered(1, ANNA))),
    );
    let second = Command::Offer {
        courier: BORIS,
        pickup_distance_m: 640,
        considered: Vec::new(),
    };
    check(
        [opened(), offered(1, ANNA), declined(ANNA)],
        second,
        Ok(alone(offered(2, BORIS))),
    );
}

#[test]
fn only_a_waiting_delivery_is_offered() {
    let offer = || Command::Offer {
        courier: BORIS,
        pickup_distance_m: 640,
        considered: Vec::new(),
    };
    check(
        [opened(), offered(1, ANNA)],
        offer(),
        Err(Rejection::WrongState(Status::Offered)),
    );
    check(
        [opened(), cancelled(None)],
        offer(),
        Err(Rejection::WrongState(Status::Cancelled)),
    );
}

#[test]
fn nobody_off_shift_or_with_two_jobs_is_asked() {
    let offer = || Command::Offer {
        courier: ANNA,
        pickup_distance_m: 640,
        considered: Vec::new(),
    };
    let off = with([CourierEvent::ShiftEnded {
        reason: ShiftEnd::Courier,
    }]);
    check_with(off, [opened()], offer(), Err(Rejection::OffShift));
    let busy = with([
        CourierEvent::JobTaken { delivery: JOB },
        CourierEvent::JobTaken { delivery: OTHER_JOB },
    ]);
    check_with(busy, [opened()], offer(), Err(Rejection::TooManyJobs));
    check_with(Vec::new(), [opened()], offer(), Err(Rejection::NoSuchCourier));
}

#[test]
fn accepting_binds_both_sides() {
    let given = [opened(), offered(1, ANNA)];
    check(
        given,
        Command::Accept { courier: ANNA },
        Ok(both(assigned(ANNA), job_taken())),
    );
}

#[test]
fn accepting_when_the_food_is_ready_starts_the_time_to_pick_up_when_the_courier_can_be_there() {
    // 640 m are two minutes, and then twenty.
    let taken = Event::Assigned {
        courier: ANNA,
        pick_up_by: Some(after(22)),
    };
    let given = [opened(), food_ready(), offered(1, ANNA)];
    check(given, Command::Accept { courier: ANNA }, Ok(both(taken, job_taken())));
}

#[test]
fn a_third_job_is_refused_even_if_it_was_offered() {
    let busy = with([
        CourierEvent::JobTaken { delivery: OTHER_JOB },
        CourierEvent::JobTaken { delivery: OTHER_JOB },
    ]);
    let given = [opened(), offered(1, ANNA)];
    check_with(
        busy,
        given,
        Command::Accept { courier: ANNA },
        Err(Rejection::TooManyJobs),
    );
}

#[test]
fn whoever_lost_the_offer_is_told_where_it_stands() {
    let accept = || Command::Accept { courier: ANNA };
    let state = |status| Err(Rejection::WrongState(status));
    check(
        [opened(), offered(1, ANNA), lapsed(ANNA)],
        accept(),
        state(Status::Waiting),
    );
    check(
        [opened(), offered(1, ANNA), lapsed(ANNA), offered(2, BORIS)],
        accept(),
        state(Status::Offered),
    );
    let taken = [
        opened(),
        offered(1, ANNA),
        lapsed(ANNA),
        offered(2, BORIS),
        assigned(BORIS),
    ];
    check(taken, accept(), state(Status::Assigned));
    check(
        [opened(), offered(1, ANNA), cancelled(None)],
        accept(),
        state(Status::Cancelled),
    );
    check(
        [opened(), offered(1, ANNA), assigned(ANNA)],
        accept(),
        state(Status::Assigned),
    );
}

#[test]
fn for_a_courier_who_was_never_asked_there_is_no_such_delivery() {
    let given = || [opened(), offered(1, ANNA), assigned(ANNA), food_ready(), picked_up()];
    for command in [
        Command::Accept { courier: BORIS },
        Command::Decline { courier: BORIS },
        Command::Drop { courier: BORIS },
        Command::PickUp { courier: BORIS },
        Command::Deliver {
            courier: BORIS,
            proof: Some(Proof::Pin),
        },
        Command::Fail {
            courier: BORIS,
            reason: Reason::CustomerNotFound,
            outcome: FailOutcome::Attempted,
        },
    ] {
        check(given(), command.clone(), Err(Rejection::NoSuchDelivery));
        check([], command, Err(Rejection::NoSuchDelivery));
    }
}

#[test]
fn declining_frees_the_offer_and_shows_that_somebody_is_there() {
    let then = both(declined(ANNA), CourierEvent::OfferDeclined { delivery: JOB });
    check(
        [opened(), offered(1, ANNA)],
        Command::Decline { courier: ANNA },
        Ok(then),
    );
}

#[test]
fn silence_lapses_the_offer_and_counts_as_a_miss() {
    let then = both(lapsed(ANNA), CourierEvent::OfferMissed { delivery: JOB });
    check([opened(), offered(1, ANNA)], Command::Lapse, Ok(then));
}

#[test]
fn the_third_miss_in_a_row_ends_the_shift() {
    let missed = || CourierEvent::OfferMissed { delivery: OTHER_JOB };
    let third = Decision {
        delivery: vec![lapsed(ANNA)],
        courier: vec![
            CourierEvent::OfferMissed { delivery: JOB },
            CourierEvent::ShiftEnded {
                reason: ShiftEnd::MissedOffers,
            },
        ],
        ..Decision::default()
    };
    check_with(
        with([missed(), missed()]),
        [opened(), offered(1, ANNA)],
        Command::Lapse,
        Ok(third),
    );
    let broken_row = with([missed(), missed(), CourierEvent::OfferDeclined { delivery: OTHER_JOB }]);
    let first = both(lapsed(ANNA), CourierEvent::OfferMissed { delivery: JOB });
    check_with(broken_row, [opened(), offered(1, ANNA)], Command::Lapse, Ok(first));
}

#[test]
fn a_late_timer_changes_nothing() {
    check(
        [opened(), offered(1, ANNA), assigned(ANNA)],
        Command::Lapse,
        Ok(nothing()),
    );
    let on_the_way = [opened(), offered(1, ANNA), assigned(ANNA), food_ready(), picked_up()];
    check(on_the_way.clone(), Command::NotPickedUp, Ok(nothing()));
    check(on_the_way, Command::Silence { courier: ANNA }, Ok(nothing()));
}

#[test]
fn going_off_shift_gives_the_open_offer_back_without_a_miss() {
    let given = || [opened(), offered(1, ANNA)];
    check(given(), Command::Withdraw { courier: ANNA }, Ok(alone(lapsed(ANNA))));
    check(given(), Command::Withdraw { courier: BORIS }, Ok(nothing()));
}
