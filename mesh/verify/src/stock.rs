//! I3: received + corrected = available + held + consumed + wasted, never negative, at every point of a food point's log.
//!
//! Counts anew from the events, with numbers that can go below zero, instead of trusting the fold that decisions use.

use std::collections::BTreeMap;

use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{IngredientId, OrderId};
use mesh_contracts::order::Need;
use mesh_contracts::point::Event;

use crate::findings::Breach;

/// Where everything of one ingredient is.
#[derive(Debug, Default, Clone, Copy)]
struct Shelf {
    available: i128,
    held: i128,
    consumed: i128,
    wasted: i128,
    received: i128,
    corrected: i128,
}

impl Shelf {
    fn flaw(&self) -> Option<String> {
        let parts = [self.available, self.held, self.consumed, self.wasted];
        let came = self.received + self.corrected;
        let went: i128 = parts.into_iter().sum();
        if parts.iter().any(|part| *part < 0) {
            Some(format!("negative: {self:?}"))
        } else if came != went {
            Some(format!("{came} came in, {went} are accounted for: {self:?}"))
        } else {
            None
        }
    }
}

/// A food point, counted from its events.
#[derive(Default)]
struct Count {
    shelves: BTreeMap<IngredientId, Shelf>,
    holds: BTreeMap<(OrderId, u32), Vec<Need>>,
}

/// I3, of one food point. Each event that breaks it counts once.
pub fn conserved(id: &str, events: &[Envelope]) -> Vec<Breach> {
    let mut count = Count::default();
    let mut breaches = Vec::new();
    for envelope in events {
        let flaw = match envelope.body::<Event>() {
            Ok(Some(event)) => count.apply(&event),
            Ok(None) => None,
            Err(err) => Some(err.to_string()),
        };
        let place = || format!("version {} ({})", envelope.version, envelope.event_type);
        breaches.extend(flaw.map(|flaw| Breach::of(id, format!("{}: {flaw}", place()))));
    }
    breaches
}

impl Count {
    /// Takes an event in, and says what is wrong then.
    fn apply(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Received { ingredient, quantity } => {
                let shelf = self.shelf(*ingredient);
                shelf.available += i128::from(*quantity);
                shelf.received += i128::from(*quantity);
                shelf.flaw()
            }
            Event::Counted {
                ingredient,
                counted,
                corrected,
            }
            | Event::Restored {
                ingredient,
                counted,
                corrected,
            } => self.correct(*ingredient, i128::from(*counted), i128::from(*corrected)),
            Event::Gone { ingredient, corrected } => self.correct(*ingredient, 0, i128::from(*corrected)),
            Event::Wasted {
                ingredient, quantity, ..
            } => {
                let shelf = self.shelf(*ingredient);
                shelf.available -= i128::from(*quantity);
                shelf.wasted += i128::from(*quantity);
                shelf.flaw()
            }
            Event::HoldHeld {
                order, attempt, needs, ..
            } => {
                let twice = self.holds.insert((*order, *attempt), needs.clone());
                let flaw = self.moved(needs, |shelf, quantity| {
                    shelf.available -= quantity;
                    shelf.held += quantity;
                });
                twice.map(|_| format!("{order} is held twice")).or(flaw)
            }
            Event::HoldConsumed { order, attempt } => self.ended(*order, *attempt, |shelf, quantity| {
                shelf.held -= quantity;
                shelf.consumed += quantity;
            }),
            Event::HoldWasted { order, attempt } => self.ended(*order, *attempt, |shelf, quantity| {
                shelf.held -= quantity;
                shelf.wasted += quantity;
            }),
            Event::HoldReleased { order, attempt, .. } | Event::HoldExpired { order, attempt } => {
                self.ended(*order, *attempt, |shelf, quantity| {
                    shelf.held -= quantity;
                    shelf.available += quantity;
                })
            }
            Event::StockClosed { ingredient } => {
                let held = self.shelf(*ingredient).held;
                (held != 0).then(|| format!("closed while {held} of it are held"))
            }
            Event::HoldConfirmed { order, attempt } => self.is_held(*order, *attempt),
            Event::Registered { .. }
            | Event::Changed { .. }
            | Event::Opened {}
            | Event::Closed { .. }
            | Event::StockOpened { .. }
            | Event::StockUnneeded { .. }
            | Event::StockSettingsChanged { .. }
            | Event::HoldFailed { .. } => None,
        }
    }

    fn shelf(&mut self, ingredient: IngredientId) -> &mut Shelf {
        self.shelves.entry(ingredient).or_default()
    }

    fn correct(&mut self, ingredient: IngredientId, available: i128, corrected: i128) -> Option<String> {
        let shelf = self.shelf(ingredient);
        shelf.available = available;
        shelf.corrected += corrected;
        shelf.flaw()
    }

    fn is_held(&self, order: OrderId, attempt: u32) -> Option<String> {
        let is_held = self.holds.contains_key(&(order, attempt));
        (!is_held).then(|| format!("nothing is held for {order}"))
    }

    fn ended(&mut self, order: OrderId, attempt: u32, change: fn(&mut Shelf, i128)) -> Option<String> {
        match self.holds.remove(&(order, attempt)) {
            Some(needs) => self.moved(&needs, change),
            None => self.is_held(order, attempt),
        }
    }

    fn moved(&mut self, needs: &[Need], change: fn(&mut Shelf, i128)) -> Option<String> {
        for need in needs {
            change(self.shelf(need.ingredient), i128::from(need.quantity));
        }
        needs.iter().find_map(|need| {
            self.shelf(need.ingredient)
                .flaw()
                .map(|flaw| format!("{}: {flaw}", need.ingredient))
        })
    }
}

#[cfg(test)]
mod tests;
