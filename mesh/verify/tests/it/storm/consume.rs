//! Messages in a consumer's hands, as `mesh/bus/src/consume/settle.rs` has them: their events are handled a few at a
//! time, and a message is acknowledged when the last of its events is settled. What is not comes again as a whole.

use mesh_verify::readers::Keeps;

use super::broken::Flaw;
use super::{Storm, readers};
use crate::silence::told::Master;

/// Messages that a consumer has in its hands at once.
const IN_HAND: usize = 8;

/// Events that a handler takes at once in bad weather: few, so that messages are cut.
const BATCH_MAX: usize = 6;

/// A message that a consumer was given.
#[derive(Clone)]
pub struct InHand {
    reader: usize,
    sequence: u64,
    /// Over which connection it came.
    connection: u64,
    /// So many of its events are not settled.
    open: usize,
}

/// An event that is not settled yet.
pub struct Open {
    /// Which of all that were in somebody's hands brought it.
    pub message: usize,
    pub event: usize,
}

impl Storm {
    /// A consumer gets some of what it has not acknowledged, in whatever order; whether anything came of it.
    pub fn deliver(&mut self, nth: usize) -> bool {
        let reader = readers()[nth];
        let owner = Master::of_context(reader.context);
        let bus = &self.buses[owner as usize];
        let is_away = reader.keeps == Keeps::Inbox && !self.processes[Master::called(reader.service) as usize].is_up;
        if !bus.is_up || is_away {
            return false;
        }
        let mut sequences = bus.pending(nth, IN_HAND);
        if !self.is_calm {
            self.dice.shuffle(&mut sequences);
            sequences.truncate(1 + self.dice.below(4));
        }
        let (mut events, mut has_done) = self.take(nth, &sequences);
        while !events.is_empty() {
            let count = self
                .fate(BATCH_MAX)
                .map_or(events.len(), |count| events.len().min(count + 1));
            let mut batch: Vec<Open> = events.drain(..count).collect();
            // The log is in the order of versions, within each stream.
            batch.sort_by_key(|open| open.event);
            has_done |= match reader.keeps {
                Keeps::Inbox => self.hear(nth, owner, batch),
                Keeps::Documents(_) => self.project(nth, owner, batch),
            };
        }
        has_done
    }

    /// What these messages bring that a reader reads, and whether any of them brings nothing: that is acknowledged.
    pub fn take(&mut self, nth: usize, sequences: &[u64]) -> (Vec<Open>, bool) {
        let reader = readers()[nth];
        let owner = Master::of_context(reader.context);
        let (mut events, mut is_any_empty) = (Vec::new(), false);
        for sequence in sequences {
            let (bus, message) = (&self.buses[owner as usize], self.in_hand.len());
            let brought = bus.at(*sequence).expect("it is pending").events.iter();
            let of_it = brought.filter(|event| self.world.log[**event].stream.starts_with(reader.prefix));
            let before = events.len();
            events.extend(of_it.map(|event| Open { message, event: *event }));
            self.in_hand.push(InHand {
                reader: nth,
                sequence: *sequence,
                connection: bus.connections,
                open: events.len() - before,
            });
            if events.len() == before {
                is_any_empty = true;
                self.acknowledge(message);
            }
        }
        (events, is_any_empty)
    }

    pub fn settled(&mut self, message: usize) {
        let in_hand = &mut self.in_hand[message];
        in_hand.open -= 1;
        if in_hand.open == 0 || self.flaw == Flaw::AckedByItsFirst {
            self.acknowledge(message);
        }
    }

    /// Acknowledgements may get lost.
    fn acknowledge(&mut self, message: usize) {
        let InHand {
            reader,
            sequence,
            connection,
            ..
        } = self.in_hand[message];
        let is_lost = self.fate(8) == Some(0);
        let owner = Master::of_context(readers()[reader].context);
        let bus = &mut self.buses[owner as usize];
        // Behind another connection this may be the number of another message.
        let is_meant = connection == bus.connections || self.flaw == Flaw::AcksOverReconnects;
        if is_meant && !is_lost {
            bus.ack(reader, sequence);
        }
    }
}
