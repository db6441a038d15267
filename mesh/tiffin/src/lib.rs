//! The command line: starts a platform on this machine, plays its people, and looks at what they left behind.
//!
//! Speaks to services as their users do, over the public API; only `verify` and `bench` open the stores.

pub mod cli;
pub mod say;

pub mod build;
pub mod chain;
pub mod restart;
pub mod settle;
pub mod up;

pub mod client;

pub mod replay;
pub mod simulation;

pub mod bench;
pub mod certs;
pub mod fault;
pub mod keys;
pub mod order;
pub mod rebuild;
pub mod verify;
