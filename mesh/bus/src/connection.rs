//! One connection per process, that never gives up.
//!
//! Knows no stream; `streams`, `publish` and `consume` add what travels over it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use mesh_contracts::subject::{self, Context, Queue};
use mesh_runtime::Settings;
use mesh_runtime::settings::Secret;
use tokio::sync::watch;

/// Longest that a request to the broker may take. JetStream answers within milliseconds;
/// after a crash it replays its store for a second or two.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest pause between two attempts to reconnect: short, since nothing moves without the bus.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Step by which that pause grows.
const RECONNECT_PAUSE_STEP: Duration = Duration::from_millis(25);

/// Publishes that may wait for their acknowledgement at once; also bounds the memory they hold.
const UNACKED_PUBLISHES_MAX: usize = 4_096;

/// Where the bus is and who we are to it.
#[derive(Clone)]
pub struct BusConfig {
    /// `nats://host:port`, or `tls://host:port` to insist on TLS.
    pub url: String,
    /// Every service has its own user, limited to its subjects. Empty for a server without users.
    pub user: String,
    /// That user's password.
    pub password: String,
    /// Authority to trust for `tls://`, beside the system's own.
    pub ca_file: Option<PathBuf>,
    /// Put before every stream, subject and durable name; empty outside tests.
    pub prefix: String,
    /// The region whose events we publish and consume.
    pub region: String,
}

impl BusConfig {
    /// A connection without TLS authority of its own and without prefix.
    pub fn new(
        url: impl Into<String>,
        user: impl Into<String>,
        password: impl Into<String>,
        region: impl Into<String>,
    ) -> Self {
        Self {
            url: url.into(),
            user: user.into(),
            password: password.into(),
            ca_file: None,
            prefix: String::new(),
            region: region.into(),
        }
    }

    /// Reads `TIFFIN_NATS_URL`, `_USER` and `_PASSWORD`, and `TIFFIN_BUS_PREFIX`.
    pub fn from_settings(settings: &mut Settings, region: &str) -> Self {
        let url = settings.required("TIFFIN_NATS_URL", "the broker, nats:// or tls://");
        let user = settings.text(
            "TIFFIN_NATS_USER",
            "",
            "each service has its own; none for a broker without users",
        );
        let password = settings.optional_secret("TIFFIN_NATS_PASSWORD", "that user's");
        let prefix = settings.text(
            "TIFFIN_BUS_PREFIX",
            "",
            "before every name on the bus; only tests share a broker",
        );
        let password = password.as_ref().map_or("", Secret::expose);
        Self::new(url, user, password, region).with_prefix(prefix)
    }

    /// The same with `prefix` before every name.
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }
}

/// The address or the TLS settings make no sense. A broker that is away is no error.
#[derive(Debug, thiserror::Error)]
#[error("bus cannot be reached with this configuration")]
pub struct ConnectError(#[from] async_nats::ConnectError);

/// A handle on the bus; clones share one connection.
#[derive(Clone)]
pub struct Bus {
    pub(crate) jetstream: jetstream::Context,
    pub(crate) names: Arc<Names>,
    connections: watch::Receiver<u64>,
}

/// The names that a prefix and a region make.
pub(crate) struct Names {
    pub prefix: String,
    pub region: String,
}

impl Names {
    pub fn stream(&self, context: Context) -> String {
        format!("{}{}", self.prefix, context.as_str())
    }

    pub fn dead_stream(&self) -> String {
        format!("{}DEAD", self.prefix)
    }

    pub fn dead_subject(&self, consumer: &str) -> String {
        format!("{}dead.{}.{consumer}", self.prefix, self.region)
    }

    pub fn queue(&self, queue: Queue) -> String {
        format!("{}{}", self.prefix, queue.as_str())
    }

    pub fn job_subject(&self, queue: Queue) -> String {
        subject::job(&self.prefix, &self.region, queue)
    }

    pub fn live_subject(&self, kind: &str) -> String {
        subject::live(&self.prefix, &self.region, kind)
    }

    pub fn durable(&self, durable: &str) -> String {
        format!("{}{durable}", self.prefix)
    }

    pub fn event_subject(&self, context: Context, stream: &str) -> String {
        subject::event(&self.prefix, &self.region, context, subject::shard(stream))
    }

    pub fn batch_subject(&self, context: Context) -> String {
        subject::batch(&self.prefix, &self.region, context)
    }
}

impl Bus {
    /// Returns at once and connects in the background, again and again, without end.
    pub async fn connect(config: BusConfig) -> Result<Self, ConnectError> {
        let (connected, connections) = watch::channel(0);
        let mut options = async_nats::ConnectOptions::new()
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(|attempts| {
                let steps = u32::try_from(attempts).unwrap_or(u32::MAX);
                RECONNECT_PAUSE_STEP.saturating_mul(steps).min(RECONNECT_PAUSE_MAX)
            })
            .request_timeout(Some(REQUEST_TIMEOUT))
            .event_callback(move |event| {
                match event {
                    async_nats::Event::Connected => connected.send_modify(|count| *count += 1),
                    async_nats::Event::Disconnected => tracing::warn!("bus disconnected"),
                    other => tracing::info!(bus.event = %other, "bus event"),
                }
                async {}
            });
        if !config.user.is_empty() {
            options = options
                .name(&config.user)
                .user_and_password(config.user, config.password);
        }
        if let Some(ca_file) = config.ca_file {
            options = options.add_root_certificates(ca_file);
        }
        let client = options.connect(config.url).await?;
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .max_ack_inflight(UNACKED_PUBLISHES_MAX)
            .build(client);
        let names = Arc::new(Names {
            prefix: config.prefix,
            region: config.region,
        });
        Ok(Self {
            jetstream,
            names,
            connections,
        })
    }

    /// How often a connection was made. A change means: look whether the broker still has
    /// what it acknowledged.
    pub fn connections(&self) -> watch::Receiver<u64> {
        self.connections.clone()
    }

    /// Whether the connection stands right now.
    pub fn is_connected(&self) -> bool {
        self.jetstream.client().connection_state() == async_nats::connection::State::Connected
    }

    /// Resolves once the connection stands.
    pub async fn connected(&self) {
        let mut connections = self.connections();
        while !self.is_connected() {
            // The event comes right after the state; the pause only covers the moment between them.
            let _ = tokio::time::timeout(RECONNECT_PAUSE_MAX, connections.changed()).await;
        }
    }

    /// The region whose events travel here.
    pub fn region(&self) -> &str {
        &self.names.region
    }

    /// The broker's client, for tests and tools that look at what we do not wrap.
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }
}
