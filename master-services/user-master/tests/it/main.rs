//! user-master as a process of its own, over mutual TLS, on real Postgres and NATS.

mod accounts;
mod addresses;
mod peers;
mod refusals;
mod rotation;
mod sessions;
mod world;
