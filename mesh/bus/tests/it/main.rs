//! The bus against a real broker: streams, the wire, supervised consumers, dead letters, feeds, work queues.

mod consume;
mod dead_letters;
mod events;
mod feed;
mod jobs;
mod own_server;
mod streams;
mod tls;
mod wire;
