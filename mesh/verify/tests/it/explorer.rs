//! Every state that one order can get into within some steps: the masters' real rules together, with their inboxes,
//! through messages that are late, repeated, out of order or lost, through crashes, and with deadlines that pass in
//! any order that the clock allows. I1 to I4 of the design hold in each of them.
//!
//! Knows what may happen, and no rule.

mod broken;
mod checks;
mod node;
mod races;
mod search;
pub mod step;

use std::collections::BTreeSet;

use mesh_contracts::order::{Method, Status};
use mesh_contracts::view::delivery::Status as DeliveryStatus;
use order_master::domain::Command;

use crate::silence::actors::{ORDER, Pace, Run, Script, placed};
use crate::silence::provider::Mood;
use crate::silence::world::World;
use crate::table;
use broken::Flaw;
use search::{Scenario, explore};
use step::Act;

/// Fewer say that something is not tried any more.
const STATES_MIN: usize = 150_000;

/// Deep enough that everybody has heard of what two people did, and has answered.
const DEPTH: usize = 13;

/// The same where people have few things to do, and the masters much to tell each other.
const FARTHER: usize = 16;

/// The kitchen that is asked may do most; a level more takes longer than all others together.
const CROWDED: usize = 11;

/// From a state with nobody in it.
fn plain(name: &'static str, root: World) -> Scenario {
    Scenario {
        name,
        root,
        unheard: 0,
        acts: Vec::new(),
        losses: 0,
        waits: 0,
        depth: DEPTH,
        to_the_end: false,
        flaw: Flaw::None,
    }
}

/// An order that nobody has heard of yet.
fn placed_with(script: &Script) -> World {
    let mut world = Run::new(script, Pace::Prompt).world().clone();
    let placed = placed(&world, ORDER, script.method, script.kind);
    let placed = Command::Place(Box::new(placed));
    world.on_order(ORDER, placed).expect("somebody can cook it");
    world
}

fn just_placed() -> World {
    placed_with(&Script::default())
}

/// `order.created` and `hold.requested`.
const PLACED: usize = 2;

fn scenarios() -> Vec<Scenario> {
    use Act::*;
    let cash = Script {
        method: Method::Cash,
        second_point_empty: true,
        ..Script::default()
    };
    let declined = Script {
        mood: Mood {
            declines: 1,
            ..Mood::default()
        },
        ..Script::default()
    };
    let to_fail = table::state(&uncollected(), |world| {
        world
            .orders
            .get(ORDER)
            .is_some_and(|order| order.status == Status::Paid)
    });
    vec![
        Scenario {
            unheard: PLACED,
            acts: once(&[Cancel, Accept(0), Close(0)]),
            losses: 1,
            waits: 1,
            ..plain("placed, by card", just_placed())
        },
        Scenario {
            unheard: PLACED,
            acts: once(&[Cancel, Accept(0), Reject(0), Accept(2), Override]),
            waits: 1,
            ..plain("placed, in cash, for two kitchens", placed_with(&cash))
        },
        Scenario {
            unheard: PLACED,
            waits: 6,
            depth: FARTHER,
            ..plain("placed, and nobody does anything", just_placed())
        },
        Scenario {
            unheard: PLACED,
            acts: once(&[PayAgain, Cancel, Accept(0)]),
            losses: 1,
            waits: 1,
            depth: FARTHER,
            ..plain("placed, the first card declined", placed_with(&declined))
        },
        Scenario {
            acts: once(&[Accept(0), Reject(0), Close(0), Accept(1), Cancel]),
            losses: 1,
            waits: 2,
            depth: CROWDED,
            ..plain("a kitchen is asked", table::offered())
        },
        Scenario {
            acts: once(&[Accept(0), Cancel, PayAgain]),
            losses: 1,
            waits: 2,
            ..plain("a kitchen is asked, the capture will fail", to_fail)
        },
        Scenario {
            acts: once(&[
                Stop(0),
                Accept(1),
                Cancel,
                Start(0),
                Refuse(0),
                MarkReady(0),
                MarkReady(1),
            ]),
            waits: 2,
            ..plain("queued in a kitchen", table::queued())
        },
        Scenario {
            acts: once(&[
                Stop(0),
                Accept(1),
                MarkReady(1),
                Offer(0),
                Take(0),
                PickUp(0),
                Offer(1),
                Take(1),
            ]),
            waits: 1,
            ..plain("queued in a kitchen, couriers are asked", table::queued())
        },
        Scenario {
            acts: once(&[
                MarkReady(0),
                Cancel,
                Refuse(0),
                Offer(0),
                Take(0),
                Drop(0),
                Offer(1),
                Take(1),
            ]),
            losses: 1,
            waits: 1,
            ..plain("on the stove", table::cooking())
        },
        Scenario {
            acts: once(&[
                Take(0),
                Take(1),
                Decline(0),
                Offer(1),
                Drop(1),
                PickUp(1),
                Silence(0),
                Override,
            ]),
            waits: 2,
            depth: FARTHER,
            ..plain("a courier is asked", courier_asked())
        },
        Scenario {
            acts: once(&[PickUp(0), Deliver(0), Drop(0), Offer(1), Take(1), PickUp(1), Override]),
            losses: 1,
            waits: 2,
            ..plain("ready, a courier comes", table::ready())
        },
        Scenario {
            acts: once(&[
                Deliver(0),
                Attempt(0),
                Return(0),
                Lose(0),
                HandOver(1),
                Take(1),
                Decline(1),
                Deliver(1),
                Override,
            ]),
            waits: 2,
            ..plain("on the road", table::on_its_way())
        },
        Scenario {
            acts: once(&[Collect(0), Override]),
            losses: 1,
            waits: 2,
            depth: FARTHER,
            ..plain("on the counter", table::on_the_counter())
        },
    ]
}

fn once(acts: &[Act]) -> Vec<(Act, u8)> {
    acts.iter().map(|act| (*act, 1)).collect()
}

/// A card that promises and does not pay.
fn uncollected() -> Script {
    let mood = Mood {
        captures_fail: true,
        ..Mood::default()
    };
    Script {
        mood,
        ..Script::default()
    }
}

/// The first courier has an offer for what is in a kitchen's queue.
fn courier_asked() -> World {
    table::state(&Script::default(), |world| {
        let delivery = world.deliveries.get(ORDER.delivery());
        delivery.is_some_and(|delivery| delivery.status == DeliveryStatus::Offered)
    })
}

#[test]
#[allow(clippy::print_stdout, reason = "how much was checked is the point of it")]
fn no_state_within_reach_breaks_an_invariant() {
    let (mut states, mut transitions) = (0, 0);
    let mut reached = BTreeSet::new();
    for scenario in scenarios() {
        let seen = explore(&scenario);
        states += seen.states;
        transitions += seen.transitions;
        reached.extend(seen.statuses);
        if let Some(breach) = seen.breach {
            panic!("{breach}");
        }
    }
    println!("{states} states and {transitions} transitions in all");
    assert!(states >= STATES_MIN);
    let reached_of = |what| reached.iter().filter(|(of, _)| *of == what).count();
    assert_eq!(reached_of("order"), Status::ALL.len(), "{reached:?}");
    assert_eq!(reached_of("delivery"), DeliveryStatus::ALL.len(), "{reached:?}");
}
