//! One stream of the broker, with its durable consumers: a model of what JetStream promises, and of what it does not.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::broken::Flaw;

/// A message id is remembered for so long.
const DUPLICATE_WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// Some events that travel as one.
#[derive(Clone)]
pub struct Message {
    /// What the broker knows a repeat by. Here these are the ids of all its events themselves, not a hash of them.
    pub id: Vec<usize>,
    pub events: Vec<usize>,
}

/// How far a consumer has come.
#[derive(Clone, Default)]
struct Durable {
    /// All up to here is acknowledged.
    floor: u64,
    above: BTreeSet<u64>,
}

#[derive(Clone, Default)]
pub struct Bus {
    /// Another one is another stream of the same name.
    pub life: u64,
    pub is_up: bool,
    /// How often clients had to connect.
    pub connections: u64,
    /// By their sequence numbers, which begin at 1.
    messages: Vec<Message>,
    recent: HashMap<Vec<usize>, (u64, Timestamp)>,
    /// Sent, and neither arrived nor given up by the network.
    pub late: Vec<Message>,
    durables: HashMap<usize, Durable>,
}

impl Message {
    pub fn of(events: &[usize], flaw: Flaw) -> Self {
        let id = match (flaw, events) {
            (Flaw::NamedByItsLast, [.., last]) => vec![*last],
            _ => events.to_vec(),
        };
        Self {
            id,
            events: events.to_vec(),
        }
    }
}

impl Bus {
    /// Gives the sequence number, and whether the message was there before.
    pub fn publish(&mut self, message: Message, now: Timestamp) -> (u64, bool) {
        if let Some((sequence, at)) = self.recent.get(&message.id)
            && now.duration_since(*at) < DUPLICATE_WINDOW
        {
            return (*sequence, true);
        }
        let id = message.id.clone();
        self.messages.push(message);
        let sequence = self.last();
        self.recent.insert(id, (sequence, now));
        (sequence, false)
    }

    pub fn last(&self) -> u64 {
        self.messages.len() as u64
    }

    pub fn at(&self, sequence: u64) -> Option<&Message> {
        let index = usize::try_from(sequence.checked_sub(1)?).ok()?;
        self.messages.get(index)
    }

    /// The first few messages that a consumer has not acknowledged.
    pub fn pending(&self, consumer: usize, limit: usize) -> Vec<u64> {
        let durable = self.durables.get(&consumer);
        let floor = durable.map_or(0, |durable| durable.floor);
        let open = |sequence: &u64| durable.is_none_or(|durable| !durable.above.contains(sequence));
        (floor + 1..=self.last()).filter(open).take(limit).collect()
    }

    pub fn is_drained(&self, consumer: usize, up_to: u64) -> bool {
        self.pending(consumer, 1).first().is_none_or(|next| *next > up_to)
    }

    pub fn ack(&mut self, consumer: usize, sequence: u64) {
        let durable = self.durables.entry(consumer).or_default();
        if sequence <= durable.floor || sequence > self.messages.len() as u64 {
            return;
        }
        durable.above.insert(sequence);
        while durable.above.remove(&(durable.floor + 1)) {
            durable.floor += 1;
        }
    }

    pub fn go_away(&mut self) {
        self.is_up = false;
        self.connections += 1;
    }

    /// The machine died, and what was not on the disk is gone: messages, and acknowledgements.
    pub fn fall_back(&mut self, to: usize, acked_to: u64) {
        self.connections += 1;
        self.messages.truncate(to);
        let last = self.last();
        self.recent.retain(|_, (sequence, _)| *sequence <= last);
        for durable in self.durables.values_mut() {
            durable.floor = durable.floor.min(acked_to).min(last);
            durable.above.retain(|sequence| *sequence <= acked_to.min(last));
        }
    }

    /// A store without anything in it.
    pub fn wipe(&mut self) {
        self.life += 1;
        self.connections += 1;
        self.messages.clear();
        self.recent.clear();
        self.durables.clear();
    }
}
