//! Others' events, applied once and in order: the inbox mark commits with the effect.
//!
//! A gap is filled from the owner's feed and never acknowledged over. Knows no event's meaning.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::SignedDuration;
use mesh_bus::feed::Feeds;
use mesh_bus::{Bus, Poisoned, Subscription, Verdict};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::subject::Context;
use mesh_runtime::Shutdown;
use tokio::sync::watch;

use crate::BoxError;
use crate::answer::Outcome;
use crate::append::{Append, AppendError, Mark};
use crate::read::{signed, unsigned};
use crate::sql_time::SqlTime;
use crate::store::Store;
use crate::streams::SubmitError;

mod audit;

/// Streams of one batch that are worked on at the same time: all of them, so that what they store shares commits.
const CONCURRENT_STREAMS: usize = 128;

/// Batches of one context come this far apart under load. Each costs a look at the marks and a
/// commit of its own, and a reaction that is thirty milliseconds late is in time for a person.
const BATCH_PERIOD: Duration = Duration::from_millis(30);

/// Events fetched at once to fill a gap.
const FILL_PAGE: usize = 200;

/// Streams whose marks are kept in memory. An order's events come within the hour, most of them
/// within minutes.
const MARKS_MAX: u64 = 10_000;

/// A first event that is older is probably sent again, as after the loss of the broker, and refusing
/// those one by one would take longer than one look at their marks.
const NEW_FOR: SignedDuration = SignedDuration::from_secs(10);

/// Longest error kept in the quarantine.
const ERROR_CHARS_MAX: usize = 300;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// Its effect is stored, and the inbox mark with it: by `Request::because`, or
    /// `Store::mark_in` in the handler's own transaction.
    Done,
    /// It means nothing here: a bare mark will do.
    Ignored,
}

/// Why an event was not applied.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Something that the handler needs is away; the event comes again until it is applied.
    #[error("not now: {0}")]
    Later(String),
    /// The event may be the cause: after three tries its stream is quarantined.
    #[error("{0}")]
    Poison(String),
}

impl Fault {
    /// Something that the handler needs is away.
    pub fn later(err: impl ToString) -> Self {
        Self::Later(err.to_string())
    }

    /// The event may be the cause.
    pub fn poison(err: impl ToString) -> Self {
        Self::Poison(err.to_string())
    }
}

impl From<sqlx::Error> for Fault {
    fn from(err: sqlx::Error) -> Self {
        Self::later(err)
    }
}

impl From<AppendError> for Fault {
    fn from(err: AppendError) -> Self {
        match err {
            AppendError::Refused(_) => Self::poison(err),
            _ => Self::later(err),
        }
    }
}

impl From<mesh_contracts::envelope::BadBody> for Fault {
    fn from(err: mesh_contracts::envelope::BadBody) -> Self {
        Self::poison(err)
    }
}

/// The usual end of a handler: what `Streams::submit` with `Request::because` came to. A refusal
/// by the rules is a fact about the event, not a failure: it is marked as seen.
pub fn settled<R: std::fmt::Debug>(result: Result<Outcome, SubmitError<R>>) -> Result<Handled, Fault> {
    match result {
        Ok(_) => Ok(Handled::Done),
        Err(SubmitError::Rejected(rejection)) => {
            tracing::debug!(?rejection, "event changes nothing");
            Ok(Handled::Ignored)
        }
        Err(SubmitError::KeyReused) => Err(Fault::poison("step was used for another event")),
        Err(err) => Err(Fault::Later(match err {
            SubmitError::Unavailable(why) => why,
            SubmitError::Conflict | SubmitError::Stale(_) => "stream keeps changing".into(),
            SubmitError::InFlight => "same command under way".into(),
            _ => "stream is overloaded".into(),
        })),
    }
}

/// What this master hears, as one consumer. Clones are cheap.
#[derive(Clone)]
pub struct Inbox {
    store: Store,
    bus: Bus,
    feeds: Feeds,
    consumer: Arc<str>,
    /// How far each stream is applied, as this process last knew it. Another replica may have got
    /// further, never less far: then the stored mark refuses what is repeated.
    marks: moka::sync::Cache<String, u64>,
}

impl Inbox {
    /// `consumer` is the name of the durable consumer and of the marks: the service's name.
    pub fn new(store: &Store, bus: &Bus, feeds: &Feeds, consumer: &str) -> Self {
        Self {
            store: store.clone(),
            bus: bus.clone(),
            feeds: feeds.clone(),
            consumer: consumer.into(),
            marks: moka::sync::Cache::new(MARKS_MAX),
        }
    }

    /// Applies the events of `context` until shutdown. Each is handed to `handle` once its
    /// predecessors in its stream are applied; streams are worked on concurrently. Tells
    /// `drained` when everything that the broker had is applied.
    pub async fn run<H, Fut>(&self, context: Context, drained: Part, shutdown: Shutdown, handle: H)
    where
        H: Fn(Envelope) -> Fut + Send + Sync,
        Fut: Future<Output = Result<Handled, Fault>> + Send,
    {
        let quarantining = self.clone();
        let subscription = Subscription::new(context, &*self.consumer)
            .paced(BATCH_PERIOD)
            .on_poison(move |poisoned| {
                let inbox = quarantining.clone();
                async move { inbox.quarantine(poisoned).await }
            });
        let is_drained = subscription.drained();
        let consuming = self.bus.consume(subscription, shutdown.clone(), |batch| {
            let handle = &handle;
            async move { self.apply_batch(context, batch, handle).await }
        });
        let auditing = self.keep_audited(context, &shutdown, &handle);
        tokio::join!(consuming, drained.tell_when(is_drained), auditing);
    }

    async fn apply_batch<H, Fut>(&self, context: Context, batch: Vec<Envelope>, handle: &H) -> Vec<Verdict>
    where
        H: Fn(Envelope) -> Fut + Send + Sync,
        Fut: Future<Output = Result<Handled, Fault>> + Send,
    {
        let size = batch.len();
        let known = match self.known(&batch).await {
            Ok(known) => known,
            Err(err) => return vec![Verdict::Later(err.to_string()); size],
        };
        if let Some(last) = batch.last() {
            let lag = self.store.clock().wall().duration_since(last.recorded_at);
            metrics::histogram!("inbox_lag_seconds", "context" => context.as_str()).record(lag.as_secs_f64());
        }
        let mut groups: HashMap<String, Vec<(usize, Envelope)>> = HashMap::new();
        for (index, event) in batch.into_iter().enumerate() {
            groups.entry(event.stream.clone()).or_default().push((index, event));
        }
        let applied = futures::stream::iter(groups)
            .map(|(stream, events)| {
                let standing = Standing {
                    mark: known.marks.get(&stream).copied().unwrap_or(0),
                    ignored: None,
                };
                let is_quarantined = known.quarantined.contains(&stream);
                async move {
                    if is_quarantined {
                        return Applied::quarantined(stream, events);
                    }
                    let applied = self.apply_stream(stream, standing, events, handle).await;
                    self.mark_ignored(applied).await
                }
            })
            .buffer_unordered(CONCURRENT_STREAMS)
            .collect::<Vec<_>>()
            .await;
        let mut verdicts = vec![Verdict::Done; size];
        for applied in applied {
            match applied.mark {
                Some(mark) => self.marks.insert(applied.stream, mark),
                None => self.marks.invalidate(&applied.stream),
            }
            for (index, verdict) in applied.verdicts {
                verdicts[index] = verdict;
            }
        }
        verdicts
    }

    /// Sets the bare mark of a stream, at once: it shares its commit with those of other streams, since most events
    /// mean nothing to most masters, and with what others of the batch store.
    async fn mark_ignored(&self, mut applied: Applied) -> Applied {
        let Some(mark) = self.bare_mark(&applied) else {
            return applied;
        };
        let unmarked = match self.store.append(Append::mark(mark)).await {
            Ok(()) | Err(AppendError::AlreadySeen) => return applied,
            Err(err) => verdict(Err(err.into())),
        };
        applied.mark = None;
        for (_, verdict) in &mut applied.verdicts {
            if *verdict == Verdict::Done {
                verdict.clone_from(&unmarked);
            }
        }
        applied
    }

    /// The events of one stream, in order; after a failure the rest must come again.
    async fn apply_stream<H, Fut>(
        &self,
        stream: String,
        mut standing: Standing,
        mut events: Vec<(usize, Envelope)>,
        handle: &H,
    ) -> Applied
    where
        H: Fn(Envelope) -> Fut + Send + Sync,
        Fut: Future<Output = Result<Handled, Fault>> + Send,
    {
        events.sort_by_key(|(_, event)| event.version);
        let mut verdicts = Vec::with_capacity(events.len());
        let mut failed = false;
        for (index, event) in events {
            if failed {
                verdicts.push((index, Verdict::Later("an earlier event waits".into())));
                continue;
            }
            let applied = match self.fill(&stream, &mut standing, event.version, handle).await {
                Ok(()) => apply(&mut standing, event, handle).await,
                Err(fault) => Err(fault),
            };
            failed = applied.is_err();
            verdicts.push((index, verdict(applied)));
        }
        Applied {
            stream,
            verdicts,
            mark: (!failed).then_some(standing.mark),
            ignored: standing.ignored,
        }
    }

    fn bare_mark(&self, applied: &Applied) -> Option<Mark> {
        Some(Mark {
            consumer: self.consumer.to_string(),
            stream: applied.stream.clone(),
            version: applied.ignored?,
        })
    }

    /// Applies what lies between the mark and `version`, from the owner's feed.
    async fn fill<H, Fut>(&self, stream: &str, standing: &mut Standing, version: u64, handle: &H) -> Result<(), Fault>
    where
        H: Fn(Envelope) -> Fut + Send + Sync,
        Fut: Future<Output = Result<Handled, Fault>> + Send,
    {
        while standing.mark + 1 < version {
            let missing = self.feeds.stream(stream, standing.mark, FILL_PAGE).await;
            let missing = missing.map_err(Fault::later)?;
            metrics::counter!("inbox_gaps_filled_total").increment(missing.len() as u64);
            if missing.first().is_none_or(|next| next.version != standing.mark + 1) {
                return Err(Fault::later("the owner's feed does not fill the gap"));
            }
            for event in missing.into_iter().filter(|event| event.version < version) {
                apply(standing, event, handle).await?;
            }
        }
        Ok(())
    }

    /// What is remembered, and what the database says of the rest. A stream that has just begun is
    /// new to us, or else its stored mark refuses what is repeated.
    async fn known(&self, batch: &[Envelope]) -> Result<Known, sqlx::Error> {
        let now = self.store.clock().wall();
        let starts = |event: &&Envelope| event.version == 1 && now.duration_since(event.recorded_at) < NEW_FOR;
        let starting: HashSet<&str> = batch.iter().filter(starts).map(|event| event.stream.as_str()).collect();
        let mut known = Known::default();
        let mut unknown = HashSet::new();
        for event in batch {
            let stream = event.stream.as_str();
            if let Some(mark) = self.marks.get(stream) {
                known.marks.insert(stream.to_owned(), mark);
            } else if !starting.contains(stream) {
                unknown.insert(stream);
            }
        }
        if !unknown.is_empty() {
            self.look(&mut known, unknown).await?;
        }
        Ok(known)
    }

    async fn look(&self, known: &mut Known, streams: HashSet<&str>) -> Result<(), sqlx::Error> {
        let streams: Vec<&str> = streams.into_iter().collect();
        // One look for both. Lateral, with a fence, so that no plan ever reads the inbox from its beginning.
        let rows: Vec<(String, Option<i64>, bool)> = sqlx::query_as(
            "select s.stream, i.version, q.stream is not null
             from unnest($2::text[]) s(stream)
             left join lateral (select version from inbox
                 where consumer = $1 and source_stream = s.stream offset 0) i on true
             left join lateral (select stream from quarantine
                 where consumer = $1 and stream = s.stream offset 0) q on true",
        )
        .bind(&*self.consumer)
        .bind(&streams)
        .fetch_all(self.store.pool())
        .await?;
        for (stream, version, is_quarantined) in rows {
            if is_quarantined {
                known.quarantined.insert(stream.clone());
            }
            known.marks.insert(stream, version.map_or(0, unsigned));
        }
        Ok(())
    }

    async fn quarantine(&self, poisoned: Poisoned) -> Result<(), BoxError> {
        tracing::error!(
            stream = %poisoned.stream, event.version = poisoned.version,
            event.type = %poisoned.event_type, error = %poisoned.error, "stream quarantined"
        );
        let error: String = poisoned.error.chars().take(ERROR_CHARS_MAX).collect();
        sqlx::query(
            "insert into quarantine (consumer, stream, since_version, error, at)
             values ($1, $2, $3, $4, $5) on conflict do nothing",
        )
        .bind(&*self.consumer)
        .bind(&poisoned.stream)
        .bind(signed(poisoned.version))
        .bind(error)
        .bind(SqlTime(self.store.clock().wall()))
        .execute(self.store.pool())
        .await?;
        Ok(())
    }
}

/// How far one stream is applied.
struct Standing {
    /// Up to here, in the database or in this batch.
    mark: u64,
    /// Up to here it meant nothing, and the mark for that is still to be set.
    ignored: Option<u64>,
}

/// What became of one stream's events.
struct Applied {
    stream: String,
    verdicts: Vec<(usize, Verdict)>,
    /// How far it is applied; `None` if not everything was.
    mark: Option<u64>,
    /// The version of the bare mark that is still to be set.
    ignored: Option<u64>,
}

impl Applied {
    /// Nothing is, and nothing comes again.
    fn quarantined(stream: String, events: Vec<(usize, Envelope)>) -> Self {
        let verdicts = events.into_iter().map(|(index, _)| (index, Verdict::Done));
        Self {
            stream,
            verdicts: verdicts.collect(),
            mark: None,
            ignored: None,
        }
    }
}

async fn apply<H, Fut>(standing: &mut Standing, event: Envelope, handle: &H) -> Result<(), Fault>
where
    H: Fn(Envelope) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Handled, Fault>> + Send,
{
    let version = event.version;
    if version <= standing.mark {
        return Ok(());
    }
    standing.ignored = match handle(event).await? {
        // Its own mark covers what was ignored before it.
        Handled::Done => None,
        Handled::Ignored => Some(version),
    };
    standing.mark = version;
    Ok(())
}

/// What is known about the streams of a batch.
#[derive(Default)]
struct Known {
    marks: HashMap<String, u64>,
    quarantined: HashSet<String>,
}

fn verdict(applied: Result<(), Fault>) -> Verdict {
    match applied {
        Ok(()) => Verdict::Done,
        Err(Fault::Later(why)) => Verdict::Later(why),
        Err(Fault::Poison(why)) => Verdict::Retry(why),
    }
}

/// Whether everything that the broker had at the start is applied. Until then no timer fires: the
/// event that answers it may already be waiting. Take all parts before anything waits.
#[derive(Debug, Clone)]
pub struct Drained {
    open: Arc<watch::Sender<usize>>,
}

/// The share of one inbox in [`Drained`].
#[derive(Debug)]
pub struct Part {
    open: Arc<watch::Sender<usize>>,
}

impl Default for Drained {
    fn default() -> Self {
        Self::new()
    }
}

impl Drained {
    /// Nothing to wait for, until parts are taken.
    pub fn new() -> Self {
        Self {
            open: Arc::new(watch::channel(0).0),
        }
    }

    /// One more inbox to wait for.
    pub fn part(&self) -> Part {
        self.open.send_modify(|open| *open += 1);
        Part {
            open: Arc::clone(&self.open),
        }
    }

    /// Resolves when every part has drained once.
    pub async fn wait(&self) {
        let mut open = self.open.subscribe();
        // The sender lives as long as `self`.
        let _ = open.wait_for(|open| *open == 0).await;
    }
}

impl Part {
    async fn tell_when(self, mut is_drained: watch::Receiver<bool>) {
        // A sender that goes away without having said so ended before it was drained.
        if is_drained.wait_for(|drained| *drained).await.is_ok() {
            self.open.send_modify(|open| *open -= 1);
        }
    }
}
