//! Projections against a real Redis and a real broker, with a master's feed in memory.

mod audit;
mod documents;
mod indexes;
mod live;
mod loss;
mod memory;
mod notebook;
mod own_redis;
mod poison;
mod rebuild;
mod sse;
mod tls;
mod tokens;
mod world;
