//! user-info as a process of its own, over mutual TLS, on real NATS and Redis.

mod address;
mod couriers;
mod loss;
mod me;
mod peers;
mod people;
mod world;
