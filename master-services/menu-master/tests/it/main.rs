//! menu-master as a process of its own, over mutual TLS, on real Postgres and NATS.

mod commands;
mod peers;
mod promotions;
mod refusals;
mod world;
