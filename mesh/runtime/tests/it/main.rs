//! The runtime as services use it: settings, clocks, tokens, problems, and a real listener.

mod admin;
mod clock;
mod consistency;
mod problems;
mod server;
mod settings;
