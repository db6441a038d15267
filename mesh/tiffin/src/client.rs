//! A client of the public API, as an app has one: signs in, keeps its token fresh, and sends every command
//! with one idempotency key until it has a definite answer.
//!
//! Knows nothing of the services behind the door.

mod call;
mod courier;
mod noted;
mod person;
mod requests;

pub mod live;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use jiff::Timestamp;
use mesh_contracts::id::UserId;
use mesh_identity::client::Streamed;
use mesh_identity::{Client, ClientError, Upstream};
use mesh_local::running::Running;
use mesh_runtime::headers;
use mesh_verify::history::{self, History};

pub(crate) use call::version_of;
pub use call::{Call, Failure, Refusal, Reply};
pub use courier::Job;
pub use live::{Live, News};
pub use person::Person;

/// Any process comes back within seconds; whoever is gone for longer will not come back by being asked.
const PATIENCE: Duration = Duration::from_secs(120);

/// Longest wait for one answer: twice what the gateway grants the services.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Pauses between two attempts: from one that nobody notices to one that burdens nobody.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The public API of one platform. Clones share the connections.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    client: Client,
    door: Upstream,
    history: History,
}

impl Api {
    /// The API of a platform on this machine; what clients send is written to its `history.jsonl`.
    pub fn of(running: &Running) -> Result<Self> {
        let history = History::append_to(&running.data_dir().join(history::FILE))?;
        Self::noting(running, history)
    }

    /// The same, with a history of one's own. Goes on when the authority that it trusts is replaced.
    pub fn noting(running: &Running, history: History) -> Result<Self> {
        let url = running.public_url();
        let address = url.strip_prefix("https://").context("the public API speaks TLS")?;
        Ok(Self(Arc::new(Inner {
            client: Client::public_following(&running.certificates("gateway"))?,
            door: Upstream::new("gateway", address),
            history,
        })))
    }

    /// Somebody with an account.
    pub fn person(&self, email: impl Into<String>, password: impl Into<String>) -> Person {
        Person::new(self.clone(), email.into(), password.into())
    }

    /// Sends a call until it has a definite answer.
    ///
    /// # Errors
    /// When that answer is no, or when there is none for two minutes.
    pub async fn send(&self, call: &Call, caller: Option<Caller<'_>>) -> Result<Reply, Failure> {
        let started = Instant::now();
        let mut pause = PAUSE_MIN;
        for attempt in 1.. {
            let outcome = self.attempt(call, caller, attempt).await;
            let again = match outcome {
                Attempt::Answered(reply) => {
                    return Ok(Reply {
                        took: started.elapsed(),
                        ..reply
                    });
                }
                Attempt::Refused(refusal) => return Err(Failure::Refused(refusal)),
                Attempt::Again(again) => again,
            };
            if started.elapsed() >= call.patience() {
                return Err(Failure::Unknown {
                    what: call.what(),
                    why: again.why,
                });
            }
            let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
            tokio::time::sleep(again.after.unwrap_or(jittered).min(PAUSE_MAX)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        unreachable!("attempts are not counted to their end")
    }

    /// One attempt, noted in the history if the call has a key or brings a token.
    async fn attempt(&self, call: &Call, caller: Option<Caller<'_>>, attempt: u32) -> Attempt {
        let sent_at = Timestamp::now();
        let started = Instant::now();
        let result = match self.request(call, caller) {
            Ok(request) => {
                self.0
                    .client
                    .request_within(&self.0.door, request, call.timeout())
                    .await
            }
            Err(err) => return Attempt::Refused(Refusal::before_sending(call, &err)),
        };
        if let Some(key) = call.key() {
            let line = history::Line {
                sent_at,
                took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                subject: caller.map(|caller| caller.user),
                method: call.method().to_string(),
                path: call.path().to_owned(),
                key: key.to_owned(),
                body_hash: call.body_hash(),
                attempt,
                outcome: noted::outcome(&result),
            };
            self.0.history.note(&line);
        }
        if let Some(read) = noted::read(call, caller.map(|caller| caller.user), &result) {
            self.0.history.note(&read);
        }
        Attempt::of(call, result)
    }

    /// Opens a stream; any status is an answer.
    pub(crate) async fn open(&self, call: &Call, caller: Caller<'_>) -> Result<Response<Streamed>, String> {
        let request = self.request(call, Some(caller)).map_err(|err| err.to_string())?;
        self.0
            .client
            .stream(&self.0.door, request)
            .await
            .map_err(|err| said(&err))
    }

    fn request(&self, call: &Call, caller: Option<Caller<'_>>) -> Result<Request<Bytes>, http::Error> {
        let mut request = Request::builder().method(call.method()).uri(call.path());
        if let Some(caller) = caller {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", caller.token));
        }
        if let Some(key) = call.key() {
            request = request.header(headers::IDEMPOTENCY_KEY, key);
        }
        if let Some(seen) = call.seen() {
            request = request.header(headers::CONSISTENCY, seen);
        }
        if let Some(stamp) = call.last_event_id() {
            request = request.header("last-event-id", stamp);
        }
        if !call.body().is_empty() {
            request = request.header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        request.body(call.body().clone())
    }
}

/// Who calls, as the door knows them.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The person.
    pub user: UserId,
    /// The access token.
    pub token: &'a str,
}

enum Attempt {
    Answered(Reply),
    Refused(Refusal),
    Again(Again),
}

struct Again {
    why: String,
    after: Option<Duration>,
}

impl Attempt {
    fn of(call: &Call, result: Result<Response<Bytes>, ClientError>) -> Self {
        let response = match result {
            Ok(response) => response,
            Err(err) => {
                return Self::Again(Again {
                    why: said(&err),
                    after: None,
                });
            }
        };
        let status = response.status();
        if status.is_success() {
            return Self::Answered(Reply::of(response));
        }
        let after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let refusal = Refusal::of(call, status, response.body());
        // A conflict that comes with a time to come again is no refusal.
        let is_busy = status == StatusCode::CONFLICT && after.is_some();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || is_busy {
            Self::Again(Again {
                why: refusal.to_string(),
                after,
            })
        } else {
            Self::Refused(refusal)
        }
    }
}

/// An error with its causes, in one line.
fn said(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
