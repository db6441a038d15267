//! basket-master as a process of its own, over mutual TLS, on real Postgres and NATS, with the real stand-in provider.

mod baskets;
mod crashes;
mod ledger;
mod menu;
mod payments;
mod peers;
mod provider;
mod queue;
mod refusals;
mod webhooks;
mod world;
