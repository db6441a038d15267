//! order-master as its peers meet it: the real process, over mutual TLS, with real Postgres and NATS.

mod ends;
mod kitchen;
mod menu;
mod notices;
mod peers;
mod place;
mod replicas;
mod world;
