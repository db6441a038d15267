use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::geo::{Country, Place};
use crate::id::{AddressId, FoodPointId, OrderId, UserId};
use crate::order::Destination;

const ANNA: CourierId = CourierId(Uuid::from_u128(1));

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + minute * 60).expect("in range")
}

fn opened() -> crate::delivery::Event {
    let place = |lat_e6| Coordinates::new(lat_e6, 13_405_000).expect("on earth");
    crate::delivery::Event::Opened {
        order: OrderId(Uuid::from_u128(9)),
        customer: UserId(Uuid::from_u128(8)),
        food_point: FoodPointId(Uuid::from_u128(7)),
        pickup: place(52_520_000),
        destination: Destination {
            address: AddressId(Uuid::from_u128(6)),
            place: Place {
                country: Country::parse("DE").expect("a country"),
                at: place(52_530_000),
            },
        },
        ready_by: at(20),
        offer_from: at(5),
    }
}

fn offered() -> crate::delivery::Event {
    crate::delivery::Event::Offered {
        attempt: 1,
        courier: ANNA,
        pickup_distance_m: 700,
        answer_by: at(6),
        considered: Vec::new(),
    }
}

fn taken() -> crate::delivery::Event {
    crate::delivery::Event::Assigned {
        courier: ANNA,
        pick_up_by: None,
    }
}

fn happened(version: u64, event: &crate::delivery::Event) -> Happened {
    Happened {
        event_type: event.event_type().to_owned(),
        stream: "dlv_9".into(),
        version,
        at: at(i64::try_from(version).expect("small")),
        data: event.encode(),
        document: None,
        left: false,
    }
}

/// The server's document after these events.
fn folded(events: &[crate::delivery::Event]) -> Delivery {
    let mut version = 0;
    let fold = |document, event: &_| {
        version += 1;
        delivery::fold(document, event, at(version))
    };
    events.iter().fold(None, fold).expect("a delivery")
}

fn shown(document: &Delivery) -> Value {
    let mut shown = serde_json::to_value(document).expect("JSON");
    shown["id"] = json!("dlv_9");
    shown
}

#[test]
fn a_screen_that_was_told_every_event_shows_what_the_server_has() {
    let mut screen = Screen::<Delivery>::default();
    screen.show(&[shown(&folded(&[opened()]))]).expect("understood");
    screen.hear(&happened(2, &offered())).expect("understood");
    screen.hear(&happened(3, &taken())).expect("understood");
    assert_eq!(screen.documents["dlv_9"], folded(&[opened(), offered(), taken()]));
}

#[test]
fn what_joins_is_shown_as_it_comes_and_what_leaves_is_gone() {
    let mut screen = Screen::<Delivery>::default();
    let joining = Happened {
        document: Some(shown(&folded(&[opened(), offered()]))),
        ..happened(2, &offered())
    };
    screen.hear(&joining).expect("understood");
    assert_eq!(screen.documents["dlv_9"], folded(&[opened(), offered()]));
    let leaving = Happened {
        left: true,
        ..happened(3, &taken())
    };
    screen.hear(&leaving).expect("understood");
    assert!(screen.documents.is_empty());
}

#[test]
fn a_hole_and_a_repeat_are_noticed() {
    for version in [1, 3] {
        let mut screen = Screen::<Delivery>::default();
        screen.show(&[shown(&folded(&[opened()]))]).expect("understood");
        let torn = screen.hear(&happened(version, &offered()));
        assert!(matches!(torn, Err(Torn::Hole { .. })), "{torn:?}");
    }
}

#[test]
fn an_event_of_a_newer_build_moves_the_version_alone() {
    let mut screen = Screen::<Delivery>::default();
    screen.show(&[shown(&folded(&[opened()]))]).expect("understood");
    let mut unknown = happened(2, &offered());
    unknown.event_type = "delivery.sung_about".into();
    screen.hear(&unknown).expect("passed over");
    let delivery = &screen.documents["dlv_9"];
    assert_eq!((delivery.version, delivery.status_version), (2, 1));
}
