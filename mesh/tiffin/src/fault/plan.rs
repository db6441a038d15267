//! Which faults there are, and which of them a seed brings when. Knows no platform: the same seed plans the same.

use std::time::Duration;

use mesh_local::disk::ON_DISK;
use mesh_local::services::SERVICES;
use mesh_runtime::failpoint;
use serde::Serialize;

use mesh_verify::dice::Dice;

/// Servers of others, which are processes like ours.
const SERVERS: [&str; 3] = ["postgres", "nats", "redis"];

/// Faults of one run at most; more at once hide what each of them does.
const FAULTS_MAX: usize = 3;

/// Within this time after the first order one begins: orders are at every step by then.
const BEGIN_WITHIN: Duration = Duration::from_secs(12);

/// A broken link or a storm lasts this long at least …
const LASTS_MIN: Duration = Duration::from_secs(1);

/// … and this long at most.
const LASTS_MAX: Duration = Duration::from_secs(12);

/// A process that stands still does so for a minute at most. Most do for some seconds: that is longer than every
/// time-out of ours, and a minute costs a run as much as all else.
const STOPPED_MAX: Duration = Duration::from_secs(60);

/// How a link is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    Late,
    Jittery,
    Cut,
    Silent,
    OneWay,
    Trickle,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// kill -9 of a process, which is started again.
    Kill(&'static str),
    /// A process stands still for a while.
    Stop(&'static str),
    /// The broker comes back without anything.
    NatsWiped,
    RedisFlushed,
    /// The link between any two parts.
    Link(Bad),
    /// All links of one part at once.
    Cut(&'static str),
    /// Messages once more under other ids, in another order.
    Duplicates,
    /// Messages that nobody can read.
    Poison,
    /// Clients who ask without pause and ask again when refused.
    Overload,
    /// A service dies at this place, if it gets there.
    Fail(&'static str),
    /// The disk of a server has no room.
    DiskFull(&'static str),
    /// The wall clock of a service is wrong.
    ClockWrong,
    /// A service is restarted, as for a new version.
    Restart(&'static str),
    /// Customers, kitchens and couriers who do what they should not, cards and refunds that fail.
    Mischief,
}

/// A fault by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) name: String,
    pub(super) what: What,
    pub(super) means: String,
}

/// Every one there is.
pub(super) fn all() -> Vec<Fault> {
    let fault = |name: String, what, means: String| Fault { name, what, means };
    let processes = || SERVICES.iter().map(|service| service.name).chain(SERVERS);
    let killed = processes().map(|name| fault(format!("kill-{name}"), What::Kill(name), format!("kill -9 of {name}")));
    let stopped = processes().map(|name| {
        let means = format!("{name} stands still for up to a minute");
        fault(format!("stop-{name}"), What::Stop(name), means)
    });
    let cut = SERVERS.map(|name| {
        let means = format!("nobody reaches {name} for some seconds");
        fault(format!("cut-{name}"), What::Cut(name), means)
    });
    let links = [
        ("late", Bad::Late, "takes a while longer"),
        ("jittery", Bad::Jittery, "takes now more, now less"),
        ("cut", Bad::Cut, "breaks, and refuses"),
        ("half-open", Bad::Silent, "stands, and nothing arrives"),
        ("one-way", Bad::OneWay, "brings questions, and no answers"),
        ("trickle", Bad::Trickle, "brings a few hundred bytes a second"),
    ];
    let links = links.map(|(name, bad, means)| {
        let means = format!("a link between two parts {means} for some seconds");
        fault(format!("link-{name}"), What::Link(bad), means)
    });
    // In a build without them no service looks whether it is to die.
    let places = failpoint::PLACES.into_iter().filter(|_| failpoint::ARE_COMPILED_IN);
    let failing = places.map(|place| {
        let means = format!("a service dies at the failpoint {place}");
        fault(format!("fail-{place}"), What::Fail(place), means)
    });
    let others = [
        (
            "nats-wiped",
            What::NatsWiped,
            "the broker is killed and its store emptied",
        ),
        ("redis-flushed", What::RedisFlushed, "Redis loses everything"),
        (
            "bus-duplicates",
            What::Duplicates,
            "messages come once more, under other ids and in another order",
        ),
        ("bus-poison", What::Poison, "messages come that nobody can read"),
        (
            "overload",
            What::Overload,
            "clients ask without pause, and again when refused",
        ),
        (
            "mischief",
            What::Mischief,
            "one order in four is declined, cancelled, dropped, lost, …",
        ),
    ];
    let others = others.map(|(name, what, means)| fault(name.to_owned(), what, means.to_owned()));
    let full = ON_DISK.map(|name| {
        let means = format!("the disk of {name} has no room for some seconds; needs root, to mount a small one");
        fault(format!("disk-full-{name}"), What::DiskFull(name), means)
    });
    let restarted = SERVICES.iter().map(|service| {
        let means = format!("a successor of {} takes over", service.name);
        fault(format!("restart-{}", service.name), What::Restart(service.name), means)
    });
    let wrong = failpoint::ARE_COMPILED_IN.then(|| {
        let means = "the wall clock of a service is wrong by up to a minute for some seconds";
        fault("clock-wrong".to_owned(), What::ClockWrong, means.to_owned())
    });
    let ours = killed.chain(stopped).chain(failing).chain(restarted).chain(wrong);
    ours.chain(cut).chain(links).chain(full).chain(others).collect()
}

/// One that is to happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Planned {
    pub(super) fault: String,
    /// After the first order, in milliseconds.
    pub(super) at_ms: u64,
    /// Of those that last.
    pub(super) lasts_ms: u64,
    #[serde(skip)]
    pub(super) what: What,
    /// For what only the platform knows, such as its links.
    #[serde(skip)]
    pub(super) dice: Dice,
}

impl Planned {
    pub(super) fn at(&self) -> Duration {
        Duration::from_millis(self.at_ms)
    }

    pub(super) fn lasts(&self) -> Duration {
        Duration::from_millis(self.lasts_ms)
    }
}

/// What a seed brings, out of these.
pub(super) fn plan(seed: u64, out_of: &[Fault]) -> Vec<Planned> {
    let mut dice = Dice::new(seed);
    let count = 1 + dice.below(FAULTS_MAX);
    let mut planned: Vec<Planned> = (0..count)
        .filter_map(|_| {
            let nth = dice.below(out_of.len());
            let fault = out_of.get(nth)?;
            let longest = match fault.what {
                What::Stop(_) if dice.one_in(6) => STOPPED_MAX,
                _ => LASTS_MAX,
            };
            Some(Planned {
                fault: fault.name.clone(),
                at_ms: between(&mut dice, Duration::ZERO, BEGIN_WITHIN),
                lasts_ms: between(&mut dice, LASTS_MIN, longest),
                what: fault.what,
                dice: Dice::new(dice.roll()),
            })
        })
        .collect();
    planned.sort_by_key(|planned| planned.at_ms);
    planned
}

fn between(dice: &mut Dice, least: Duration, most: Duration) -> u64 {
    let millis = |time: Duration| usize::try_from(time.as_millis()).expect("minutes at most");
    (millis(least) + dice.below(millis(most.saturating_sub(least)))) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_seed_plans_the_same_and_another_one_something_else() {
        let all = all();
        assert_eq!(plan(7, &all), plan(7, &all));
        assert_ne!(plan(7, &all), plan(8, &all));
    }

    #[test]
    fn every_fault_comes_sooner_or_later_and_within_its_time() {
        let all = all();
        let mut met = BTreeSet::new();
        for planned in (0..2_000).flat_map(|seed| plan(seed, &all)) {
            assert!(planned.at() < BEGIN_WITHIN && planned.lasts() <= STOPPED_MAX);
            met.insert(planned.fault);
        }
        assert_eq!(met.len(), all.len());
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<String> = all().into_iter().map(|fault| fault.name).collect();
        assert_eq!(names.len(), all().len());
    }
}
