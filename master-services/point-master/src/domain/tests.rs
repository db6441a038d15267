use mesh_contracts::envelope::{Actor, Envelope, EventBody, Meta};
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::FoodPointId;
use mesh_contracts::order::{self, EndedBy, Reason};
use mesh_contracts::point::{HoldRefusal, Opening};
use mesh_contracts::view::point::fold;
use mesh_eventstore::Effect;
use uuid::Uuid;

use super::*;

mod conservation;
mod hear;
mod holds;
mod needs;
mod point;
mod stock;

const NOON: Timestamp = Timestamp::UNIX_EPOCH;
const BREAD: IngredientId = IngredientId(Uuid::from_u128(1));
const CHEESE: IngredientId = IngredientId(Uuid::from_u128(2));
const FIRST: OrderId = OrderId(Uuid::from_u128(11));
const SECOND: OrderId = OrderId(Uuid::from_u128(12));
const THIRD: OrderId = OrderId(Uuid::from_u128(13));
const POINT: FoodPointId = FoodPointId(Uuid::from_u128(21));

fn settings() -> Settings {
    Settings {
        name: "Alexanderplatz".into(),
        place: Place {
            country: Country::parse("DE").expect("a country"),
            at: Coordinates::new(52_521_918, 13_413_215).expect("on earth"),
        },
        kinds: vec![Kind::Delivery],
        radius_m: 5_000,
        pool: 2,
        auto_accept: false,
        hours: Vec::new(),
        utc_offset_minutes: 60,
    }
}

fn later(minutes: i64) -> Timestamp {
    Timestamp::from_second(minutes * 60).expect("in range")
}

fn need(quantity: u64) -> Vec<Need> {
    vec![Need {
        ingredient: BREAD,
        quantity,
    }]
}

fn wanted(order: OrderId, quantity: u64) -> Wanted {
    Wanted {
        order,
        attempt: 1,
        kind: Kind::Delivery,
        needs: need(quantity),
        expires_at: later(18),
    }
}

fn registered() -> Event {
    Event::Registered { settings: settings() }
}

fn stocked() -> Event {
    Event::Received {
        ingredient: BREAD,
        quantity: 10,
    }
}

fn held(order: OrderId) -> Event {
    Event::HoldHeld {
        order,
        attempt: 1,
        needs: need(4),
        expires_at: later(18),
    }
}

fn confirmed(order: OrderId) -> Event {
    Event::HoldConfirmed { order, attempt: 1 }
}

fn released(order: OrderId, cause: ReleaseCause) -> Event {
    Event::HoldReleased {
        order,
        attempt: 1,
        cause,
    }
}

fn failed(order: OrderId, reason: HoldRefusal) -> Event {
    Event::HoldFailed {
        order,
        attempt: 1,
        reason,
    }
}

fn closed(by: ClosedBy) -> Event {
    Event::Closed { by }
}

fn hold(order: OrderId) -> Command {
    Command::Hold(wanted(order, 4))
}

fn confirm(order: OrderId) -> Command {
    Command::Confirm { order, attempt: 1 }
}

fn consume(order: OrderId) -> Command {
    Command::Consume { order, attempt: 1 }
}

fn release(order: OrderId, cause: ReleaseCause) -> Command {
    Command::Release {
        order,
        attempt: 1,
        cause,
    }
}

fn end(order: OrderId, cooking_began: bool) -> Command {
    Command::EndOrder { order, cooking_began }
}

fn open(open: bool) -> Command {
    Command::Change {
        open: Some(open),
        settings: None,
    }
}

fn describe(settings: Settings) -> Command {
    Command::Change {
        open: None,
        settings: Some(settings),
    }
}

#[track_caller]
fn state(given: &[Event]) -> Option<FoodPoint> {
    given.iter().fold(None, |point, event| fold(point, event, NOON))
}

#[track_caller]
fn check<const N: usize, const M: usize>(given: [Event; N], when: Command, then: [Event; M]) {
    let decided = decide(state(&given).as_ref(), when, NOON);
    assert_eq!(decided, Ok(then.to_vec()));
}

#[track_caller]
fn refuse<const N: usize>(given: [Event; N], when: Command, then: Rejection) {
    assert_eq!(decide(state(&given).as_ref(), when, NOON), Err(then));
}

#[track_caller]
fn flawed(settings: Settings, fields: &[&str]) {
    let Err(Rejection::Invalid(flaws)) = decide(None, Command::Register(settings), NOON) else {
        panic!("accepted");
    };
    let found: Vec<&str> = flaws.iter().map(|flaw| flaw.field.as_str()).collect();
    assert_eq!(found, fields);
}
