//! Calls to services: mutual TLS, the server's identity checked, every call with an end. Behind a sidecar the first two
//! are its business.
//!
//! A connection is trusted for one service only, so there is a pool per service and address; live streams have theirs.
//! Knows no routes, and no retries but the one that is always safe; how many there may be is counted here for all.

mod connect;
mod lanes;

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mesh_runtime::problem::with_sources;
use mesh_runtime::{Problem, Settings, deadline, headers, telemetry};
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use tower::retry::budget::{Budget as _, TpsBudget};

use crate::mesh::{self, LoadError, Material};
use crate::reload::Reloading;
use connect::{Connector, Trust};
use lanes::Lanes;

pub use lanes::Streamed;

/// TCP and TLS together. A service on the same network that needs longer is as good as down.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// From the first byte sent to the last byte of the answer, unless a call says otherwise.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Half of what servers let a connection idle, so that we forget it before they close it.
const POOL_IDLE: Duration = Duration::from_secs(5);
/// How often a server is asked whether it still lives, where many share a connection to it: as long as one call may wait,
/// so that a connection that leads nowhere costs each caller about one of them.
const HTTP2_PING_INTERVAL: Duration = CALL_TIMEOUT;
/// As many idle connections per service as one instance may have calls in flight: under load, those that were closed
/// for being too many would each cost a handshake a moment later.
const POOL_IDLE_MAX: usize = 256;
/// The largest answer read into memory: a page of a thousand events stays below it.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What may be sent again, as a share of the calls to that service within [`RETRY_WINDOW`]: whoever is in trouble gets
/// little more work because of it.
const RETRY_SHARE: f32 = 0.1;
/// Over which calls and repetitions are counted.
const RETRY_WINDOW: Duration = Duration::from_secs(10);
/// What may be sent again besides, so that a service that is seldom called may restart unnoticed.
const RETRIES_PER_S_MIN: u32 = 10;

type BoxError = Box<dyn StdError + Send + Sync>;

type Connections = legacy::Client<Connector, Full<Bytes>>;

/// What there is for one service at one address.
#[derive(Clone)]
struct Pool {
    /// Taken in turn.
    connections: Arc<[Connections]>,
    next: Arc<AtomicUsize>,
    budget: Arc<TpsBudget>,
}

/// A service and where to find it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// The identity its certificate must have.
    pub service: String,
    /// `host:port`.
    pub address: String,
}

impl Upstream {
    /// A service at an address.
    pub fn new(service: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            address: address.into(),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.service)
    }
}

/// Where all services are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upstreams(HashMap<String, Upstream>);

impl Upstreams {
    /// Reads `TIFFIN_UPSTREAMS`.
    pub fn from_settings(settings: &mut Settings) -> Self {
        settings.parse(
            "TIFFIN_UPSTREAMS",
            "",
            "where other services are, as service=host:port with commas; one that is not named is expected at \
             service:4000, as in a cluster",
        )
    }

    /// Where a service is. One that nobody told of is expected under its own name, as in a
    /// cluster, on the port every service has there.
    pub fn get(&self, service: &str) -> Upstream {
        self.0
            .get(service)
            .cloned()
            .unwrap_or_else(|| Upstream::new(service, format!("{service}:4000")))
    }
}

impl FromStr for Upstreams {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(|entry| match entry.split_once('=') {
                Some((service, address)) if !service.is_empty() && address.contains(':') => {
                    Ok((service.to_owned(), Upstream::new(service, address)))
                }
                _ => Err("expected service=host:port, separated by commas".to_owned()),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// An HTTP client under this service's identity. Clones share the connections.
#[derive(Clone)]
pub struct Client {
    trust: Trust,
    /// None: calls go over HTTP/1.1, each over a connection of its own while it takes.
    http2_connections: Option<NonZeroUsize>,
    pools: Arc<RwLock<HashMap<Upstream, Pool>>>,
    lanes: Arc<RwLock<HashMap<Upstream, Arc<Lanes>>>>,
}

impl Client {
    pub(crate) fn of_mesh(material: Arc<Reloading<Material>>) -> Self {
        Self::new(Trust::Mesh(material))
    }

    pub(crate) fn behind_a_sidecar() -> Self {
        Self::new(Trust::Sidecar)
    }

    /// A client without an identity, for public listeners: the server's certificate must chain to
    /// one of these roots and name the host it is reached at. `Upstream::service` is only a label.
    ///
    /// # Errors
    /// When the roots are no certificates.
    pub fn public(roots_pem: &[u8]) -> Result<Self, LoadError> {
        Ok(Self::new(Trust::Public(Reloading::fixed(mesh::roots(roots_pem)?))))
    }

    /// As [`Client::public`], with the roots in `ca.crt` of a folder, which is watched for changes.
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// When it is not there, or holds no certificates.
    pub fn public_following(dir: &Path) -> Result<Self, LoadError> {
        let roots = Reloading::start(dir, &["ca.crt"], |files| mesh::roots(&files[0]))?;
        Ok(Self::new(Trust::Public(roots)))
    }

    fn new(trust: Trust) -> Self {
        Self {
            trust,
            http2_connections: None,
            pools: Arc::default(),
            lanes: Arc::default(),
        }
    }

    /// A client whose calls to each service share so many connections by HTTP/2. Our servers let one carry a hundred at a
    /// time; what is more waits.
    #[must_use]
    pub fn over_http2(self, connections: NonZeroUsize) -> Self {
        Self {
            http2_connections: Some(connections),
            ..Self::new(self.trust)
        }
    }

    /// Sends a request whose URI is a path, and reads the whole answer within [`CALL_TIMEOUT`],
    /// or within what is left of the current request's deadline.
    ///
    /// # Errors
    /// When no answer came in time. Any status is an answer.
    pub async fn request(&self, upstream: &Upstream, request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
        self.request_within(upstream, request, CALL_TIMEOUT).await
    }

    /// As [`Client::request`], with a time-out of its own.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn request_within(
        &self,
        upstream: &Upstream,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<Response<Bytes>, ClientError> {
        let deadline = Instant::now() + deadline::remaining().map_or(timeout, |left| left.min(timeout));
        // In a box, since it is large and the time-out would move it.
        let answer = Box::pin(async {
            let request = self.addressed(upstream, request, deadline)?;
            let pool = self.pool(upstream);
            let answer = send(pool.connections(), &pool, upstream, request).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(|err| ClientError::of_body(upstream, err))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        });
        tokio::time::timeout_at(deadline, answer)
            .await
            .unwrap_or_else(|_| Err(ClientError::timeout(upstream)))
    }

    /// Sends a request and hands back the answer once its head is there ([`CALL_TIMEOUT`]); the
    /// body may go on for as long as both sides want, as live streams do. Between services many of
    /// them share a connection; to a public listener each has its own, as a phone's has.
    ///
    /// # Errors
    /// When no head came in time.
    pub async fn stream(
        &self,
        upstream: &Upstream,
        request: Request<Bytes>,
    ) -> Result<Response<Streamed>, ClientError> {
        let deadline = Instant::now() + deadline::remaining().map_or(CALL_TIMEOUT, |left| left.min(CALL_TIMEOUT));
        let request = self.addressed(upstream, request, deadline)?;
        let pool = self.pool(upstream);
        let (connections, seat) = match self.trust {
            Trust::Mesh(_) | Trust::Sidecar => {
                let connector = || Connector::new(self.trust.clone(), upstream.clone());
                let (connections, seat) = self.lanes(upstream).take(connector);
                (connections, Some(seat))
            }
            Trust::Public(_) => (pool.connections().clone(), None),
        };
        let answer = tokio::time::timeout_at(deadline, send(&connections, &pool, upstream, request))
            .await
            .unwrap_or_else(|_| Err(ClientError::timeout(upstream)))?;
        Ok(answer.map(|body| Streamed::new(body, seat)))
    }

    /// Connects anew, outside of the pools, and says which certificate the peer shows, once it has taken ours.
    /// For those who replace certificates and have to know whether they are in use.
    ///
    /// # Errors
    /// [`ClientError::Connect`] when one of the two refuses the other, or there is no answer within
    /// [`CONNECT_TIMEOUT`].
    pub async fn meet(&self, upstream: &Upstream) -> Result<CertificateDer<'static>, ClientError> {
        let meet = Connector::new(self.trust.clone(), upstream.clone()).meet();
        let met = tokio::time::timeout(CONNECT_TIMEOUT, meet).await;
        met.map_err(BoxError::from)
            .flatten()
            .map_err(|source| ClientError::Connect {
                upstream: upstream.service.clone(),
                source,
            })
    }

    /// Gets a JSON answer.
    ///
    /// # Errors
    /// As [`Client::request`]; also for a status other than 2xx and for another shape of answer.
    pub async fn get_json<T: DeserializeOwned>(&self, upstream: &Upstream, path: &str) -> Result<T, ClientError> {
        let request = build(upstream, Request::get(path), Bytes::new())?;
        json(upstream, &self.request(upstream, request).await?)
    }

    /// Posts JSON and gets a JSON answer; an empty answer reads as `null`.
    ///
    /// # Errors
    /// As [`Client::get_json`].
    pub async fn post_json<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        upstream: &Upstream,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|err| ClientError::malformed(upstream, err))?;
        let request = build(
            upstream,
            Request::post(path).header(header::CONTENT_TYPE, "application/json"),
            body.into(),
        )?;
        json(upstream, &self.request(upstream, request).await?)
    }

    /// Whether a call to this service may be sent again, as far as its load is concerned: a tenth of its calls may,
    /// and ten a second. Asking takes one of them.
    pub fn may_repeat(&self, upstream: &Upstream) -> bool {
        self.pool(upstream).may_repeat(upstream)
    }

    /// Completes the URI, and says which trace this is part of and how long we wait.
    fn addressed(
        &self,
        upstream: &Upstream,
        mut request: Request<Bytes>,
        deadline: Instant,
    ) -> Result<Request<Bytes>, ClientError> {
        let (scheme, authority) = match self.trust {
            Trust::Mesh(_) => ("https", upstream.service.as_str()),
            Trust::Public(_) => ("https", upstream.address.as_str()),
            // It looks there for where the request goes.
            Trust::Sidecar => ("http", upstream.address.as_str()),
        };
        let path = request
            .uri()
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query(path)
            .build()
            .map_err(|err| ClientError::malformed(upstream, err))?;
        if let Some(trace) = telemetry::traceparent().and_then(|trace| HeaderValue::from_str(&trace).ok()) {
            request.headers_mut().insert(headers::TRACEPARENT, trace);
        }
        let left_ms = u64::try_from(deadline.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u64::MAX);
        request.headers_mut().insert(headers::DEADLINE, left_ms.into());
        Ok(request)
    }

    fn pool(&self, upstream: &Upstream) -> Pool {
        if let Some(pool) = self.pools.read().unwrap_or_else(PoisonError::into_inner).get(upstream) {
            return pool.clone();
        }
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        let connector = || Connector::new(self.trust.clone(), upstream.clone());
        let fresh = || Pool {
            connections: match self.http2_connections {
                None => [over_http1(connector())].into(),
                // A client of hyper's keeps one connection, so there are several clients.
                Some(count) => (0..count.get()).map(|_| over_http2(connector())).collect(),
            },
            next: Arc::default(),
            budget: Arc::new(TpsBudget::new(RETRY_WINDOW, RETRIES_PER_S_MIN, RETRY_SHARE)),
        };
        pools.entry(upstream.clone()).or_insert_with(fresh).clone()
    }

    fn lanes(&self, upstream: &Upstream) -> Arc<Lanes> {
        if let Some(lanes) = self.lanes.read().unwrap_or_else(PoisonError::into_inner).get(upstream) {
            return lanes.clone();
        }
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        lanes.entry(upstream.clone()).or_default().clone()
    }
}

fn over_http1(connector: Connector) -> Connections {
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_IDLE_MAX)
        .build(connector)
}

fn over_http2(connector: Connector) -> Connections {
    legacy::Client::builder(TokioExecutor::new())
        .http2_only(true)
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        // Or all calls over a connection that leads nowhere would take their whole time.
        .http2_keep_alive_interval(HTTP2_PING_INTERVAL)
        .http2_keep_alive_timeout(CONNECT_TIMEOUT)
        .build(connector.over_http2())
}

/// Over connections that may be others than the pool's, whose budget counts for all.
async fn send(
    connections: &Connections,
    pool: &Pool,
    upstream: &Upstream,
    request: Request<Bytes>,
) -> Result<Response<Incoming>, ClientError> {
    pool.budget.deposit();
    let again = request.method().is_safe().then(|| request.clone());
    let first = connections.request(request.map(Full::new)).await;
    let answer = match (first, again) {
        // The server may have ended on a pooled connection just as we used it. Reading
        // twice is always safe, and a fresh connection tells at once whether it is back.
        (Err(err), Some(again)) if !err.is_connect() && pool.may_repeat(upstream) => {
            connections.request(again.map(Full::new)).await
        }
        (first, _) => first,
    };
    answer.map_err(|err| ClientError::of_call(upstream, err))
}

impl Pool {
    fn connections(&self) -> &Connections {
        &self.connections[self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len()]
    }

    fn may_repeat(&self, upstream: &Upstream) -> bool {
        let may = self.budget.withdraw();
        let counted = if may { "retries_total" } else { "retries_refused_total" };
        metrics::counter!(counted, "upstream" => upstream.service.clone()).increment(1);
        may
    }
}

fn build(upstream: &Upstream, builder: http::request::Builder, body: Bytes) -> Result<Request<Bytes>, ClientError> {
    builder.body(body).map_err(|err| ClientError::malformed(upstream, err))
}

fn json<T: DeserializeOwned>(upstream: &Upstream, answer: &Response<Bytes>) -> Result<T, ClientError> {
    if !answer.status().is_success() {
        let problem = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
        return Err(ClientError::Status {
            upstream: upstream.service.clone(),
            status: answer.status(),
            problem,
        });
    }
    let body: &[u8] = if answer.body().is_empty() {
        b"null"
    } else {
        answer.body()
    };
    serde_json::from_slice(body).map_err(|err| ClientError::malformed(upstream, err))
}

/// Why a call gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection, so nothing was sent: a retry is safe, whatever the request.
    #[error("cannot reach {upstream}")]
    Connect {
        /// Whom we called.
        upstream: String,
        /// Why not.
        source: BoxError,
    },
    /// No answer in time. What became of the request is unknown.
    #[error("{upstream} did not answer in time")]
    Timeout {
        /// Whom we called.
        upstream: String,
    },
    /// The connection broke in between. What became of the request is unknown.
    #[error("the connection to {upstream} broke")]
    Broken {
        /// Whom we called.
        upstream: String,
        /// How.
        source: BoxError,
    },
    /// The answer was no.
    #[error("{upstream} answered {status}")]
    Status {
        /// Whom we called.
        upstream: String,
        /// The status, never 2xx.
        status: StatusCode,
        /// The problem document; null if there was none.
        problem: Value,
    },
    /// The request could not be put together, or the answer has another shape than agreed.
    #[error("{upstream} and we disagree on a message")]
    Malformed {
        /// Whom we called.
        upstream: String,
        /// How.
        source: BoxError,
    },
}

impl ClientError {
    /// Whether the request certainly had no effect, so that even a command may be sent again.
    pub fn nothing_was_sent(&self) -> bool {
        matches!(self, Self::Connect { .. })
    }

    /// The status that was answered, if one was.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Connect { .. } | Self::Timeout { .. } | Self::Broken { .. } | Self::Malformed { .. } => None,
        }
    }

    fn timeout(upstream: &Upstream) -> Self {
        Self::Timeout {
            upstream: upstream.service.clone(),
        }
    }

    fn malformed(upstream: &Upstream, source: impl Into<BoxError>) -> Self {
        Self::Malformed {
            upstream: upstream.service.clone(),
            source: source.into(),
        }
    }

    fn of_call(upstream: &Upstream, err: legacy::Error) -> Self {
        let upstream = upstream.service.clone();
        if err.is_connect() {
            Self::Connect {
                upstream,
                source: err.into(),
            }
        } else {
            Self::Broken {
                upstream,
                source: err.into(),
            }
        }
    }

    fn of_body(upstream: &Upstream, err: BoxError) -> Self {
        if err.is::<LengthLimitError>() {
            Self::malformed(upstream, err)
        } else {
            Self::Broken {
                upstream: upstream.service.clone(),
                source: err,
            }
        }
    }
}

/// What our own caller is told: refusals are handed on as they are, the rest is 503.
/// A refusal of *us* (401, 403) is our mistake and not the caller's: 500.
impl From<ClientError> for Problem {
    fn from(err: ClientError) -> Self {
        if let ClientError::Status {
            upstream,
            status,
            problem,
        } = &err
        {
            let ours = matches!(problem["type"].as_str(), Some(kind) if kind.ends_with("/peer_not_allowed") || kind.ends_with("/caller_unknown"));
            if ours {
                return Self::internal(format_args!("{upstream} refused us"));
            }
            if status.is_client_error()
                && let Some(relayed) = Self::relayed(*status, problem)
            {
                return relayed;
            }
        }
        let cause = with_sources(&err);
        let upstream = match &err {
            ClientError::Connect { upstream, .. }
            | ClientError::Timeout { upstream }
            | ClientError::Broken { upstream, .. }
            | ClientError::Status { upstream, .. }
            | ClientError::Malformed { upstream, .. } => upstream,
        };
        Self::unavailable(upstream, cause)
    }
}
