//! What only the whole system can show.

mod chaos;
mod command;
mod explorer;
mod fault;
mod faults;
mod flow;
mod past;
mod platform;
mod ports;
mod races;
mod rebuilding;
mod refusals;
mod rotation;
mod silence;
mod snapshots;
mod storm;
mod table;
mod tidy;
mod verify;
