//! What only the whole system can show.

mod chaos;
mod command;
mod explorer;
mod faults;
mod flow;
mod platform;
mod ports;
mod races;
mod refusals;
mod silence;
mod table;
mod tidy;
mod verify;
