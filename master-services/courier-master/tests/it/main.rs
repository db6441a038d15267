//! courier-master as a process of its own, over mutual TLS, on real Postgres and NATS.

mod board;
mod deadlines;
mod jobs;
mod peers;
mod races;
mod refusals;
mod shifts;
mod world;
