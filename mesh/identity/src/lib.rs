//! Who is talking: certificates of services (SPIFFE), tokens of people (JWT), and the caller
//! that the gateway vouches for.
//!
//! Knows no routes and no ownership: who may do what is said by the services themselves.

pub mod spiffe;

pub mod ca;
pub mod mesh;
mod reload;

pub mod client;

pub mod caller;
pub mod jwt;
pub mod peer;
mod xfcc;

pub use caller::Caller;
pub use client::{Client, ClientError, Upstream, Upstreams};
pub use mesh::Mesh;
pub use peer::Peer;
pub use reload::POLL_INTERVAL as CERTIFICATES_READ_EVERY;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// Makes aws-lc-rs the process's TLS provider, for libraries that ask for a default.
/// May be called any number of times.
pub fn install_crypto_provider() {
    // An error only says that somebody was first; the workspace links no other provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
