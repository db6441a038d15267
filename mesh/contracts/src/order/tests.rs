//! The wire form of an order's events, pinned, so that a change of contract shows in review.

use uuid::Uuid;

use super::*;
use crate::envelope::{Body, EventBody};
use crate::money::Currency;

fn every_event() -> Vec<Event> {
    let at = Timestamp::UNIX_EPOCH;
    let food_point = FoodPointId(Uuid::from_u128(1));
    let courier = CourierId(Uuid::from_u128(2));
    let customer = UserId(Uuid::from_u128(3));
    let place = Place {
        country: Country::parse("DE").expect("a code"),
        at: Coordinates {
            lat_e6: 52_520_000,
            lon_e6: 13_405_000,
        },
    };
    let destination = Destination {
        address: AddressId(Uuid::from_u128(4)),
        place,
    };
    let amount = Money::new(1290, Currency::EUR);
    let needs = vec![Need {
        ingredient: IngredientId(Uuid::from_u128(5)),
        quantity: 120,
    }];
    let quote = Quote {
        basket: customer.basket(),
        basket_version: 3,
        country: place.country,
        lines: vec![QuoteLine::plain(ProductId(Uuid::from_u128(6)), 1, amount)],
        total: amount,
        method: Method::Card,
        valid_until: at,
    };
    let candidate = |passed_over| Candidate {
        food_point,
        at: place.at,
        distance_m: 512,
        auto_accept: false,
        closes_at: None,
        passed_over,
    };
    vec![
        Event::Created(Placed {
            number: "00000Z".into(),
            customer,
            kind: Kind::Delivery,
            quote,
            destination: Some(destination),
            pinned: None,
            needs: needs.clone(),
            prep_minutes: 10,
            candidates: vec![candidate(None), candidate(Some(PassedOver::TooFar))],
            pay_by: at,
        }),
        Event::HoldRequested {
            attempt: 1,
            food_point,
            kind: Kind::Delivery,
            needs,
            answer_by: at,
            expires_at: at,
        },
        Event::HoldHeld { attempt: 1, food_point },
        Event::HoldFailed {
            attempt: 1,
            food_point,
            reason: HoldRefusal::Stock,
        },
        Event::HoldTimedOut { attempt: 1, food_point },
        Event::HoldAbandoned { attempt: 1, food_point },
        Event::PaymentRequested {
            customer,
            method: Method::Card,
            amount,
            pay_by: at,
        },
        Event::PaymentDeclined { count: 1 },
        Event::Paid {
            amount,
            method: Method::Card,
            assign_by: at,
        },
        Event::TicketOffered {
            attempt: 1,
            food_point,
            accept_by: at,
        },
        Event::TicketAccepted {
            attempt: 1,
            food_point,
            ready_by: at,
            confirm_by: at,
        },
        Event::TicketRejected {
            attempt: 1,
            food_point,
            reason: Reason::Busy,
        },
        Event::TicketTimedOut { attempt: 1, food_point },
        Event::TicketStopped {
            attempt: 1,
            food_point,
            reason: Reason::ClosingEarly,
            assign_by: at,
        },
        Event::Assigned {
            attempt: 1,
            food_point,
            ready_by: at,
            start_by: at,
            late_at: at,
            give_up_at: at,
        },
        Event::CookingStarted {},
        Event::ReadyOverdue { ready_by: at },
        Event::DeliveryRequested {
            customer,
            food_point,
            pickup: place.at,
            destination,
            ready_by: at,
        },
        Event::Ready {
            food_point,
            attempt: 1,
            alert_at: at,
            give_up_at: at,
        },
        Event::CourierAssigned { courier },
        Event::CourierUnassigned { courier },
        Event::CourierMissing {},
        Event::InDelivery {
            courier,
            eta: at,
            late_at: at,
            give_up_at: at,
        },
        Event::DeliveryOverdue {},
        Event::CourierChanged {
            from: courier,
            courier: CourierId(Uuid::from_u128(7)),
        },
        Event::DeliveryAttempted {
            courier,
            reason: Reason::CustomerNotFound,
            give_up_at: at,
        },
        Event::Completed {
            proof: Proof::Photo("door-17".into()),
        },
        Event::Rejected {
            reason: Reason::NoCandidate,
            held_at: None,
        },
        Event::Expired {
            reason: Reason::Payment,
            held_at: Some(food_point),
        },
        Event::Cancelled {
            by: EndedBy::Customer,
            reason: Reason::CustomerCancelled,
            liable: None,
            held_at: Some(food_point),
            cooking_began: false,
            borne: None,
        },
        Event::Undelivered {
            by: EndedBy::Timer,
            reason: Reason::Late,
            liable: Some(Liable::Courier),
            held_at: None,
            borne: Some(Borne {
                amount,
                food_point: None,
                courier: Some(courier),
            }),
        },
        Event::SettlementDue {
            amount,
            is_final: true,
            seq: 2,
        },
    ]
}

#[test]
fn the_wire_form_of_every_event_is_pinned() {
    let events = every_event();
    let types: Vec<&str> = events.iter().map(EventBody::event_type).collect();
    assert_eq!(types, Event::TYPES, "one sample of each, in order");
    let lines: Vec<String> = events
        .iter()
        .map(|event| format!("{} {}", event.event_type(), event.encode().value()))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    order.created {"candidates":[{"at":{"lat_e6":52520000,"lon_e6":13405000},"auto_accept":false,"distance_m":512,"food_point":"pnt_00000000000000000000000001"},{"at":{"lat_e6":52520000,"lon_e6":13405000},"auto_accept":false,"distance_m":512,"food_point":"pnt_00000000000000000000000001","passed_over":"too_far"}],"customer":"usr_00000000000000000000000003","destination":{"address":"adr_00000000000000000000000004","place":{"at":{"lat_e6":52520000,"lon_e6":13405000},"country":"DE"}},"kind":"delivery","needs":[{"ingredient":"ing_00000000000000000000000005","quantity":120}],"number":"00000Z","pay_by":"1970-01-01T00:00:00Z","pinned":null,"prep_minutes":10,"quote":{"basket":"bas_00000000000000000000000003","basket_version":3,"country":"DE","lines":[{"product":"prd_00000000000000000000000006","quantity":1,"unit_price":{"amount":1290,"currency":"EUR"}}],"method":"card","total":{"amount":1290,"currency":"EUR"},"valid_until":"1970-01-01T00:00:00Z"}}
    hold.requested {"answer_by":"1970-01-01T00:00:00Z","attempt":1,"expires_at":"1970-01-01T00:00:00Z","food_point":"pnt_00000000000000000000000001","kind":"delivery","needs":[{"ingredient":"ing_00000000000000000000000005","quantity":120}]}
    order.hold_held {"attempt":1,"food_point":"pnt_00000000000000000000000001"}
    order.hold_failed {"attempt":1,"food_point":"pnt_00000000000000000000000001","reason":"stock"}
    order.hold_timed_out {"attempt":1,"food_point":"pnt_00000000000000000000000001"}
    hold.abandoned {"attempt":1,"food_point":"pnt_00000000000000000000000001"}
    payment.requested {"amount":{"amount":1290,"currency":"EUR"},"customer":"usr_00000000000000000000000003","method":"card","pay_by":"1970-01-01T00:00:00Z"}
    order.payment_declined {"count":1}
    order.paid {"amount":{"amount":1290,"currency":"EUR"},"assign_by":"1970-01-01T00:00:00Z","method":"card"}
    ticket.offered {"accept_by":"1970-01-01T00:00:00Z","attempt":1,"food_point":"pnt_00000000000000000000000001"}
    ticket.accepted {"attempt":1,"confirm_by":"1970-01-01T00:00:00Z","food_point":"pnt_00000000000000000000000001","ready_by":"1970-01-01T00:00:00Z"}
    ticket.rejected {"attempt":1,"food_point":"pnt_00000000000000000000000001","reason":"busy"}
    ticket.timed_out {"attempt":1,"food_point":"pnt_00000000000000000000000001"}
    ticket.stopped {"assign_by":"1970-01-01T00:00:00Z","attempt":1,"food_point":"pnt_00000000000000000000000001","reason":"closing_early"}
    order.assigned {"attempt":1,"food_point":"pnt_00000000000000000000000001","give_up_at":"1970-01-01T00:00:00Z","late_at":"1970-01-01T00:00:00Z","ready_by":"1970-01-01T00:00:00Z","start_by":"1970-01-01T00:00:00Z"}
    ticket.started {}
    order.ready_overdue {"ready_by":"1970-01-01T00:00:00Z"}
    delivery.requested {"customer":"usr_00000000000000000000000003","destination":{"address":"adr_00000000000000000000000004","place":{"at":{"lat_e6":52520000,"lon_e6":13405000},"country":"DE"}},"food_point":"pnt_00000000000000000000000001","pickup":{"lat_e6":52520000,"lon_e6":13405000},"ready_by":"1970-01-01T00:00:00Z"}
    order.ready {"alert_at":"1970-01-01T00:00:00Z","attempt":1,"food_point":"pnt_00000000000000000000000001","give_up_at":"1970-01-01T00:00:00Z"}
    order.courier_assigned {"courier":"cou_00000000000000000000000002"}
    order.courier_unassigned {"courier":"cou_00000000000000000000000002"}
    order.courier_missing {}
    order.in_delivery {"courier":"cou_00000000000000000000000002","eta":"1970-01-01T00:00:00Z","give_up_at":"1970-01-01T00:00:00Z","late_at":"1970-01-01T00:00:00Z"}
    order.delivery_overdue {}
    order.courier_changed {"courier":"cou_00000000000000000000000007","from":"cou_00000000000000000000000002"}
    order.delivery_attempted {"courier":"cou_00000000000000000000000002","give_up_at":"1970-01-01T00:00:00Z","reason":"customer_not_found"}
    order.completed {"proof":{"photo":"door-17"}}
    order.rejected {"held_at":null,"reason":"no_candidate"}
    order.expired {"held_at":"pnt_00000000000000000000000001","reason":"payment"}
    order.cancelled {"by":"customer","cooking_began":false,"held_at":"pnt_00000000000000000000000001","liable":null,"reason":"customer_cancelled"}
    order.undelivered {"borne":{"amount":{"amount":1290,"currency":"EUR"},"courier":"cou_00000000000000000000000002"},"by":"timer","held_at":null,"liable":"courier","reason":"late"}
    settlement.due {"amount":{"amount":1290,"currency":"EUR"},"final":true,"seq":2}
    "#);
}

#[test]
fn every_event_reads_back() {
    for event in every_event() {
        assert_eq!(
            Event::decode(event.event_type(), &event.encode()).expect("its own form"),
            Some(event)
        );
    }
}

#[test]
fn a_type_of_a_later_build_is_skipped_and_a_later_field_ignored() {
    assert_eq!(
        Event::decode("order.teleported", &serde_json::json!({}).into()).expect("unknown is fine"),
        None
    );
    let more = serde_json::json!({ "count": 2, "bank": "unheard of" }).into();
    assert_eq!(
        Event::decode("order.payment_declined", &more).expect("known"),
        Some(Event::PaymentDeclined { count: 2 })
    );
    assert!(Event::decode("order.payment_declined", &serde_json::json!({ "count": -2 }).into()).is_err());
}

#[test]
fn ends_of_before_costs_were_booked_are_read_as_before() {
    let cancelled: Body = serde_json::json!({
        "by": "customer", "reason": "other", "liable": null, "held_at": null, "cooking_began": false
    })
    .into();
    let undelivered =
        serde_json::json!({ "by": "timer", "reason": "late", "liable": "platform", "held_at": null }).into();
    for (name, data) in [("order.cancelled", cancelled), ("order.undelivered", undelivered)] {
        let event = Event::decode(name, &data).expect("readable").expect("known");
        assert_eq!(event.encode(), data, "nothing was added");
    }
}

#[test]
fn people_give_the_reasons_of_the_field_and_no_other() {
    let said = |reason: Reason| {
        let json = serde_json::to_value(reason).expect("a word");
        Reason::of_people(json)
    };
    for reason in Reason::OF_PEOPLE {
        assert_eq!(said(reason).expect("a code of the field"), reason);
    }
    for found_out in [Reason::Payment, Reason::NoCandidate] {
        assert!(said(found_out).is_err(), "{found_out:?}");
    }
}
