//! Noticing that a view has no complete edition, and filling one from the masters' feeds.
//!
//! An edition is complete when every stream its master knows stands at the head that the master
//! had when it was looked at, or later. Redis that lost its data gets a first edition, which
//! readers see while it is filled; a new one beside it (`rebuild`) takes its place at once.

use std::cmp::Ordering as CmpOrdering;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::{TryStreamExt as _, stream};
use mesh_bus::feed::FeedError;
use mesh_bus::{Bus, Subscription};
use mesh_contracts::envelope::Envelope;
use mesh_runtime::{Shutdown, clock};

use crate::connection::{Inner, Shown};
use crate::progress::{Built, Phase, Progress};
use crate::write::{FILLS_MAX, Hindrance, Standing, Voice, WriteError};
use crate::{BoxError, keys, library, run};

/// How often a quiet view looks whether Redis still has its editions.
const WATCH_PERIOD: Duration = Duration::from_secs(1);

/// Pause after a failed attempt to fill: the feed or Redis is away.
const RETRY_PAUSE: Duration = Duration::from_millis(300);

/// Events per request for the whole log: some two megabytes, so that one round trip is worth it.
const HISTORY_PAGE: usize = 2_000;

/// Streams per request for heads.
pub(crate) const HEADS_PAGE: usize = 500;

/// Whoever fills says so at least this often, or another process goes on with it.
const LEASE: Duration = Duration::from_secs(5);

/// A build that did not look for so long is gone.
const ALIVE: Duration = Duration::from_secs(10);

/// How often it is looked whether what happened meanwhile is applied.
const DRAIN_POLL: Duration = Duration::from_millis(50);

/// News is held up for so long at most while an edition takes over, even if whoever builds it dies.
const CLOSING: Duration = Duration::from_millis(500);

/// Documents compared by the function that lets a new edition take over: it holds up all of Redis.
const FLIP_MAX: usize = 1_000;

/// What Redis says of a view.
pub(crate) struct Editions {
    /// Of the stamps.
    pub generation: u64,
    /// What readers see.
    pub current: String,
    pub is_filled: bool,
    /// What is filled beside it.
    pub building: Option<String>,
    /// What it replaced.
    pub previous: Option<String>,
    /// The one beside it was complete before, and only has to catch up.
    pub is_catching_up: bool,
    pub progress: Option<Progress>,
    /// How the last one was filled.
    pub built: Option<Built>,
    /// The version that somebody went back from; 0 if nobody did.
    pub declined: u32,
    /// Some process folds the current edition as it was begun.
    pub is_cared_for: bool,
}

/// Why filling stopped before its end.
#[derive(Debug, thiserror::Error)]
enum RefillError {
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("bus unavailable: {0}")]
    Bus(BoxError),
    #[error("stream {stream} not filled: {reason}")]
    Stream { stream: String, reason: String },
    #[error("another process fills it")]
    Taken,
}

impl From<redis::RedisError> for RefillError {
    fn from(err: redis::RedisError) -> Self {
        Self::Write(err.into())
    }
}

/// An edition on its way.
struct Filling<'a> {
    inner: &'a Arc<Inner>,
    shown: &'a Arc<Shown>,
    edition: &'a str,
    started: Instant,
    progress: Progress,
}

impl Inner {
    /// Returns on shutdown.
    pub async fn keep_filled(self: &Arc<Self>, shown: &Arc<Shown>, bus: &Bus, shutdown: &Shutdown) {
        while !shutdown.is_triggered() {
            let pause = tokio::select! {
                () = shutdown.triggered() => return,
                pause = self.look_and_fill(shown, bus) => pause,
            };
            tokio::select! {
                () = shutdown.triggered() => return,
                () = shown.lost.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Gives the pause until the next look.
    async fn look_and_fill(self: &Arc<Self>, shown: &Arc<Shown>, bus: &Bus) -> Duration {
        let editions = match self.editions(shown).await {
            Ok(editions) => editions,
            Err(err) => {
                self.set_filled(shown, false);
                tracing::warn!(view = shown.view.kind(), error = %err, "redis unavailable");
                return RETRY_PAUSE;
            }
        };
        self.set_filled(shown, editions.is_filled);
        // What was filled was announced to nobody: whoever listens must look for itself.
        let is_known = |generation| shown.generation.swap(generation, Ordering::Relaxed) == generation;
        if editions.is_filled && !is_known(editions.generation) {
            self.hub.announce_gap();
        }
        let (edition, is_whole) = match (&editions.building, editions.is_filled) {
            (_, false) => (editions.current, false),
            // A later build's, which would fold it in another way.
            (Some(building), true) if keys::version(building) > shown.view.version() => return WATCH_PERIOD,
            (Some(building), true) => (building.clone(), editions.is_catching_up),
            (None, true) => return self.look_at_version(shown, &editions).await,
        };
        match self
            .fill_edition(shown, bus, &edition, editions.is_filled, is_whole)
            .await
        {
            Ok(()) | Err(RefillError::Write(WriteError::Filled | WriteError::Gone)) => Duration::ZERO,
            Err(RefillError::Taken) => WATCH_PERIOD,
            Err(err) => {
                tracing::warn!(view = shown.view.kind(), edition, error = %err, "view not filled yet");
                RETRY_PAUSE
            }
        }
    }

    /// A build whose view has changed brings its own edition. An earlier one goes back only when
    /// no process of the later is left: while replicas are replaced one by one, each would undo
    /// what the other builds.
    async fn look_at_version(&self, shown: &Shown, editions: &Editions) -> Duration {
        let (ours, theirs) = (shown.view.version(), keys::version(&editions.current));
        let is_back = match ours.cmp(&theirs) {
            CmpOrdering::Greater if ours > editions.declined => false,
            CmpOrdering::Less if !editions.is_cared_for => {
                let previous = editions.previous.as_deref();
                previous.is_some_and(|previous| keys::version(previous) == ours)
            }
            CmpOrdering::Less | CmpOrdering::Equal | CmpOrdering::Greater => return WATCH_PERIOD,
        };
        match self.start(shown, is_back).await {
            Ok(word) => {
                tracing::info!(
                    view = shown.view.kind(),
                    from = theirs,
                    to = ours,
                    word,
                    "view has another version"
                );
                Duration::ZERO
            }
            Err(_) => RETRY_PAUSE,
        }
    }

    /// What there is of a view; begins a first edition if there is none.
    pub async fn editions(&self, shown: &Shown) -> redis::RedisResult<Editions> {
        type Row = (
            u64,
            String,
            bool,
            Option<String>,
            Option<String>,
            bool,
            Option<String>,
            Option<String>,
            u32,
            bool,
        );
        let mut cmd = self.fcall(library::BEGIN);
        cmd.arg(clock::wall().as_millisecond())
            .arg(shown.view.kind())
            .arg(shown.view.version())
            .arg(&self.prefix)
            .arg(ALIVE.as_secs());
        let (
            generation,
            current,
            is_filled,
            building,
            previous,
            is_catching_up,
            progress,
            built,
            declined,
            is_cared_for,
        ): Row = self.write(&cmd).await?;
        Ok(Editions {
            generation,
            current,
            is_filled,
            building,
            previous,
            is_catching_up,
            progress: progress.and_then(|text| serde_json::from_str(&text).ok()),
            built: built.and_then(|text| serde_json::from_str(&text).ok()),
            declined,
            is_cared_for,
        })
    }

    /// Has an edition filled beside the current one: a new one, or the previous one again. Gives
    /// `started`, or the word for what is in the way: `unfilled`, `running` or `none`.
    pub async fn start(&self, shown: &Shown, is_back: bool) -> redis::RedisResult<String> {
        let mut cmd = self.fcall(library::START);
        cmd.arg(clock::wall().as_millisecond())
            .arg(shown.view.kind())
            .arg(shown.view.version())
            .arg(u8::from(is_back));
        let word = self.write(&cmd).await?;
        shown.lost.notify_one();
        Ok(word)
    }

    async fn fill_edition(
        self: &Arc<Self>,
        shown: &Arc<Shown>,
        bus: &Bus,
        edition: &str,
        is_beside: bool,
        is_whole: bool,
    ) -> Result<(), RefillError> {
        let mut filling = Filling {
            inner: self,
            shown,
            edition,
            started: Instant::now(),
            progress: Progress::default(),
        };
        filling.hold().await?;
        self.sweep(shown).await?;
        if is_beside {
            filling.beside(bus, is_whole).await?;
        } else {
            filling.history().await?;
            filling.heads().await?;
            filling.finish().await?;
        }
        let built = filling.built();
        tracing::info!(
            view = shown.view.kind(),
            edition,
            events = built.events,
            duration_ms = built.duration_ms,
            "view filled from the feed"
        );
        metrics::counter!("projection_filled_total", "view" => shown.view.kind()).increment(1);
        Ok(())
    }

    /// Throws away what is of no edition that is still needed, a few keys at a time.
    async fn sweep(&self, shown: &Shown) -> Result<(), RefillError> {
        let known = self.editions(shown).await?;
        let kept = [Some(known.current), known.building, known.previous];
        let kind = format!("{}{}.", self.prefix, shown.view.kind());
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = redis::cmd("SCAN");
            let pattern = format!("{}*", crate::live::escape(&kind));
            scan.arg(&cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(HEADS_PAGE);
            let (next, mut keys): (String, Vec<String>) = self.write(&scan).await?;
            keys.retain(|key| {
                let edition = key[self.prefix.len()..].split(':').next();
                !kept.iter().any(|kept| kept.as_deref() == edition)
            });
            if !keys.is_empty() {
                self.write::<()>(redis::cmd("UNLINK").arg(keys)).await?;
            }
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }
}

impl Filling<'_> {
    /// Beside the current edition: what happens meanwhile is kept by a consumer of its own.
    async fn beside(&mut self, bus: &Bus, is_whole: bool) -> Result<(), RefillError> {
        let born = self.edition.rsplit('.').next().unwrap_or_default();
        let durable = format!("{}-{born}", self.shown.durable);
        let subscription = || run::subscription(self.inner, self.shown, durable.clone()).temporary();
        bus.prepare(&subscription()).await.map_err(RefillError::Bus)?;
        let subscription = subscription();
        // An edition that was complete once lacks only what came since; the heads tell.
        if !is_whole {
            self.history().await?;
        }
        let done = self.while_consuming(bus, subscription).await;
        let is_over = matches!(done, Ok(()) | Err(RefillError::Write(WriteError::Gone)));
        if is_over && let Err(err) = bus.forget(self.shown.context, &durable).await {
            tracing::warn!(durable, error = %err, "consumer of an edition left to the broker's time limit");
        }
        done
    }

    async fn while_consuming(&mut self, bus: &Bus, subscription: Subscription) -> Result<(), RefillError> {
        let (inner, shown, edition) = (self.inner, self.shown, self.edition);
        let durable = subscription.durable().to_owned();
        let consuming = bus.consume(subscription, Shutdown::new(), |batch| {
            inner.handle(shown, batch, Voice::Quiet(edition))
        });
        let finishing = async {
            self.progress.phase = Phase::Drain;
            let head = bus
                .head(shown.context)
                .await
                .map_err(|err| RefillError::Bus(err.into()))?;
            loop {
                self.hold().await?;
                let state = bus.consumer_state(shown.context, &durable).await;
                let state = state.map_err(|err| RefillError::Bus(err.into()))?;
                if state.is_some_and(|state| state.is_drained() || state.acknowledged >= head) {
                    break;
                }
                tokio::time::sleep(DRAIN_POLL).await;
            }
            // From here on the function notes what is written behind our back.
            let dirty = format!("{}{edition}:dirty", inner.prefix);
            inner.write::<()>(redis::cmd("DEL").arg(dirty)).await?;
            self.heads().await?;
            self.finish().await
        };
        tokio::select! {
            () = consuming => Err(RefillError::Bus("consumer ended".into())),
            done = finishing => done,
        }
    }

    /// All events stream by stream, so that a document is written once and not once per event.
    async fn history(&mut self) -> Result<(), RefillError> {
        let (feeds, context, prefix) = (&self.inner.feeds, self.shown.context, self.shown.stream_prefix);
        self.progress.phase = Phase::History;
        let extent = feeds.extent(context, prefix).await?;
        self.progress.events_total = extent.events;
        let mut page = feeds.page(context, prefix, 0, HISTORY_PAGE).await?;
        page.retain(|event| event.stream.starts_with(prefix));
        while let Some(last) = page.last() {
            let (stream, version, count) = (last.stream.clone(), last.version, page.len());
            let next = async { Ok(feeds.page(context, &stream, version, HISTORY_PAGE).await?) };
            let filled = self.fill(page);
            (page, ()) = tokio::try_join!(next, filled)?;
            page.retain(|event| event.stream.starts_with(prefix));
            self.progress.events += count as u64;
            self.hold().await?;
        }
        Ok(())
    }

    /// Pages may have missed what was committed behind them; the heads have not.
    async fn heads(&mut self) -> Result<(), RefillError> {
        self.progress.phase = Phase::Compare;
        self.progress.compared = 0;
        let mut after = self.shown.stream_prefix.to_owned();
        loop {
            let heads = self.inner.heads_page(self.shown, &after).await?;
            let Some((last, _)) = heads.last() else {
                return Ok(());
            };
            after.clone_from(last);
            let (streams, heads): (Vec<String>, Vec<u64>) = heads.into_iter().unzip();
            let have = self.inner.versions(self.shown, self.edition, &streams).await?;
            self.progress.compared += streams.len() as u64;
            let all = streams.into_iter().zip(heads).zip(have);
            let behind = all.filter(|((_, head), (version, is_quarantined))| version < head && !is_quarantined);
            self.catch_up(behind.map(|((stream, _), (version, _))| (stream, version)))
                .await?;
            self.hold().await?;
        }
    }

    /// Takes over, once no document is older than what readers see.
    async fn finish(&mut self) -> Result<(), RefillError> {
        for attempt in 0.. {
            // First without, so that few documents are left to be brought meanwhile.
            let closing = if attempt == 0 { Duration::ZERO } else { CLOSING };
            let built = serde_json::to_string(&self.built()).expect("numbers and names are JSON");
            let mut cmd = self.inner.fcall(library::FINISH);
            cmd.arg(&self.inner.prefix)
                .arg(self.shown.view.kind())
                .arg(self.edition)
                .arg(clock::wall().as_millisecond())
                .arg(FLIP_MAX)
                .arg(built)
                .arg(closing.as_millis());
            let mut behind: Vec<String> = self.inner.write(&cmd).await?;
            match behind.first().map(String::as_str) {
                Some("done") => return Ok(()),
                Some("behind") => {}
                _ => return Err(WriteError::Gone.into()),
            }
            let behind = behind.split_off(1);
            let have = self.inner.versions(self.shown, self.edition, &behind).await?;
            let versions = have.into_iter().map(|(version, _)| version);
            self.catch_up(behind.into_iter().zip(versions)).await?;
            self.hold().await?;
        }
        unreachable!("attempts are not counted to their end")
    }

    /// Brings documents that stand at these versions to where their masters are.
    async fn catch_up(&self, behind: impl IntoIterator<Item = (String, u64)>) -> Result<(), RefillError> {
        stream::iter(behind.into_iter().map(Ok))
            .try_for_each_concurrent(FILLS_MAX, |(stream, version)| async move {
                let events = self.inner.feeds.after(&stream, version).await?;
                self.fill(events).await
            })
            .await
    }

    async fn fill(&self, events: Vec<Envelope>) -> Result<(), RefillError> {
        let voice = Voice::Quiet(self.edition);
        for (stream, standing) in self.inner.apply(self.shown, events, voice).await? {
            self.accept(stream, standing).await?;
        }
        Ok(())
    }

    /// A poison event does not keep the rest of the view from being filled.
    async fn accept(&self, stream: String, standing: Standing) -> Result<(), RefillError> {
        match standing.hindrance {
            None => Ok(()),
            Some(Hindrance::Away(reason)) => Err(RefillError::Stream { stream, reason }),
            Some(Hindrance::Poison { version, error }) => {
                let error = format!("version {version}: {error}");
                tracing::error!(view = self.shown.view.kind(), stream, error, "poison event in the feed");
                let noted = self.inner.quarantine(self.shown, &stream, &error).await;
                noted.map_err(|err| RefillError::Stream {
                    stream,
                    reason: err.to_string(),
                })
            }
        }
    }

    /// Says that this process fills, and how far it is.
    async fn hold(&mut self) -> Result<(), RefillError> {
        self.progress.duration_ms = millis(self.started);
        let progress = serde_json::to_string(&self.progress).expect("numbers and names are JSON");
        let kind = self.shown.view.kind();
        let mut cmd = redis::cmd("FCALL");
        cmd.arg(library::LEASE)
            .arg(2)
            .arg(self.inner.sentinel())
            .arg(keys::lease(&self.inner.prefix, kind))
            .arg(kind)
            .arg(&self.inner.who)
            .arg(LEASE.as_millis())
            .arg(progress);
        match self.inner.write(&cmd).await? {
            true => Ok(()),
            false => Err(RefillError::Taken),
        }
    }

    fn built(&self) -> Built {
        Built {
            edition: self.edition.to_owned(),
            events: self.progress.events,
            compared: self.progress.compared,
            duration_ms: millis(self.started),
        }
    }
}

impl Inner {
    /// The streams of a view behind `after`, with where their master has them.
    pub async fn heads_page(&self, shown: &Shown, after: &str) -> Result<Vec<(String, u64)>, FeedError> {
        let mut heads = self.feeds.heads(shown.context, after, HEADS_PAGE).await?;
        heads.retain(|(stream, _)| stream.starts_with(shown.stream_prefix));
        Ok(heads)
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
