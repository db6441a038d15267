//! menu-info as a process of its own, over mutual TLS, on real NATS and Redis.

mod chain;
mod food_points;
mod loss;
mod menu;
mod peers;
mod promotions;
mod world;
