//! order-info as a process of its own, over mutual TLS, on real NATS and Redis.

mod couriers;
mod events;
mod kitchen;
mod live;
mod live_property;
mod loss;
mod ops;
mod orders;
mod past;
mod peers;
mod sse;
mod tokens;
mod world;
