use jiff::SignedDuration;
use mesh_contracts::delivery::Event;
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{AddressId, FoodPointId, OrderId, UserId};
use mesh_contracts::order::{Destination, Reason};
use mesh_contracts::{courier, view};
use uuid::Uuid;

use super::super::assign;
use super::*;

const ANNA: CourierId = CourierId(Uuid::from_u128(1));
const COUNTER: FoodPointId = FoodPointId(Uuid::from_u128(7));

fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("a timestamp")
}

fn after(minutes: i64) -> Timestamp {
    later(noon(), SignedDuration::from_mins(minutes))
}

fn place(lat_e6: i32) -> Coordinates {
    Coordinates::new(lat_e6, 0).expect("on earth")
}

fn order(number: u128) -> OrderId {
    OrderId(Uuid::from_u128(number))
}

fn delivery(number: u128, more: &[Event]) -> Delivery {
    let country = Country::parse("DE").expect("a country");
    let opened = Event::Opened {
        order: order(number),
        customer: UserId(Uuid::from_u128(8)),
        food_point: COUNTER,
        pickup: place(0),
        destination: Destination {
            address: AddressId(Uuid::from_u128(6)),
            place: Place {
                country,
                at: place(9_000),
            },
        },
        ready_by: after(10),
        offer_from: noon(),
    };
    let events = std::iter::once(&opened).chain(more);
    events
        .fold(None, |delivery, event| view::delivery::fold(delivery, event, noon()))
        .expect("it is opened")
}

fn offered() -> Event {
    Event::Offered {
        attempt: 1,
        courier: ANNA,
        pickup_distance_m: 1,
        answer_by: after(1),
        considered: Vec::new(),
    }
}

fn assigned() -> Event {
    Event::Assigned {
        courier: ANNA,
        pick_up_by: None,
    }
}

fn picked_up() -> Event {
    Event::PickedUp {
        courier: ANNA,
        eta: after(20),
    }
}

fn attempted() -> Event {
    Event::Attempted {
        courier: ANNA,
        reason: Reason::CustomerNotFound,
    }
}

/// On shift, with so many jobs in hand.
fn anna(jobs: u128) -> (CourierId, Arc<Courier>) {
    let country = Country::parse("DE").expect("a country");
    let start = [
        courier::Event::Registered { country },
        courier::Event::ShiftStarted { speed_m_per_min: 320 },
    ];
    let taken = (1..=jobs).map(|number| courier::Event::JobTaken {
        delivery: order(number).delivery(),
    });
    let events = start.into_iter().chain(taken);
    let courier = events.fold(None, |courier, event| view::courier::fold(courier, &event, noon()));
    (ANNA, Arc::new(courier.expect("registered")))
}

fn scene(deliveries: Vec<Delivery>, jobs: u128) -> Scene {
    let seen = HashMap::from([(
        ANNA,
        Seen {
            place: place(5),
            at: noon(),
        },
    )]);
    Scene {
        deliveries: deliveries.into_iter().map(Arc::new).collect(),
        couriers: vec![anna(jobs)],
        seen,
    }
}

fn doings(scene: &Scene) -> Vec<Doing> {
    scene
        .available(&Policy::default())
        .into_iter()
        .map(|available| available.doing)
        .collect()
}

#[test]
fn a_courier_without_a_job_is_idle_where_last_seen() {
    let available = scene(Vec::new(), 0).available(&Policy::default());
    assert_eq!((available[0].doing, available[0].at), (Doing::Idle, place(5)));
}

#[test]
fn nobody_is_asked_whom_nobody_has_seen_or_who_is_off_shift() {
    let mut unseen = scene(Vec::new(), 0);
    unseen.seen.clear();
    assert_eq!(doings(&unseen), []);
    let mut off = scene(Vec::new(), 0);
    Arc::make_mut(&mut off.couriers[0].1).status = Shift::Off;
    assert_eq!(doings(&off), []);
}

#[test]
fn nobody_is_asked_twice_at_a_time_or_for_a_third_job() {
    assert_eq!(doings(&scene(vec![delivery(1, &[offered()])], 0)), []);
    let two = vec![
        delivery(1, &[offered(), assigned()]),
        delivery(2, &[offered(), assigned()]),
    ];
    assert_eq!(doings(&scene(two, 2)), []);
}

#[test]
fn a_courier_with_a_job_says_what_comes_first() {
    let fetching = scene(vec![delivery(1, &[offered(), assigned()])], 1);
    let expected = Doing::Fetching {
        food_point: COUNTER,
        ready_by: after(10),
        dropoff: place(9_000),
    };
    assert_eq!(doings(&fetching), [expected]);
    let bringing = scene(vec![delivery(1, &[offered(), assigned(), picked_up()])], 1);
    assert_eq!(doings(&bringing), [Doing::Bringing { dropoff: place(9_000) }]);
}

#[test]
fn a_courier_at_a_closed_door_or_with_a_job_not_shown_yet_is_left_alone() {
    let waiting = scene(vec![delivery(1, &[offered(), assigned(), picked_up(), attempted()])], 1);
    assert_eq!(doings(&waiting), []);
    assert_eq!(doings(&scene(Vec::new(), 1)), []);
}

#[test]
fn only_what_nobody_is_asked_for_waits() {
    let scene = scene(
        vec![
            delivery(1, &[offered()]),
            delivery(2, &[]),
            delivery(3, &[offered(), assigned()]),
        ],
        0,
    );
    let waiting: Vec<DeliveryId> = scene.waiting().into_iter().map(|waiting| waiting.delivery).collect();
    assert_eq!(waiting, [order(2).delivery()]);
}

#[test]
fn food_that_is_called_early_waits_for_nobodys_promise() {
    let called = Event::FoodReady { pick_up_by: None };
    let scene = scene(vec![delivery(1, &[called])], 0);
    assert_eq!(scene.waiting()[0].ready_by, noon());
    let plan = assign(
        &scene.waiting(),
        &scene.available(&Policy::default()),
        noon(),
        &Policy::default(),
    );
    assert_eq!(plan.offers.len(), 1, "somebody is asked at once");
}

#[test]
fn a_courier_who_sent_no_position_for_five_minutes_is_silent_until_the_food_is_picked_up() {
    let policy = Policy::default();
    let fetching = scene(vec![delivery(1, &[offered(), assigned()])], 1);
    assert_eq!(fetching.silent(noon(), after(4), &policy), []);
    assert_eq!(
        fetching.silent(noon(), after(5), &policy),
        [(order(1).delivery(), ANNA)]
    );
    let bringing = scene(vec![delivery(1, &[offered(), assigned(), picked_up()])], 1);
    assert_eq!(bringing.silent(noon(), after(5), &policy), []);
}

#[test]
fn silence_while_nobody_listened_or_before_the_job_does_not_count() {
    let policy = Policy::default();
    let mut scene = scene(vec![delivery(1, &[offered(), assigned()])], 1);
    assert_eq!(scene.silent(after(2), after(6), &policy), []);
    scene.seen.insert(
        ANNA,
        Seen {
            place: place(5),
            at: after(-60),
        },
    );
    assert_eq!(scene.silent(noon(), after(4), &policy), []);
    scene.seen.insert(
        ANNA,
        Seen {
            place: place(5),
            at: after(3),
        },
    );
    assert_eq!(scene.silent(noon(), after(7), &policy), []);
}
