//! The event store against a real PostgreSQL and a real broker.

mod append;
mod commands;
mod feed;
mod http;
mod inbox;
mod own_broker;
mod relay;
mod snapshots;
mod streams;
mod tally;
mod timers;
