use jiff::SignedDuration;
use mesh_contracts::delivery::{Considered as Other, NotAsked};
use mesh_contracts::envelope::{Actor, EventBody, Meta};
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{AddressId, CourierId};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::{
    Candidate, Destination, EndedBy, Kind, Method, PassedOver, Placed, Quote, QuoteLine, Reason,
};
use mesh_contracts::{delivery, notification, payment, point};

use super::cause::Cause;
use super::*;

const ORDER: OrderId = OrderId(Uuid::from_u128(9));
const NEAR: FoodPointId = FoodPointId(Uuid::from_u128(1));
const SHUT: FoodPointId = FoodPointId(Uuid::from_u128(2));
const FAR: FoodPointId = FoodPointId(Uuid::from_u128(3));
const ANNA: CourierId = CourierId(Uuid::from_u128(4));
const BORIS: CourierId = CourierId(Uuid::from_u128(5));
const TOTAL: Money = Money::new(1290, Currency::EUR);

fn at(minute: i64) -> Timestamp {
    Timestamp::constant(1_700_000_000, 0) + SignedDuration::from_mins(minute)
}

/// A story under way: events get their place in their streams and an id that counts up.
#[derive(Default)]
struct Told(Vec<Envelope>);

impl Told {
    /// Says that it happened at that minute; gives the event's id.
    fn add(
        &mut self,
        minute: i64,
        actor: &str,
        cause: Option<Uuid>,
        stream: impl ToString,
        body: impl EventBody,
    ) -> Uuid {
        let stream = stream.to_string();
        let version = self.0.iter().filter(|event| event.stream == stream).count() as u64 + 1;
        let event_id = Uuid::from_u128(100 + self.0.len() as u128);
        self.0.push(Envelope {
            event_id,
            stream,
            version,
            position: version,
            event_type: body.event_type().to_owned(),
            schema_version: 1,
            at: at(minute),
            recorded_at: at(minute),
            meta: Meta {
                causation: cause,
                ..Meta::by(Actor(actor.to_owned()))
            },
            data: body.encode(),
        });
        event_id
    }

    fn explained(self) -> Explained {
        let (order, others) = self.0.into_iter().partition(|event| event.stream == ORDER.to_string());
        explain(ORDER, &Story { order, others }).expect("its own events")
    }
}

fn candidate(food_point: FoodPointId, distance_m: u32, passed_over: Option<PassedOver>) -> Candidate {
    Candidate {
        food_point,
        at: Coordinates::new(52_520_000, 13_405_000).expect("on earth"),
        distance_m,
        auto_accept: false,
        closes_at: None,
        passed_over,
    }
}

fn placed() -> Event {
    let country = Country::parse("DE").expect("a country");
    let customer = UserId(Uuid::from_u128(8));
    Event::Created(Placed {
        number: ORDER.number(),
        customer,
        kind: Kind::Delivery,
        quote: Quote {
            basket: customer.basket(),
            basket_version: 1,
            country,
            lines: vec![QuoteLine::plain(
                mesh_contracts::id::ProductId(Uuid::from_u128(6)),
                1,
                TOTAL,
            )],
            total: TOTAL,
            method: Method::Card,
            valid_until: at(10),
        },
        destination: Some(Destination {
            address: AddressId(Uuid::from_u128(7)),
            place: Place {
                country,
                at: Coordinates::new(52_521_000, 13_405_000).expect("on earth"),
            },
        }),
        pinned: None,
        needs: Vec::new(),
        prep_minutes: 5,
        candidates: vec![
            candidate(NEAR, 400, None),
            candidate(SHUT, 700, Some(PassedOver::Closed)),
            candidate(FAR, 1200, None),
        ],
        pay_by: at(10),
    })
}

fn requested(attempt: u32, food_point: FoodPointId, answer_by: i64) -> Event {
    Event::HoldRequested {
        attempt,
        food_point,
        kind: Kind::Delivery,
        needs: Vec::new(),
        answer_by: at(answer_by),
        expires_at: at(60),
    }
}

/// The nearest kitchen says nothing, the next one cooks, and the customer cancels what is on the stove.
fn rerouted_and_cancelled() -> Told {
    let (customer, master) = ("customer:usr_1", "service:order-master");
    let mut told = Told::default();
    let command = Uuid::from_u128(1);
    told.add(0, customer, Some(command), ORDER, placed());
    told.add(0, customer, Some(command), ORDER, requested(1, NEAR, 1));
    let offered = Event::TicketOffered {
        attempt: 1,
        food_point: NEAR,
        accept_by: at(5),
    };
    let offered = told.add(2, master, None, ORDER, offered);
    let silent = Event::TicketTimedOut {
        attempt: 1,
        food_point: NEAR,
    };
    let timer = "timer:order-master";
    told.add(6, timer, Some(offered), ORDER, silent);
    told.add(6, timer, Some(offered), ORDER, requested(2, FAR, 7));
    let held = point::Event::HoldHeld {
        order: ORDER,
        attempt: 2,
        needs: Vec::new(),
        expires_at: at(60),
    };
    let held = told.add(7, "service:point-master", None, FAR, held);
    let elses = point::Event::HoldConsumed {
        order: OrderId(Uuid::from_u128(77)),
        attempt: 1,
    };
    told.add(7, "service:point-master", None, FAR, elses);
    let noted = Event::HoldHeld {
        attempt: 2,
        food_point: FAR,
    };
    told.add(8, master, Some(held), ORDER, noted);
    let assigned = Event::Assigned {
        attempt: 2,
        food_point: FAR,
        ready_by: at(20),
        start_by: at(15),
        late_at: at(30),
        give_up_at: at(65),
    };
    let assigned = told.add(10, master, Some(Uuid::from_u128(999)), ORDER, assigned);
    told.add(10, master, None, ORDER, settlement(TOTAL, false));
    let offered = delivery::Event::Offered {
        attempt: 1,
        courier: ANNA,
        pickup_distance_m: 300,
        answer_by: at(13),
        considered: vec![Other {
            courier: BORIS,
            pickup_distance_m: 200,
            not_asked: NotAsked::Passed,
        }],
    };
    told.add(12, "service:courier-master", None, ORDER.delivery(), offered);
    told.add(15, timer, Some(assigned), ORDER, Event::CookingStarted {});
    let cancelled = Event::Cancelled {
        by: EndedBy::Customer,
        reason: Reason::CustomerCancelled,
        liable: None,
        held_at: Some(FAR),
        cooking_began: true,
        borne: None,
    };
    told.add(16, customer, Some(Uuid::from_u128(2)), ORDER, cancelled);
    told.add(
        16,
        customer,
        Some(Uuid::from_u128(2)),
        ORDER,
        settlement(Money::new(645, Currency::EUR), true),
    );
    told
}

fn settlement(amount: Money, is_final: bool) -> Event {
    Event::SettlementDue {
        amount,
        is_final,
        seq: 1,
    }
}

fn step<'a>(explained: &'a Explained, event_type: &str, nth: usize) -> &'a Step {
    let mut found = explained.steps.iter().filter(|step| step.event_type == event_type);
    found.nth(nth).unwrap_or_else(|| panic!("no {event_type}: {explained}"))
}

fn verdicts(step: &Step) -> Vec<(String, u32, &str)> {
    let considered = step.considered.iter();
    considered
        .map(|one| (one.who.clone(), one.distance_m, one.verdict.as_str()))
        .collect()
}

#[test]
fn each_choice_of_a_food_point_says_what_was_chosen_from_and_why() {
    let explained = rerouted_and_cancelled().explained();
    assert_eq!(
        verdicts(step(&explained, "hold.requested", 0)),
        [
            (NEAR.to_string(), 400, "asked: the nearest that is left"),
            (SHUT.to_string(), 700, "passed over: closed"),
            (FAR.to_string(), 1200, "not asked: farther"),
        ]
    );
    assert_eq!(
        verdicts(step(&explained, "hold.requested", 1)),
        [
            (NEAR.to_string(), 400, "asked before: its kitchen did not answer"),
            (SHUT.to_string(), 700, "passed over: closed"),
            (FAR.to_string(), 1200, "asked: the nearest that is left"),
        ]
    );
}

#[test]
fn an_offer_says_who_else_was_there() {
    let explained = rerouted_and_cancelled().explained();
    assert_eq!(
        verdicts(step(&explained, "delivery.offered", 0)),
        [
            (ANNA.to_string(), 300, "asked: the best who is free"),
            (BORIS.to_string(), 200, "not asked: passed"),
        ]
    );
}

#[test]
fn causes_are_followed_over_streams_to_commands_and_deadlines() {
    let explained = rerouted_and_cancelled().explained();
    let because = |event_type, nth| step(&explained, event_type, nth).because.clone();
    let id = Uuid::from_u128(1);
    assert_eq!(because("order.created", 0), Because::Command { id });
    let held = Cause {
        event_type: "hold.held".to_owned(),
        stream: FAR.to_string(),
        version: 1,
    };
    assert_eq!(because("order.hold_held", 0), Because::Event(held));
    let event = Uuid::from_u128(999);
    assert_eq!(because("order.assigned", 0), Because::Elsewhere { event });
    assert_eq!(because("settlement.due", 0), Because::Itself);
    for (event_type, deadline, due) in [
        ("ticket.timed_out", "accept_by", at(5)),
        ("ticket.started", "start_by", at(15)),
    ] {
        let Because::Deadline {
            name: Some(name),
            due: Some(passed),
            ..
        } = because(event_type, 0)
        else {
            panic!("{event_type} is by a deadline");
        };
        assert_eq!((name.as_str(), passed), (deadline, due), "{event_type}");
    }
}

#[test]
fn what_names_no_cause_has_the_one_that_its_body_tells() {
    let mut told = rerouted_and_cancelled();
    let intended = |attempt, operation| payment::Event::Intended {
        attempt,
        operation,
        amount: TOTAL,
        key: format!("pay-{attempt}"),
        answer_by: at(20),
    };
    let (master, payment) = ("service:basket-master", ORDER.payment());
    told.add(
        3,
        master,
        Some(Uuid::from_u128(3)),
        payment,
        intended(1, payment::Operation::Authorize),
    );
    told.add(
        3,
        master,
        Some(Uuid::from_u128(3)),
        payment,
        intended(2, payment::Operation::Capture),
    );
    let captured = payment::Event::Captured {
        attempt: 2,
        amount: TOTAL,
    };
    told.add(4, master, None, payment, captured);
    let declined = delivery::Event::Declined {
        attempt: 1,
        courier: ANNA,
    };
    told.add(
        13,
        "courier:usr_4",
        Some(Uuid::from_u128(4)),
        ORDER.delivery(),
        declined,
    );
    let again = delivery::Event::Offered {
        attempt: 2,
        courier: BORIS,
        pickup_distance_m: 200,
        answer_by: at(15),
        considered: Vec::new(),
    };
    told.add(14, "service:courier-master", None, ORDER.delivery(), again);
    let occasion = notification::Occasion::Cancelled;
    told.add(
        17,
        "service:notifier",
        None,
        ORDER.notifications(),
        notification::Event::Sent { occasion },
    );
    let explained = told.explained();
    for (event_type, nth, cause, version) in [
        ("payment.captured", 0, "payment.intended", 2),
        ("delivery.offered", 1, "delivery.declined", 2),
        ("notification.sent", 0, "order.cancelled", 10),
    ] {
        let Because::Event(found) = &step(&explained, event_type, nth).because else {
            panic!("{event_type} has a cause: {explained}");
        };
        assert_eq!(
            (found.event_type.as_str(), found.version),
            (cause, version),
            "{event_type}"
        );
    }
}

#[test]
fn a_choice_that_the_customer_made_is_called_one() {
    let mut told = Told::default();
    let Event::Created(placed) = placed() else {
        unreachable!("it is placed");
    };
    let placed = Placed {
        pinned: Some(FAR),
        candidates: vec![candidate(FAR, 1200, None)],
        ..placed
    };
    told.add(0, "customer:usr_1", None, ORDER, Event::Created(placed));
    told.add(0, "customer:usr_1", None, ORDER, requested(1, FAR, 1));
    assert_eq!(
        verdicts(step(&told.explained(), "hold.requested", 0)),
        [(FAR.to_string(), 1200, "asked: the customer wants no other")]
    );
}

#[test]
fn money_says_by_which_rule() {
    let explained = rerouted_and_cancelled().explained();
    let rule = |event_type| step(&explained, event_type, 0).policy.as_deref();
    assert_eq!(
        rule("order.assigned"),
        Some("a kitchen has accepted, so all of it is due")
    );
    assert_eq!(
        rule("order.cancelled"),
        Some(
            "ended by customer while it was cooked (customer cancelled): 645 of 1290 EUR back (50 %), borne by nobody"
        )
    );
    assert_eq!(rule("settlement.due"), None);
}

#[test]
fn a_food_points_other_orders_are_not_told() {
    let explained = rerouted_and_cancelled().explained();
    let of_points = explained.steps.iter().filter(|step| step.stream == FAR.to_string());
    assert_eq!(of_points.count(), 1);
}

#[test]
fn people_read_it_from_top_to_bottom() {
    let explained = rerouted_and_cancelled().explained();
    let told = explained.to_string();
    let blocks: Vec<&str> = told.split("\n\n").collect();
    assert_eq!(blocks.len(), explained.steps.len() + 1);
    assert_eq!(
        blocks[2],
        format!(
            "2023-11-14T22:13:20Z  hold.requested  by customer:usr_1
    {NEAR} is asked to hold it (attempt 1) until 2023-11-14T22:14:20Z
        400 m  {NEAR}  asked: the nearest that is left
        700 m  {SHUT}  passed over: closed
       1200 m  {FAR}  not asked: farther
    because of command {}",
            Uuid::from_u128(1)
        )
    );
}
