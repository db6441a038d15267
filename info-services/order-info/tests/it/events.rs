//! Orders and deliveries in named states.

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{AddressId, CourierId, FoodPointId, IngredientId, OrderId, ProductId, UserId};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::{Candidate, Destination, Event, Kind, Method, Need, Placed, Proof, Quote, QuoteLine};
use mesh_contracts::{courier, delivery, point};
use uuid::Uuid;

/// Noon, some day.
const NOON: Timestamp = Timestamp::constant(1_700_000_000, 0);

pub const POINT: FoodPointId = FoodPointId(Uuid::from_u128(7));
pub const OTHER_POINT: FoodPointId = FoodPointId(Uuid::from_u128(8));

pub fn after(minutes: i64) -> Timestamp {
    NOON + SignedDuration::from_mins(minutes)
}

pub fn place() -> Coordinates {
    Coordinates::new(52_520_000, 13_405_000).expect("on earth")
}

fn destination() -> Destination {
    let country = Country::parse("DE").expect("a country");
    Destination {
        address: AddressId(Uuid::from_u128(6)),
        place: Place { country, at: place() },
    }
}

fn needs() -> Vec<Need> {
    vec![Need {
        ingredient: IngredientId(Uuid::from_u128(5)),
        quantity: 2,
    }]
}

pub fn placed(id: OrderId, customer: UserId) -> Event {
    let quote = Quote {
        basket: customer.basket(),
        basket_version: 1,
        country: Country::parse("DE").expect("a country"),
        lines: vec![QuoteLine::plain(
            ProductId(Uuid::from_u128(4)),
            2,
            Money::new(450, Currency::EUR),
        )],
        total: Money::new(900, Currency::EUR),
        method: Method::Card,
        valid_until: after(10),
    };
    Event::Created(Placed {
        number: id.number(),
        customer,
        kind: Kind::Delivery,
        quote,
        destination: Some(destination()),
        pinned: None,
        needs: needs(),
        prep_minutes: 10,
        candidates: vec![Candidate {
            food_point: POINT,
            at: place(),
            distance_m: 700,
            auto_accept: false,
            closes_at: None,
            passed_over: None,
        }],
        pay_by: after(10),
    })
}

pub fn held(point: FoodPointId) -> [Event; 2] {
    [
        Event::HoldRequested {
            attempt: 1,
            food_point: point,
            kind: Kind::Delivery,
            needs: needs(),
            answer_by: after(1),
            expires_at: after(30),
        },
        Event::HoldHeld {
            attempt: 1,
            food_point: point,
        },
    ]
}

/// Paid, and the kitchen is asked.
pub fn offered(point: FoodPointId, accept_by: Timestamp) -> [Event; 2] {
    [
        Event::Paid {
            amount: Money::new(900, Currency::EUR),
            method: Method::Card,
            assign_by: after(8),
        },
        Event::TicketOffered {
            attempt: 1,
            food_point: point,
            accept_by,
        },
    ]
}

/// Placed, held, paid, and the kitchen is asked.
pub fn ticket(id: OrderId, customer: UserId, point: FoodPointId, accept_by: Timestamp) -> Vec<Event> {
    let mut events = vec![placed(id, customer)];
    events.extend(held(point));
    events.extend(offered(point, accept_by));
    events
}

/// From accepted to the door.
pub fn cooked_and_brought(point: FoodPointId, courier: CourierId) -> [Event; 6] {
    [
        Event::TicketAccepted {
            attempt: 1,
            food_point: point,
            ready_by: after(15),
            confirm_by: after(3),
        },
        Event::Assigned {
            attempt: 1,
            food_point: point,
            ready_by: after(15),
            start_by: after(5),
            late_at: after(25),
            give_up_at: after(60),
        },
        Event::CourierAssigned { courier },
        Event::Ready {
            food_point: point,
            attempt: 1,
            alert_at: after(35),
            give_up_at: after(105),
        },
        Event::InDelivery {
            courier,
            eta: after(30),
            late_at: after(60),
            give_up_at: after(150),
        },
        Event::Completed { proof: Proof::Pin },
    ]
}

pub fn opened(order: OrderId, customer: UserId, ready_by: Timestamp) -> delivery::Event {
    delivery::Event::Opened {
        order,
        customer,
        food_point: POINT,
        pickup: place(),
        destination: destination(),
        ready_by,
        offer_from: after(0),
    }
}

pub fn offer(courier: CourierId) -> delivery::Event {
    delivery::Event::Offered {
        attempt: 1,
        courier,
        pickup_distance_m: 300,
        answer_by: after(1),
        considered: Vec::new(),
    }
}

pub fn taken(courier: CourierId) -> delivery::Event {
    delivery::Event::Assigned {
        courier,
        pick_up_by: None,
    }
}

pub fn delivered(courier: CourierId) -> delivery::Event {
    delivery::Event::Delivered {
        courier,
        proof: Proof::Pin,
    }
}

pub fn picked_up(courier: CourierId, eta: Timestamp) -> delivery::Event {
    delivery::Event::PickedUp { courier, eta }
}

pub fn registered(name: &str) -> point::Event {
    point::Event::Registered {
        settings: point::Settings {
            name: name.into(),
            place: destination().place,
            kinds: vec![Kind::Delivery],
            radius_m: 5_000,
            pool: 8,
            auto_accept: false,
            hours: Vec::new(),
            utc_offset_minutes: 60,
        },
    }
}

pub fn hold_held(order: OrderId) -> point::Event {
    point::Event::HoldHeld {
        order,
        attempt: 1,
        needs: needs(),
        expires_at: after(30),
    }
}

pub fn hold_consumed(order: OrderId) -> point::Event {
    point::Event::HoldConsumed { order, attempt: 1 }
}

pub fn on_shift() -> [courier::Event; 2] {
    [
        courier::Event::Registered {
            country: destination().place.country,
        },
        courier::Event::ShiftStarted { speed_m_per_min: 320 },
    ]
}
