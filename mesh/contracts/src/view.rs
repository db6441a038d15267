//! What is folded from the events: the state that masters decide on and the documents that infos show.
//!
//! One fold per aggregate, used by the writer, the read side, the audits and the clients, so that they can't disagree.

pub mod basket;
pub mod courier;
pub mod delivery;
pub mod kitchen;
pub mod notification;
pub mod order;
pub mod payment;
pub mod person;
pub mod point;
pub mod product;
pub mod promotion;

use jiff::Timestamp;

use crate::envelope::{BadBody, Envelope, EventBody};

/// A document after one more event, as it travels: a type that this build does not know only counts.
pub fn advance<T, E: EventBody>(
    doc: Option<T>,
    event: &Envelope,
    fold: impl FnOnce(Option<T>, &E, Timestamp) -> Option<T>,
    skip: impl FnOnce(&mut T, Timestamp),
) -> Result<Option<T>, BadBody> {
    Ok(match event.body::<E>()? {
        Some(body) => fold(doc, &body, event.at),
        None => doc.map(|mut doc| {
            skip(&mut doc, event.at);
            doc
        }),
    })
}
