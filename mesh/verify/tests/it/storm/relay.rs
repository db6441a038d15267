//! The relay, step for step as `mesh/eventstore/src/relay.rs` and `relay/heal.rs` take them, over the models of
//! database and broker.

use jiff::{SignedDuration, Timestamp};

use super::broken::Flaw;
use super::bus::Message;
use super::postgres::Checkpoint;
use super::{Storm, note};
use crate::silence::told::Master;

/// Events on their way at once: few, so that windows end everywhere.
const WINDOW: usize = 8;

/// Events in one message at most.
const BATCH_EVENTS_MAX: usize = 4;

/// Stepping back behind a checkpoint, in time.
const BEHIND: SignedDuration = SignedDuration::from_secs(60);

/// Whether the broker may have lost something.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Doubt {
    No,
    /// It has, and one more window goes out before anybody notices.
    Soon,
    #[default]
    Yes,
}

/// What the process knows; gone with it.
#[derive(Clone, Default)]
pub struct Relay {
    pub doubt: Doubt,
    life: u64,
    known: Option<Checkpoint>,
    /// The known one stays to step back to; the next window makes another.
    is_known_full: bool,
    acked: Vec<u64>,
    moved: Option<Checkpoint>,
    /// Of a flawed relay alone.
    last_position: u64,
}

impl Storm {
    /// Heals, looks, or publishes a window; whether it did anything.
    pub fn relay(&mut self, master: Master) -> bool {
        let process = &mut self.processes[master as usize];
        let bus = &self.buses[master as usize];
        if !process.is_up || !bus.is_up {
            return false;
        }
        let relay = &mut process.relay;
        let known = relay.known.as_ref().map_or(0, |known| known.sequence);
        match relay.doubt {
            Doubt::Yes => {
                self.heal(master);
                true
            }
            Doubt::Soon => {
                relay.doubt = Doubt::Yes;
                self.publish_window(master)
            }
            Doubt::No if bus.life != relay.life || bus.last() < known => {
                relay.doubt = Doubt::Yes;
                true
            }
            Doubt::No => self.publish_window(master),
        }
    }

    fn heal(&mut self, master: Master) {
        let bus = &self.buses[master as usize];
        let database = &mut self.databases[master as usize];
        let has = |known: &Checkpoint| bus.at(known.sequence).is_some_and(|kept| kept.id == known.message);
        let is_there = |known: &&Checkpoint| known.life == bus.life && has(known);
        let found = database.checkpoints.iter().rev().find(is_there).cloned();
        let id = found.as_ref().map(|found| found.id);
        let newest = database.checkpoints.last().map(|newest| newest.id);
        if newest != id && self.flaw != Flaw::NeverHeals {
            let since = |found: &Checkpoint| found.at - BEHIND;
            let is_missing = |position: u64, recorded_at: Timestamp| {
                let is_later = |found: &Checkpoint| position > found.position || recorded_at >= since(found);
                found.as_ref().is_none_or(is_later)
            };
            let stored = database.stored.iter();
            let again = stored.filter(|(position, stored)| is_missing(**position, stored.recorded_at));
            let again: Vec<u64> = again.map(|(position, _)| *position).collect();
            for position in &again {
                database.outbox.entry(*position).or_insert_with(|| vec![*position]);
            }
            database.checkpoints.retain(|known| Some(known.id) <= id);
            note!(self, "{}: relay sends {} events again", master.name(), again.len());
        }
        self.processes[master as usize].relay = Relay {
            doubt: Doubt::No,
            life: self.buses[master as usize].life,
            known: found,
            is_known_full: true,
            ..Relay::default()
        };
    }

    fn publish_window(&mut self, master: Master) -> bool {
        let (rows, window) = self.window(master);
        if window.is_empty() {
            return false;
        }
        let known = self.processes[master as usize].relay.known.clone();
        let mut newest = known.as_ref().map(|known| (known.sequence, known.message.clone()));
        let (mut acked, mut first_failed, mut is_other_stream) = (Vec::new(), None, false);
        for batch in self.batches(&window) {
            let events: Vec<usize> = batch.iter().map(|(_, event)| *event).collect();
            let message = Message::of(&events, self.flaw);
            match self.send(master, &message) {
                Some((sequence, is_duplicate)) => {
                    acked.extend(batch.iter().map(|(position, _)| *position));
                    is_other_stream |= !is_duplicate && known.as_ref().is_some_and(|known| sequence <= known.sequence);
                    if newest.as_ref().is_none_or(|(newest, _)| sequence > *newest) {
                        newest = Some((sequence, message.id));
                    }
                }
                None => first_failed = first_failed.or(Some(batch[0].0)),
            }
        }
        let is_last = window.len() < WINDOW;
        let newest_row = rows.last().copied().unwrap_or_default();
        let last = window.last().map_or(0, |(position, _)| *position);
        let position = match first_failed {
            Some(failed) => newest_row.min(failed - 1),
            None if is_last => last.max(known.as_ref().map_or(0, |known| known.position)),
            None => newest_row,
        };
        let starts_another = self.dice.one_in(3);
        let (now, database) = (self.world.now, &mut self.databases[master as usize]);
        // A row of which only some events were taken is sent again whole.
        let is_taken = |row: &u64| database.outbox[row].iter().all(|position| acked.contains(position));
        let acked: Vec<u64> = rows.into_iter().filter(is_taken).collect();
        let relay = &mut self.processes[master as usize].relay;
        let newest = newest.filter(|_| !is_other_stream);
        match (newest, known.filter(|_| !relay.is_known_full && !starts_another)) {
            (None, _) => relay.acked = acked,
            (Some((sequence, message)), Some(known)) => {
                let moved = Checkpoint {
                    position,
                    sequence,
                    message,
                    at: now,
                    ..known
                };
                (relay.acked, relay.moved, relay.known) = (acked, Some(moved.clone()), Some(moved));
            }
            (Some((sequence, message)), None) => {
                database.outbox.retain(|row, _| !acked.contains(row));
                let id = database.checkpoints.last().map_or(1, |last| last.id + 1);
                let added = Checkpoint {
                    id,
                    position,
                    sequence,
                    message,
                    at: now,
                    life: relay.life,
                };
                database.checkpoints.push(added.clone());
                (relay.known, relay.is_known_full) = (Some(added), false);
            }
        }
        if first_failed.is_some() || is_other_stream {
            self.processes[master as usize].relay.doubt = Doubt::Yes;
        }
        true
    }

    /// Settles the last window, and reads the next: whole rows until it is full, and which those are.
    fn window(&mut self, master: Master) -> (Vec<u64>, Vec<(u64, usize)>) {
        let database = &mut self.databases[master as usize];
        let relay = &mut self.processes[master as usize].relay;
        for row in relay.acked.drain(..) {
            database.outbox.remove(&row);
        }
        if let Some(moved) = relay.moved.take()
            && let Some(kept) = database.checkpoints.iter_mut().find(|kept| kept.id == moved.id)
        {
            *kept = moved;
        }
        let event = |position: &u64| (*position, database.stored[position].event);
        if self.flaw == Flaw::OutboxByPosition {
            let next = database.stored.range(relay.last_position + 1..).take(WINDOW);
            let next: Vec<(u64, usize)> = next.map(|(position, _)| event(position)).collect();
            relay.last_position = next.last().map_or(relay.last_position, |(last, _)| *last);
            database.outbox.clear();
            return (Vec::new(), next);
        }
        let (mut rows, mut positions) = (Vec::new(), Vec::new());
        for (row, of_row) in &database.outbox {
            if positions.len() >= WINDOW {
                break;
            }
            rows.push(*row);
            positions.extend_from_slice(of_row);
        }
        positions.sort_unstable();
        (rows, positions.iter().map(event).collect())
    }

    /// Cuts a window into messages, anywhere: what is sent again is cut otherwise.
    fn batches<'w>(&mut self, window: &'w [(u64, usize)]) -> Vec<&'w [(u64, usize)]> {
        let (mut batches, mut rest) = (Vec::new(), window);
        while !rest.is_empty() {
            let (batch, left) = rest.split_at(1 + self.dice.below(rest.len().min(BATCH_EVENTS_MAX)));
            batches.push(batch);
            rest = left;
        }
        batches
    }

    /// Gives what the broker says, if that comes back.
    fn send(&mut self, master: Master, message: &Message) -> Option<(u64, bool)> {
        let (now, fate) = (self.world.now, self.fate(16));
        let bus = &mut self.buses[master as usize];
        let sent = match fate {
            Some(0) => None,
            Some(1) => {
                bus.late.push(message.clone());
                None
            }
            Some(2) => {
                bus.publish(message.clone(), now);
                None
            }
            _ => Some(bus.publish(message.clone(), now)),
        };
        let how = match fate {
            Some(0) => "lost",
            Some(1) => "on its way for long",
            Some(2) => "there, and nobody hears of it",
            _ => "there",
        };
        note!(
            self,
            "{}: publishes {}: {how}",
            master.name(),
            self.called_all(&message.events)
        );
        sent
    }
}
