//! Documents, as `mesh/projection` writes them: read, fold, write through the gate of versions; filled from the
//! feeds when they are lost.
//!
//! A document is kept here as the events that were folded into it, which says all that any fold could.

use std::collections::{BTreeMap, BTreeSet};

use super::broken::Flaw;
use super::consume::Open;
use super::{Storm, note, readers};
use crate::silence::told::Master;

/// What was folded, and is not written yet.
#[derive(Clone)]
pub struct Draft {
    reader: usize,
    /// Of which data it was read.
    life: u64,
    stream: String,
    /// The version it was folded from.
    expected: usize,
    events: Vec<usize>,
    /// The messages that brought them, once for each event.
    messages: Vec<usize>,
}

/// The documents of one reader.
#[derive(Clone, Default)]
pub struct View {
    pub documents: BTreeMap<String, Vec<usize>>,
    pub is_filled: bool,
    /// Streams that are still to be filled, once it has begun.
    filling: Option<Vec<String>>,
}

#[derive(Clone, Default)]
pub struct Redis {
    life: u64,
    pub views: BTreeMap<usize, View>,
    pub drafts: Vec<Draft>,
}

impl Redis {
    pub fn flush(&mut self) {
        self.life += 1;
        for view in self.views.values_mut() {
            *view = View::default();
        }
    }
}

impl Storm {
    pub fn project(&mut self, nth: usize, owner: Master, batch: Vec<Open>) -> bool {
        let mut streams: BTreeMap<String, Vec<Open>> = BTreeMap::new();
        for open in batch {
            let stream = &self.world.log[open.event].stream;
            streams.entry(stream.clone()).or_default().push(open);
        }
        let mut has_done = false;
        for (stream, events) in streams {
            has_done |= self.project_one(nth, owner, stream, &events);
        }
        has_done
    }

    fn project_one(&mut self, nth: usize, owner: Master, stream: String, events: &[Open]) -> bool {
        if self.flaw == Flaw::UngatedWrites {
            let view = self.redis.views.entry(nth).or_default();
            let document = view.documents.entry(stream).or_default();
            document.extend(events.iter().map(|open| open.event));
            for open in events {
                self.settled(open.message);
            }
            return true;
        }
        let Some(draft) = self.draft(nth, owner, stream, events) else {
            return false;
        };
        if self.fate(3) == Some(0) {
            self.redis.drafts.push(draft);
        } else {
            self.write(draft);
        }
        true
    }

    /// Reads and folds; `None` while a hole cannot be filled, since the owner is away.
    pub fn draft(&mut self, nth: usize, owner: Master, stream: String, events: &[Open]) -> Option<Draft> {
        let (life, view) = (self.redis.life, self.redis.views.entry(nth).or_default());
        let expected = view.documents.get(&stream).map_or(0, Vec::len);
        let versions = events.iter().map(|open| self.world.log[open.event].version);
        let missing: BTreeSet<u64> = versions.filter(|version| *version > expected as u64).collect();
        let newest = missing.last().copied().unwrap_or(expected as u64);
        let has_hole = missing.len() as u64 != newest - expected as u64;
        if has_hole && !self.processes[owner as usize].is_up {
            return None;
        }
        let folded = (expected as u64 + 1..=newest).map(|version| self.event_of(&stream, version));
        Some(Draft {
            reader: nth,
            life,
            events: folded.collect(),
            stream,
            expected,
            messages: events.iter().map(|open| open.message).collect(),
        })
    }

    /// Something that was folded before is written now, whatever has happened since.
    pub fn write_late(&mut self) -> bool {
        let nth = self.dice.below(self.redis.drafts.len());
        let is_any = !self.redis.drafts.is_empty();
        if is_any {
            let draft = self.redis.drafts.swap_remove(nth);
            self.write(draft);
        }
        is_any
    }

    /// The gate. What it refuses is not settled, and comes again with all that its message brought.
    pub fn write(&mut self, draft: Draft) {
        let Draft {
            reader,
            life,
            stream,
            expected,
            events,
            messages,
        } = draft;
        if life != self.redis.life {
            return;
        }
        let view = self.redis.views.entry(reader).or_default();
        let document = view.documents.entry(stream.clone()).or_default();
        let newest = expected + events.len();
        if document.len() < newest {
            if document.len() != expected {
                return;
            }
            document.extend(events);
            let service = readers()[reader].service;
            note!(
                self,
                "{service}: shows {stream} at version {newest}",
                stream = short(&stream)
            );
        }
        for message in messages {
            self.settled(message);
        }
    }

    /// One step of filling a view from its owner's feed; whether there was anything to fill.
    pub fn fill(&mut self, nth: usize) -> bool {
        let reader = readers()[nth];
        let owner = Master::of_context(reader.context);
        let view = self.redis.views.entry(nth).or_default();
        if view.is_filled || !self.processes[owner as usize].is_up {
            return false;
        }
        let next = view.filling.as_mut().map(Vec::pop);
        match next {
            Some(Some(stream)) => {
                let events = self.streams[&stream].clone();
                let document = view.documents.entry(stream).or_default();
                if document.len() < events.len() {
                    *document = events;
                }
            }
            // At first, and whenever a page is through: is anything behind?
            None | Some(None) => {
                let of_it = self
                    .streams
                    .iter()
                    .filter(|(stream, _)| stream.starts_with(reader.prefix));
                let has = |stream: &str| view.documents.get(stream).map_or(0, Vec::len);
                let behind = of_it.filter(|(stream, events)| has(stream) < events.len());
                let behind: Vec<String> = behind.map(|(stream, _)| stream.clone()).collect();
                view.is_filled = behind.is_empty();
                view.filling = Some(behind);
            }
        }
        true
    }
}

/// Enough of an id to tell it from its neighbours.
pub fn short(id: &str) -> String {
    format!("{}…{}", &id[..4.min(id.len())], &id[id.len().saturating_sub(3)..])
}
