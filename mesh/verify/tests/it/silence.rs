//! If every actor falls silent, each order still ends with its money settled: from every state that a run can be in.
//!
//! A run is a script of what people would do. It is played up to each of its steps, message by message; from there
//! on nobody does anything any more, and only the masters' own messages and timers go on.

pub mod actors;
pub mod provider;
pub mod streams;
pub mod told;
pub mod world;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::api::FailOutcome;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::OrderId;
use mesh_contracts::order::{Kind, Method, Reason, Status};
use mesh_contracts::view::delivery::Status as DeliveryStatus;
use mesh_contracts::view::order::{Order, Ticket};
use mesh_contracts::view::payment::Status as PaymentStatus;
use mesh_verify::money::{self, Entry, Ledger};
use mesh_verify::{orders, stock};

use actors::{ORDER, Pace, Run, Script, Word};
use provider::Mood;
use world::World;

/// What a look of the dispatcher or a message may take on top of a deadline.
const SLACK: SignedDuration = SignedDuration::from_secs(30);

/// The money of an ended order moves for so long at most.
const SETTLE_WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// No script has more steps; one that has goes in circles.
const STEPS_MAX: usize = 500;

fn scripts() -> Vec<Script> {
    let plain = Script::default;
    let by_card = |name, mood| Script { name, mood, ..plain() };
    let kitchens = |name, kitchens: &[Word]| Script {
        name,
        kitchens: kitchens.to_vec(),
        ..plain()
    };
    let couriers = |name, couriers: &[Word]| Script {
        name,
        couriers: couriers.to_vec(),
        ..plain()
    };
    let cancelled = |name, at| Script {
        name,
        cancel_at: Some(at),
        ..plain()
    };
    let stops = |name, stops, kitchens: &[Word]| Script {
        name,
        stops,
        kitchens: kitchens.to_vec(),
        ..plain()
    };
    let closes = |name, at| Script {
        name,
        closes_at: Some(at),
        ..plain()
    };
    let at_the_counter = |name, collects, method| Script {
        name,
        kind: Kind::PickUp,
        collects,
        method,
        ..plain()
    };
    let hands_over = |name, word| Script {
        name,
        hand_over: Some(word),
        ..plain()
    };
    let overridden = |name, at| Script {
        name,
        override_at: Some(at),
        ..plain()
    };
    let declines = |name, declines| {
        by_card(
            name,
            Mood {
                declines,
                ..Mood::default()
            },
        )
    };
    let lost = |name, lost| {
        by_card(
            name,
            Mood {
                lost,
                ..Mood::default()
            },
        )
    };
    vec![
        plain(),
        Script {
            name: "paid in cash",
            method: Method::Cash,
            ..plain()
        },
        Script {
            name: "a kitchen that accepts by itself",
            auto_accept: true,
            ..plain()
        },
        declines("one card declined", 1),
        declines("three cards declined", 3),
        lost("an answer of the provider lost", 1),
        lost("two answers of the provider lost", 2),
        by_card(
            "captures that fail",
            Mood {
                captures_fail: true,
                ..Mood::default()
            },
        ),
        kitchens("the first kitchen rejects", &[Word::No]),
        kitchens("the first kitchen is silent", &[Word::Nothing]),
        kitchens("two kitchens reject", &[Word::No, Word::No]),
        kitchens("all kitchens reject", &[Word::No, Word::No, Word::No]),
        kitchens(
            "all kitchens are silent",
            &[Word::Nothing, Word::Nothing, Word::Nothing],
        ),
        couriers("the first courier declines", &[Word::No]),
        couriers("the first courier is silent", &[Word::Nothing]),
        couriers("both couriers decline and are asked again", &[Word::No, Word::No]),
        Script {
            name: "the first courier drops the job",
            drops: 1,
            ..plain()
        },
        Script {
            name: "the first courier takes the job and never comes",
            lingers: 1,
            ..plain()
        },
        Script {
            name: "nobody opens the door at first",
            attempts: 1,
            ..plain()
        },
        Script {
            name: "nobody ever opens the door",
            attempts: 1,
            door_stays_closed: true,
            ..plain()
        },
        Script {
            name: "the kitchen does not say when it starts",
            says_start: false,
            ..plain()
        },
        Script {
            name: "a kitchen that fills up, and one that has nothing",
            first_point_fills_up: true,
            second_point_empty: true,
            ..plain()
        },
        cancelled("cancelled when created", Status::Created),
        cancelled("cancelled when paid", Status::Paid),
        cancelled("cancelled when assigned", Status::Assigned),
        Script {
            name: "cancelled when cooking",
            cancel_when_cooking: true,
            ..plain()
        },
        Script {
            name: "cancelled when cooking, to be paid in cash",
            cancel_when_cooking: true,
            method: Method::Cash,
            ..plain()
        },
        Script {
            name: "the kitchen cancels before it cooks",
            kitchen_cancels_at: Some(Ticket::Queued),
            ..plain()
        },
        Script {
            name: "the kitchen cancels while it cooks",
            kitchen_cancels_at: Some(Ticket::Cooking),
            ..plain()
        },
        stops("the kitchen stops and the next one takes over", 1, &[]),
        stops("two kitchens stop", 2, &[]),
        stops("all kitchens stop", 3, &[]),
        stops(
            "the kitchen stops and nobody answers",
            1,
            &[Word::Yes, Word::Nothing, Word::Nothing],
        ),
        stops(
            "the kitchen stops and nobody wants it",
            1,
            &[Word::Yes, Word::No, Word::No],
        ),
        Script {
            name: "the kitchen stops and the next one accepts by itself",
            stops: 1,
            auto_accept: true,
            ..plain()
        },
        closes("the point closes when asked", Ticket::Offered),
        closes("the point closes when it has accepted", Ticket::Accepted),
        closes("the point closes before it cooks", Ticket::Queued),
        closes("the point closes while it cooks", Ticket::Cooking),
        at_the_counter("collected at the counter", true, Method::Card),
        at_the_counter("collected and paid at the counter", true, Method::Cash),
        at_the_counter("never collected", false, Method::Card),
        at_the_counter("never collected nor paid", false, Method::Cash),
        Script {
            name: "brought back after an attempt",
            attempts: 1,
            fails: Some(FailOutcome::Returned),
            ..plain()
        },
        Script {
            name: "lost on the road",
            fails: Some(FailOutcome::Lost),
            ..plain()
        },
        Script {
            name: "lost after an attempt",
            attempts: 1,
            fails: Some(FailOutcome::Lost),
            ..plain()
        },
        hands_over("another courier takes it over", Word::Yes),
        hands_over("another courier does not want it", Word::No),
        hands_over("another courier says nothing", Word::Nothing),
        overridden("overridden when created", Status::Created),
        overridden("overridden when paid", Status::Paid),
        overridden("overridden when assigned", Status::Assigned),
        overridden("overridden when ready", Status::Ready),
        overridden("overridden on its way", Status::InDelivery),
    ]
}

/// How long the order may take to end when nobody does anything, by the deadlines of the design's table.
fn bound(world: &World) -> SignedDuration {
    let Some(order) = world.orders.get(ORDER) else {
        return SignedDuration::ZERO;
    };
    let policy = &world.policies.order;
    let ahead = |at: Option<Timestamp>| at.map_or(SignedDuration::ZERO, |at| at.duration_since(world.now));
    // Kitchens that accept by themselves are not silent.
    let cooked = match order.candidates.iter().any(|candidate| candidate.auto_accept) {
        true => SignedDuration::from_mins(order.prep_minutes.into()) + policy.ready_give_up,
        false => SignedDuration::ZERO,
    };
    let assigned = policy.assign + cooked;
    SLACK
        + match order.status {
            // A promise that is under way may still come in the window's last moment.
            Status::Created => policy.payment + assigned,
            Status::Paid if order.ticket == Ticket::Accepted => ahead(order.ready_by) + policy.ready_give_up,
            Status::Paid => assigned,
            Status::Assigned if order.ticket == Ticket::Accepted => ahead(order.ready_by) + policy.ready_give_up,
            Status::Assigned if order.is_rerouting() => policy.reroute + cooked,
            // A point that closes may still be heard of.
            Status::Assigned => ahead(order.ready_by).max(policy.reroute) + policy.ready_give_up,
            Status::Ready if order.kind == Kind::PickUp => policy.collect_anytime,
            Status::Ready => picked_up_bound(world, order),
            Status::InDelivery if order.attempted => policy.after_attempt,
            Status::InDelivery => ahead(order.eta) + policy.delivery_give_up,
            Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => {
                SignedDuration::ZERO
            }
        }
}

/// A courier who picked up just before falling silent: order-master may not have heard of it yet.
fn picked_up_bound(world: &World, order: &Order) -> SignedDuration {
    let policy = &world.policies.order;
    let eta = world
        .deliveries
        .get(ORDER.delivery())
        .and_then(|delivery| delivery.eta)
        .or(order.eta);
    match eta {
        Some(eta) => eta.duration_since(world.now) + policy.delivery_give_up,
        None => policy.pickup_give_up,
    }
}

/// Lets time run without anybody, and says when the order ended.
fn run_down(world: &mut World) -> Option<Timestamp> {
    let until = world.now + bound(world);
    let mut ended_at = None;
    loop {
        let is_over = world.orders.get(ORDER).is_none_or(|order| order.status.is_terminal());
        if is_over && ended_at.is_none() {
            ended_at = Some(world.now);
        }
        let limit = ended_at.map_or(until, |ended| ended + SETTLE_WITHIN);
        if !world.go_on() && !world.wait(limit) {
            return ended_at;
        }
    }
}

/// What must be so once nobody has done anything for long enough; each flaw in words.
pub fn flaws(world: &World, ended_at: Option<Timestamp>) -> Vec<String> {
    let Some(order) = world.orders.get(ORDER) else {
        return Vec::new();
    };
    let mut flaws = leftovers(world, ORDER);
    if ended_at.is_none() {
        flaws.push(format!("still {:?}, waiting for {:?}", order.status, world.timers));
    }
    if !world.timers.is_empty() {
        flaws.push(format!("timers left: {:?}", world.timers));
    }
    flaws
}

/// What an order that ended must not leave behind once everybody has heard of it.
pub fn leftovers(world: &World, order: OrderId) -> Vec<String> {
    let mut flaws = Vec::new();
    let mut holds = |holds: bool, what: String| {
        if !holds {
            flaws.push(what);
        }
    };
    let Some(state) = world.orders.get(order) else {
        return flaws;
    };
    if let Some(payment) = world.payments.get(order.payment()) {
        let due = state.settlement;
        holds(
            due.is_some_and(|due| due.is_final),
            format!("nobody said what is due for good: {due:?}"),
        );
        holds(payment.call.is_none(), format!("a call is under way: {payment:?}"));
        holds(payment.authorized.is_zero(), format!("a promise is open: {payment:?}"));
        let kept = payment.captured.amount - payment.refunded.amount;
        let is_debt = payment.capture_failed && kept == 0;
        holds(
            is_debt || Some(kept) == due.map(|due| due.amount.amount),
            format!("{kept} kept, due {due:?}"),
        );
    }
    let held = world.provider.held(order);
    holds(
        held.open == 0 && held.captures <= 1,
        format!("the provider has {held:?}"),
    );
    for (id, point) in world.points.all() {
        holds(!point.holds.contains_key(&order), format!("{id} still holds for it"));
        holds(point.balances(), format!("{id} lost stock: {:?}", point.stock));
        let breaches = stock::conserved(id, &of_stream(world, id));
        holds(breaches.is_empty(), format!("{breaches:?}"));
    }
    if let Some(delivery) = world.deliveries.get(order.delivery()) {
        holds(
            !delivery.status.is_open(),
            format!("the delivery is still {:?}", delivery.status),
        );
    }
    for (id, courier) in world.couriers.all() {
        holds(
            !courier.jobs.contains(&order.delivery()),
            format!("{id} still has {:?}", courier.jobs),
        );
    }
    let id = order.to_string();
    let events = of_stream(world, &id);
    let breaches = orders::path(&id, events.len() as u64, &events);
    holds(breaches.is_empty(), format!("{breaches:?}"));
    let breaches = as_verified(world, order, &events);
    holds(breaches.is_empty(), breaches);
    flaws
}

pub fn of_stream(world: &World, stream: &str) -> Vec<Envelope> {
    let events = world.log.iter().filter(|event| event.stream == stream);
    events.map(|event| Envelope::clone(event)).collect()
}

/// The same money, as `tiffin verify` counts it; without the order's events, of an order that goes on.
pub fn as_verified(world: &World, order: OrderId, events: &[Envelope]) -> String {
    let id = order.to_string();
    let payment = of_stream(world, &order.payment().to_string());
    let held = world.provider.held(order);
    let asked_at = world.now + SETTLE_WITHIN * 2;
    let ledger = Ledger {
        entries: vec![Entry {
            id: "pi_1".into(),
            order_id: Some(id.clone()),
            currency: "eur".into(),
            captured: held.captured,
            refunded: held.refunded,
            open: held.open,
            captures: held.captures,
        }],
        asked_at,
    };
    let claims = money::claim(events)
        .map(|claim| (id.clone(), claim))
        .into_iter()
        .collect();
    let accounts = money::account(&payment)
        .map(|account| (id, account))
        .into_iter()
        .collect();
    let breaches = money::settled(&claims, &accounts, &ledger, asked_at);
    let lines: Vec<String> = breaches.into_iter().map(|breach| breach.what).collect();
    lines.join("; ")
}

/// What was seen at the moments when everybody fell silent.
#[derive(Default)]
struct Seen {
    states: usize,
    orders: BTreeSet<String>,
    tickets: BTreeSet<String>,
    payments: BTreeSet<String>,
    deliveries: BTreeSet<String>,
    together: BTreeSet<String>,
}

impl Seen {
    fn note(&mut self, world: &World) {
        self.states += 1;
        let Some(order) = world.orders.get(ORDER) else { return };
        let payment = world.payments.get(ORDER.payment()).map(|payment| payment.status);
        let delivery = world.deliveries.get(ORDER.delivery()).map(|delivery| delivery.status);
        self.orders.insert(format!("{:?}", order.status));
        self.tickets.insert(format!("{:?}", order.ticket));
        self.payments.extend(payment.map(|status| format!("{status:?}")));
        self.deliveries.extend(delivery.map(|status| format!("{status:?}")));
        self.together.insert(format!(
            "{:?} {:?} {:?} {payment:?} {delivery:?} {}",
            order.status, order.ticket, order.hold, order.attempted
        ));
    }
}

fn names<T: std::fmt::Debug>(all: &[T]) -> BTreeSet<String> {
    all.iter().map(|one| format!("{one:?}")).collect()
}

#[test]
#[allow(clippy::print_stdout, reason = "how much was checked is the point of it")]
fn from_any_state_with_every_actor_silent_the_order_ends_and_its_money_is_settled() {
    let mut seen = Seen::default();
    let mut failures = Vec::new();
    for script in scripts() {
        for pace in Pace::ALL {
            let mut run = Run::new(&script, pace);
            for step in 0.. {
                assert!(step < STEPS_MAX, "{} ({pace:?}) goes in circles", script.name);
                let mut world = run.world().clone();
                seen.note(&world);
                let ended_at = run_down(&mut world);
                let flaws = flaws(&world, ended_at);
                if !flaws.is_empty() {
                    failures.push(format!(
                        "{} ({pace:?}), silent from step {step}: {flaws:#?}",
                        script.name
                    ));
                }
                if !run.step() {
                    break;
                }
            }
        }
    }
    println!(
        "{} moments of silence checked, {} different states of order, ticket, hold, payment and delivery",
        seen.states,
        seen.together.len()
    );
    let shown = failures.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} moments fail, such as\n{shown}", failures.len());

    assert_eq!(seen.orders, names(&Status::ALL), "every status was reached");
    let tickets = [
        Ticket::None,
        Ticket::Offered,
        Ticket::Accepted,
        Ticket::Queued,
        Ticket::Cooking,
        Ticket::Ready,
        Ticket::HandedOver,
        Ticket::Rejected,
        Ticket::TimedOut,
        Ticket::Cancelled,
    ];
    // Rejected and timed out are left within the same decision, towards the next kitchen or the end.
    let left_at_once = names(&[Ticket::Rejected, Ticket::TimedOut]);
    assert!(
        names(&tickets)
            .difference(&left_at_once)
            .all(|ticket| seen.tickets.contains(ticket))
    );
    // The first step of a payment is taken with its opening.
    let payments = [
        PaymentStatus::Authorizing,
        PaymentStatus::Authorized,
        PaymentStatus::Capturing,
        PaymentStatus::Captured,
        PaymentStatus::Voiding,
        PaymentStatus::Voided,
        PaymentStatus::Refunding,
        PaymentStatus::PartiallyRefunded,
        PaymentStatus::Refunded,
        PaymentStatus::Declined,
        PaymentStatus::Unknown,
    ];
    assert_eq!(seen.payments, names(&payments), "every state of a payment was reached");
    assert_eq!(
        seen.deliveries,
        names(&DeliveryStatus::ALL),
        "every state of a delivery was reached"
    );
}

#[test]
fn scripts_end_as_their_people_meant() {
    let end_of = |script: &Script| {
        // A good card is promised before anybody who lets the masters finish can act.
        let is_early = [script.cancel_at, script.override_at].contains(&Some(Status::Created));
        let pace = if is_early { Pace::Eager } else { Pace::Prompt };
        let mut run = Run::new(script, pace);
        while run.step() {}
        let order = run.world().orders.get(ORDER).expect("placed");
        (order.status, order.reason)
    };
    for script in scripts() {
        let expected = match script.name {
            "three cards declined" => (Status::Expired, Some(Reason::Payment)),
            "all kitchens reject" | "all kitchens are silent" => (Status::Rejected, Some(Reason::NoCandidate)),
            "nobody ever opens the door" | "brought back after an attempt" => {
                (Status::Undelivered, Some(Reason::CustomerNotFound))
            }
            name if name.starts_with("never collected") => (Status::Undelivered, Some(Reason::CustomerNotFound)),
            name if name.starts_with("lost") => (Status::Undelivered, Some(Reason::Other)),
            name if name.starts_with("the kitchen cancels") => (Status::Cancelled, Some(Reason::IngredientUnavailable)),
            "all kitchens stop" | "the kitchen stops and nobody answers" | "the kitchen stops and nobody wants it" => {
                (Status::Cancelled, Some(Reason::Busy))
            }
            "overridden on its way" => (Status::Undelivered, Some(Reason::Other)),
            name if name.starts_with("cancelled") => (Status::Cancelled, Some(Reason::CustomerCancelled)),
            name if name.starts_with("overridden") => (Status::Cancelled, Some(Reason::Other)),
            _ => (Status::Completed, None),
        };
        assert_eq!(end_of(&script), expected, "{}", script.name);
    }
}

#[test]
fn an_order_that_lost_its_deadlines_is_noticed() {
    let mut noticed = BTreeSet::new();
    // With a good card it does not stay in `created`: the masters alone take it to `paid`.
    let declines = Script {
        mood: Mood {
            declines: 1,
            ..Mood::default()
        },
        ..Script::default()
    };
    for script in [Script::default(), declines] {
        let mut run = Run::new(&script, Pace::Prompt);
        while run.step() {
            let mut world = run.world().clone();
            world.timers.retain(|(stream, _), _| *stream != ORDER.to_string());
            let status = world.orders.get(ORDER).map(|order| order.status);
            let ended_at = run_down(&mut world);
            if ended_at.is_none() {
                assert!(!flaws(&world, ended_at).is_empty());
                noticed.extend(status.map(|status| format!("{status:?}")));
            }
        }
    }
    let open = [
        Status::Created,
        Status::Paid,
        Status::Assigned,
        Status::Ready,
        Status::InDelivery,
    ];
    assert_eq!(noticed, names(&open));
}
