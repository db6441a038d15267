//! notifier as its peers meet it: the real process, real Postgres and NATS, and a mail server that is one.

mod away;
mod batches;
mod mails;
mod peers;
mod post;
mod refused;
mod secret;
mod world;
