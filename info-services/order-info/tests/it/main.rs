//! order-info as a process of its own, over mutual TLS, on real NATS and Redis.

mod couriers;
mod events;
mod kitchen;
mod live;
mod loss;
mod orders;
mod past;
mod peers;
mod sse;
mod tokens;
mod world;
