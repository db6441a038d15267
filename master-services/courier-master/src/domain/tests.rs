mod jobs;
mod neighbours;
mod offers;

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::api::FailOutcome;
use mesh_contracts::courier::{Event as CourierEvent, ShiftEnd};
use mesh_contracts::delivery::{DropCause, Event, HandOverEnd};
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
        considered: Vec::new(),
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
        ..Decision::default()
    }
}

fn both(event: Event, courier: CourierEvent) -> Decision {
    Decision {
        delivery: vec![event],
        courier: vec![courier],
        ..Decision::default()
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
