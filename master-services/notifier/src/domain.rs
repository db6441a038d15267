//! What a customer is told, once. Nothing here awaits, reads a clock, or knows SQL, NATS or SMTP.

mod words;

#[cfg(test)]
mod tests;

use mesh_contracts::notification::{Event, Failure, Occasion};
use mesh_contracts::view::notification::Notifications;

pub use words::{Words, words};

/// Whether the customer has been told, or cannot be.
pub fn is_settled(told: Option<&Notifications>, occasion: Occasion) -> bool {
    told.is_some_and(|told| told.settled.contains_key(&occasion))
}

/// What follows from an attempt to tell.
pub fn settle(occasion: Occasion, failure: Option<Failure>) -> Event {
    match failure {
        None => Event::Sent { occasion },
        Some(reason) => Event::Failed { occasion, reason },
    }
}
