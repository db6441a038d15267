use jiff::SignedDuration;
use mesh_contracts::geo::Country;
use mesh_contracts::id::{OrderId, UserId};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::{Kind, Method, Placed, Proof, Quote, Reason};
use uuid::Uuid;

use super::*;
use crate::log::{NOON, log, said};

const ORDER: OrderId = OrderId(Uuid::from_u128(1));
const TOTAL: Money = Money::new(1_290, Currency::EUR);

fn created() -> Event {
    Event::Created(Placed {
        number: ORDER.number(),
        customer: UserId(Uuid::from_u128(2)),
        kind: Kind::Delivery,
        quote: Quote {
            basket: UserId(Uuid::from_u128(2)).basket(),
            basket_version: 1,
            country: Country::parse("DE").expect("a country"),
            lines: Vec::new(),
            total: TOTAL,
            method: Method::Card,
            valid_until: NOON,
        },
        destination: None,
        pinned: None,
        needs: Vec::new(),
        prep_minutes: 5,
        candidates: Vec::new(),
        pay_by: NOON,
    })
}

fn paid() -> Event {
    Event::Paid {
        amount: TOTAL,
        method: Method::Card,
        assign_by: NOON,
    }
}

fn rejected() -> Event {
    Event::Rejected {
        reason: Reason::NoCandidate,
        held_at: None,
    }
}

fn due() -> Event {
    Event::SettlementDue {
        amount: TOTAL,
        is_final: true,
        seq: 1,
    }
}

#[track_caller]
fn check_path(events: &[Event], expected: &str) {
    let head = events.len() as u64;
    let breaches = path("ord", head, &log(ORDER, events));
    assert_eq!(breaches.len(), usize::from(!expected.is_empty()), "{}", said(&breaches));
    assert!(said(&breaches).contains(expected), "{}", said(&breaches));
}

#[test]
fn a_path_of_the_table_is_fine() {
    check_path(&[created(), paid(), rejected(), due()], "");
    check_path(&[created()], "");
}

#[test]
fn a_way_that_is_not_in_the_table_is_a_breach() {
    let proof = Proof::Pin;
    check_path(
        &[created(), Event::Completed { proof }],
        "no way from created to completed",
    );
    check_path(&[created(), paid(), paid()], "no way from paid to paid");
}

#[test]
fn nothing_but_money_follows_the_end() {
    check_path(
        &[created(), rejected(), Event::CookingStarted {}],
        "ticket.started after the end",
    );
    check_path(&[created(), rejected(), paid()], "no way from rejected to paid");
}

#[test]
fn a_stream_starts_with_its_order() {
    check_path(&[Event::CookingStarted {}, created()], "before order.created");
    check_path(&[paid()], "no way from nothing to paid");
}

#[test]
fn a_hole_a_repeat_and_a_missing_end_are_breaches() {
    let whole = log(ORDER, &[created(), Event::PaymentDeclined { count: 1 }, paid()]);
    let hole = [whole[0].clone(), whole[2].clone()];
    assert!(said(&path("ord", 3, &hole)).contains("version 3 where 2 should be"));
    let repeat = [whole[0].clone(), whole[1].clone(), whole[1].clone(), whole[2].clone()];
    assert!(said(&path("ord", 3, &repeat)).contains("version 2 where 3 should be"));
    assert!(said(&path("ord", 4, &whole)).contains("end at version 3, the stream stands at 4"));
}

#[test]
fn an_event_that_cannot_be_read_is_a_breach() {
    let mut events = log(ORDER, &[created(), paid()]);
    events[1].data = serde_json::json!({}).into();
    assert_eq!(path("ord", 2, &events).len(), 1);
}

fn moment() -> Moment {
    Moment {
        business: NOON,
        wall: NOON,
        rate: 1.0,
    }
}

fn standing(status: Status, due_in: &[i64]) -> Standing {
    Standing {
        status: Some(status),
        deadlines: due_in.iter().map(|s| NOON + SignedDuration::from_secs(*s)).collect(),
    }
}

#[track_caller]
fn check_standing(standing: Standing, expected: &str) {
    let orders = [("ord_a".to_owned(), standing)].into();
    let breaches = ended_or_waiting(&["ord_a".to_owned()].into(), &orders, &moment());
    assert_eq!(breaches.is_empty(), expected.is_empty(), "{}", said(&breaches));
    assert!(said(&breaches).contains(expected), "{}", said(&breaches));
}

#[test]
fn an_order_that_ended_or_has_a_deadline_ahead_is_fine() {
    check_standing(standing(Status::Completed, &[]), "");
    check_standing(standing(Status::Paid, &[-3_600, 60]), "");
    check_standing(standing(Status::Paid, &[-10]), "");
}

#[test]
fn an_open_order_without_a_deadline_ahead_is_a_breach() {
    check_standing(standing(Status::Paid, &[]), "paid: waits without a deadline");
    check_standing(standing(Status::Ready, &[-60]), "all its deadlines have passed");
}

#[test]
fn an_acknowledged_order_that_is_not_there_is_a_breach() {
    let breaches = ended_or_waiting(&["ord_lost".to_owned()].into(), &BTreeMap::new(), &moment());
    assert!(said(&breaches).contains("ord_lost"), "{}", said(&breaches));
}
