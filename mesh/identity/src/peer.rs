//! The service at the other end of the connection, and who may call which routes.

use std::convert::Infallible;
use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{Extensions, StatusCode};
use mesh_runtime::Problem;
use rustls::pki_types::CertificateDer;
use tower::{Layer, Service};

use crate::spiffe;
pub use crate::spiffe::Why;

/// The gateway's service name: the only one whose word on callers counts.
pub const GATEWAY: &str = "gateway";

/// Who is at the other end. A missing identity has a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A service of ours, proven by its certificate in this connection's handshake.
    Known(Arc<str>),
    /// Nobody we know.
    Unknown(Why),
}

impl Peer {
    /// Who a verified certificate chain names.
    pub fn of(chain: &[CertificateDer<'_>]) -> Self {
        match chain.first().ok_or(Why::NoCertificate).and_then(spiffe::service_of) {
            Ok(service) => Self::Known(service.into()),
            Err(why) => Self::Unknown(why),
        }
    }

    /// Who sent a request, from its extensions.
    pub fn sending(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or(Self::Unknown(Why::Plaintext))
    }

    /// Whether it is the named service.
    pub fn is(&self, service: &str) -> bool {
        match self {
            Self::Known(known) => **known == *service,
            Self::Unknown(_) => false,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::sending(&parts.extensions))
    }
}

/// Lets only the named services through; anyone else gets 403 `peer_not_allowed`.
pub fn allow(services: &'static [&'static str]) -> Allow {
    Allow { services }
}

/// See [`allow`].
#[derive(Debug, Clone, Copy)]
pub struct Allow {
    services: &'static [&'static str],
}

impl<S> Layer<S> for Allow {
    type Service = Allowed<S>;

    fn layer(&self, inner: S) -> Allowed<S> {
        Allowed {
            services: self.services,
            inner,
        }
    }
}

/// See [`allow`].
#[derive(Debug, Clone)]
pub struct Allowed<S> {
    services: &'static [&'static str],
    inner: S,
}

impl<S> Service<Request> for Allowed<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Send,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let peer = Peer::sending(request.extensions());
        if self.services.iter().any(|service| peer.is(service)) {
            return Box::pin(self.inner.call(request));
        }
        tracing::warn!(peer = %peer, "peer not allowed");
        Box::pin(ready(Ok(not_allowed().into_response())))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(service) => out.write_str(service),
            Self::Unknown(why) => write!(out, "unknown ({why})"),
        }
    }
}

fn not_allowed() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "peer_not_allowed",
        "this service does not serve you",
    )
}
