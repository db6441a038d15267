//! The masters' real rules in bad weather: a seeded, single-threaded run of whole orders over a model of the engine's
//! protocol. Commits come late, messages of one or several events get lost, repeated, cut otherwise and overtaken, the
//! broker falls back to an older state or forgets everything, Redis is emptied, processes die at any step, timers are read twice. Then the weather clears, and
//! when everything has come to rest I1 to I5 and I8 to I10 hold, by the checkers of `tiffin verify`.
//!
//! Real are the rules (`decide`, `evolve`, `react`, `hear`, `fire`), the dispatcher and the checkers. The engine is a
//! model, since it lives in SQL, Lua and a broker: what it shows is that the protocol is right, not that the statements
//! are. The comparison of heads (`audit`) is left out: it mends what none of this should need to have mended.

mod broken;
mod bus;
mod checks;
mod consume;
mod inbox;
mod people;
mod postgres;
mod redis;
mod relay;
mod till;
mod timers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use basket_master::domain::payment::Answer;
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::id::{OrderId, PaymentId};
use mesh_contracts::order::Status;
use mesh_verify::Report;
use mesh_verify::keys::Effects;
use mesh_verify::readers::{Keeps, READERS, Reader};
use uuid::Uuid;

use crate::silence::actors::town;
use crate::silence::provider::{Mood, Provider};
use crate::silence::told::Master;
use crate::silence::world::World;
use broken::Flaw;
use bus::Bus;
use consume::InHand;
use mesh_verify::dice::Dice;
use people::People;
use postgres::Database;
use redis::{Redis, short};
use relay::{Doubt, Relay};
use timers::Due;

/// Seeds of every run of the tests.
const SEEDS: u64 = 10_000;

/// Steps of bad weather, and at most so many more.
const STORM_STEPS: usize = 400;

/// Rounds until everything rests; whoever needs more goes in circles.
const ROUNDS_MAX: usize = 3_000;

/// Orders that contend for kitchens, bread and couriers.
const ORDERS: u128 = 3;

/// Bread for one order at each point, where it is scarce.
const SCARCE: u32 = 6;

/// The dispatcher's looks are this far apart while nothing happens: its real net is a second, and every look costs.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// Adds a line to the diary of a run that is told.
macro_rules! note {
    ($storm:expr, $($line:tt)*) => {
        if $storm.diary.is_some() {
            let line = format!($($line)*);
            $storm.write_down(line);
        }
    };
}
use note;

/// Everyone who reads the four masters' events.
fn readers() -> &'static [Reader] {
    static READERS_OF_FOUR: OnceLock<Vec<Reader>> = OnceLock::new();
    READERS_OF_FOUR.get_or_init(|| {
        let of_four = |context| Master::ALL.iter().any(|master| master.context() == context);
        let readers = READERS.into_iter().filter(|reader| of_four(reader.context));
        readers
            .filter(|reader| reader.service != "user-info" && reader.prefix != "bas_")
            .collect()
    })
}

/// What the memory of a master's process holds.
#[derive(Clone, Default)]
struct Process {
    is_up: bool,
    relay: Relay,
    handed: Vec<Due>,
    /// Payments that are being driven, and answers that are on their way.
    in_hand: BTreeSet<PaymentId>,
    answers: Vec<(PaymentId, u32, Answer)>,
    /// How far each inbox must come before a timer may fire.
    to_drain: Vec<(usize, u64)>,
}

/// Which kinds of fault there are in a run: each alone shows more than all at once.
#[derive(Clone, Copy, Default)]
struct Faults {
    kills: bool,
    slow_commits: bool,
    broker_falls_back: bool,
    broker_wiped: bool,
    redis_flushed: bool,
    /// Much time passes meanwhile, and deadlines with it.
    takes_long: bool,
}

/// Everything there is.
#[derive(Clone)]
pub struct Storm {
    dice: Dice,
    flaw: Flaw,
    is_calm: bool,
    faults: Faults,
    world: World,
    began: Timestamp,
    /// The places of each stream's events in the log.
    streams: BTreeMap<String, Vec<usize>>,
    committed: usize,
    databases: [Database; 4],
    processes: [Process; 4],
    buses: [Bus; 4],
    /// Whatever a consumer was given; the runs are too short to take any of it out.
    in_hand: Vec<InHand>,
    redis: Redis,
    people: People,
    effects: Effects,
    diary: Option<Vec<String>>,
}

/// What one seed came to.
struct Found {
    report: Report,
    /// What no number of `tiffin verify` counts.
    rest: Vec<String>,
    diary: Vec<String>,
    /// How its orders ended.
    ends: Vec<&'static str>,
}

impl Found {
    fn what(&self) -> Option<String> {
        let mut text = String::new();
        for (invariant, breaches) in &self.report.examples {
            for breach in breaches {
                let _ = writeln!(text, "{invariant:?}: {}: {}", breach.id, breach.what);
            }
        }
        for what in &self.rest {
            let _ = writeln!(text, "at rest: {what}");
        }
        (!text.is_empty()).then_some(text)
    }
}

impl Master {
    pub fn of_context(context: mesh_contracts::subject::Context) -> Self {
        let owner = Self::ALL.into_iter().find(|master| master.context() == context);
        owner.expect("one of the four")
    }

    pub fn called(service: &str) -> Self {
        let named = Self::ALL.into_iter().find(|master| master.name() == service);
        named.expect("one of the four")
    }
}

impl Storm {
    /// Towns where everybody has heard of everything: kitchens that accept by themselves or not, with bread or hardly any.
    fn bases() -> Vec<Self> {
        let variants = [(false, 50), (false, SCARCE), (true, 50), (true, SCARCE)];
        variants
            .map(|(auto_accept, bread)| Self::base(auto_accept, bread))
            .into()
    }

    fn base(auto_accept: bool, bread: u32) -> Self {
        let world = town(Mood::default(), auto_accept, [bread; 3]);
        let mut bus = Bus::default();
        bus.is_up = true;
        let process = Process {
            is_up: true,
            ..Process::default()
        };
        let mut storm = Self {
            dice: Dice::new(0),
            flaw: Flaw::None,
            is_calm: true,
            faults: Faults::default(),
            began: world.now,
            world,
            streams: BTreeMap::new(),
            committed: 0,
            databases: Default::default(),
            processes: [(); 4].map(|()| process.clone()),
            buses: [(); 4].map(|()| bus.clone()),
            in_hand: Vec::new(),
            redis: Redis::default(),
            people: People::default(),
            effects: Effects::new(),
            diary: None,
        };
        for event in 0..storm.world.log.len() {
            let owner = Master::of(&storm.world.log[event].stream);
            storm.commit_up_to(event + 1, owner);
        }
        while storm.round() {}
        storm
    }

    /// The same town under a seed.
    fn seeded(&self, seed: u64, flaw: Flaw, is_told: bool) -> Self {
        let mut storm = self.clone();
        storm.dice = Dice::new(seed);
        let dice = &mut storm.dice;
        storm.faults = Faults {
            kills: dice.one_in(2),
            slow_commits: dice.one_in(2),
            broker_falls_back: dice.one_in(3),
            broker_wiped: dice.one_in(4),
            redis_flushed: dice.one_in(3),
            takes_long: dice.one_in(4),
        };
        let mood = Mood {
            declines: u32::from(dice.one_in(4)),
            lost: 0,
            captures_fail: dice.one_in(8),
        };
        storm.people = People {
            orders: (0..ORDERS).map(|nth| OrderId(Uuid::from_u128(101 + nth))).collect(),
            fall_silent: dice.one_in(3),
            ..People::default()
        };
        storm.world.provider = Provider::new(mood).into();
        (storm.flaw, storm.is_calm) = (flaw, false);
        storm.diary = is_told.then(Vec::new);
        storm
    }

    fn write_down(&mut self, line: String) {
        let since = self.world.now.duration_since(self.began).as_secs_f64();
        if let Some(diary) = &mut self.diary {
            diary.push(format!("{since:9.1} s  {line}"));
        }
    }

    fn called(&self, event: usize) -> String {
        let event = &self.world.log[event];
        format!("{} {} {}", short(&event.stream), event.version, event.event_type)
    }

    fn called_all(&self, events: &[usize]) -> String {
        let called: Vec<String> = events.iter().map(|event| self.called(*event)).collect();
        called.join(", ")
    }

    fn event_of(&self, stream: &str, version: u64) -> usize {
        self.streams[stream][usize::try_from(version).expect("short streams") - 1]
    }

    /// One of so many things that can go wrong, while the weather is bad.
    fn fate(&mut self, of: usize) -> Option<usize> {
        (!self.is_calm).then(|| self.dice.below(of))
    }

    /// Gives what a master just appended its positions and its rows in the outbox.
    fn committed(&mut self, owner: Master) {
        self.commit_up_to(self.world.log.len(), owner);
    }

    fn commit_up_to(&mut self, end: usize, owner: Master) {
        if self.committed == end {
            return;
        }
        let log = &self.world.log;
        let events = (self.committed..end).map(|event| (event, log[event].stream.as_str()));
        let events: Vec<(usize, &str)> = events.collect();
        let is_slow = self.faults.slow_commits && self.dice.one_in(2);
        self.databases[owner as usize].commit(&events, is_slow, self.world.now);
        for (event, stream) in &events {
            match self.streams.get_mut(*stream) {
                Some(known) => known.push(*event),
                None => drop(self.streams.insert((*stream).to_owned(), vec![*event])),
            }
        }
        for event in self.committed..end {
            note!(self, "{}: says {}", owner.name(), self.called(event));
        }
        self.committed = end;
    }

    /// Notes whose effect the events since `before` are, as their `causation` says it.
    fn note_effect(&mut self, master: Master, cause: Uuid, before: usize, by_person: bool) {
        if self.world.log.len() == before {
            return;
        }
        let effect = self.effects.entry((master.name(), cause)).or_default();
        effect.by_person |= by_person;
        // One append has one time; here its place in the log stands for it.
        let at = Timestamp::from_second(i64::try_from(before).expect("a short log"));
        effect.stored_at.extend(at.ok());
        for event in &self.world.log[before..] {
            effect.streams.insert(event.stream.clone(), event.version);
        }
    }

    fn kill(&mut self, master: Master) {
        note!(self, "{} dies", master.name());
        self.processes[master as usize] = Process::default();
    }

    fn start(&mut self, master: Master) {
        note!(self, "{} starts", master.name());
        let inboxes = (0..).zip(readers());
        let own = inboxes.filter(|(_, reader)| reader.keeps == Keeps::Inbox && reader.service == master.name());
        let to_drain = own.map(|(nth, reader)| (nth, self.buses[Master::of_context(reader.context) as usize].last()));
        let resumed = self.people.orders.iter().map(|order| order.payment());
        self.processes[master as usize] = Process {
            is_up: true,
            to_drain: to_drain.collect(),
            in_hand: match master {
                Master::Basket => resumed.collect(),
                Master::Order | Master::Point | Master::Courier => BTreeSet::new(),
            },
            ..Process::default()
        };
    }

    fn any_master(&mut self) -> Master {
        self.dice.pick(&Master::ALL).expect("four")
    }

    /// Something happens.
    fn step(&mut self) {
        let master = self.any_master();
        match self.dice.below(100) {
            0..32 => drop(self.deliver_any()),
            32..50 => drop(self.relay(master)),
            50..52 => self.arrive_late(master),
            52..54 => drop(self.write_late()),
            54..62 => self.wish(),
            62..70 => drop(self.send_one()),
            70..78 => drop(self.drive()),
            78 => drop(self.answer_late()),
            79 => self.webhook(),
            80..84 => drop(self.hand_over(master)),
            84..87 => drop(self.fire(master)),
            87 => self.look(),
            88..90 => {
                let nth = self.dice.below(readers().len());
                self.fill(nth);
            }
            90..94 => self.pass_some_time(),
            94..97 => self.break_or_mend_process(master),
            97 if self.faults.slow_commits => self.databases[master as usize].dawdle(self.world.now),
            98 => self.break_or_mend_broker(master),
            99 if self.faults.redis_flushed && self.dice.one_in(4) => {
                note!(self, "Redis loses everything");
                self.redis.flush();
            }
            _ => {}
        }
    }

    fn deliver_any(&mut self) -> bool {
        let nth = self.dice.below(readers().len());
        self.deliver(nth)
    }

    fn arrive_late(&mut self, master: Master) {
        let now = self.world.now;
        let bus = &mut self.buses[master as usize];
        if bus.is_up && !bus.late.is_empty() {
            let message = bus.late.swap_remove(0);
            bus.publish(message, now);
        }
    }

    fn look(&mut self) {
        let is_up = self.processes[Master::Courier as usize].is_up;
        if is_up && self.world.next_look().is_some_and(|at| at <= self.world.now) {
            self.world.look();
            self.committed(Master::Courier);
        }
    }

    fn pass_some_time(&mut self) {
        let millis = match self.dice.below(20) {
            0..4 if self.faults.takes_long => 60_000 + self.dice.below(2_400_000),
            0 => 60_000 + self.dice.below(540_000),
            1..6 => 5_000 + self.dice.below(35_000),
            _ => 50 + self.dice.below(2_000),
        };
        let millis = i64::try_from(millis).expect("minutes");
        self.world.now += SignedDuration::from_millis(millis);
        if !self.dice.one_in(4) {
            self.see_couriers();
        }
    }

    fn see_couriers(&mut self) {
        let now = self.world.now;
        for seen in self.world.seen.values_mut() {
            seen.at = now;
        }
    }

    /// Whoever is away comes back sooner than another one goes.
    fn break_or_mend_process(&mut self, master: Master) {
        let is_away = |master: &Master| !self.processes[*master as usize].is_up;
        match Master::ALL.into_iter().find(is_away) {
            Some(away) if self.dice.one_in(3) => self.start(away),
            None if self.faults.kills && self.dice.one_in(6) => self.kill(master),
            Some(_) | None => {}
        }
    }

    fn break_or_mend_broker(&mut self, master: Master) {
        let is_away = |master: &Master| !self.buses[*master as usize].is_up;
        if let Some(away) = Master::ALL.into_iter().find(is_away) {
            self.buses[away as usize].is_up = true;
            note!(self, "bus: {} is there again", away.context().as_str());
            return;
        }
        let bus = &mut self.buses[master as usize];
        let context = master.context().as_str();
        let last = usize::try_from(bus.last()).expect("a short log");
        let what = if self.faults.broker_falls_back && self.dice.one_in(2) {
            let to = last - self.dice.below(last.min(12) + 1);
            let acked_to = self.dice.below(to + 1) as u64;
            bus.fall_back(to, acked_to);
            format!("falls back from {last} to {to} messages")
        } else if self.faults.broker_wiped && self.dice.one_in(3) {
            bus.wipe();
            "loses everything".to_owned()
        } else {
            bus.go_away();
            "is away".to_owned()
        };
        // Whoever reconnects heals first, unless a window was on its way already: never before the first healing.
        let is_on_its_way = self.dice.one_in(3);
        let relay = &mut self.processes[master as usize].relay;
        relay.doubt = match relay.doubt {
            Doubt::No | Doubt::Soon if is_on_its_way => Doubt::Soon,
            Doubt::No | Doubt::Soon | Doubt::Yes => Doubt::Yes,
        };
        note!(self, "bus: {context} {what}");
    }

    /// Everything is up and stays up; what was under way is still under way.
    fn clear_up(&mut self) {
        note!(self, "the weather clears");
        self.is_calm = true;
        for master in Master::ALL {
            let bus = &mut self.buses[master as usize];
            bus.is_up = true;
            for message in std::mem::take(&mut bus.late) {
                bus.publish(message, self.world.now);
            }
            if !self.processes[master as usize].is_up {
                self.start(master);
            }
        }
    }

    /// Everything that can happen now, once; whether anything did.
    fn round(&mut self) -> bool {
        let mut has_moved = self.write_late();
        for master in Master::ALL {
            has_moved |= self.relay(master);
            has_moved |= self.hand_over(master);
            has_moved |= self.fire(master);
        }
        for nth in 0..readers().len() {
            has_moved |= self.deliver(nth);
            has_moved |= self.fill(nth);
        }
        has_moved |= self.drive();
        has_moved |= self.answer_late();
        has_moved |= self.send_one();
        has_moved
    }

    /// Lets everything come to rest; says so if it does not.
    fn settle(&mut self) -> Option<String> {
        self.clear_up();
        for _ in 0..ROUNDS_MAX {
            if self.round() {
                continue;
            }
            self.look();
            let acts = !self.people.fall_silent && self.act_on();
            if !acts && !self.pass_to_next_deadline() {
                return None;
            }
        }
        Some("it never comes to rest".to_owned())
    }

    fn pass_to_next_deadline(&mut self) -> bool {
        let now = self.world.now;
        let Some(next) = self.world.timers.values().min().copied().filter(|next| *next > now) else {
            return false;
        };
        let look = self.world.next_look().map(|look| look.max(now + LOOK_EVERY));
        self.world.now = look.map_or(next, |look| look.min(next));
        if !self.people.fall_silent {
            self.see_couriers();
        }
        true
    }
}

fn found_by(bases: &[Storm], seed: u64, flaw: Flaw) -> Found {
    run(bases, seed, flaw, false)
}

fn run(bases: &[Storm], seed: u64, flaw: Flaw, is_told: bool) -> Found {
    let variant = usize::try_from(seed).expect("a small seed") % bases.len();
    let mut storm = bases[variant].seeded(seed, flaw, is_told);
    let steps = STORM_STEPS + storm.dice.below(STORM_STEPS);
    for _ in 0..steps {
        storm.step();
    }
    let restless = storm.settle();
    let (report, mut rest) = storm.check();
    rest.extend(restless);
    Found {
        report,
        rest,
        ends: storm
            .world
            .orders
            .all()
            .map(|(_, order)| order.status.as_str())
            .collect(),
        diary: storm.diary.unwrap_or_default(),
    }
}

/// The run of a seed line by line, and what was broken at its end.
fn told(bases: &[Storm], seed: u64, flaw: Flaw) -> String {
    let found = run(bases, seed, flaw, true);
    let what = found.what().unwrap_or_default();
    format!("{}\n{what}", found.diary.join("\n"))
}

/// How often orders ended how.
type Ends = BTreeMap<&'static str, u64>;

/// How all seeds ended, or the lowest that breaks something.
fn all(bases: &[Storm], seeds: u64) -> Result<Ends, u64> {
    let (next, failed) = (AtomicU64::new(1), AtomicU64::new(u64::MAX));
    let ends = Mutex::new(Ends::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > seeds || failed.load(Ordering::Relaxed) < seed {
                return;
            }
            let found = found_by(bases, seed, Flaw::None);
            if found.what().is_some() {
                failed.fetch_min(seed, Ordering::Relaxed);
            }
            let mut ends = ends.lock().expect("nobody panics");
            for end in found.ends {
                *ends.entry(end).or_default() += 1;
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    match failed.into_inner() {
        u64::MAX => Ok(ends.into_inner().expect("nobody panics")),
        failed => Err(failed),
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "how much was checked is the point of it")]
fn no_seed_breaks_an_invariant() {
    let bases = Storm::bases();
    let began = Instant::now();
    let ends = all(&bases, SEEDS).unwrap_or_else(|seed| panic!("seed {seed}:\n{}", told(&bases, seed, Flaw::None)));
    println!("{SEEDS} seeds in {:.1} s: {ends:?}", began.elapsed().as_secs_f32());
    let terminal = Status::ALL.into_iter().filter(|status| status.is_terminal());
    let expected: Vec<&str> = terminal.map(Status::as_str).collect();
    assert!(expected.iter().all(|end| ends.contains_key(end)), "{ends:?}");
    assert_eq!(ends.len(), expected.len(), "every order has ended");
}
