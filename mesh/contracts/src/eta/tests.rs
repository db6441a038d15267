use uuid::Uuid;

use super::*;
use crate::delivery::Event;
use crate::geo::{Country, Place};
use crate::id::{AddressId, CourierId, FoodPointId, OrderId, UserId};
use crate::order::Destination;
use crate::view::delivery::fold;

const ANNA: CourierId = CourierId(Uuid::from_u128(1));

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + minute * 60).expect("in range")
}

fn place(lat_e6: i32) -> Coordinates {
    Coordinates::new(lat_e6, 13_405_000).expect("on earth")
}

/// From here it is 3.2 km to the door: ten minutes at 320 m/min.
const COUNTER: i32 = 52_520_000;
const DOOR: i32 = 52_548_779;

fn job(events: &[Event]) -> Delivery {
    let opened = Event::Opened {
        order: OrderId(Uuid::from_u128(9)),
        customer: UserId(Uuid::from_u128(8)),
        food_point: FoodPointId(Uuid::from_u128(7)),
        pickup: place(COUNTER),
        destination: Destination {
            address: AddressId(Uuid::from_u128(6)),
            place: Place {
                country: Country::parse("DE").expect("a country"),
                at: place(DOOR),
            },
        },
        ready_by: at(20),
        offer_from: at(5),
    };
    let all = std::iter::once(&opened).chain(events);
    all.fold(None, |job, event| fold(job, event, at(0))).expect("a job")
}

fn taken() -> Event {
    Event::Assigned {
        courier: ANNA,
        pick_up_by: None,
    }
}

fn picked_up() -> Event {
    Event::PickedUp {
        courier: ANNA,
        eta: at(40),
    }
}

fn minutes(minutes: impl IntoIterator<Item = i64>) -> Recent {
    Recent::of(minutes.into_iter().map(|minute| minute * 60))
}

fn punctual() -> Recent {
    minutes([0; 10])
}

fn in_minutes(eta: Option<Eta>) -> Option<(i64, i64)> {
    let since = |at_: Timestamp| at_.duration_since(at(0)).as_mins();
    eta.map(|eta| (since(eta.earliest), since(eta.latest)))
}

#[test]
fn only_an_active_job_has_an_estimate() {
    let none = |events: &[Event]| estimate(&job(events), None, &punctual(), &punctual(), at(10)).is_none();
    assert!(none(&[]));
    assert!(!none(&[taken()]));
    let over = Event::Delivered {
        courier: ANNA,
        proof: crate::order::Proof::Pin,
    };
    assert!(none(&[taken(), picked_up(), over]));
}

#[test]
fn food_that_is_late_as_often_makes_the_range_wide() {
    let estimate = |kitchen: &Recent| in_minutes(estimate(&job(&[taken()]), None, kitchen, &punctual(), at(10)));
    // Ready at 20, ten minutes of way, four at the door.
    assert_eq!(estimate(&punctual()), Some((34, 36)));
    let moody = minutes([-5, 0, 0, 5, 5, 10, 10, 15, 20, 30]);
    assert_eq!(estimate(&moody), Some((29, 64)));
}

#[test]
fn on_the_road_the_place_counts_and_the_couriers_habit() {
    let at_the_counter = Rider {
        at: place(COUNTER),
        speed_m_per_min: 320,
    };
    let job = job(&[taken(), picked_up()]);
    let estimate = |rider, courier: &Recent| in_minutes(estimate(&job, rider, &punctual(), courier, at(30)));
    assert_eq!(estimate(Some(at_the_counter), &punctual()), Some((44, 46)));
    assert_eq!(
        estimate(Some(at_the_counter), &minutes([1, 1, 2, 3, 5])),
        Some((45, 49))
    );
    // Not seen for a while: what was said at the counter.
    assert_eq!(estimate(None, &punctual()), Some((40, 42)));
}

#[test]
fn until_enough_is_learnt_the_range_is_a_guess_and_nothing_is_in_the_past() {
    let job = job(&[taken(), picked_up()]);
    let guess = estimate(&job, None, &Recent::default(), &minutes([90]), at(30));
    assert_eq!(in_minutes(guess), Some((38, 46)));
    let late = estimate(&job, None, &punctual(), &punctual(), at(50));
    assert_eq!(in_minutes(late), Some((50, 52)));
}

#[test]
fn a_breakdown_is_no_lesson() {
    assert_eq!(lesson(at(10), at(13)), Some(180));
    assert_eq!(lesson(at(10), at(9)), Some(-60));
    assert_eq!(lesson(at(10), at(100)), None);
}
