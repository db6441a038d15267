//! The orderly end of a process: one trigger, many listeners, one deadline.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a process may take to drain once told to end.
/// Well inside the 30 s that Kubernetes grants between SIGTERM and SIGKILL.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// A handle on the process's end. Clones share the trigger.
#[derive(Debug, Clone)]
pub struct Shutdown {
    token: CancellationToken,
    triggered_at: Arc<OnceLock<Instant>>,
    drain: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::draining_within(DRAIN_DEADLINE)
    }
}

impl Shutdown {
    /// A shutdown that only [`Shutdown::trigger`] starts.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`Shutdown::new`], with a drain deadline of its own.
    pub fn draining_within(drain: Duration) -> Self {
        Self {
            token: CancellationToken::new(),
            triggered_at: Arc::default(),
            drain,
        }
    }

    /// A shutdown that SIGTERM and SIGINT start, too.
    ///
    /// # Errors
    /// When the process may not listen for signals.
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Self::new();
        let trigger = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("draining");
            trigger.trigger();
        });
        Ok(shutdown)
    }

    /// Starts the drain. Later calls change nothing.
    pub fn trigger(&self) {
        self.triggered_at.get_or_init(Instant::now);
        self.token.cancel();
    }

    /// Whether the drain has started.
    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits for the drain to start. Every endless loop and every live stream selects on it.
    pub async fn triggered(&self) {
        self.token.cancelled().await;
    }

    /// Waits until the drain has started and its deadline ([`DRAIN_DEADLINE`]) has passed.
    pub async fn deadline(&self) {
        self.triggered().await;
        let start = *self.triggered_at.get_or_init(Instant::now);
        tokio::time::sleep_until(start + self.drain).await;
    }
}
