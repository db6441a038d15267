//! What only the whole system can show.

mod chaos;
mod command;
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
mod tidy;
