//! Deadlines, as `mesh/eventstore/src/timers.rs` has them: read by a leader, handed over, and gone only with their
//! effect.

use jiff::Timestamp;
use mesh_contracts::id::PaymentId;

use super::broken::Flaw;
use super::redis::short;
use super::{Storm, note, readers};
use crate::silence::told::Master;

/// What these do is a matter between order-master and notifier, who is not here.
const NOTICE: &str = "notify_";

/// A timer as it was when it was read: stream, kind and when.
pub type Due = (String, String, Timestamp);

impl Storm {
    /// The leader reads a timer that is due; whether there was one. A second leader may read it once more.
    pub fn hand_over(&mut self, master: Master) -> bool {
        if !self.is_drained(master) || self.flaw == Flaw::LeaderStuck {
            return false;
        }
        let process = &self.processes[master as usize];
        let is_twice = !self.is_calm && self.dice.one_in(10);
        let (now, basket) = (self.world.now, &self.processes[Master::Basket as usize]);
        let is_open = |stream: &str, kind: &str, due: Timestamp| {
            let is_held = process
                .handed
                .iter()
                .any(|(of, which, when)| of == stream && which == kind && *when == due);
            let payment = stream.parse::<PaymentId>().ok();
            let is_driven = payment.is_some_and(|payment| {
                basket.in_hand.contains(&payment) || basket.answers.iter().any(|(id, ..)| *id == payment)
            });
            (!is_held || is_twice) && !is_driven
        };
        let due =
            self.world.timers.iter().find(|((stream, kind), due)| {
                **due <= now && Master::of(stream) == master && is_open(stream, kind, **due)
            });
        let Some(((stream, kind), due)) = due.map(|(key, due)| (key.clone(), *due)) else {
            return false;
        };
        if kind.starts_with(NOTICE) {
            self.world.fire(&stream, &kind);
            return true;
        }
        if self.flaw == Flaw::TimerLost && self.fate(2) == Some(0) {
            self.world.timers.remove(&(stream, kind));
            self.kill(master);
            return true;
        }
        self.processes[master as usize].handed.push((stream, kind, due));
        true
    }

    /// A timer that was handed over has its effect, unless that has been had.
    pub fn fire(&mut self, master: Master) -> bool {
        let process = &mut self.processes[master as usize];
        if !process.is_up || process.handed.is_empty() {
            return false;
        }
        let nth = self.dice.below(process.handed.len());
        let (stream, kind, due) = process.handed.swap_remove(nth);
        let key = (stream, kind);
        let stands = self.world.timers.get(&key) == Some(&due);
        if let Ok(payment) = key.0.parse::<PaymentId>() {
            // Driving it is what makes the timer go.
            self.processes[Master::Basket as usize]
                .in_hand
                .extend(stands.then_some(payment));
        } else if stands {
            note!(self, "{}: timer {} of {} fires", master.name(), key.1, short(&key.0));
            self.world.fire(&key.0, &key.1);
            self.committed(master);
        }
        true
    }

    /// Up, and everything that the broker had when it came up is applied.
    pub fn is_drained(&self, master: Master) -> bool {
        let process = &self.processes[master as usize];
        let is_heard = |(nth, up_to): &(usize, u64)| {
            let owner = Master::of_context(readers()[*nth].context);
            self.buses[owner as usize].is_drained(*nth, *up_to)
        };
        process.is_up && process.to_drain.iter().all(is_heard)
    }
}
