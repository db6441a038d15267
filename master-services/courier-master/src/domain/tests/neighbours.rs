//! Shifts, and what others' events make of all this.

use super::*;

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
            borne: None,
        },
        order::Event::Undelivered {
            by,
            reason,
            liable: None,
            held_at: None,
            borne: None,
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
