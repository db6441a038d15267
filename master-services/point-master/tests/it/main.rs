//! point-master as a process of its own, over mutual TLS, on real Postgres and NATS.

mod commands;
mod holds;
mod peers;
mod products;
mod race;
mod refusals;
mod world;
