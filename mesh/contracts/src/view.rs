//! What is folded from the events: the state that masters decide on and the documents that infos show.
//!
//! One fold per aggregate, used by the writer, the read side, the audits and the clients, so that they can't disagree.

pub mod basket;
pub mod courier;
pub mod delivery;
pub mod order;
pub mod payment;
pub mod person;
pub mod point;
pub mod product;
