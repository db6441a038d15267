//! What only the whole system can show.

mod flow;
mod platform;

mod silence;

mod verify;
