//! What a master's database keeps beside its events: positions, outbox, checkpoints, marks and answers.
//!
//! A model of the append: everything of one call is there or nothing is. Positions are given out before the commit,
//! so that one which is taken may become visible long after later ones.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// No append takes longer: the real one is cut off.
const APPEND_WITHIN: SignedDuration = SignedDuration::from_secs(10);

/// Positions that one slow transaction has taken.
const TAKEN_AT_ONCE: u64 = 16;

/// What the broker had at some moment.
#[derive(Clone)]
pub struct Checkpoint {
    pub id: u64,
    pub position: u64,
    pub sequence: u64,
    /// The id of the message that has this number.
    pub message: Vec<usize>,
    /// When the outbox was read.
    pub at: Timestamp,
    /// Of which stream of the broker.
    pub life: u64,
}

#[derive(Clone, Copy)]
pub struct Stored {
    /// Its place in the log of everything.
    pub event: usize,
    pub recorded_at: Timestamp,
}

/// The stored answer to a key.
#[derive(Clone, PartialEq, Debug)]
pub struct Answered {
    pub status: u16,
    pub stream: String,
    pub version: u64,
}

#[derive(Clone, Default)]
pub struct Database {
    last_position: u64,
    /// Taken by a transaction that has not committed, from here on, then.
    slow: Option<(u64, Timestamp)>,
    pub stored: BTreeMap<u64, Stored>,
    last_of_stream: HashMap<String, u64>,
    pub outbox: BTreeMap<u64, Vec<u64>>,
    pub checkpoints: Vec<Checkpoint>,
    pub marks: HashMap<String, u64>,
    pub answers: HashMap<Uuid, Answered>,
}

impl Database {
    /// A transaction takes its positions, and does not commit yet.
    pub fn dawdle(&mut self, now: Timestamp) {
        self.slow = Some((self.last_position + 1, now));
        self.last_position += TAKEN_AT_ONCE;
    }

    /// Gives the events of one append their positions; of the slow transaction, if that is what commits now.
    pub fn commit(&mut self, events: &[(usize, &str)], is_slow: bool, now: Timestamp) {
        let slow = self
            .slow
            .filter(|(_, since)| now.duration_since(*since) < APPEND_WITHIN);
        // Nobody else can have appended to its streams since: it has locked them.
        let is_first = |from: u64| {
            let mut lasts = events.iter().filter_map(|(_, stream)| self.last_of_stream.get(*stream));
            lasts.all(|last| *last < from)
        };
        let fits = events.len() as u64 <= TAKEN_AT_ONCE;
        let (from, recorded_at) = match slow.filter(|(from, _)| is_slow && fits && is_first(*from)) {
            Some(slow) => {
                self.slow = None;
                slow
            }
            None => {
                let from = self.last_position + 1;
                self.last_position += events.len() as u64;
                (from, now)
            }
        };
        for (position, (event, stream)) in (from..).zip(events) {
            let event = *event;
            self.stored.insert(position, Stored { event, recorded_at });
            self.last_of_stream.insert((*stream).to_owned(), position);
        }
        if !events.is_empty() {
            self.outbox.insert(from, (from..from + events.len() as u64).collect());
        }
    }

    pub fn mark(&mut self, stream: &str, version: u64) {
        let mark = self.marks.entry(stream.to_owned()).or_default();
        *mark = version.max(*mark);
    }
}
