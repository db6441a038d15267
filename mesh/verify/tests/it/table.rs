//! The table of the design, row by row: from a named state, what is said, what the money does, where the stock goes.
//!
//! The masters' real rules together, without servers; the provider's ledger is the witness for the money.

use courier_master::domain::delivery;
use jiff::SignedDuration;
use mesh_contracts::api::FailOutcome;
use mesh_contracts::id::CourierId;
use mesh_contracts::order::{Borne, Kind, Liable, Method, Proof, Reason, Status};
use mesh_contracts::view::delivery::Status as DeliveryStatus;
use mesh_contracts::view::order::{Order, Ticket};
use order_master::domain::Command;

use crate::silence::actors::{BREAD, COURIERS, ORDER, Pace, Run, Script, Word, at, fill, placed, point};
use crate::silence::world::World;

/// What the order costs.
const PRICE: i64 = 1_800;

/// Available, held, consumed, wasted: of 50 breads, the order takes 4.
const UNTOUCHED: [u64; 4] = [50, 0, 0, 0];
const HELD: [u64; 4] = [46, 4, 0, 0];
const CONSUMED: [u64; 4] = [46, 0, 4, 0];
const WASTED: [u64; 4] = [46, 0, 0, 4];

/// Open, captured, refunded, as the provider has it.
const NO_MONEY: [i64; 3] = [0, 0, 0];
const PROMISED: [i64; 3] = [PRICE, 0, 0];
const TAKEN: [i64; 3] = [0, PRICE, 0];
const GIVEN_BACK: [i64; 3] = [0, PRICE, PRICE];

/// A state, reached as its people mean it, with every message heard.
pub fn state(script: &Script, is_there: impl Fn(&World) -> bool) -> World {
    let mut run = Run::new(script, Pace::Prompt);
    while !is_there(run.world()) {
        assert!(run.step(), "{} never gets there", script.name);
    }
    let mut world = run.world().clone();
    while world.go_on_paying() {}
    assert!(is_there(&world), "{} went on by itself", script.name);
    world
}

fn order(world: &World) -> &Order {
    world.orders.get(ORDER).expect("placed")
}

fn with_ticket(status: Status, ticket: Ticket) -> impl Fn(&World) -> bool {
    move |world| {
        let order = world.orders.get(ORDER);
        order.is_some_and(|order| order.status == status && order.ticket == ticket)
    }
}

pub fn offered() -> World {
    state(&Script::default(), with_ticket(Status::Paid, Ticket::Offered))
}

pub fn queued() -> World {
    state(&Script::default(), with_ticket(Status::Assigned, Ticket::Queued))
}

pub fn cooking() -> World {
    state(&Script::default(), with_ticket(Status::Assigned, Ticket::Cooking))
}

pub fn ready() -> World {
    state(&Script::default(), |world| {
        let is_ready = with_ticket(Status::Ready, Ticket::Ready)(world);
        is_ready && order(world).courier.is_some()
    })
}

pub fn on_its_way() -> World {
    state(&Script::default(), with_ticket(Status::InDelivery, Ticket::HandedOver))
}

pub fn on_the_counter() -> World {
    let script = Script {
        kind: Kind::PickUp,
        ..Script::default()
    };
    state(&script, with_ticket(Status::Ready, Ticket::Ready))
}

/// What the order says when this is done and everybody has heard of it.
fn after(world: &mut World, act: impl FnOnce(&mut World)) -> Vec<String> {
    let before = world.log.len();
    act(world);
    while world.go_on_paying() {}
    let said = world.log[before..]
        .iter()
        .filter(|event| event.stream == ORDER.to_string());
    said.map(|event| event.event_type.clone()).collect()
}

fn tell(world: &mut World, command: Command) -> Vec<String> {
    after(world, |world| world.on_order(ORDER, command).expect("allowed"))
}

fn carry(world: &mut World, command: delivery::Command) -> Vec<String> {
    after(world, |world| {
        world.on_delivery(ORDER.delivery(), command).expect("allowed")
    })
}

/// Lets time run without anybody.
fn pass(world: &mut World, span: SignedDuration) -> Vec<String> {
    let until = world.now + span;
    after(world, |world| while world.go_on() || world.wait(until) {})
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

#[track_caller]
fn money(world: &World, expected: [i64; 3]) {
    let held = world.provider.held(ORDER);
    assert_eq!(
        [held.open, held.captured, held.refunded],
        expected,
        "open, captured, refunded"
    );
    assert!(held.captures <= 1);
}

#[track_caller]
fn due(world: &World, amount: i64, is_final: bool) {
    let due = order(world).settlement.map(|due| (due.amount.amount, due.is_final));
    assert_eq!(due, Some((amount, is_final)), "due");
}

#[track_caller]
fn stock(world: &World, nth: u128, expected: [u64; 4]) {
    let point = world.points.get(point(nth)).expect("registered");
    let stock = point.stock[&BREAD];
    let found = [stock.available, stock.held, stock.consumed, stock.wasted];
    assert_eq!(found, expected, "available, held, consumed, wasted at point {nth}");
    assert_eq!(
        point.holds.contains_key(&ORDER),
        stock.held > 0,
        "slot and stock go together"
    );
    assert!(point.balances());
}

#[track_caller]
fn ended(world: &World, status: Status, reason: Reason) {
    let order = order(world);
    assert_eq!((order.status, order.reason), (status, Some(reason)));
    let open = world.deliveries.get(ORDER.delivery());
    assert!(open.is_none_or(|delivery| !delivery.status.is_open()), "{open:?}");
    for (id, courier) in world.couriers.all() {
        assert!(courier.jobs.is_empty(), "{id} still has {:?}", courier.jobs);
    }
}

#[track_caller]
fn borne(world: &World, liable: Option<Liable>, amount: Option<i64>) {
    let order = order(world);
    let found = (order.liable, order.borne.map(|borne| borne.amount.amount));
    assert_eq!(found, (liable, amount), "who bears what");
    if let Some(Borne {
        food_point, courier, ..
    }) = order.borne
    {
        assert_eq!(food_point.is_some(), liable == Some(Liable::Point));
        assert_eq!(courier.is_some(), liable == Some(Liable::Courier));
    }
}

fn carrier(world: &World) -> CourierId {
    let delivery = world.deliveries.get(ORDER.delivery()).expect("requested");
    delivery.courier.expect("somebody has it")
}

#[test]
fn row_1_an_order_is_placed_and_asks_for_a_hold() {
    let mut world = Run::new(&Script::default(), Pace::Prompt).world().clone();
    let placed = placed(&world, ORDER, Method::Card, Kind::Delivery);
    world
        .on_order(ORDER, Command::Place(Box::new(placed)))
        .expect("somebody can cook it");
    let said: Vec<&str> = world
        .log
        .iter()
        .rev()
        .take(2)
        .map(|event| event.event_type.as_str())
        .collect();
    assert_eq!(said, ["hold.requested", "order.created"]);
    money(&world, NO_MONEY);
    stock(&world, 0, UNTOUCHED);
}

#[test]
fn row_2_nobody_can_hold_it_and_nothing_is_charged() {
    let mut world = Run::new(&Script::default(), Pace::Prompt).world().clone();
    let placed = placed(&world, ORDER, Method::Card, Kind::Delivery);
    for nth in 0..3 {
        fill(&mut world, point(nth));
    }
    let said = tell(&mut world, Command::Place(Box::new(placed)));
    assert_eq!(said.last().map(String::as_str), Some("order.rejected"));
    assert_eq!(said.iter().filter(|event| *event == "order.hold_failed").count(), 3);
    ended(&world, Status::Rejected, Reason::NoCandidate);
    money(&world, NO_MONEY);
    stock(&world, 0, UNTOUCHED);
}

#[test]
fn row_3_money_is_promised_only_for_what_is_held() {
    let mut world = Run::new(&Script::default(), Pace::Prompt).world().clone();
    let placed = placed(&world, ORDER, Method::Card, Kind::Delivery);
    let said = tell(&mut world, Command::Place(Box::new(placed)));
    assert_eq!(
        said[2..],
        ["order.hold_held", "payment.requested", "order.paid", "ticket.offered"]
    );
    money(&world, PROMISED);
    stock(&world, 0, HELD);
}

#[test]
fn row_4_an_order_that_is_not_paid_expires_and_gives_its_stock_back() {
    let mut script = Script::default();
    script.mood.declines = 1;
    let mut world = state(&script, |world| {
        world.orders.get(ORDER).is_some_and(|order| order.declines == 1)
    });
    stock(&world, 0, HELD);
    let said = pass(&mut world, minutes(11));
    assert_eq!(said, ["order.expired", "settlement.due"]);
    ended(&world, Status::Expired, Reason::Payment);
    due(&world, 0, true);
    money(&world, NO_MONEY);
    stock(&world, 0, UNTOUCHED);
}

#[test]
fn row_5_an_accepted_order_is_charged_and_somebody_is_to_bring_it() {
    let mut world = offered();
    let said = tell(&mut world, Command::Accept { ready_by: None });
    assert_eq!(
        said,
        [
            "ticket.accepted",
            "order.assigned",
            "settlement.due",
            "delivery.requested"
        ]
    );
    due(&world, PRICE, false);
    money(&world, TAKEN);
    stock(&world, 0, HELD);
}

#[test]
fn row_6_a_refused_order_goes_to_the_next_kitchen_with_its_stock() {
    let mut world = offered();
    let said = tell(&mut world, Command::RejectTicket(Reason::Busy));
    assert_eq!(
        said,
        ["ticket.rejected", "hold.requested", "order.hold_held", "ticket.offered"]
    );
    money(&world, PROMISED);
    stock(&world, 0, UNTOUCHED);
    stock(&world, 1, HELD);
}

#[test]
fn row_7_an_order_that_no_kitchen_wants_is_rejected_and_its_promise_voided() {
    let script = Script {
        kitchens: vec![Word::No, Word::No, Word::Nothing],
        ..Script::default()
    };
    let mut world = state(&script, |world| {
        with_ticket(Status::Paid, Ticket::Offered)(world) && order(world).tried.len() == 3
    });
    let said = tell(&mut world, Command::RejectTicket(Reason::Busy));
    assert_eq!(said, ["ticket.rejected", "order.rejected", "settlement.due"]);
    ended(&world, Status::Rejected, Reason::NoCandidate);
    due(&world, 0, true);
    money(&world, NO_MONEY);
    for nth in 0..3 {
        stock(&world, nth, UNTOUCHED);
    }
}

#[test]
fn row_8_a_paid_order_is_cancelled_for_nothing() {
    let mut world = offered();
    let said = tell(&mut world, Command::Cancel(Reason::CustomerCancelled));
    assert_eq!(said, ["order.cancelled", "settlement.due"]);
    ended(&world, Status::Cancelled, Reason::CustomerCancelled);
    borne(&world, None, None);
    due(&world, 0, true);
    money(&world, NO_MONEY);
    stock(&world, 0, UNTOUCHED);
}

#[test]
fn row_9_the_customer_cancels_an_accepted_order_for_nothing_before_it_is_cooked() {
    let mut world = queued();
    let said = tell(&mut world, Command::Cancel(Reason::CustomerCancelled));
    assert_eq!(said, ["order.cancelled", "settlement.due"]);
    ended(&world, Status::Cancelled, Reason::CustomerCancelled);
    borne(&world, None, None);
    due(&world, 0, true);
    money(&world, GIVEN_BACK);
    stock(&world, 0, UNTOUCHED);
}

#[test]
fn row_9_the_customer_pays_half_of_what_was_being_cooked() {
    let mut world = cooking();
    let said = tell(&mut world, Command::Cancel(Reason::CustomerCancelled));
    assert_eq!(said, ["order.cancelled", "settlement.due"]);
    ended(&world, Status::Cancelled, Reason::CustomerCancelled);
    borne(&world, None, None);
    due(&world, PRICE / 2, true);
    money(&world, [0, PRICE, PRICE / 2]);
    stock(&world, 0, WASTED);
}

#[test]
fn row_9_the_kitchen_cancels_and_bears_it() {
    for (mut world, left) in [(queued(), UNTOUCHED), (cooking(), WASTED)] {
        let said = tell(&mut world, Command::CancelByKitchen(Reason::IngredientUnavailable));
        assert_eq!(said, ["order.cancelled", "settlement.due"]);
        ended(&world, Status::Cancelled, Reason::IngredientUnavailable);
        borne(&world, Some(Liable::Point), Some(PRICE));
        due(&world, 0, true);
        money(&world, GIVEN_BACK);
        stock(&world, 0, left);
    }
}

#[test]
fn row_10_another_kitchen_takes_over_with_the_same_money_and_stock_of_its_own() {
    let mut world = queued();
    let said = tell(&mut world, Command::Stop(Reason::Busy));
    assert_eq!(
        said,
        ["ticket.stopped", "hold.requested", "order.hold_held", "ticket.offered"]
    );
    stock(&world, 0, UNTOUCHED);
    stock(&world, 1, HELD);
    let said = tell(&mut world, Command::Accept { ready_by: None });
    assert_eq!(said, ["ticket.accepted", "order.assigned", "delivery.requested"]);
    assert_eq!(order(&world).food_point, Some(point(1)));
    let delivery = world.deliveries.get(ORDER.delivery()).expect("requested");
    assert_eq!((delivery.food_point, delivery.pickup), (point(1), at(1)));
    due(&world, PRICE, false);
    money(&world, TAKEN);
}

#[test]
fn row_10_a_point_that_closes_passes_on_what_it_has_not_begun() {
    let mut world = queued();
    let closing = point_master::domain::Command::Change {
        open: Some(false),
        settings: None,
    };
    let said = after(&mut world, |world| {
        world.on_point(point(0), closing).expect("registered");
    });
    assert_eq!(
        said,
        ["ticket.stopped", "hold.requested", "order.hold_held", "ticket.offered"]
    );
    stock(&world, 0, UNTOUCHED);
    stock(&world, 1, HELD);
}

#[test]
fn row_10_three_minutes_without_a_kitchen_end_it_on_the_point_that_stopped() {
    let mut world = queued();
    tell(&mut world, Command::Stop(Reason::Busy));
    let said = pass(&mut world, minutes(4));
    assert_eq!(said[said.len() - 2..], ["order.cancelled", "settlement.due"]);
    ended(&world, Status::Cancelled, Reason::Busy);
    borne(&world, Some(Liable::Point), Some(PRICE));
    assert_eq!(order(&world).borne.and_then(|borne| borne.food_point), Some(point(0)));
    money(&world, GIVEN_BACK);
    for nth in 0..3 {
        stock(&world, nth, UNTOUCHED);
    }
}

#[test]
fn row_11_ready_food_has_used_its_stock() {
    let mut world = cooking();
    let said = tell(&mut world, Command::MarkReady);
    assert_eq!(said, ["order.ready"]);
    money(&world, TAKEN);
    stock(&world, 0, CONSUMED);
}

#[test]
fn row_11_food_that_never_gets_ready_is_the_points_loss() {
    let mut world = cooking();
    let said = pass(&mut world, minutes(56));
    assert_eq!(said, ["order.ready_overdue", "order.cancelled", "settlement.due"]);
    ended(&world, Status::Cancelled, Reason::Late);
    borne(&world, Some(Liable::Point), Some(PRICE));
    money(&world, GIVEN_BACK);
    stock(&world, 0, WASTED);
}

#[test]
fn rows_12_and_13_a_dropped_job_is_offered_again_and_without_anybody_the_chain_bears_it() {
    let mut world = ready();
    let courier = carrier(&world);
    let said = carry(&mut world, delivery::Command::Drop { courier });
    assert_eq!(said, ["order.courier_unassigned"]);
    assert_eq!(
        world.deliveries.get(ORDER.delivery()).map(|it| it.status),
        Some(DeliveryStatus::Waiting)
    );
    let offers = |world: &World| {
        let offered = world.log.iter().filter(|event| event.event_type == "delivery.offered");
        offered.count()
    };
    let before = offers(&world);
    let said = pass(&mut world, minutes(91));
    assert!(offers(&world) > before, "somebody else is asked");
    assert_eq!(said, ["order.courier_missing", "order.cancelled", "settlement.due"]);
    ended(&world, Status::Cancelled, Reason::CourierNotFound);
    borne(&world, Some(Liable::Platform), Some(PRICE));
    money(&world, GIVEN_BACK);
    stock(&world, 0, CONSUMED);
}

#[test]
fn rows_14_and_15_what_is_brought_to_the_door_is_paid_for_good() {
    let mut world = ready();
    let courier = carrier(&world);
    let said = carry(&mut world, delivery::Command::PickUp { courier });
    assert_eq!(said, ["order.in_delivery"]);
    let proof = Some(Proof::Pin);
    let said = carry(&mut world, delivery::Command::Deliver { courier, proof });
    assert_eq!(said, ["order.completed", "settlement.due"]);
    due(&world, PRICE, true);
    money(&world, TAKEN);
    stock(&world, 0, CONSUMED);
}

#[test]
fn row_15_what_never_arrives_is_the_chains_loss() {
    let mut world = on_its_way();
    let said = pass(&mut world, minutes(180));
    assert_eq!(said, ["order.delivery_overdue", "order.undelivered", "settlement.due"]);
    ended(&world, Status::Undelivered, Reason::Late);
    borne(&world, Some(Liable::Platform), Some(PRICE));
    money(&world, GIVEN_BACK);
}

#[test]
fn row_16_another_courier_goes_on_with_it_or_it_stays_with_the_first() {
    let mut world = on_its_way();
    let first = carrier(&world);
    let to = COURIERS
        .into_iter()
        .find(|other| *other != first)
        .expect("there are two");
    let mut silent = world.clone();

    assert!(carry(&mut world, delivery::Command::HandOver { to }).is_empty());
    let said = carry(&mut world, delivery::Command::Accept { courier: to });
    assert_eq!(said, ["order.courier_changed"]);
    assert_eq!((carrier(&world), order(&world).courier), (to, Some(to)));
    let jobs = |world: &World, courier| world.couriers.get(courier).map(|courier| courier.jobs.len());
    assert_eq!((jobs(&world, first), jobs(&world, to)), (Some(0), Some(1)));
    let proof = Some(Proof::Pin);
    let said = carry(&mut world, delivery::Command::Deliver { courier: to, proof });
    assert_eq!(said, ["order.completed", "settlement.due"]);
    money(&world, TAKEN);

    carry(&mut silent, delivery::Command::HandOver { to });
    assert!(pass(&mut silent, minutes(6)).is_empty());
    assert_eq!((carrier(&silent), order(&silent).courier), (first, Some(first)));
    assert!(
        silent
            .on_delivery(ORDER.delivery(), delivery::Command::Accept { courier: to })
            .is_err()
    );
}

fn failed(courier: CourierId, outcome: FailOutcome) -> delivery::Command {
    delivery::Command::Fail {
        courier,
        reason: Reason::CustomerNotFound,
        outcome,
    }
}

#[test]
fn row_17_an_absent_customer_has_45_minutes_and_pays() {
    let mut world = on_its_way();
    let courier = carrier(&world);
    let said = carry(&mut world, failed(courier, FailOutcome::Attempted));
    assert_eq!(said, ["order.delivery_attempted"]);
    let mut back = world.clone();
    let said = pass(&mut world, minutes(46));
    assert_eq!(said, ["order.undelivered", "settlement.due"]);
    let said = carry(&mut back, failed(courier, FailOutcome::Returned));
    assert_eq!(said, ["order.undelivered", "settlement.due"]);
    for world in [world, back] {
        ended(&world, Status::Undelivered, Reason::CustomerNotFound);
        borne(&world, None, None);
        due(&world, PRICE, true);
        money(&world, TAKEN);
        stock(&world, 0, CONSUMED);
    }
}

#[test]
fn row_17_what_is_lost_is_given_back_and_the_couriers_to_bear() {
    let mut world = on_its_way();
    let courier = carrier(&world);
    let said = carry(&mut world, failed(courier, FailOutcome::Lost));
    assert_eq!(said, ["order.undelivered", "settlement.due"]);
    ended(&world, Status::Undelivered, Reason::Other);
    borne(&world, Some(Liable::Courier), Some(PRICE));
    due(&world, 0, true);
    money(&world, GIVEN_BACK);
}

#[test]
fn row_18_an_operator_ends_whatever_is_open_with_every_compensation() {
    for (mut world, status, charged, left) in [
        (offered(), Status::Cancelled, NO_MONEY, UNTOUCHED),
        (queued(), Status::Cancelled, GIVEN_BACK, UNTOUCHED),
        (cooking(), Status::Cancelled, GIVEN_BACK, WASTED),
        (ready(), Status::Cancelled, GIVEN_BACK, CONSUMED),
        (on_its_way(), Status::Undelivered, GIVEN_BACK, CONSUMED),
        (on_the_counter(), Status::Cancelled, GIVEN_BACK, CONSUMED),
    ] {
        let said = tell(&mut world, Command::Override(Reason::Duplicate));
        let end = format!("order.{}", status.as_str());
        assert_eq!(said, [end.as_str(), "settlement.due"]);
        ended(&world, status, Reason::Duplicate);
        due(&world, 0, true);
        money(&world, charged);
        stock(&world, 0, left);
    }
}

#[test]
fn row_19_a_pick_up_order_is_collected_at_the_counter() {
    let mut world = on_the_counter();
    assert!(
        world.deliveries.get(ORDER.delivery()).is_none(),
        "nobody is to bring it"
    );
    let said = tell(&mut world, Command::Collect(Some(Proof::Pin)));
    assert_eq!(said, ["order.completed", "settlement.due"]);
    due(&world, PRICE, true);
    money(&world, TAKEN);
    stock(&world, 0, CONSUMED);
}

#[test]
fn row_20_a_pick_up_order_that_nobody_collects_is_paid_all_the_same() {
    let mut world = on_the_counter();
    let said = pass(&mut world, minutes(121));
    assert_eq!(said, ["order.undelivered", "settlement.due"]);
    ended(&world, Status::Undelivered, Reason::CustomerNotFound);
    borne(&world, None, None);
    due(&world, PRICE, true);
    money(&world, TAKEN);
    stock(&world, 0, CONSUMED);
}
