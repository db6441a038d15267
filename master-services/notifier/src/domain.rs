//! What a customer is told, once. Nothing here awaits, reads a clock, or knows SQL, NATS or SMTP.

mod words;

#[cfg(test)]
mod tests;

use mesh_contracts::notification::{Event, Failure, Occasion};
use mesh_contracts::view::notification::Notifications;

pub use words::{Words, words};

/// What follows from an attempt to tell: nothing if the customer has been told, or cannot be.
pub fn settle(told: Option<&Notifications>, occasion: Occasion, failure: Option<Failure>) -> Vec<Event> {
    if told.is_some_and(|told| told.settled.contains_key(&occasion)) {
        return Vec::new();
    }
    vec![match failure {
        None => Event::Sent { occasion },
        Some(reason) => Event::Failed { occasion, reason },
    }]
}
