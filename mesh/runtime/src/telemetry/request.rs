//! One span, one log line and two metrics per request.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use tower::{Layer, Service};
use tracing::Instrument as _;

use crate::headers;
use crate::problem::Cause;

/// What requests that match no route are counted under; their paths are unbounded and may
/// hold anything.
const UNMATCHED: &str = "unmatched";

/// The outermost layer of a router: opens the request's span in the caller's trace, logs the
/// answer, counts it in `http_requests_total` and times it in `http_request_duration_seconds`.
pub fn layer() -> RequestLayer {
    RequestLayer
}

/// See [`layer`].
#[derive(Debug, Clone, Copy)]
pub struct RequestLayer;

impl<S> Layer<S> for RequestLayer {
    type Service = RequestService<S>;

    fn layer(&self, inner: S) -> RequestService<S> {
        RequestService { inner }
    }
}

/// See [`layer`].
#[derive(Debug, Clone)]
pub struct RequestService<S> {
    inner: S,
}

impl<S> Service<Request> for RequestService<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let started = Instant::now();
        let method = known_method(request.method());
        let route = request.extensions().get::<MatchedPath>().cloned();
        let route_name = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str).to_owned();
        let span = tracing::info_span!(
            "request",
            http.method = method,
            http.route = route_name,
            trace_id = tracing::field::Empty
        );
        let traceparent = request
            .headers()
            .get(headers::TRACEPARENT)
            .and_then(|value| value.to_str().ok());
        super::adopt(&span, traceparent);
        let answer = span.in_scope(|| self.inner.call(request));
        let answered = async move {
            let response = answer.await?;
            observe(method, route_name, &response, started);
            Ok(response)
        };
        Box::pin(answered.instrument(span))
    }
}

/// Metrics must not grow with whatever method names a client invents.
fn known_method(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

fn observe(method: &'static str, route: String, response: &Response, started: Instant) {
    let elapsed = started.elapsed();
    let status = response.status();
    let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    if status.is_server_error() {
        let cause = response.extensions().get::<Cause>().map(|cause| cause.0.as_str());
        tracing::error!(
            http.status = status.as_u16(),
            duration_ms,
            error = cause,
            "request failed"
        );
    } else {
        tracing::debug!(http.status = status.as_u16(), duration_ms, "request answered");
    }
    let labels = [
        ("method", method.to_owned()),
        ("route", route),
        ("status", status.as_u16().to_string()),
    ];
    metrics::counter!("http_requests_total", &labels).increment(1);
    metrics::histogram!("http_request_duration_seconds", &labels).record(elapsed.as_secs_f64());
}
