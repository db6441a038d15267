//! basket-info as a process of its own, over mutual TLS, on real NATS and Redis.

mod baskets;
mod loss;
mod payments;
mod peers;
mod world;
