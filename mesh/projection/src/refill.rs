//! Noticing that Redis has lost its data, and filling it again from the masters' feeds.
//!
//! A generation is one life of the data. A view is complete when every stream its master knows
//! stands at the head that the master had when the filling began, or later.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mesh_bus::feed::FeedError;
use mesh_contracts::envelope::Envelope;
use mesh_runtime::Shutdown;

use crate::connection::{Inner, Shown};
use crate::library;
use crate::write::{Hindrance, Standing, Voice, WriteError};

/// How often a quiet view looks whether Redis still has its generation.
const WATCH_PERIOD: Duration = Duration::from_secs(1);

/// Pause after a failed attempt to fill: the feed or Redis is away.
const RETRY_PAUSE: Duration = Duration::from_millis(300);

/// Events or heads per request to a feed.
const PAGE_LIMIT: usize = 500;

/// The generation that Redis holds, and whether it holds all of a view.
struct Generation {
    id: u64,
    filled: bool,
}

/// Why filling stopped before its end.
#[derive(Debug, thiserror::Error)]
enum RefillError {
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("stream {stream} not filled: {reason}")]
    Stream { stream: String, reason: String },
    /// Redis was emptied again meanwhile.
    #[error("another generation began")]
    Superseded,
}

impl Inner {
    /// Returns on shutdown.
    pub async fn keep_filled(&self, shown: &Shown, shutdown: &Shutdown) {
        while !shutdown.is_triggered() {
            let pause = tokio::select! {
                () = shutdown.triggered() => return,
                pause = self.look_and_fill(shown) => pause,
            };
            tokio::select! {
                () = shutdown.triggered() => return,
                () = shown.lost.notified() => self.set_filled(shown, false),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Gives the pause until the next look.
    async fn look_and_fill(&self, shown: &Shown) -> Duration {
        let generation = match self.begin(shown).await {
            Ok(generation) => generation,
            Err(err) => {
                self.set_filled(shown, false);
                tracing::warn!(view = shown.view.kind(), error = %err, "redis unavailable");
                return RETRY_PAUSE;
            }
        };
        if generation.filled {
            self.set_filled(shown, true);
            // A refill is quiet: whoever listens must look for itself what it brought.
            if shown.generation.swap(generation.id, Ordering::Relaxed) != generation.id {
                self.hub.announce_gap();
            }
            return WATCH_PERIOD;
        }
        self.set_filled(shown, false);
        let started = Instant::now();
        match self.refill(shown, generation.id).await {
            Ok(()) | Err(RefillError::Write(WriteError::Filled)) => {
                let duration_ms = started.elapsed().as_millis();
                tracing::info!(view = shown.view.kind(), duration_ms, "view filled from the feed");
                Duration::ZERO
            }
            Err(err) => {
                tracing::warn!(view = shown.view.kind(), error = %err, "view not filled yet");
                RETRY_PAUSE
            }
        }
    }

    async fn begin(&self, shown: &Shown) -> redis::RedisResult<Generation> {
        let mut cmd = redis::cmd("FCALL");
        cmd.arg(library::BEGIN)
            .arg(1)
            .arg(self.sentinel())
            .arg(Timestamp::now().as_millisecond())
            .arg(shown.view.kind());
        let (id, filled): (u64, bool) = self.write(&cmd).await?;
        Ok(Generation { id, filled })
    }

    async fn refill(&self, shown: &Shown, generation: u64) -> Result<(), RefillError> {
        self.fill_from_history(shown).await?;
        self.fill_to_heads(shown).await?;
        let mut cmd = redis::cmd("FCALL");
        cmd.arg(library::FINISH)
            .arg(1)
            .arg(self.sentinel())
            .arg(generation)
            .arg(shown.view.kind());
        match self.write(&cmd).await.map_err(WriteError::from)? {
            true => Ok(()),
            false => Err(RefillError::Superseded),
        }
    }

    /// All events by position: one pass over the log, many streams per write.
    async fn fill_from_history(&self, shown: &Shown) -> Result<(), RefillError> {
        let mut position = 0;
        loop {
            let page = self.feeds.page(shown.context, position, PAGE_LIMIT).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            position = last.position;
            self.fill(shown, page).await?;
        }
    }

    /// Positions are not the order of commits, so the pages may have missed an event; the heads
    /// have not.
    async fn fill_to_heads(&self, shown: &Shown) -> Result<(), RefillError> {
        let mut after = String::new();
        loop {
            let heads = self.feeds.heads(shown.context, &after, PAGE_LIMIT).await?;
            let Some((last, _)) = heads.last() else {
                return Ok(());
            };
            after.clone_from(last);
            let (streams, versions): (Vec<String>, Vec<u64>) = heads
                .into_iter()
                .filter(|(stream, _)| stream.starts_with(shown.stream_prefix))
                .unzip();
            let have = self.versions(shown, &streams).await.map_err(WriteError::from)?;
            for ((stream, want), have) in streams.into_iter().zip(versions).zip(have) {
                if have < want {
                    let events = self.feeds.after(&stream, have).await?;
                    self.fill(shown, events).await?;
                }
            }
        }
    }

    async fn fill(&self, shown: &Shown, mut events: Vec<Envelope>) -> Result<(), RefillError> {
        events.retain(|event| event.stream.starts_with(shown.stream_prefix));
        for (stream, standing) in self.apply(shown, events, Voice::Quiet).await? {
            self.accept(shown, stream, standing).await?;
        }
        Ok(())
    }

    /// A poison event does not keep the rest of the view from being filled.
    async fn accept(&self, shown: &Shown, stream: String, standing: Standing) -> Result<(), RefillError> {
        match standing.hindrance {
            None => Ok(()),
            Some(Hindrance::Away(reason)) => Err(RefillError::Stream { stream, reason }),
            Some(Hindrance::Poison { version, error }) => {
                let error = format!("version {version}: {error}");
                tracing::error!(view = shown.view.kind(), stream, error, "poison event in the feed");
                self.quarantine(shown, &stream, &error)
                    .await
                    .map_err(|err| RefillError::Stream {
                        stream,
                        reason: err.to_string(),
                    })
            }
        }
    }
}
