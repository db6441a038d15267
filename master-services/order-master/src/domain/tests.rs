//! The rules, row by row. A test names a state by the events that led to it and spells out only what it is about.

mod ends;
mod pick_up;
mod stops;

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{AddressId, BasketId, CourierId, FoodPointId, IngredientId, ProductId, UserId};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::{Borne, Candidate, Destination, EndedBy, Liable, Need, PassedOver, Quote, QuoteLine};
use mesh_contracts::view::order::fold;
use uuid::Uuid;

use super::*;

pub(super) const NOON: Timestamp = Timestamp::constant(1_767_268_800, 0);
const NEAR: FoodPointId = FoodPointId(Uuid::from_u128(1));
const FAR: FoodPointId = FoodPointId(Uuid::from_u128(2));
const ANNA: CourierId = CourierId(Uuid::from_u128(3));
pub(super) const TOTAL: Money = Money::new(1290, Currency::EUR);
pub(super) const NOTHING: Money = Money::zero(Currency::EUR);

fn policy() -> Policy {
    Policy::default()
}

fn place_of_order() -> Place {
    let at = Coordinates {
        lat_e6: 52_520_000,
        lon_e6: 13_405_000,
    };
    Place {
        country: Country::parse("DE").expect("a code"),
        at,
    }
}

fn candidate(food_point: FoodPointId) -> Candidate {
    Candidate {
        food_point,
        at: place_of_order().at,
        distance_m: 500,
        auto_accept: false,
        closes_at: None,
        passed_over: None,
    }
}

fn order() -> Placed {
    let country = place_of_order().country;
    let line = QuoteLine::plain(ProductId(Uuid::from_u128(9)), 1, TOTAL);
    Placed {
        number: "00000Z".into(),
        customer: UserId(Uuid::from_u128(4)),
        kind: Kind::Delivery,
        quote: Quote {
            basket: BasketId(Uuid::from_u128(4)),
            basket_version: 1,
            country,
            lines: vec![line],
            total: TOTAL,
            method: Method::Card,
            valid_until: NOON,
        },
        destination: Some(Destination {
            address: AddressId(Uuid::from_u128(5)),
            place: place_of_order(),
        }),
        pinned: None,
        needs: vec![Need {
            ingredient: IngredientId(Uuid::from_u128(6)),
            quantity: 100,
        }],
        prep_minutes: 10,
        candidates: vec![candidate(NEAR), candidate(FAR)],
        pay_by: NOON + policy().payment,
    }
}

fn requested(attempt: u32, food_point: FoodPointId) -> Event {
    reroute::request(
        Attempt { attempt, food_point },
        Kind::Delivery,
        order().needs,
        NOON,
        &policy(),
    )
}

fn paying() -> Vec<Event> {
    vec![
        Event::Created(order()),
        requested(1, NEAR),
        Event::HoldHeld {
            attempt: 1,
            food_point: NEAR,
        },
        Event::PaymentRequested {
            customer: order().customer,
            method: Method::Card,
            amount: TOTAL,
            pay_by: NOON + policy().payment,
        },
    ]
}

pub(super) fn offered() -> Vec<Event> {
    with(
        paying(),
        [
            Event::Paid {
                amount: TOTAL,
                method: Method::Card,
                assign_by: NOON + policy().assign,
            },
            Event::TicketOffered {
                attempt: 1,
                food_point: NEAR,
                accept_by: NOON + policy().accept,
            },
        ],
    )
}

fn accepted() -> Vec<Event> {
    with(offered(), [ticket_accepted()])
}

fn ticket_accepted() -> Event {
    let ready_by = NOON + SignedDuration::from_mins(10);
    Event::TicketAccepted {
        attempt: 1,
        food_point: NEAR,
        ready_by,
        confirm_by: NOON + policy().confirm,
    }
}

fn assigned() -> Vec<Event> {
    let order = state(&accepted());
    let confirmed = decide(Some(&order), Command::HoldConfirmed(FIRST), NOON, &policy()).expect("a fact");
    with(accepted(), confirmed)
}

fn ready() -> Vec<Event> {
    let marked = decide(Some(&state(&assigned())), Command::MarkReady, NOON, &policy()).expect("assigned");
    with(with(assigned(), [Event::CourierAssigned { courier: ANNA }]), marked)
}

fn on_its_way() -> Vec<Event> {
    let picked = Command::PickedUp {
        courier: ANNA,
        eta: NOON,
    };
    let events = decide(Some(&state(&ready())), picked, NOON, &policy()).expect("a fact");
    with(ready(), events)
}

const FIRST: Attempt = Attempt {
    attempt: 1,
    food_point: NEAR,
};

fn with(mut given: Vec<Event>, more: impl IntoIterator<Item = Event>) -> Vec<Event> {
    given.extend(more);
    given
}

pub(super) fn state(given: &[Event]) -> Order {
    given
        .iter()
        .fold(None, |order, event| fold(order, event, NOON))
        .expect("starts with created")
}

fn borne_by_chain() -> Option<Borne> {
    let (amount, food_point, courier) = (TOTAL, None, None);
    Some(Borne {
        amount,
        food_point,
        courier,
    })
}

fn borne_by_point(food_point: FoodPointId) -> Option<Borne> {
    Some(Borne {
        amount: TOTAL,
        food_point: Some(food_point),
        courier: None,
    })
}

fn due(seq: u32, amount: Money, is_final: bool) -> Event {
    Event::SettlementDue { amount, is_final, seq }
}

#[track_caller]
fn check(given: &[Event], when: Command, then: Result<Vec<Event>, Rejection>) {
    let order = given.iter().fold(None, |order, event| fold(order, event, NOON));
    assert_eq!(decide(order.as_ref(), when, NOON, &policy()), then);
}

#[track_caller]
fn check_timer(given: &[Event], kind: &str, then: &[Event]) {
    assert_eq!(fire(Some(&state(given)), kind, NOON, &policy()), then);
}

#[test]
fn row_1_a_placed_order_asks_the_nearest_point_for_a_hold() {
    check(
        &[],
        Command::Place(Box::new(order())),
        Ok(vec![Event::Created(order()), requested(1, NEAR)]),
    );
}

#[test]
fn an_order_that_nobody_can_be_asked_to_cook_is_refused_with_the_reason() {
    let passed = |pinned, reason| {
        let mut order = order();
        order.pinned = pinned;
        for candidate in &mut order.candidates {
            candidate.passed_over = Some(reason);
        }
        Command::Place(Box::new(order))
    };
    check(&[], passed(None, PassedOver::TooFar), Err(Rejection::OutOfZone));
    check(&[], passed(None, PassedOver::Stock), Err(Rejection::NothingAvailable));
    check(&[], passed(Some(FAR), PassedOver::Closed), Err(Rejection::PointClosed));
    check(&[], passed(Some(FAR), PassedOver::TooFar), Err(Rejection::PointTooFar));
    check(&[], passed(Some(FAR), PassedOver::Kind), Err(Rejection::PointKind));
}

#[test]
fn payment_is_asked_for_only_once_the_hold_is_held() {
    check(&paying()[..2], Command::HoldHeld(FIRST), Ok(paying()[2..].to_vec()));
}

#[test]
fn row_2_the_last_candidate_that_cannot_hold_rejects_the_order_and_nothing_is_due() {
    let failed = |attempt, food_point| Event::HoldFailed {
        attempt,
        food_point,
        reason: HoldRefusal::Stock,
    };
    let given = with(paying()[..2].to_vec(), [failed(1, NEAR), requested(2, FAR)]);
    let second = Attempt {
        attempt: 2,
        food_point: FAR,
    };
    check(
        &paying()[..2],
        Command::HoldFailed(FIRST, HoldRefusal::Stock),
        Ok(given[2..].to_vec()),
    );
    check(
        &given,
        Command::HoldFailed(second, HoldRefusal::Stock),
        Ok(vec![
            failed(2, FAR),
            Event::Rejected {
                reason: Reason::NoCandidate,
                held_at: None,
            },
        ]),
    );
}

#[test]
fn row_3_a_promised_payment_offers_the_ticket() {
    check(
        &paying(),
        Command::PaymentPromised(TOTAL, Method::Card),
        Ok(offered()[4..].to_vec()),
    );
}

#[test]
fn a_promise_of_another_amount_is_no_payment() {
    check(
        &paying(),
        Command::PaymentPromised(Money::new(1, Currency::EUR), Method::Card),
        Ok(vec![
            Event::Expired {
                reason: Reason::Payment,
                held_at: Some(NEAR),
            },
            due(1, NOTHING, true),
        ]),
    );
}

#[test]
fn a_point_that_accepts_by_itself_is_not_asked() {
    let mut automatic = order();
    automatic.candidates[0].auto_accept = true;
    let given = with(vec![Event::Created(automatic)], paying()[1..].to_vec());
    let events = with(offered()[4..].to_vec(), [ticket_accepted()]);
    check(&given, Command::PaymentPromised(TOTAL, Method::Card), Ok(events));
}

#[test]
fn row_4_three_declines_or_the_end_of_the_window_expire_the_order() {
    let declined = |count| Event::PaymentDeclined { count };
    let expired = [
        Event::Expired {
            reason: Reason::Payment,
            held_at: Some(NEAR),
        },
        due(1, NOTHING, true),
    ];
    check(&paying(), Command::PaymentDeclined(1), Ok(vec![declined(1)]));
    let twice = with(paying(), [declined(1), declined(2)]);
    check(&twice, Command::PaymentDeclined(2), Ok(vec![]));
    check(
        &twice,
        Command::PaymentDeclined(3),
        Ok(with(vec![declined(3)], expired.clone())),
    );
    check_timer(&paying(), "pay", &expired);
}

#[test]
fn row_5_acceptance_waits_for_the_confirmed_hold_and_then_asks_for_capture_and_courier() {
    check(
        &offered(),
        Command::Accept { ready_by: None },
        Ok(vec![ticket_accepted()]),
    );
    let order = state(&assigned());
    assert_eq!(order.status, Status::Assigned);
    assert_eq!(
        order.settlement.map(|due| (due.amount, due.is_final)),
        Some((TOTAL, false))
    );
    assert!(matches!(assigned().last(), Some(Event::DeliveryRequested { .. })));
}

#[test]
fn a_ready_by_in_the_past_or_beyond_four_hours_is_refused() {
    for minutes in [-1, 241] {
        let ready_by = Some(NOON + SignedDuration::from_mins(minutes));
        check(&offered(), Command::Accept { ready_by }, Err(Rejection::BadReadyBy));
    }
}

#[test]
fn row_6_a_kitchen_that_refuses_or_stays_silent_passes_the_order_on() {
    let refused = Event::TicketRejected {
        attempt: 1,
        food_point: NEAR,
        reason: Reason::Busy,
    };
    let silent = Event::TicketTimedOut {
        attempt: 1,
        food_point: NEAR,
    };
    check(
        &offered(),
        Command::RejectTicket(Reason::Busy),
        Ok(vec![refused, requested(2, FAR)]),
    );
    check_timer(&offered(), "ticket", &[silent, requested(2, FAR)]);
}

#[test]
fn row_6_a_hold_that_cannot_be_confirmed_passes_the_order_on() {
    let failed = Event::HoldFailed {
        attempt: 1,
        food_point: NEAR,
        reason: HoldRefusal::Ended,
    };
    let unconfirmed = Event::HoldAbandoned {
        attempt: 1,
        food_point: NEAR,
    };
    let passed_on = Ok(vec![failed, requested(2, FAR)]);
    check(&accepted(), Command::HoldFailed(FIRST, HoldRefusal::Ended), passed_on);
    check_timer(&accepted(), "ticket", &[unconfirmed, requested(2, FAR)]);
}

#[test]
fn row_6_the_next_kitchen_is_asked_when_its_hold_is_held() {
    let given = with(
        offered(),
        [
            Event::TicketRejected {
                attempt: 1,
                food_point: NEAR,
                reason: Reason::Busy,
            },
            requested(2, FAR),
        ],
    );
    let second = Attempt {
        attempt: 2,
        food_point: FAR,
    };
    let held = Event::HoldHeld {
        attempt: 2,
        food_point: FAR,
    };
    let offer = Event::TicketOffered {
        attempt: 2,
        food_point: FAR,
        accept_by: NOON + policy().accept,
    };
    check(&given, Command::HoldHeld(second), Ok(vec![held, offer]));
}

#[test]
fn row_7_no_kitchen_left_or_eight_minutes_without_one_reject_a_paid_order_and_void() {
    let ended = |held_at| {
        let reason = Reason::NoCandidate;
        vec![Event::Rejected { reason, held_at }, due(1, NOTHING, true)]
    };
    let given = with(
        offered(),
        [
            Event::TicketRejected {
                attempt: 1,
                food_point: NEAR,
                reason: Reason::Busy,
            },
            requested(2, FAR),
        ],
    );
    let failed = Event::HoldFailed {
        attempt: 2,
        food_point: FAR,
        reason: HoldRefusal::Full,
    };
    let second = Attempt {
        attempt: 2,
        food_point: FAR,
    };
    check(
        &given,
        Command::HoldFailed(second, HoldRefusal::Full),
        Ok(with(vec![failed], ended(None))),
    );
    check_timer(&offered(), "assign", &ended(Some(NEAR)));
}

#[test]
fn row_8_the_customer_cancels_before_a_kitchen_has_it() {
    let reason = Reason::CustomerCancelled;
    let cancelled = Event::Cancelled {
        by: EndedBy::Customer,
        reason,
        liable: None,
        held_at: Some(NEAR),
        cooking_began: false,
        borne: None,
    };
    check(&paying()[..2], Command::Cancel(reason), Ok(vec![cancelled.clone()]));
    check(
        &offered(),
        Command::Cancel(reason),
        Ok(vec![cancelled, due(1, NOTHING, true)]),
    );
}

#[test]
fn an_order_on_its_way_cannot_be_cancelled_by_the_customer() {
    let cancel = Command::Cancel(Reason::CustomerCancelled);
    check(&ready(), cancel.clone(), Err(Rejection::TooLate(Status::Ready)));
    check(&on_its_way(), cancel, Err(Rejection::TooLate(Status::InDelivery)));
}

#[test]
fn a_cancelled_order_stays_cancelled_whatever_is_heard_later() {
    let cancelled = decide(
        Some(&state(&offered())),
        Command::Cancel(Reason::Other),
        NOON,
        &policy(),
    )
    .expect("open");
    let given = with(offered(), cancelled);
    let ended = Err(Rejection::AlreadyEnded(Status::Cancelled));
    check(&given, Command::Accept { ready_by: None }, ended.clone());
    check(&given, Command::RejectTicket(Reason::Busy), ended.clone());
    check(&given, Command::StartCooking, ended.clone());
    check(&given, Command::MarkReady, ended.clone());
    check(&given, Command::Cancel(Reason::Other), ended.clone());
    check(&given, Command::CancelByKitchen(Reason::Other), ended.clone());
    check(&given, Command::Stop(Reason::Busy), ended.clone());
    check(&given, Command::Override(Reason::Other), ended);
    let second = Attempt {
        attempt: 2,
        food_point: FAR,
    };
    for fact in [
        Command::HoldHeld(FIRST),
        Command::HoldHeld(second),
        Command::HoldConfirmed(FIRST),
        Command::HoldFailed(FIRST, HoldRefusal::Stock),
        Command::HoldExpired(FIRST),
        Command::PaymentPromised(TOTAL, Method::Card),
        Command::PaymentDeclined(3),
        Command::CourierAssigned(ANNA),
        Command::PointClosed(NEAR),
        Command::CourierChanged { from: ANNA, to: ANNA },
        Command::Lost { courier: ANNA },
        Command::Returned {
            courier: ANNA,
            reason: Reason::Other,
        },
        Command::PickedUp {
            courier: ANNA,
            eta: NOON,
        },
        Command::Delivered {
            courier: ANNA,
            proof: Proof::Pin,
        },
    ] {
        check(&given, fact, Ok(vec![]));
    }
    for kind in ["pay", "hold", "ticket", "assign", "start", "late", "courier", "give_up"] {
        check_timer(&given, kind, &[]);
    }
}

#[test]
fn accept_after_refuse_is_refused() {
    let given = with(
        offered(),
        [
            Event::TicketRejected {
                attempt: 1,
                food_point: NEAR,
                reason: Reason::Busy,
            },
            requested(2, FAR),
        ],
    );
    check(
        &given,
        Command::Accept { ready_by: None },
        Err(Rejection::NotOffered(Status::Paid)),
    );
    check(
        &given,
        Command::RejectTicket(Reason::Busy),
        Err(Rejection::NotOffered(Status::Paid)),
    );
}

#[test]
fn a_hold_that_comes_after_its_time_is_given_back() {
    let late = Event::HoldTimedOut {
        attempt: 1,
        food_point: NEAR,
    };
    let abandoned = Event::HoldAbandoned {
        attempt: 1,
        food_point: NEAR,
    };
    check_timer(
        &paying()[..2],
        "hold",
        &[late.clone(), abandoned.clone(), requested(2, FAR)],
    );
    let given = with(paying()[..2].to_vec(), [late, abandoned.clone(), requested(2, FAR)]);
    check(&given, Command::HoldHeld(FIRST), Ok(vec![abandoned]));
}

#[test]
fn cooking_starts_by_timer_when_the_kitchen_says_nothing() {
    check_timer(&assigned(), "start", &[Event::CookingStarted {}]);
    check(&assigned(), Command::StartCooking, Ok(vec![Event::CookingStarted {}]));
    let cooking = with(assigned(), [Event::CookingStarted {}]);
    check_timer(&cooking, "start", &[]);
    check(
        &cooking,
        Command::StartCooking,
        Err(Rejection::TooLate(Status::Assigned)),
    );
}

#[test]
fn row_11_ready_and_what_follows_when_it_never_is() {
    assert_eq!(state(&ready()).status, Status::Ready);
    check(&offered(), Command::MarkReady, Err(Rejection::TooEarly(Status::Paid)));
    check(&ready(), Command::MarkReady, Err(Rejection::TooLate(Status::Ready)));
    check_timer(
        &assigned(),
        "late",
        &[Event::ReadyOverdue {
            ready_by: NOON + policy().ready_late,
        }],
    );
    let (by, reason) = (EndedBy::Timer, Reason::Late);
    let given_up = Event::Cancelled {
        by,
        reason,
        liable: Some(Liable::Point),
        held_at: Some(NEAR),
        cooking_began: true,
        borne: borne_by_point(NEAR),
    };
    check_timer(&assigned(), "give_up", &[given_up, due(2, NOTHING, true)]);
}

#[test]
fn row_13_a_dropped_job_is_recorded_and_a_missing_courier_alerts_and_then_ends_the_order() {
    let unassigned = Event::CourierUnassigned { courier: ANNA };
    check(&ready(), Command::CourierDropped(ANNA), Ok(vec![unassigned.clone()]));
    let alone = with(ready(), [unassigned]);
    check_timer(&ready(), "courier", &[]);
    check_timer(&alone, "courier", &[Event::CourierMissing {}]);
    let (by, reason) = (EndedBy::Timer, Reason::CourierNotFound);
    let given_up = Event::Cancelled {
        by,
        reason,
        liable: Some(Liable::Platform),
        held_at: None,
        cooking_began: true,
        borne: borne_by_chain(),
    };
    check_timer(&alone, "give_up", &[given_up, due(2, NOTHING, true)]);
}

#[test]
fn row_14_and_15_picked_up_and_delivered_completes_and_settles() {
    assert_eq!(state(&on_its_way()).status, Status::InDelivery);
    let proof = Proof::Pin;
    let delivered = Command::Delivered {
        courier: ANNA,
        proof: proof.clone(),
    };
    check(
        &on_its_way(),
        delivered,
        Ok(vec![Event::Completed { proof }, due(2, TOTAL, true)]),
    );
}

#[test]
fn row_15_a_delivery_that_never_arrives_alerts_and_then_ends_with_everything_back() {
    check_timer(&on_its_way(), "late", &[Event::DeliveryOverdue {}]);
    let (by, reason) = (EndedBy::Timer, Reason::Late);
    let lost = Event::Undelivered {
        by,
        reason,
        liable: Some(Liable::Platform),
        held_at: None,
        borne: borne_by_chain(),
    };
    check_timer(&on_its_way(), "give_up", &[lost, due(2, NOTHING, true)]);
}

#[test]
fn row_17_a_closed_door_ends_the_order_after_45_minutes() {
    let attempted = Event::DeliveryAttempted {
        courier: ANNA,
        reason: Reason::CustomerNotFound,
        give_up_at: NOON + policy().after_attempt,
    };
    let told = Command::Attempted {
        courier: ANNA,
        reason: Reason::CustomerNotFound,
    };
    check(&on_its_way(), told, Ok(vec![attempted.clone()]));
    let ended = fire(
        Some(&state(&with(on_its_way(), [attempted]))),
        "give_up",
        NOON,
        &policy(),
    );
    assert!(
        matches!(
            ended[0],
            Event::Undelivered {
                reason: Reason::CustomerNotFound,
                ..
            }
        ),
        "{ended:?}"
    );
}

#[test]
fn row_18_an_operator_ends_any_open_order() {
    for (given, to) in [
        (paying(), Status::Cancelled),
        (offered(), Status::Cancelled),
        (assigned(), Status::Cancelled),
        (ready(), Status::Cancelled),
        (on_its_way(), Status::Undelivered),
    ] {
        let events = decide(Some(&state(&given)), Command::Override(Reason::Other), NOON, &policy()).expect("open");
        let order = state(&with(given, events));
        assert_eq!(order.status, to);
        assert_eq!(
            order.settlement.map(|due| (due.amount, due.is_final)),
            Some((NOTHING, true))
        );
    }
}

#[test]
fn every_waiting_state_has_a_timer_whose_firing_moves_it() {
    for (given, kind) in [
        (paying()[..2].to_vec(), "hold"),
        (paying(), "pay"),
        (offered(), "ticket"),
        (accepted(), "ticket"),
        (assigned(), "give_up"),
        (ready(), "give_up"),
        (on_its_way(), "give_up"),
    ] {
        let events = fire(Some(&state(&given)), kind, NOON, &policy());
        assert!(!events.is_empty(), "{kind} does nothing");
    }
}
