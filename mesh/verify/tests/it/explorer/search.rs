//! Breadth first through every state that a scenario can get into, so that what breaks a rule is found by the
//! shortest way there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mesh_contracts::envelope::Envelope;
use serde::Serialize;

use super::broken::Flaw;
use super::checks;
use super::node::Node;
use super::step::{Act, CHANNELS, Source, Step};
use crate::silence::actors::ORDER;
use crate::silence::streams::hash_of;
use crate::silence::told::{Master, Told, told};
use crate::silence::world::World;

/// Names are 64 bits long: among so many states, two share one with a chance below one in ten million. Beyond it
/// memory is used up before time is.
const STATES_MAX: usize = 1_000_000;

/// Somebody who watches wants to know that it goes on.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Events from before the root that the broker may still show again.
const OLD_EVENTS: usize = 4;

/// From where, with whom, how far.
#[derive(Clone)]
pub struct Scenario {
    pub name: &'static str,
    pub root: World,
    /// So many of the last events of `root` have reached nobody yet.
    pub unheard: usize,
    /// What may be done, and how often each.
    pub acts: Vec<(Act, u8)>,
    /// Calls or answers of the provider that may get lost.
    pub losses: u8,
    /// How often time may pass to the next deadline.
    pub waits: u8,
    /// Steps from the root at most.
    pub depth: usize,
    /// Everything that can be done is done, and then time passes until nothing is left to happen.
    pub to_the_end: bool,
    pub flaw: Flaw,
}

impl Scenario {
    /// Where the events begin that may still be shown to somebody.
    pub fn base(&self) -> usize {
        self.root.log.len().saturating_sub(self.unheard + OLD_EVENTS)
    }

    fn acts(&self) -> Vec<Act> {
        self.acts.iter().map(|(act, _)| *act).collect()
    }
}

/// What was seen.
#[derive(Default)]
pub struct Seen {
    pub states: usize,
    /// Steps taken or shown to change nothing.
    pub transitions: usize,
    /// Steps from the root to the farthest state.
    pub depth: usize,
    /// There is nothing behind the depth.
    pub is_everything: bool,
    /// Every status of an order, a payment and a delivery.
    pub statuses: BTreeSet<(&'static str, &'static str)>,
    /// How it ends, and in how many states.
    pub ends: BTreeMap<String, usize>,
    /// The first broken rule, with the way there.
    pub breach: Option<String>,
}

impl Seen {
    fn note(&mut self, world: &World) {
        let order = world.orders.get(ORDER).map(|order| order.status.as_str());
        let payment = world
            .payments
            .get(ORDER.payment())
            .map(|payment| payment.status.as_str());
        let delivery = world
            .deliveries
            .get(ORDER.delivery())
            .map(|delivery| delivery.status.as_str());
        let found = [("order", order), ("payment", payment), ("delivery", delivery)];
        self.statuses
            .extend(found.into_iter().filter_map(|(of, status)| Some((of, status?))));
    }
}

#[allow(clippy::print_stdout, reason = "how much was checked is the point of it")]
pub fn explore(scenario: &Scenario) -> Seen {
    let mut knowledge = Knowledge::new();
    let root = Node::root(scenario);
    let mut known = HashSet::from([root.name(scenario, &mut knowledge)]);
    // From which state each was reached first, and how.
    let mut origins: Vec<(u32, Step)> = vec![(0, Step::Wait)];
    let mut seen = Seen {
        breach: checks::breach(&root, scenario, &mut knowledge),
        ..Seen::default()
    };
    if seen.breach.is_some() {
        return seen;
    }
    let mut frontier = vec![(0, root)];
    let (started, mut reported) = (Instant::now(), Instant::now());
    while seen.depth < scenario.depth && !frontier.is_empty() {
        let mut next = Vec::new();
        for (origin, node) in frontier {
            let mut goes_on = false;
            for step in node.steps(scenario, &mut knowledge) {
                seen.transitions += 1;
                let Some(after) = node.after(step, scenario, &mut knowledge) else {
                    continue;
                };
                goes_on = true;
                if !known.insert(after.name(scenario, &mut knowledge)) {
                    continue;
                }
                let number = u32::try_from(origins.len()).expect("fewer than the bound");
                origins.push((origin, step));
                seen.note(&after.world);
                if let Some(what) = checks::breach(&after, scenario, &mut knowledge) {
                    seen.breach = Some(witness(scenario, &origins, number, &what));
                    return seen;
                }
                next.push((number, after));
            }
            if !goes_on && scenario.to_the_end {
                if let Some(what) = checks::unended(&node) {
                    seen.breach = Some(witness(scenario, &origins, origin, &what));
                    return seen;
                }
                *seen.ends.entry(checks::end(&node, scenario)).or_default() += 1;
            }
            if reported.elapsed() > REPORT_EVERY {
                reported = Instant::now();
                println!(
                    "  {}: {} states, {} steps deep …",
                    scenario.name,
                    known.len(),
                    seen.depth
                );
            }
        }
        assert!(
            known.len() <= STATES_MAX,
            "{} is too large for its depth",
            scenario.name
        );
        seen.depth += usize::from(!next.is_empty());
        seen.is_everything = next.is_empty();
        if let (true, true, Some((farthest, _))) = (scenario.to_the_end, seen.depth == scenario.depth, next.last()) {
            seen.breach = Some(witness(scenario, &origins, *farthest, "it has no end"));
            return seen;
        }
        frontier = next;
    }
    seen.states = known.len();
    println!(
        "{}: {} states, {} transitions, {} steps deep{}, {:.1} s",
        scenario.name,
        seen.states,
        seen.transitions,
        seen.depth,
        if seen.is_everything { " (all there is)" } else { "" },
        started.elapsed().as_secs_f32()
    );
    seen
}

/// The way to a state, step by step, with what each of them made somebody say.
fn witness(scenario: &Scenario, origins: &[(u32, Step)], number: u32, what: &str) -> String {
    let mut steps = Vec::new();
    let mut at = number;
    while at != 0 {
        let (origin, step) = origins[at as usize];
        steps.push(step);
        at = origin;
    }
    let mut knowledge = Knowledge::new();
    let mut node = Node::root(scenario);
    let mut text = format!("{}: {what}\nafter", scenario.name);
    for (nth, step) in (1..).zip(steps.into_iter().rev()) {
        let after = node.after(step, scenario, &mut knowledge).expect("it was taken before");
        let said = &after.world.log[node.world.log.len()..];
        let said: Vec<&str> = said.iter().map(|event| event.event_type.as_str()).collect();
        let what = step.describe(&scenario.acts());
        let _ = write!(text, "\n  {nth:2}. {what} → {}", said.join(", "));
        node = after;
    }
    text
}

/// What an event means, and to whom.
pub struct Meaning {
    /// Names what it says.
    pub says: u64,
    /// Over which channels it means anything.
    pub channels: Vec<u8>,
    told: [Option<Told>; Master::ALL.len()],
}

/// What was found out about events and states, so that it is found out once.
pub struct Knowledge {
    sources: HashMap<String, Source>,
    meanings: HashMap<(u64, u64), Rc<Meaning>>,
    states: HashMap<u64, u64>,
    sound: HashSet<u64>,
}

impl Knowledge {
    pub fn new() -> Self {
        Self {
            sources: Source::ALL.map(|source| (source.stream(), source)).into(),
            meanings: HashMap::new(),
            states: HashMap::new(),
            sound: HashSet::new(),
        }
    }

    pub fn source(&self, stream: &str) -> Option<Source> {
        self.sources.get(stream).copied()
    }

    pub fn meaning(&mut self, event: &Envelope) -> Rc<Meaning> {
        let (_, says) = event.event_id.as_u64_pair();
        if let Some(known) = self.meanings.get(&(says, event.version)) {
            return Rc::clone(known);
        }
        let source = self.source(&event.stream);
        let told = Master::ALL.map(|master| told(master, event));
        let means = |(master, of): &(Master, Source)| Some(*of) == source && told[*master as usize].is_some();
        let channels = (0..).zip(&CHANNELS).filter(|(_, channel)| means(channel));
        let meaning = Rc::new(Meaning {
            says,
            channels: channels.map(|(nth, _)| nth).collect(),
            told,
        });
        self.meanings.insert((says, event.version), Rc::clone(&meaning));
        meaning
    }

    pub fn told(&mut self, master: Master, event: &Envelope) -> Option<Told> {
        self.meaning(event).told[master as usize].clone()
    }

    /// Whether this was not looked at before; what is named is sound if the look finds nothing.
    pub fn is_new(&mut self, name: u64) -> bool {
        self.sound.insert(name)
    }

    /// Names of all states, in order.
    pub fn states(&mut self, world: &World) -> Vec<u64> {
        let mut names = Vec::with_capacity(8);
        names.extend(world.orders.trails().map(|(trail, state)| self.state(trail, state)));
        names.extend(world.points.trails().map(|(trail, state)| self.state(trail, state)));
        names.extend(world.payments.trails().map(|(trail, state)| self.state(trail, state)));
        names.extend(world.deliveries.trails().map(|(trail, state)| self.state(trail, state)));
        names.extend(world.couriers.trails().map(|(trail, state)| self.state(trail, state)));
        names
    }

    /// The same events lead to the same state; other events may, too.
    fn state(&mut self, trail: u64, state: &impl Serialize) -> u64 {
        *self.states.entry(trail).or_insert_with(|| {
            let mut state = serde_json::to_value(state).expect("states are plain data");
            let fields = state.as_object_mut().expect("with fields");
            for of_no_matter in ["version", "status_version", "updated_at", "opened_at"] {
                fields.remove(of_no_matter);
            }
            hash_of(&state)
        })
    }
}
