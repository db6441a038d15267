use uuid::Uuid;

use super::*;
use crate::delivery::DropCause;
use crate::geo::Place;
use crate::id::AddressId;

const ANNA: CourierId = CourierId(Uuid::from_u128(1));
const BORIS: CourierId = CourierId(Uuid::from_u128(2));

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + minute * 60).expect("in range")
}

fn opened() -> Event {
    Event::Opened {
        order: OrderId(Uuid::from_u128(9)),
        customer: UserId(Uuid::from_u128(8)),
        food_point: FoodPointId(Uuid::from_u128(7)),
        pickup: Coordinates::new(52_520_000, 13_405_000).expect("on earth"),
        destination: Destination {
            address: AddressId(Uuid::from_u128(6)),
            place: Place {
                country: crate::geo::Country::parse("DE").expect("a country"),
                at: Coordinates::new(52_530_000, 13_405_000).expect("on earth"),
            },
        },
        ready_by: at(20),
        offer_from: at(5),
    }
}

fn offered(attempt: u32, courier: CourierId) -> Event {
    Event::Offered {
        attempt,
        courier,
        pickup_distance_m: 700,
        answer_by: at(6),
        considered: Vec::new(),
    }
}

fn assigned(courier: CourierId) -> Event {
    Event::Assigned {
        courier,
        pick_up_by: None,
    }
}

fn picked_up() -> Event {
    Event::PickedUp {
        courier: ANNA,
        eta: at(40),
    }
}

fn folded<const N: usize>(events: [Event; N]) -> Delivery {
    events
        .iter()
        .zip(0..)
        .fold(None, |delivery, (event, minute)| fold(delivery, event, at(minute)))
        .expect("the first event opens it")
}

#[test]
fn a_stream_that_does_not_open_is_no_delivery() {
    assert_eq!(fold(None, &picked_up(), at(0)), None);
}

#[test]
fn it_is_shown_to_the_courier_who_is_asked_and_then_to_the_one_on_the_job() {
    assert_eq!(folded([opened()]).concerns(), None);
    let asked = folded([opened(), offered(1, ANNA)]);
    assert_eq!((asked.concerns(), asked.active_courier()), (Some(ANNA), None));
    let taken = folded([opened(), offered(1, ANNA), assigned(ANNA)]);
    assert_eq!(taken.active_courier(), Some(ANNA));
    assert_eq!(taken.assigned_at, Some(at(2)));
}

#[test]
fn a_declined_a_lapsed_and_a_dropped_job_wait_again_and_remember_who_passed() {
    let delivery = folded([
        opened(),
        offered(1, ANNA),
        Event::Declined {
            attempt: 1,
            courier: ANNA,
        },
        offered(2, BORIS),
        assigned(BORIS),
        Event::Dropped {
            courier: BORIS,
            cause: DropCause::Dropped,
        },
    ]);
    assert_eq!(delivery.status, Status::Waiting);
    assert_eq!(delivery.passed, [ANNA, BORIS]);
    assert_eq!((delivery.courier, delivery.offer), (None, None));
    assert_eq!(delivery.attempt, 2);
    assert_eq!((delivery.version, delivery.status_version), (6, 6));
}

#[test]
fn whoever_is_still_asked_to_take_it_over_when_it_ends_is_remembered() {
    let delivered = Event::Delivered {
        courier: ANNA,
        proof: Proof::Pin,
    };
    let cancelled = Event::Cancelled { courier: Some(ANNA) };
    for end in [delivered, Event::Lost { courier: ANNA }, cancelled] {
        let invited = Event::HandOverOffered {
            from: ANNA,
            to: BORIS,
            answer_by: at(45),
        };
        let ended = folded([opened(), offered(1, ANNA), assigned(ANNA), picked_up(), invited, end]);
        assert_eq!((ended.invited(), &ended.passed[..]), (None, &[BORIS][..]), "{ended:?}");
    }
}

#[test]
fn ready_food_is_no_change_of_status() {
    let delivery = folded([
        opened(),
        offered(1, ANNA),
        assigned(ANNA),
        Event::FoodReady {
            pick_up_by: Some(at(23)),
        },
    ]);
    assert!(delivery.food_ready);
    assert_eq!(delivery.pick_up_by, Some(at(23)));
    assert_eq!((delivery.version, delivery.status_version), (4, 3));
}

#[test]
fn an_attempted_delivery_still_has_its_courier_and_an_ended_one_concerns_nobody() {
    let attempt = Event::Attempted {
        courier: ANNA,
        reason: Reason::CustomerNotFound,
    };
    let start = [opened(), offered(1, ANNA), assigned(ANNA), picked_up()];
    let [a, b, c, d] = start.clone();
    assert_eq!(folded([a, b, c, d, attempt]).concerns(), Some(ANNA));
    let delivered = Event::Delivered {
        courier: ANNA,
        proof: Proof::Pin,
    };
    let cancelled = Event::Cancelled { courier: Some(ANNA) };
    for (end, status) in [(delivered, Status::Delivered), (cancelled, Status::Cancelled)] {
        let [a, b, c, d] = start.clone();
        let delivery = folded([a, b, c, d, end]);
        assert_eq!((delivery.status, delivery.concerns()), (status, None));
        assert!(!delivery.status.is_open());
    }
}

#[test]
fn an_unknown_event_moves_only_the_version() {
    let known = folded([opened()]);
    let mut skipped = known.clone();
    skip(&mut skipped, at(1));
    assert_eq!((skipped.version, skipped.updated_at), (2, at(1)));
    assert_eq!((skipped.status, skipped.status_version), (known.status, 1));
}
