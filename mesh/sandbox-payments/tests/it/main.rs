//! The stand-in from outside: its routes in process, and the real program over mutual TLS, killed at will.

mod api;
mod crash;
mod program;
mod webhooks;
