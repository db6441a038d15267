//! Identity on real sockets: who gets in, who gets refused, and that reloads change neither.

mod caller;
mod client;
mod handshake;
mod jwt;
mod reload;
mod sidecar;
mod site;
