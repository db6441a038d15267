//! How much processor time each process took, with those it started, as Linux counts it.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_local::supervise::Process;
use serde::Serialize;

/// The kernel tells processor time to programs in hundredths of a second (`USER_HZ`), on every architecture we run on.
const TICK: Duration = Duration::from_millis(10);

/// The load generator itself, under this name.
const LOAD: &str = "load";

/// Processor time so far, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Cpu(BTreeMap<String, Duration>);

/// What one process took for each of what was counted, such as an order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Share {
    /// The service, the server, or the load.
    pub process: String,
    /// Milliseconds of one core.
    pub ms_each: f64,
}

/// One line of `/proc/PID/stat`.
struct Stat {
    parent: i32,
    own: Duration,
    /// Of children that have ended.
    children: Duration,
}

impl Cpu {
    /// Of these processes and of this one; nothing where there is no `/proc`.
    pub(super) fn of(processes: &[Process]) -> Self {
        let stats = all();
        let mut cpu = Self::default();
        for process in processes {
            cpu.0.insert(process.name.clone(), with_children(&stats, process.pid));
        }
        let own = i32::try_from(std::process::id()).ok().and_then(|pid| stats.get(&pid));
        cpu.0
            .insert(LOAD.to_owned(), own.map(|stat| stat.own).unwrap_or_default());
        cpu
    }

    /// What came since, shared out over so many; the largest first.
    pub(super) fn since(&self, before: &Self, count: u64) -> Vec<Share> {
        let mut shares: Vec<Share> = self
            .0
            .iter()
            .map(|(process, now)| {
                let spent = now.saturating_sub(before.0.get(process).copied().unwrap_or_default());
                Share {
                    process: process.clone(),
                    ms_each: spent.as_secs_f64() * 1_000.0 / count.max(1) as f64,
                }
            })
            .collect();
        shares.sort_by(|one, other| other.ms_each.total_cmp(&one.ms_each));
        shares
    }
}

fn all() -> BTreeMap<i32, Stat> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    entries
        .filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, stat(&line)?))
        })
        .collect()
}

/// `pid (name) state ppid …`, where the name may hold anything; proc(5) counts the fields.
fn stat(line: &str) -> Option<Stat> {
    let (_, rest) = line.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    // The state is field 3 and the first of these.
    let field = |number: usize| fields.get(number - 3);
    let ticks = |number: usize| Some(TICK * field(number)?.parse::<u32>().ok()?);
    Some(Stat {
        parent: field(4)?.parse().ok()?,
        own: ticks(14)? + ticks(15)?,
        children: ticks(16)? + ticks(17)?,
    })
}

fn with_children(stats: &BTreeMap<i32, Stat>, pid: i32) -> Duration {
    let Some(stat) = stats.get(&pid) else {
        return Duration::ZERO;
    };
    let children = stats.iter().filter(|(_, child)| child.parent == pid);
    stat.own
        + stat.children
        + children
            .map(|(child, _)| with_children(stats, *child))
            .sum::<Duration>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSTMASTER: &str = "7 (postgres) S 1 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5 6 7";
    const BACKEND: &str = "8 (a) name) R 7 7 7 0 -1 4194560 1 2 3 4 1 2 0 0 20 0 1 0 5 6 7";

    #[test]
    fn a_server_is_charged_for_its_backends() {
        let stats = BTreeMap::from([
            (7, stat(POSTMASTER).expect("a stat line")),
            (8, stat(BACKEND).expect("a stat line")),
        ]);
        assert_eq!(with_children(&stats, 7), TICK * 103);
        assert_eq!(with_children(&stats, 8), TICK * 3);
        assert_eq!(with_children(&stats, 9), Duration::ZERO);
    }

    #[test]
    fn only_what_came_since_counts() {
        let before = Cpu(BTreeMap::from([("nats".to_owned(), TICK)]));
        let after = Cpu(BTreeMap::from([
            ("nats".to_owned(), TICK * 3),
            ("load".to_owned(), TICK),
        ]));
        let shares = after.since(&before, 10);
        assert_eq!(shares[0].process, "nats");
        assert!((shares[0].ms_each - 2.0).abs() < 1e-9);
        assert!((shares[1].ms_each - 1.0).abs() < 1e-9);
    }
}
