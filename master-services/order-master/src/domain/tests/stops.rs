//! Row 10: a kitchen that had accepted stops before it cooks, and another one takes over or nobody does.

use mesh_contracts::envelope::EventBody;
use mesh_eventstore::Effect;

use super::*;

const SECOND: Attempt = Attempt {
    attempt: 2,
    food_point: FAR,
};

fn stopped() -> Event {
    Event::TicketStopped {
        attempt: 1,
        food_point: NEAR,
        reason: Reason::ClosingEarly,
        assign_by: NOON + policy().reroute,
    }
}

/// FAR is asked for a hold.
fn looking() -> Vec<Event> {
    with(assigned(), [stopped(), requested(2, FAR)])
}

fn after(given: Vec<Event>, command: Command) -> Vec<Event> {
    let events = decide(Some(&state(&given)), command, NOON, &policy()).expect("allowed");
    with(given, events)
}

fn asked_elsewhere() -> Vec<Event> {
    after(looking(), Command::HoldHeld(SECOND))
}

fn accepted_elsewhere() -> Vec<Event> {
    after(asked_elsewhere(), Command::Accept { ready_by: None })
}

fn nobody(held_at: Option<FoodPointId>) -> Vec<Event> {
    let cancelled = Event::Cancelled {
        by: EndedBy::Timer,
        reason: Reason::ClosingEarly,
        liable: Some(Liable::Point),
        held_at,
        cooking_began: false,
        borne: borne_by_point(NEAR),
    };
    vec![cancelled, due(2, NOTHING, true)]
}

#[test]
fn row_10_a_kitchen_that_stops_is_off_and_the_next_one_is_asked() {
    check(
        &assigned(),
        Command::Stop(Reason::ClosingEarly),
        Ok(vec![stopped(), requested(2, FAR)]),
    );
    let order = state(&looking());
    assert_eq!((order.status, order.held_at()), (Status::Assigned, Some(FAR)));
    assert!(order.is_rerouting());
}

#[test]
fn row_10_a_point_that_closes_stops_what_it_has_not_begun() {
    check(
        &assigned(),
        Command::PointClosed(NEAR),
        Ok(vec![stopped(), requested(2, FAR)]),
    );
    check(&assigned(), Command::PointClosed(FAR), Ok(vec![]));
    let cooking = with(assigned(), [Event::CookingStarted {}]);
    check(&cooking, Command::PointClosed(NEAR), Ok(vec![]));
    check(&ready(), Command::PointClosed(NEAR), Ok(vec![]));
}

#[test]
fn row_6_a_point_that_closes_while_the_customer_pays_gives_its_hold_back() {
    let given_back = Event::HoldAbandoned {
        attempt: 1,
        food_point: NEAR,
    };
    check(
        &paying(),
        Command::PointClosed(NEAR),
        Ok(vec![given_back, requested(2, FAR)]),
    );
}

#[test]
fn row_6_a_point_that_closes_passes_on_what_it_was_asked_or_had_just_accepted() {
    let refused = Event::TicketRejected {
        attempt: 1,
        food_point: NEAR,
        reason: Reason::ClosingEarly,
    };
    check(
        &offered(),
        Command::PointClosed(NEAR),
        Ok(vec![refused, requested(2, FAR)]),
    );
    let given_back = Event::HoldAbandoned {
        attempt: 1,
        food_point: NEAR,
    };
    check(
        &accepted(),
        Command::PointClosed(NEAR),
        Ok(vec![given_back, requested(2, FAR)]),
    );
}

#[test]
fn row_10_only_what_was_accepted_and_is_not_on_the_stove_can_be_stopped() {
    let stop = || Command::Stop(Reason::Busy);
    check(&offered(), stop(), Err(Rejection::TooEarly(Status::Paid)));
    check(&accepted(), stop(), Err(Rejection::TooEarly(Status::Paid)));
    check(&looking(), stop(), Err(Rejection::TooEarly(Status::Assigned)));
    let cooking = with(assigned(), [Event::CookingStarted {}]);
    check(&cooking, stop(), Err(Rejection::TooLate(Status::Assigned)));
    check(&ready(), stop(), Err(Rejection::TooLate(Status::Ready)));
}

#[test]
fn row_10_the_new_kitchen_accepts_and_the_order_goes_on_with_a_courier_for_the_new_place() {
    let given = after(accepted_elsewhere(), Command::HoldConfirmed(SECOND));
    let types: Vec<&str> = given[assigned().len()..].iter().map(EventBody::event_type).collect();
    assert_eq!(
        types,
        [
            "ticket.stopped",
            "hold.requested",
            "order.hold_held",
            "ticket.offered",
            "ticket.accepted",
            "order.assigned",
            "delivery.requested",
        ]
    );
    let order = state(&given);
    assert_eq!((order.status, order.food_point), (Status::Assigned, Some(FAR)));
    assert_eq!((order.ticket, order.stopped), (Ticket::Queued, None));
    assert_eq!(
        order.settlement.map(|due| (due.amount, due.seq)),
        Some((TOTAL, 1)),
        "still the same"
    );
    // It may be cooked, cancelled or stopped like any other.
    check(&given, Command::StartCooking, Ok(vec![Event::CookingStarted {}]));
    let nobody_left = decide(Some(&order), Command::Stop(Reason::Busy), NOON, &policy()).expect("not begun");
    let ended = Event::Cancelled {
        by: EndedBy::Kitchen,
        reason: Reason::Busy,
        liable: Some(Liable::Point),
        held_at: Some(FAR),
        cooking_began: false,
        borne: borne_by_point(FAR),
    };
    assert_eq!(nobody_left, [ended, due(2, NOTHING, true)]);
}

#[test]
fn row_10_without_another_candidate_the_kitchen_that_stops_ends_the_order_and_bears_it() {
    let mut given = assigned();
    if let Event::Created(placed) = &mut given[0] {
        placed.candidates.truncate(1);
    }
    let ended = Event::Cancelled {
        by: EndedBy::Kitchen,
        reason: Reason::ClosingEarly,
        liable: Some(Liable::Point),
        held_at: Some(NEAR),
        cooking_began: false,
        borne: borne_by_point(NEAR),
    };
    let events = vec![ended, due(2, NOTHING, true)];
    check(&given, Command::Stop(Reason::ClosingEarly), Ok(events.clone()));
    check(&given, Command::PointClosed(NEAR), Ok(events));
}

#[test]
fn row_10_three_minutes_without_a_kitchen_end_the_order_on_the_one_that_stopped() {
    check_timer(&looking(), "assign", &nobody(Some(FAR)));
    check_timer(&asked_elsewhere(), "assign", &nobody(Some(FAR)));
    // That one has accepted: only its hold is to be confirmed, and that has a deadline of its own.
    check_timer(&accepted_elsewhere(), "assign", &[]);
    let unconfirmed = Event::HoldAbandoned {
        attempt: 2,
        food_point: FAR,
    };
    check_timer(&accepted_elsewhere(), "ticket", &with(vec![unconfirmed], nobody(None)));
}

#[test]
fn row_10_a_new_kitchen_that_cannot_or_will_not_ends_it_when_it_was_the_last() {
    let failed = Event::HoldFailed {
        attempt: 2,
        food_point: FAR,
        reason: HoldRefusal::Full,
    };
    check(
        &looking(),
        Command::HoldFailed(SECOND, HoldRefusal::Full),
        Ok(with(vec![failed], nobody(None))),
    );
    let refused = Event::TicketRejected {
        attempt: 2,
        food_point: FAR,
        reason: Reason::Busy,
    };
    check(
        &asked_elsewhere(),
        Command::RejectTicket(Reason::Busy),
        Ok(with(vec![refused], nobody(None))),
    );
    let silent = Event::TicketTimedOut {
        attempt: 2,
        food_point: FAR,
    };
    check_timer(&asked_elsewhere(), "ticket", &with(vec![silent], nobody(None)));
    let unanswered = [
        Event::HoldTimedOut {
            attempt: 2,
            food_point: FAR,
        },
        Event::HoldAbandoned {
            attempt: 2,
            food_point: FAR,
        },
    ];
    check_timer(&looking(), "hold", &with(unanswered.to_vec(), nobody(None)));
}

#[test]
fn row_10_nobody_is_asked_any_more_when_the_time_is_over() {
    const FARTHEST: FoodPointId = FoodPointId(Uuid::from_u128(8));
    let mut given = asked_elsewhere();
    if let Event::Created(placed) = &mut given[0] {
        placed.candidates.push(candidate(FARTHEST));
    }
    let refused = Event::TicketRejected {
        attempt: 2,
        food_point: FAR,
        reason: Reason::Busy,
    };
    let reject = Command::RejectTicket(Reason::Busy);
    check(
        &given,
        reject.clone(),
        Ok(vec![refused.clone(), requested(3, FARTHEST)]),
    );
    let late = NOON + policy().reroute;
    let events = decide(Some(&state(&given)), reject, late, &policy()).expect("it is offered");
    assert_eq!(events, with(vec![refused], nobody(None)));
}

#[test]
fn row_10_nobody_cooks_while_nobody_has_accepted() {
    for given in [looking(), asked_elsewhere(), accepted_elsewhere()] {
        let early = Err(Rejection::TooEarly(Status::Assigned));
        check(&given, Command::StartCooking, early.clone());
        check(&given, Command::MarkReady, early.clone());
        check(&given, Command::CancelByKitchen(Reason::Busy), early);
        check_timer(&given, "start", &[]);
        check_timer(&given, "late", &[]);
    }
}

#[test]
fn row_9_the_customer_cancels_for_nothing_while_another_kitchen_is_looked_for() {
    let reason = Reason::CustomerCancelled;
    let free = Event::Cancelled {
        by: EndedBy::Customer,
        reason,
        liable: None,
        held_at: Some(FAR),
        cooking_began: false,
        borne: None,
    };
    check(
        &looking(),
        Command::Cancel(reason),
        Ok(vec![free, due(2, NOTHING, true)]),
    );
}

#[test]
fn row_10_the_deadlines_of_the_first_kitchen_go_and_that_of_the_search_stands() {
    let order = state(&looking());
    let effects = react(&order, &stopped(), NOON);
    assert_eq!(
        effects,
        [
            Effect::clear("start"),
            Effect::clear("late"),
            Effect::set("assign", NOON + policy().reroute),
        ]
    );
    let given = asked_elsewhere();
    assert!(
        matches!(given.last(), Some(Event::TicketOffered { accept_by, .. }) if *accept_by == NOON + policy().accept)
    );
    let kept = state(&given).deadlines;
    assert_eq!(kept.give_up_at, state(&assigned()).deadlines.give_up_at);
}
