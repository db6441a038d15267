//! The services behind the gateway: one call with its limits, and their answers relayed.
//!
//! Knows no routes and no roles.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderName, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use mesh_identity::client::{CALL_TIMEOUT, Streamed};
use mesh_identity::{Client, ClientError, Upstream};
use mesh_runtime::problem::with_sources;
use mesh_runtime::{Problem, deadline, headers};
use serde::Deserialize;

use crate::Answer;
use crate::ask::Ask;
use crate::config::Config;
use crate::seats::{COME_BACK_AFTER, Seats};

/// Pauses before a call is sent again that surely, or harmlessly, failed: long enough together for a
/// supervisor to restart the service, within the two seconds that a client waits anyway.
const RETRY_PAUSES: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
];
/// A refusal of a live stream is a problem document; it fits many times.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// What a service says to the client besides status and body.
const RELAYED: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::ETAG,
    header::LOCATION,
    header::RETRY_AFTER,
    headers::CONSISTENCY,
];

/// Every service that the gateway asks.
pub(crate) struct Services {
    pub(crate) order_master: Service,
    pub(crate) basket_master: Service,
    pub(crate) menu_master: Service,
    pub(crate) point_master: Service,
    pub(crate) courier_master: Service,
    pub(crate) user_master: Service,
    pub(crate) order_info: Service,
    pub(crate) basket_info: Service,
    pub(crate) menu_info: Service,
    pub(crate) user_info: Service,
}

impl Services {
    pub(crate) fn new(client: &Client, config: &Config) -> Self {
        let service = |name| Service::new(client.clone(), config.upstreams.get(name), config.calls_max);
        Self {
            order_master: service("order-master"),
            basket_master: service("basket-master"),
            menu_master: service("menu-master"),
            point_master: service("point-master"),
            courier_master: service("courier-master"),
            user_master: service("user-master"),
            order_info: service("order-info"),
            basket_info: service("basket-info"),
            menu_info: service("menu-info"),
            user_info: service("user-info"),
        }
    }
}

/// One service, with its limits.
pub(crate) struct Service {
    client: Client,
    upstream: Upstream,
    seats: Seats,
}

impl Service {
    fn new(client: Client, upstream: Upstream, calls_max: usize) -> Self {
        Self {
            seats: Seats::new(upstream.service.as_str(), calls_max),
            client,
            upstream,
        }
    }

    /// Passes a request on and its answer back.
    pub(crate) async fn forward(&self, ask: Ask) -> Answer {
        self.forward_within(ask, CALL_TIMEOUT).await
    }

    /// As [`Service::forward`], with a time-out of its own.
    pub(crate) async fn forward_within(&self, ask: Ask, patience: Duration) -> Answer {
        let answer = self.call(ask, patience).await?;
        Ok(self.relay(answer))
    }

    /// Asks, and hands the answer back whatever its status. All tries together end with the patience.
    ///
    /// # Errors
    /// 503 `overloaded` or `upstream_unavailable`.
    pub(crate) async fn call(&self, ask: Ask, patience: Duration) -> Result<http::Response<Bytes>, Problem> {
        let _seat = self.seats.take(ask.urgency)?;
        // In a box, since it is large and handed on through several layers.
        deadline::within(patience, Box::pin(self.call_again(ask, patience))).await
    }

    async fn call_again(&self, ask: Ask, patience: Duration) -> Result<http::Response<Bytes>, Problem> {
        let is_repeatable = ask.is_repeatable();
        let request = ask.request();
        let mut pauses = RETRY_PAUSES.iter();
        loop {
            let failed = match self
                .client
                .request_within(&self.upstream, request.clone(), patience)
                .await
            {
                Ok(answer) => return Ok(answer),
                Err(err) => err,
            };
            let harmless = failed.nothing_was_sent() || (is_repeatable && is_broken(&failed));
            let pause = pauses
                .next()
                .filter(|&&pause| harmless && deadline::remaining() > Some(pause));
            let Some(pause) = pause.filter(|_| self.client.may_repeat(&self.upstream)) else {
                return Err(self.unavailable(failed));
            };
            tokio::time::sleep(*pause).await;
        }
    }

    /// Opens a live stream: its head within the usual time, its body for as long as it lasts. Any
    /// other answer is relayed.
    ///
    /// # Errors
    /// As [`Service::call`].
    pub(crate) async fn open(&self, ask: Ask) -> Result<Result<Streamed, Response>, Problem> {
        let _seat = self.seats.take(ask.urgency)?;
        let opened = self.client.stream(&self.upstream, ask.request()).await;
        let (head, body) = opened.map_err(|err| self.unavailable(err))?.into_parts();
        if head.status == StatusCode::OK {
            return Ok(Ok(body));
        }
        let body = tokio::time::timeout(CALL_TIMEOUT, Limited::new(body, REFUSAL_BYTES_MAX).collect()).await;
        match body {
            Ok(Ok(body)) => Ok(Err(self.relay(http::Response::from_parts(head, body.to_bytes())))),
            Ok(Err(err)) => Err(self.gone(err)),
            Err(_) => Err(self.gone("its refusal did not come in time")),
        }
    }

    /// The answer as the client gets it. A refusal of *us* is our own mistake and nothing of the
    /// client's; so is an error in another form than agreed.
    pub(crate) fn relay(&self, answer: http::Response<Bytes>) -> Response {
        let (head, body) = answer.into_parts();
        let refused = head.status.is_client_error() || head.status.is_server_error();
        if refused && !is_problem(&head.headers) {
            let what = format_args!("{} answered {} without a problem", self.upstream, head.status);
            return Problem::internal(what).into_response();
        }
        if matches!(head.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) && refuses_us(&body) {
            return Problem::internal(format_args!("{} refused us", self.upstream)).into_response();
        }
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = head.status;
        for name in RELAYED {
            if let Some(value) = head.headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        response
    }

    /// The refusal of an answer that should have been a good one.
    pub(crate) fn refusal(&self, answer: &http::Response<Bytes>) -> Problem {
        let document = serde_json::from_slice(answer.body()).unwrap_or_default();
        match Problem::relayed(answer.status(), &document) {
            Some(problem) if !refuses_us(answer.body()) => problem,
            Some(_) | None => Problem::internal(format_args!("{} answered {}", self.upstream, answer.status())),
        }
    }

    fn unavailable(&self, err: ClientError) -> Problem {
        self.gone(with_sources(&err))
    }

    fn gone(&self, cause: impl std::fmt::Display) -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "upstream_unavailable",
            "a part of the platform is not available right now",
        )
        .retry_after(COME_BACK_AFTER)
        .because(cause)
    }
}

fn is_broken(err: &ClientError) -> bool {
    match err {
        ClientError::Broken { .. } => true,
        ClientError::Connect { .. }
        | ClientError::Timeout { .. }
        | ClientError::Status { .. }
        | ClientError::Malformed { .. } => false,
    }
}

fn is_problem(headers: &http::HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/problem+json"))
}

fn refuses_us(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type", borrow)]
        kind: std::borrow::Cow<'a, str>,
    }
    let ours = |kind: &str| kind.ends_with("/peer_not_allowed") || kind.ends_with("/caller_unknown");
    serde_json::from_slice::<Kind>(body).is_ok_and(|document| ours(&document.kind))
}
