//! The orderly end of a process: one trigger, many listeners, one deadline.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a process may take to drain once told to end.
/// Well inside the 30 s that Kubernetes grants between SIGTERM and SIGKILL.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// What an idle connection is given to be used once more, so that its client is told to leave it: one that is closed
/// just when a request comes in takes that request with it. More than clients of ours keep an idle one (5 s).
pub const IDLE_GRACE: Duration = Duration::from_secs(6);

/// A handle on the process's end. Clones share the trigger.
#[derive(Debug, Clone)]
pub struct Shutdown {
    token: CancellationToken,
    /// Nobody is given time to leave.
    at_once: CancellationToken,
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
            at_once: CancellationToken::new(),
            triggered_at: Arc::default(),
            drain,
        }
    }

    /// A shutdown that SIGTERM and SIGINT start, too: SIGTERM as [`Shutdown::retire`], SIGINT, also after it, as
    /// [`Shutdown::trigger`].
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
                _ = terminate.recv() => {
                    tracing::info!("draining");
                    trigger.retire();
                    interrupt.recv().await;
                }
                _ = interrupt.recv() => tracing::info!("draining at once"),
            }
            trigger.trigger();
        });
        Ok(shutdown)
    }

    /// Starts the drain, with idle connections closed at once. Later calls change nothing.
    pub fn trigger(&self) {
        self.at_once.cancel();
        self.retire();
    }

    /// Starts the drain of a process whose work goes on in others: clients are told to leave their connections, and
    /// have [`IDLE_GRACE`] to hear it.
    pub fn retire(&self) {
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

    /// Waits until the drain has started and idle connections have had their time.
    pub async fn idle_end(&self) {
        self.triggered().await;
        let start = *self.triggered_at.get_or_init(Instant::now);
        tokio::select! {
            () = self.at_once.cancelled() => {}
            () = tokio::time::sleep_until(start + IDLE_GRACE) => {}
        }
    }

    /// Waits until the drain has started and its deadline ([`DRAIN_DEADLINE`]) has passed.
    pub async fn deadline(&self) {
        self.triggered().await;
        let start = *self.triggered_at.get_or_init(Instant::now);
        tokio::time::sleep_until(start + self.drain).await;
    }
}
