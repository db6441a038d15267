//! A stand-in payment provider with its own durable ledger, speaking a part of Stripe's PaymentIntents.
//! It knows nothing of orders beyond the `order_id` it is given, and shares no store with the platform,
//! so that its ledger is an independent witness of what was paid.

pub mod cards;
pub mod ledger;

pub mod bank;
pub mod journal;

pub mod http;
pub mod webhooks;
pub mod wire;

pub mod config;
