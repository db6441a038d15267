//! The handle on a service's part of Redis.
//!
//! Knows the prefix and the connections; what is read and written lies in the other modules.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesh_bus::feed::Feeds;
use mesh_contracts::subject::Context;
use mesh_runtime::admin::Ready;
use mesh_runtime::{Settings, Shutdown, audit, failpoint};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Cmd, FromRedisValue, Pipeline, RedisResult};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::live::Hub;
use crate::memory::Memory;
use crate::view::AnyView;
use crate::{keys, library};

/// A read answers within a millisecond; longer than this and the caller is better served by
/// the master, inside the gateway's own deadline.
const READ_TIMEOUT: Duration = Duration::from_millis(500);

/// A pipeline of a whole batch, on a busy server.
const WRITE_TIMEOUT: Duration = Duration::from_secs(3);

/// Loopback or the same zone: a server that does not accept by then is away.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Between attempts to reconnect within one command; callers retry on their own terms.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

/// Where Redis is and which keys are ours.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://user:password@host:port`, or `rediss://` for TLS.
    pub url: String,
    /// Before every key and channel of this service, such as `order-info:`.
    pub prefix: String,
    /// Authority to trust for `rediss://`, beside the system's own.
    pub ca_file: Option<PathBuf>,
    /// How often every document's version is compared with its master's.
    pub audit_period: Duration,
}

impl RedisConfig {
    /// Without an authority of its own.
    pub fn new(url: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: prefix.into(),
            ca_file: None,
            audit_period: audit::PERIOD,
        }
    }

    /// Reads `TIFFIN_REDIS_URL`, `TIFFIN_REDIS_PREFIX` and `TIFFIN_AUDIT_PERIOD_S`.
    pub fn from_settings(settings: &mut Settings) -> Self {
        let url = settings.secret(
            "TIFFIN_REDIS_URL",
            "the read model's Redis with user and password, redis:// or rediss://",
        );
        let prefix = format!("{}:", settings.service());
        let prefix = settings.text(
            "TIFFIN_REDIS_PREFIX",
            &prefix,
            "before every key and channel; the Redis user may touch nothing else",
        );
        Self {
            audit_period: audit::period(settings),
            ..Self::new(url.expose(), prefix)
        }
    }
}

/// The address or the TLS settings make no sense. A Redis that is away is no error.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL.
    #[error("redis cannot be reached with this configuration")]
    Config(#[from] redis::RedisError),
    /// The authority's file.
    #[error("redis authority unreadable")]
    Authority(#[from] std::io::Error),
}

/// A service's documents in Redis; clones share everything.
#[derive(Clone)]
pub struct Projection {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub prefix: String,
    pub audit_period: Duration,
    pub client: redis::Client,
    pub feeds: Feeds,
    /// Rung after every batch that changed a document.
    pub applied: Notify,
    pub hub: Hub,
    reads: ConnectionManager,
    writes: ConnectionManager,
    shown: Mutex<Vec<Arc<Shown>>>,
    filled: watch::Sender<bool>,
    /// Tells this process from others that fill the same views.
    pub who: String,
}

/// A view that this process keeps up to date.
pub(crate) struct Shown {
    pub view: Box<dyn AnyView>,
    pub context: Context,
    /// Only streams whose ids begin so.
    pub stream_prefix: &'static str,
    /// Rung when a write noticed that Redis has lost its data, or a new edition is to be built.
    pub lost: Notify,
    pub filled: watch::Sender<bool>,
    /// The generation in which it was last seen complete; 0 before that.
    pub generation: AtomicU64,
    /// The durable consumer's name, which that of a new edition's begins with.
    pub durable: String,
    pub memory: Memory,
}

impl Projection {
    /// Returns at once and connects with the first command. `feeds` heals gaps and losses.
    pub async fn connect(config: RedisConfig, feeds: Feeds) -> Result<Self, ConnectError> {
        let client = match &config.ca_file {
            None => redis::Client::open(config.url)?,
            Some(ca_file) => redis::Client::build_with_tls(
                config.url,
                redis::TlsCertificates {
                    client_tls: None,
                    root_cert: Some(std::fs::read(ca_file)?),
                },
            )?,
        };
        let manager = |timeout| {
            let settings = ConnectionManagerConfig::new()
                .set_connection_timeout(Some(CONNECT_TIMEOUT))
                .set_response_timeout(Some(timeout))
                .set_min_delay(RECONNECT_PAUSE)
                .set_number_of_retries(1);
            ConnectionManager::new_lazy_with_config(client.clone(), settings)
        };
        let inner = Inner {
            prefix: config.prefix,
            audit_period: config.audit_period,
            reads: manager(READ_TIMEOUT)?,
            writes: manager(WRITE_TIMEOUT)?,
            client,
            feeds,
            applied: Notify::new(),
            hub: Hub::default(),
            shown: Mutex::default(),
            filled: watch::channel(false).0,
            who: Uuid::now_v7().to_string(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether every view is complete: the readiness condition. While it is false, a document
    /// that is not in Redis is asked of its master.
    pub fn filled(&self) -> watch::Receiver<bool> {
        self.inner.filled.subscribe()
    }

    /// Keeps the condition `filled` of `ready` at what [`Projection::filled`] says. Returns only
    /// on shutdown.
    pub async fn tell_filled(&self, ready: Ready, shutdown: Shutdown) {
        let mut filled = self.filled();
        loop {
            ready.set("filled", *filled.borrow_and_update());
            tokio::select! {
                () = shutdown.triggered() => return,
                changed = filled.changed() => changed.expect("we hold the sender"),
            }
        }
    }

    /// The prefix of this service's keys.
    pub fn prefix(&self) -> &str {
        &self.inner.prefix
    }
}

impl Inner {
    pub fn show(&self, shown: Arc<Shown>) {
        self.locked_shown().push(shown);
        self.filled.send_replace(false);
    }

    pub fn shown(&self) -> Vec<Arc<Shown>> {
        self.locked_shown().clone()
    }

    /// Notes whether a view is complete, and with it whether all are.
    pub fn set_filled(&self, shown: &Shown, filled: bool) {
        if shown.filled.send_replace(filled) != filled {
            tracing::info!(view = shown.view.kind(), filled, "view filled");
        }
        let all = self.locked_shown().iter().all(|one| *one.filled.borrow());
        self.filled.send_if_modified(|filled| {
            let changed = *filled != all;
            *filled = all;
            changed
        });
    }

    pub fn sentinel(&self) -> String {
        keys::sentinel(&self.prefix)
    }

    /// A call of a function of ours that needs the sentinel alone.
    pub fn fcall(&self, function: &str) -> Cmd {
        let mut cmd = redis::cmd("FCALL");
        cmd.arg(function).arg(1).arg(self.sentinel());
        cmd
    }

    /// A read by one command.
    pub async fn read<T: FromRedisValue>(&self, cmd: &Cmd) -> RedisResult<T> {
        patiently(&self.reads, Question::One(cmd)).await
    }

    /// Many reads in one round trip.
    pub async fn read_all<T: FromRedisValue>(&self, pipeline: &Pipeline) -> RedisResult<T> {
        patiently(&self.reads, Question::Many(pipeline)).await
    }

    /// A write by one command.
    pub async fn write<T: FromRedisValue>(&self, cmd: &Cmd) -> RedisResult<T> {
        patiently(&self.writes, Question::One(cmd)).await
    }

    /// Many commands in one round trip.
    pub async fn write_all<T: FromRedisValue>(&self, pipeline: &Pipeline) -> RedisResult<T> {
        failpoint::reach(failpoint::REDIS_BEFORE);
        let answer = patiently(&self.writes, Question::Many(pipeline)).await;
        failpoint::reach(failpoint::REDIS_AFTER);
        answer
    }

    fn locked_shown(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Shown>>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Question<'a> {
    One(&'a Cmd),
    Many(&'a Pipeline),
}

impl Question<'_> {
    async fn ask<T: FromRedisValue>(&self, redis: &mut ConnectionManager) -> RedisResult<T> {
        match self {
            Self::One(cmd) => cmd.query_async(redis).await,
            Self::Many(pipeline) => pipeline.query_async(redis).await,
        }
    }
}

/// Again, at most twice: a broken connection is replaced by the manager while we ask, and a
/// server that came back empty needs its functions. Every function of ours may run twice.
async fn patiently<T: FromRedisValue>(redis: &ConnectionManager, question: Question<'_>) -> RedisResult<T> {
    let mut redis = redis.clone();
    for _ in 0..2 {
        match question.ask(&mut redis).await {
            Err(err) if library::is_missing(&err) => library::load(&mut redis).await?,
            Err(err) if err.is_connection_dropped() && !err.is_timeout() => {}
            result => return result,
        }
    }
    question.ask(&mut redis).await
}
