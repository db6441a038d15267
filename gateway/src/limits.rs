//! How often somebody may ask: a bucket per person or address and kind of request, what every answer says of it, and
//! 429 when it is empty.
//!
//! Decides at once and from memory. What other gateways have let in is learnt behind the scenes (`shared`).

mod allowances;
mod shared;
mod streams;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use governor::RateLimiter;
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use http::{HeaderName, HeaderValue, Method};
use mesh_contracts::id::UserId;
use mesh_identity::Peer;
use mesh_runtime::Problem;
use mesh_runtime::server::RemoteAddr;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use uuid::Uuid;

use self::allowances::Allowance;
use self::shared::Tallies;
use crate::{App, contract};

pub use self::allowances::Allowances;
pub use self::shared::Counts;
pub(crate) use self::streams::{OpenStream, Streams};

/// What is left, as in draft-ietf-httpapi-ratelimit-headers-11.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// Of how much.
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Where the ingress says whose request it brings.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// All of them, with everybody's buckets.
pub(crate) struct Limits {
    /// Of everything but webhooks, before anything is looked at.
    pub(crate) address: Limit,
    pub(crate) credentials: Limit,
    pub(crate) refreshes: Limit,
    pub(crate) webhooks: Limit,
    reads: Limit,
    commands: Limit,
    positions: Limit,
    /// Of those who guess at one order's PIN.
    pub(crate) pins: Limit,
    pub(crate) streams: Streams,
}

impl Limits {
    pub(crate) fn new(allowances: &Allowances) -> Self {
        Self {
            address: Limit::new("address", allowances.address),
            credentials: Limit::new("credentials", allowances.credentials),
            refreshes: Limit::new("refreshes", allowances.refreshes),
            webhooks: Limit::new("webhooks", allowances.webhooks),
            reads: Limit::new("reads", allowances.reads),
            commands: Limit::new("commands", allowances.commands),
            positions: Limit::new("positions", allowances.positions),
            pins: Limit::new("pins", allowances.pins),
            streams: Streams::new(allowances.streams_max),
        }
    }

    /// What a person's request counts as.
    pub(crate) fn of(&self, request: &Request) -> &Limit {
        let path = request.extensions().get().map(MatchedPath::as_str);
        match (request.method(), path) {
            (&Method::GET | &Method::HEAD, _) => &self.reads,
            (&Method::PUT, Some("/v1/couriers/me/position")) => &self.positions,
            _ => &self.commands,
        }
    }

    fn all(&self) -> [&Limit; 8] {
        [
            &self.address,
            &self.credentials,
            &self.refreshes,
            &self.webhooks,
            &self.reads,
            &self.commands,
            &self.positions,
            &self.pins,
        ]
    }
}

/// Whose bucket it is: a person's id, an address, or a hash.
type Key = u128;

type Buckets = RateLimiter<Key, HashMapStateStore<Key>, DefaultClock, StateInformationMiddleware>;

/// One limit: everybody has a bucket of their own, which holds the whole allowance and fills up within the window.
pub(crate) struct Limit {
    name: &'static str,
    /// None: as many as one likes.
    bounds: Option<Bounds>,
}

struct Bounds {
    requests: NonZeroU32,
    window_s: NonZeroU32,
    policy: HeaderValue,
    buckets: Buckets,
    tallies: Mutex<Tallies>,
}

impl Limit {
    fn new(name: &'static str, Allowance(allowance): Allowance) -> Self {
        let bounds = allowance.map(|(requests, window_s)| {
            let quota = allowances::quota(requests, window_s).expect("it was parsed");
            Bounds {
                requests,
                window_s,
                policy: header(format!("\"{name}\";q={requests};w={window_s}")),
                buckets: RateLimiter::hashmap(quota).with_middleware(),
                tallies: Mutex::default(),
            }
        });
        Self { name, bounds }
    }

    /// Lets whoever has something left through, and says how much that is on the way out. Nothing is done for anyone
    /// else: 429 `too_many_requests`.
    pub(crate) async fn pass(&self, whose: Key, inner: impl Future<Output = Response>) -> Response {
        let Some(bounds) = &self.bounds else {
            return inner.await;
        };
        let (mut response, left, more_in_s) = match bounds.buckets.check_key(&whose) {
            Ok(state) => {
                bounds.tally(whose);
                let more_in = state.quota().replenish_interval();
                (inner.await, state.remaining_burst_capacity(), seconds(more_in))
            }
            Err(empty) => {
                let wait_s = seconds(empty.wait_time_from(DefaultClock::default().now())).max(1);
                (refusal(self.name, Duration::from_secs(wait_s)), 0, wait_s)
            }
        };
        let what_is_left = header(format!("\"{}\";r={left};t={more_in_s}", self.name));
        add(&mut response, RATE_LIMIT_POLICY, &bounds.policy);
        add(&mut response, RATE_LIMIT, &what_is_left);
        response
    }
}

/// Routes that every address has a limit of its own for.
pub(crate) fn by_address(app: &App, limit: fn(&Limits) -> &Limit, routes: OpenApiRouter<App>) -> OpenApiRouter<App> {
    let pass = move |State(app): State<App>, request: Request, next: Next| async move {
        match client_address(&request) {
            Some(address) => limit(&app.limits).pass(address_key(address), next.run(request)).await,
            // Our own hops, such as a health check through the ingress, ask for no client.
            None => next.run(request).await,
        }
    };
    let mut routes = routes.route_layer(middleware::from_fn_with_state(app.clone(), pass));
    contract::is_limited(routes.get_openapi_mut());
    routes
}

/// Somebody who tries PINs at one order or delivery.
pub(crate) fn guesser(whose: UserId, at: Uuid) -> Key {
    Uuid::new_v5(&whose.uuid(), at.as_bytes()).as_u128()
}

/// Over the mesh the ingress brings people's requests, and says for whom: first in the list, since the geo door
/// replaces whatever a client says. Who comes without an ingress is who connects.
fn client_address(request: &Request) -> Option<IpAddr> {
    match Peer::sending(request.extensions()) {
        Peer::Known(_) => {
            let named = request.headers().get(FORWARDED_FOR)?.to_str().ok()?;
            named.split(',').next()?.trim().parse().ok()
        }
        Peer::Unknown(_) => Some(request.extensions().get::<RemoteAddr>()?.0.ip()),
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn address_key(address: IpAddr) -> Key {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

fn refusal(limit: &'static str, retry_after: Duration) -> Response {
    metrics::counter!("requests_limited_total", "limit" => limit).increment(1);
    Problem::too_many_requests(retry_after)
        .with("violated-policies", json!([limit]))
        .into_response()
}

/// One line for all limits that a request fell under.
fn add(response: &mut Response, name: HeaderName, value: &HeaderValue) {
    let together = match response.headers().get(&name).and_then(|there| there.to_str().ok()) {
        Some(there) => header(format!("{there}, {}", value.to_str().unwrap_or_default())),
        None => value.clone(),
    };
    response.headers_mut().insert(name, together);
}

fn header(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("names and numbers are visible ASCII")
}

/// Rounded up: who comes back then does not come too early.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_however_it_is_written_and_a_network_of_ipv6_is_one() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    }
}
