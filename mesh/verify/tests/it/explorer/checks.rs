//! What must hold in every state: I1 to I4 by the checkers of `tiffin verify`, and, wherever everything that was said
//! has been heard, that the masters agree.

use std::collections::{BTreeMap, BTreeSet};

use mesh_contracts::order::{Method, Status};
use mesh_contracts::view::order::{Hold, Order};
use mesh_verify::lateness::Moment;
use mesh_verify::orders::{self, Standing};
use mesh_verify::stock;

use super::node::Node;
use super::search::{Knowledge, Scenario};
use crate::silence::actors::{BREAD, ORDER};
use crate::silence::streams::hash_of;
use crate::silence::world::World;
use crate::silence::{as_verified, flaws, leftovers, of_stream};

/// The first rule that is broken, if one is.
pub fn breach(node: &Node, scenario: &Scenario, knowledge: &mut Knowledge) -> Option<String> {
    let world = &node.world;
    let found = waits(world)
        .or_else(|| money(node, knowledge))
        .or_else(|| stocks(world, knowledge))
        .or_else(|| path(world, knowledge))
        .or_else(|| carried_once(world));
    match found {
        None if node.is_at_rest(scenario, knowledge) => at_rest(world),
        found => found,
    }
}

fn waits(world: &World) -> Option<String> {
    let (id, order) = world.orders.all().next()?;
    let timers = world.timers.iter().filter(|((stream, _), _)| stream == id);
    let standing = Standing {
        status: Some(order.status),
        deadlines: timers.map(|(_, due)| *due).collect(),
    };
    let moment = Moment {
        business: world.now,
        wall: world.now,
        rate: 1.0,
    };
    let acknowledged = BTreeSet::from([id.clone()]);
    let orders = BTreeMap::from([(id.clone(), standing)]);
    let breaches = orders::ended_or_waiting(&acknowledged, &orders, &moment);
    breaches.first().map(|breach| format!("I1: {}", breach.what))
}

/// As long as the order goes on: the provider agrees, and took the money once at most.
fn money(node: &Node, knowledge: &mut Knowledge) -> Option<String> {
    let (trail, _) = node.world.payments.trails().next()?;
    if !knowledge.is_new(hash_of(&("money", trail, node.provider))) {
        return None;
    }
    let what = as_verified(&node.world, ORDER, &[]);
    (!what.is_empty()).then(|| format!("I2: {what}"))
}

fn stocks(world: &World, knowledge: &mut Knowledge) -> Option<String> {
    let mut points = world.points.trails().zip(world.points.all());
    points.find_map(|((trail, _), (id, point))| {
        if !knowledge.is_new(hash_of(&("stock", trail))) {
            return None;
        }
        let breaches = stock::conserved(id, &of_stream(world, id));
        let breach = breaches.first().map(|breach| format!("I3: {}", breach.what));
        let unbalanced = || (!point.balances()).then(|| format!("I3: {id} lost stock: {:?}", point.stock));
        breach.or_else(unbalanced)
    })
}

fn path(world: &World, knowledge: &mut Knowledge) -> Option<String> {
    let (trail, _) = world.orders.trails().next()?;
    if !knowledge.is_new(hash_of(&("path", trail))) {
        return None;
    }
    let id = ORDER.to_string();
    let events = of_stream(world, &id);
    let breaches = orders::path(&id, events.len() as u64, &events);
    breaches.first().map(|breach| format!("I4: {}", breach.what))
}

/// One job is one courier's: the delivery's.
fn carried_once(world: &World) -> Option<String> {
    let delivery = world.deliveries.get(ORDER.delivery())?;
    let carriers = world.couriers.all().flat_map(|(id, courier)| {
        let jobs = courier.jobs.iter().filter(|job| **job == ORDER.delivery());
        jobs.map(move |_| id.clone())
    });
    let carriers: Vec<String> = carriers.collect();
    let expected: Vec<String> = delivery.active_courier().iter().map(ToString::to_string).collect();
    (carriers != expected).then(|| format!("{carriers:?} have the job, the delivery says {expected:?}"))
}

/// Everybody has heard of everything, and nothing is due: the masters mean the same by it.
fn at_rest(world: &World) -> Option<String> {
    let order = world.orders.get(ORDER)?;
    let what = match order.status.is_terminal() {
        true => leftovers(world, ORDER),
        false => disagreements(world, order),
    };
    what.first().map(|what| format!("at rest: {what}"))
}

fn disagreements(world: &World, order: &Order) -> Vec<String> {
    let mut found = Vec::new();
    let mut agree = |agree: bool, what: String| {
        if !agree {
            found.push(what);
        }
    };
    agree(order.hold != Hold::Requested, "a hold was never answered".into());
    for (id, point) in world.points.all() {
        let held = point.hold(ORDER, order.attempt).is_some();
        let known = order.held_at().is_some_and(|held_at| held_at.to_string() == *id);
        agree(held == known, format!("{id} holds: {held}, the order knows: {known}"));
        let holds_older = point.holds.contains_key(&ORDER) && !held;
        agree(!holds_older, format!("{id} holds for an older attempt"));
    }
    if let Some(delivery) = world.deliveries.get(ORDER.delivery()) {
        agree(
            delivery.status.is_open(),
            format!("the delivery is {:?} already", delivery.status),
        );
        let carrier = delivery.active_courier();
        let knows = order.courier;
        agree(
            carrier == knows,
            format!("{carrier:?} has it, the order knows {knows:?}"),
        );
    }
    let payment = world.payments.get(ORDER.payment());
    if let (Some(payment), Some(due), Method::Card) = (payment, order.settlement, order.method)
        && payment.failure.is_none()
    {
        let (kept, due) = (payment.kept(), due.amount.amount);
        agree(kept == due, format!("I2: {kept} kept, {due} due"));
    }
    found
}

/// What is wrong with a state in which nothing can happen any more.
pub fn unended(node: &Node) -> Option<String> {
    let order = node.world.orders.get(ORDER)?;
    let ended_at = order.status.is_terminal().then_some(node.world.now);
    let flaws = flaws(&node.world, ended_at);
    flaws.first().map(|what| format!("at the end: {what}"))
}

/// Who was granted what, and what it came to.
pub fn end(node: &Node, scenario: &Scenario) -> String {
    let order = node.world.orders.get(ORDER).expect("placed");
    let said = node.said.iter().map(|(nth, granted)| {
        let (act, _) = scenario.acts[usize::from(*nth)];
        if *granted {
            act.to_string()
        } else {
            format!("{act} refused")
        }
    });
    let reason = order.reason.map_or(String::new(), |reason| format!(" for {reason:?}"));
    let held = node.world.provider.held(ORDER);
    let used: u64 = node
        .world
        .points
        .all()
        .filter_map(|(_, point)| point.stock.get(&BREAD))
        .map(|stock| stock.consumed + stock.wasted)
        .sum();
    let status: &str = Status::as_str(order.status);
    format!(
        "{}: {status}{reason}, {} kept, {used} used",
        said.collect::<Vec<_>>().join(", "),
        held.captured - held.refunded
    )
}
