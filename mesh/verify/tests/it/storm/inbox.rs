//! Others' events at a master, as `mesh/eventstore/src/inbox.rs` has them: once, in order, effect and mark together,
//! a gap filled from the owner's feed.

use std::collections::BTreeSet;
use std::sync::Arc;

use point_master::FoodPoints;
use point_master::domain::Command as Point;

use super::broken::Flaw;
use super::consume::Open;
use super::{Storm, note, readers};
use crate::silence::told::{Master, Told, told};

impl Storm {
    /// A death on the way leaves all that this batch came with unacknowledged.
    pub fn hear(&mut self, nth: usize, owner: Master, batch: Vec<Open>) -> bool {
        let consumer = Master::called(readers()[nth].service);
        if !self.processes[consumer as usize].is_up {
            return false;
        }
        let (mut done, mut failed) = (Vec::new(), BTreeSet::new());
        for Open { message, event } in batch {
            let stream = self.world.log[event].stream.clone();
            if failed.contains(&stream) {
                continue;
            }
            if self.applied(consumer, owner, event) {
                done.push(message);
            } else {
                failed.insert(stream);
            }
            if self.fate(80) == Some(0) {
                self.kill(consumer);
                return true;
            }
        }
        let has_done = !done.is_empty();
        for message in done {
            self.settled(message);
        }
        has_done
    }

    /// Applies an event, and what is missing before it.
    fn applied(&mut self, consumer: Master, owner: Master, event: usize) -> bool {
        let envelope = Arc::clone(&self.world.log[event]);
        let (stream, version) = (&envelope.stream, envelope.version);
        let mark = self.mark(consumer, stream);
        let from = match self.flaw {
            Flaw::InboxUnmarked if version <= mark => version,
            _ if version <= mark => return true,
            Flaw::GapsLeft => version,
            _ => mark + 1,
        };
        if from < version && !self.processes[owner as usize].is_up {
            return false;
        }
        for version in from..=version {
            let event = self.event_of(stream, version);
            let is_lost = self.flaw == Flaw::MarkedBeforeTheEffect && self.fate(8) == Some(0);
            if !is_lost {
                self.tell(consumer, event);
            }
            self.databases[consumer as usize].mark(stream, version);
        }
        true
    }

    fn tell(&mut self, consumer: Master, event: usize) {
        let envelope = Arc::clone(&self.world.log[event]);
        let Some(told) = told(consumer, &envelope) else {
            return;
        };
        note!(self, "{}: hears {}", consumer.name(), self.called(event));
        let before = self.world.log.len();
        let payment = match &told {
            Told::Payment(payment, _) => Some(*payment),
            _ => None,
        };
        match told {
            Told::Point(point, Point::Hold(wanted)) if self.flaw == Flaw::HoldUnchecked => {
                let held = mesh_contracts::point::Event::HoldHeld {
                    order: wanted.order,
                    attempt: wanted.attempt,
                    needs: wanted.needs,
                    expires_at: wanted.expires_at,
                };
                self.world
                    .append::<FoodPoints>(|world| &mut world.points, &point.to_string(), vec![held]);
            }
            told => self.world.tell(told),
        }
        self.committed(consumer);
        self.note_effect(consumer, envelope.event_id, before, false);
        // Whoever wrote the intent asks the provider at once.
        self.processes[Master::Basket as usize].in_hand.extend(payment);
    }

    pub fn mark(&self, consumer: Master, stream: &str) -> u64 {
        let marks = &self.databases[consumer as usize].marks;
        marks.get(stream).copied().unwrap_or_default()
    }
}
