use jiff::{SignedDuration, Timestamp};
use mesh_contracts::courier::{Event as CourierEvent, ShiftEnd};
use mesh_contracts::delivery::{DropCause, Event};
use mesh_contracts::envelope::{Actor, EventBody, Meta};
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{AddressId, FoodPointId};
use mesh_contracts::order::{Destination, EndedBy, Proof, Reason};
use mesh_contracts::view;
use mesh_contracts::view::courier::Courier;
use mesh_contracts::view::delivery::Delivery;
use mesh_eventstore::Effect;
use uuid::Uuid;

use super::delivery::{Command, Decision, decide, react};
use super::*;

const ANNA: CourierId = CourierId(Uuid::from_u128(1));
const BORIS: CourierId = CourierId(Uuid::from_u128(2));
const ORDER: OrderId = OrderId(Uuid::from_u128(9));
const JOB: DeliveryId = DeliveryId(Uuid::from_u128(9));
const OTHER_JOB: DeliveryId = DeliveryId(Uuid::from_u128(10));

fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("a timestamp")
}

fn after(minutes: i64) -> Timestamp {
    later(noon(), SignedDuration::from_mins(minutes))
}

fn place(lat_e6: i32) -> Coordinates {
    Coordinates::new(lat_e6, 0).expect("on earth")
}

fn destination() -> Destination {
    let country = Country::parse("DE").expect("a country");
    // 3200 m from the food: ten minutes at 320 m/min.
    Destination {
        address: AddressId(Uuid::from_u128(6)),
        place: Place {
            country,
            at: place(28_779),
        },
    }
}

fn open(ready_by: Timestamp) -> Command {
    let (customer, food_point) = (UserId(Uuid::from_u128(8)), FoodPointId(Uuid::from_u128(7)));
    Command::Open {
        order: ORDER,
        customer,
        food_point,
        pickup: place(0),
        destination: destination(),
        ready_by,
    }
}

fn opened() -> Event {
    Event::Opened {
        order: ORDER,
        customer: UserId(Uuid::from_u128(8)),
        food_point: FoodPointId(Uuid::from_u128(7)),
        pickup: place(0),
        destination: destination(),
        ready_by: after(20),
        offer_from: after(5),
    }
}

fn offered(attempt: u32, courier: CourierId) -> Event {
    let answer_by = later(noon(), SignedDuration::from_secs(45));
    Event::Offered {
        attempt,
        courier,
        pickup_distance_m: 640,
        answer_by,
    }
}

fn declined(courier: CourierId) -> Event {
    Event::Declined { attempt: 1, courier }
}

fn lapsed(courier: CourierId) -> Event {
    Event::OfferLapsed { attempt: 1, courier }
}

fn assigned(courier: CourierId) -> Event {
    Event::Assigned {
        courier,
        pick_up_by: None,
    }
}

fn food_ready() -> Event {
    Event::FoodReady { pick_up_by: None }
}

fn called_for_pick_up() -> Event {
    Event::FoodReady {
        pick_up_by: Some(after(0)),
    }
}

fn picked_up() -> Event {
    Event::PickedUp {
        courier: ANNA,
        eta: after(14),
    }
}

fn attempted() -> Event {
    Event::Attempted {
        courier: ANNA,
        reason: Reason::CustomerNotFound,
    }
}

fn delivered() -> Event {
    Event::Delivered {
        courier: ANNA,
        proof: Proof::Pin,
    }
}

fn cancelled(courier: Option<CourierId>) -> Event {
    Event::Cancelled { courier }
}

fn job_taken() -> CourierEvent {
    CourierEvent::JobTaken { delivery: JOB }
}

fn job_ended() -> CourierEvent {
    CourierEvent::JobEnded { delivery: JOB }
}

fn dropped(cause: DropCause) -> Decision {
    both(Event::Dropped { courier: ANNA, cause }, job_ended())
}

fn alone(event: Event) -> Decision {
    Decision {
        delivery: vec![event],
        courier: Vec::new(),
    }
}

fn both(event: Event, courier: CourierEvent) -> Decision {
    Decision {
        delivery: vec![event],
        courier: vec![courier],
    }
}

fn nothing() -> Decision {
    Decision::default()
}

fn folded<const N: usize>(given: [Event; N]) -> Option<Delivery> {
    given
        .iter()
        .fold(None, |delivery, event| view::delivery::fold(delivery, event, noon()))
}

fn on_shift() -> Vec<CourierEvent> {
    let country = Country::parse("DE").expect("a country");
    vec![
        CourierEvent::Registered { country },
        CourierEvent::ShiftStarted { speed_m_per_min: 320 },
    ]
}

fn with<const N: usize>(more: [CourierEvent; N]) -> Vec<CourierEvent> {
    on_shift().into_iter().chain(more).collect()
}

fn courier(given: &[CourierEvent]) -> Option<Courier> {
    given
        .iter()
        .fold(None, |courier, event| view::courier::fold(courier, event, noon()))
}

/// With a courier on shift.
#[track_caller]
fn check<const N: usize>(given: [Event; N], when: Command, then: Result<Decision, Rejection>) {
    check_with(on_shift(), given, when, then);
}

#[track_caller]
fn check_with<const N: usize>(
    courier_given: Vec<CourierEvent>,
    given: [Event; N],
    when: Command,
    then: Result<Decision, Rejection>,
) {
    let policy = Policy::default();
    let decision = decide(
        folded(given).as_ref(),
        courier(&courier_given).as_ref(),
        when,
        noon(),
        &policy,
    );
    assert_eq!(decision, then);
}

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
        },
        Ok(alone(offered(1, ANNA))),
    );
    let second = Command::Offer {
        courier: BORIS,
        pickup_distance_m: 640,
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

#[test]
fn coming_on_shift_twice_is_coming_on_once() {
    let start = |speed_m_per_min| courier::Command::Start { speed_m_per_min };
    let state = courier(&on_shift());
    assert_eq!(courier::decide(state.as_ref(), start(320)), Ok(Vec::new()));
    let faster = CourierEvent::ShiftStarted { speed_m_per_min: 600 };
    assert_eq!(courier::decide(state.as_ref(), start(600)), Ok(vec![faster]));
    assert_eq!(courier::decide(None, start(320)), Err(Rejection::NoSuchCourier));
}

#[test]
fn a_shift_ends_once_and_only_if_there_is_one() {
    let ended = CourierEvent::ShiftEnded {
        reason: ShiftEnd::Courier,
    };
    let end = courier::Command::End;
    assert_eq!(
        courier::decide(courier(&on_shift()).as_ref(), end),
        Ok(vec![ended.clone()])
    );
    assert_eq!(courier::decide(courier(&with([ended])).as_ref(), end), Ok(Vec::new()));
    assert_eq!(courier::decide(None, end), Ok(Vec::new()));
}

#[test]
fn a_courier_is_registered_once() {
    let country = Country::parse("RS").expect("a country");
    let register = courier::Command::Register { country };
    assert_eq!(
        courier::decide(None, register),
        Ok(vec![CourierEvent::Registered { country }])
    );
    assert_eq!(courier::decide(courier(&on_shift()).as_ref(), register), Ok(Vec::new()));
}

#[test]
fn no_deadline_is_shorter_than_machines_need() {
    let fast = Policy::default().floored(SignedDuration::from_mins(50));
    assert_eq!(fast.answer_within, SignedDuration::from_mins(50));
    assert_eq!(fast.pick_up_within, SignedDuration::from_mins(50));
    assert_eq!(
        Policy::default().floored(SignedDuration::from_secs(10)),
        Policy::default()
    );
}

fn envelope(stream: String, event: &impl EventBody) -> Envelope {
    Envelope {
        event_id: Uuid::from_u128(1),
        stream,
        version: 1,
        position: 1,
        event_type: event.event_type().into(),
        schema_version: 1,
        at: noon(),
        recorded_at: noon(),
        meta: Meta::by(Actor::service("order-master")),
        data: event.encode(),
    }
}

#[test]
fn orders_say_when_a_delivery_is_wanted_ready_and_no_longer_wanted() {
    let hear_order = |event: order::Event| hear(&envelope(ORDER.to_string(), &event)).expect("its own shape");
    let Command::Open {
        customer,
        food_point,
        pickup,
        destination,
        ready_by,
        ..
    } = open(after(20))
    else {
        unreachable!("it was just made")
    };
    let requested = order::Event::DeliveryRequested {
        customer,
        food_point,
        pickup,
        destination,
        ready_by,
    };
    assert_eq!(hear_order(requested), Some(Heard::Delivery(JOB, open(after(20)))));
    let ready = order::Event::Ready {
        food_point,
        attempt: 1,
        alert_at: after(40),
        give_up_at: after(90),
    };
    assert_eq!(hear_order(ready), Some(Heard::Delivery(JOB, Command::FoodReady)));
    let by = EndedBy::Operator;
    let reason = Reason::Other;
    for ending in [
        order::Event::Cancelled {
            by,
            reason,
            liable: None,
            held_at: None,
            cooking_began: true,
        },
        order::Event::Undelivered {
            by,
            reason,
            liable: None,
            held_at: None,
        },
        order::Event::Rejected { reason, held_at: None },
        order::Event::Expired { reason, held_at: None },
    ] {
        assert_eq!(hear_order(ending), Some(Heard::Delivery(JOB, Command::Cancel)));
    }
    assert_eq!(hear_order(order::Event::CookingStarted {}), None);
}

#[test]
fn people_become_couriers_by_their_role_and_end_their_shift_with_their_account() {
    let user = UserId(ANNA.uuid());
    let hear_user = |event: user::Event| hear(&envelope(user.to_string(), &event)).expect("its own shape");
    let country = Country::parse("DE").expect("a country");
    let registered = |role| user::Event::Registered {
        role,
        points: Vec::new(),
        country: Some(country),
    };
    let register = Heard::Courier(ANNA, courier::Command::Register { country });
    assert_eq!(hear_user(registered(Role::Courier)), Some(register));
    assert_eq!(hear_user(registered(Role::Customer)), None);
    assert_eq!(
        hear_user(user::Event::Erased {}),
        Some(Heard::Courier(ANNA, courier::Command::End))
    );
}

#[test]
fn events_of_a_later_build_are_heard_as_nothing() {
    let mut unknown = envelope(ORDER.to_string(), &order::Event::CookingStarted {});
    unknown.event_type = "order.teleported".into();
    assert_eq!(hear(&unknown).expect("not ours to read"), None);
}
