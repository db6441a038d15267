//! Rows 9, 17 and 18: who ends an accepted order, what the customer gets back, who bears it, and where the stock goes.

use std::borrow::Cow;

use super::*;

const HALF: Money = Money::new(645, Currency::EUR);

fn cooking() -> Vec<Event> {
    with(assigned(), [Event::CookingStarted {}])
}

fn at_the_door() -> Vec<Event> {
    let attempted = Event::DeliveryAttempted {
        courier: ANNA,
        reason: Reason::CustomerNotFound,
        give_up_at: NOON + policy().after_attempt,
    };
    with(on_its_way(), [attempted])
}

/// The same, to be paid in cash.
fn in_cash(given: Vec<Event>) -> Vec<Event> {
    let paid_in_cash = |event| match event {
        Event::Created(mut placed) => {
            placed.quote.method = Method::Cash;
            Event::Created(placed)
        }
        other => other,
    };
    given.into_iter().map(paid_in_cash).collect()
}

fn cancelled(by: EndedBy, reason: Reason, cooking_began: bool) -> Event {
    Event::Cancelled {
        by,
        reason,
        liable: None,
        held_at: Some(NEAR),
        cooking_began,
        borne: None,
    }
}

fn undelivered(by: EndedBy, reason: Reason, liable: Option<Liable>, borne: Option<Borne>) -> Event {
    Event::Undelivered {
        by,
        reason,
        liable,
        held_at: None,
        borne,
    }
}

fn costs(event: Event, who: Liable, what: Option<Borne>) -> Event {
    match event {
        Event::Cancelled {
            by,
            reason,
            held_at,
            cooking_began,
            ..
        } => Event::Cancelled {
            by,
            reason,
            liable: Some(who),
            held_at,
            cooking_began,
            borne: what,
        },
        other => other,
    }
}

#[test]
fn row_9_the_customer_cancels_for_nothing_until_it_is_on_the_stove() {
    let reason = Reason::CustomerCancelled;
    let free = cancelled(EndedBy::Customer, reason, false);
    check(
        &assigned(),
        Command::Cancel(reason),
        Ok(vec![free, due(2, NOTHING, true)]),
    );
}

#[test]
fn row_9_the_customer_pays_half_of_what_is_on_the_stove_and_its_stock_is_lost() {
    let reason = Reason::CustomerCancelled;
    let for_a_fee = cancelled(EndedBy::Customer, reason, true);
    check(
        &cooking(),
        Command::Cancel(reason),
        Ok(vec![for_a_fee, due(2, HALF, true)]),
    );
}

#[test]
fn row_9_money_that_cannot_be_taken_after_all_ends_what_is_not_on_the_stove() {
    let ended = cancelled(EndedBy::Timer, Reason::Payment, false);
    check(
        &assigned(),
        Command::CollectionFailed,
        Ok(vec![ended, due(2, NOTHING, true)]),
    );
    for given in [offered(), cooking(), ready(), on_its_way()] {
        check(&given, Command::CollectionFailed, Ok(Vec::new()));
    }
}

#[test]
fn row_9_a_kitchen_that_cannot_gives_everything_back_and_bears_it() {
    let reason = Reason::IngredientUnavailable;
    for (given, cooking_began) in [(assigned(), false), (cooking(), true)] {
        let cancelled = cancelled(EndedBy::Kitchen, reason, cooking_began);
        let cancelled = costs(cancelled, Liable::Point, borne_by_point(NEAR));
        check(
            &given,
            Command::CancelByKitchen(reason),
            Ok(vec![cancelled, due(2, NOTHING, true)]),
        );
    }
}

#[test]
fn row_9_a_kitchen_cancels_neither_what_it_has_not_accepted_nor_what_it_has_made() {
    let cancel = || Command::CancelByKitchen(Reason::Busy);
    check(&offered(), cancel(), Err(Rejection::TooEarly(Status::Paid)));
    check(&ready(), cancel(), Err(Rejection::TooLate(Status::Ready)));
    check(&on_its_way(), cancel(), Err(Rejection::TooLate(Status::InDelivery)));
}

#[test]
fn cash_that_a_customer_should_have_paid_is_the_chains_loss() {
    let reason = Reason::CustomerCancelled;
    let free = cancelled(EndedBy::Customer, reason, false);
    check(
        &in_cash(assigned()),
        Command::Cancel(reason),
        Ok(vec![free, due(2, NOTHING, true)]),
    );
    let fee = Borne {
        amount: HALF,
        food_point: None,
        courier: None,
    };
    let unpaid = costs(cancelled(EndedBy::Customer, reason, true), Liable::Platform, Some(fee));
    check(
        &in_cash(cooking()),
        Command::Cancel(reason),
        Ok(vec![unpaid, due(2, NOTHING, true)]),
    );
    let absent = undelivered(
        EndedBy::Timer,
        Reason::CustomerNotFound,
        Some(Liable::Platform),
        borne_by_chain(),
    );
    check_timer(&in_cash(at_the_door()), "give_up", &[absent, due(2, NOTHING, true)]);
}

#[test]
fn row_17_an_absent_customer_gets_nothing_back() {
    let absent = undelivered(EndedBy::Timer, Reason::CustomerNotFound, None, None);
    check_timer(&at_the_door(), "give_up", &[absent, due(2, TOTAL, true)]);
}

#[test]
fn row_17_an_attempt_that_failed_by_the_courier_is_the_chains_loss() {
    let lost_the_way = Event::DeliveryAttempted {
        courier: ANNA,
        reason: Reason::Other,
        give_up_at: NOON,
    };
    let ended = undelivered(EndedBy::Timer, Reason::Other, Some(Liable::Platform), borne_by_chain());
    check_timer(
        &with(on_its_way(), [lost_the_way]),
        "give_up",
        &[ended, due(2, NOTHING, true)],
    );
}

#[test]
fn row_17_what_comes_back_is_paid_by_whom_the_reason_names() {
    let back = |reason| Command::Returned { courier: ANNA, reason };
    for reason in [Reason::CustomerNotFound, Reason::CustomerCancelled] {
        let ended = undelivered(EndedBy::Courier, reason, None, None);
        check(&at_the_door(), back(reason), Ok(vec![ended, due(2, TOTAL, true)]));
    }
    let ended = undelivered(EndedBy::Courier, Reason::Late, Some(Liable::Platform), borne_by_chain());
    check(
        &at_the_door(),
        back(Reason::Late),
        Ok(vec![ended, due(2, NOTHING, true)]),
    );
}

#[test]
fn row_17_what_is_lost_is_the_couriers_to_bear() {
    let borne = Borne {
        amount: TOTAL,
        food_point: None,
        courier: Some(ANNA),
    };
    for given in [on_its_way(), at_the_door()] {
        let ended = undelivered(EndedBy::Courier, Reason::Other, Some(Liable::Courier), Some(borne));
        check(
            &given,
            Command::Lost { courier: ANNA },
            Ok(vec![ended, due(2, NOTHING, true)]),
        );
    }
}

#[test]
fn only_the_courier_who_has_it_brings_it_back_or_loses_it() {
    let other = CourierId(Uuid::from_u128(33));
    for given in [ready(), on_its_way()] {
        check(&given, Command::Lost { courier: other }, Ok(vec![]));
        let reason = Reason::Other;
        check(&given, Command::Returned { courier: other, reason }, Ok(vec![]));
    }
    check(&ready(), Command::Lost { courier: ANNA }, Ok(vec![]));
}

#[test]
fn row_16_the_new_courier_delivers_what_the_first_one_had() {
    let other = CourierId(Uuid::from_u128(33));
    let changed = Event::CourierChanged {
        from: ANNA,
        courier: other,
    };
    let told = Command::CourierChanged { from: ANNA, to: other };
    check(&on_its_way(), told.clone(), Ok(vec![changed.clone()]));
    check(&ready(), told.clone(), Ok(vec![]));
    let given = with(on_its_way(), [changed]);
    check(&given, told, Ok(vec![]));
    let by = |courier| Command::Delivered {
        courier,
        proof: Proof::Pin,
    };
    check(&given, by(ANNA), Ok(vec![]));
    let completed = Event::Completed { proof: Proof::Pin };
    check(&given, by(other), Ok(vec![completed, due(2, TOTAL, true)]));
    let before = state(&on_its_way()).deadlines;
    assert_eq!(state(&given).deadlines, before, "what the customer was promised stays");
}

#[test]
fn row_18_an_operator_gives_everything_back_and_a_kitchens_reason_is_the_kitchens_to_bear() {
    let ended = |given: &[Event], reason| {
        let order = state(given);
        let events = decide(Some(&order), Command::Override(reason), NOON, &policy()).expect("open");
        state(&with(given.to_vec(), events))
    };
    for given in [assigned(), cooking(), ready(), on_its_way(), at_the_door()] {
        for (reason, liable, borne) in [
            (Reason::Other, Liable::Platform, borne_by_chain()),
            (Reason::CustomerNotFound, Liable::Platform, borne_by_chain()),
            (Reason::ClosingEarly, Liable::Point, borne_by_point(NEAR)),
        ] {
            let order = ended(&given, reason);
            assert_eq!((order.liable, order.borne), (Some(liable), borne), "{reason:?}");
            assert_eq!(order.settlement.map(|due| due.amount), Some(NOTHING));
        }
    }
    // Nothing was due yet, so nobody bears anything.
    for given in [paying(), offered()] {
        assert_eq!(ended(&given, Reason::Other).borne, None);
    }
}

#[test]
fn row_18_stock_goes_back_before_cooking_and_is_lost_after() {
    for (given, held_at, cooking_began) in [
        (paying(), Some(NEAR), false),
        (assigned(), Some(NEAR), false),
        (cooking(), Some(NEAR), true),
        (ready(), None, true),
    ] {
        let order = state(&given);
        let events = decide(Some(&order), Command::Override(Reason::Other), NOON, &policy()).expect("open");
        let Event::Cancelled {
            held_at: held,
            cooking_began: began,
            ..
        } = events[0]
        else {
            panic!("{events:?}")
        };
        assert_eq!((held, began), (held_at, cooking_began), "{:?}", order.status);
    }
}

#[test]
fn the_refund_policy_is_data_and_cents_that_do_not_divide_are_the_customers() {
    let third = RefundRule {
        by: Some(EndedBy::Customer),
        stage: None,
        reason: None,
        refund: Refund {
            back_percent: 67,
            liable: None,
        },
    };
    let strict = Policy {
        refunds: Cow::Owned(vec![third]),
        ..policy()
    };
    let order = state(&assigned());
    let events = decide(Some(&order), Command::Cancel(Reason::Other), NOON, &strict).expect("open");
    // 33 % of 12.90 are 4.257.
    assert_eq!(events[1], due(2, Money::new(425, Currency::EUR), true));
}

#[test]
fn every_end_of_an_accepted_order_gives_back_what_it_says_and_no_more() {
    let all = [
        EndedBy::Customer,
        EndedBy::Kitchen,
        EndedBy::Operator,
        EndedBy::Timer,
        EndedBy::Courier,
    ];
    let stages = [
        Stage::NotBegun,
        Stage::Cooking,
        Stage::Ready,
        Stage::OnTheRoad,
        Stage::Returned,
        Stage::Lost,
    ];
    for by in all {
        for stage in stages {
            for reason in Reason::OF_PEOPLE {
                let refund = policy().refund(by, stage, reason);
                assert!(refund.back_percent <= 100, "{by:?} {stage:?} {reason:?}");
                let is_free = by == EndedBy::Customer;
                let is_borne = refund.back_percent == 0 || refund.liable.is_some() || is_free;
                assert!(is_borne, "nobody bears {by:?} {stage:?} {reason:?}");
            }
        }
    }
}
