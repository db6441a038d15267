//! Events become documents: read, fold in memory, write through the version gate.
//!
//! Two projectors, duplicates and reordering are harmless: a write states the version it was
//! folded from, and a hole is filled from the owner's feed before anything behind it is written.
//! What news follows on is remembered, or read if that turns out to be wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::SignedDuration;
use mesh_contracts::envelope::Envelope;
use mesh_runtime::{clock, telemetry};
use redis::Cmd;

use crate::connection::{Inner, Shown};
use crate::memory::Remembered;
use crate::view::{Base, Folded, NotFolded, Stuck};
use crate::{BoxError, keys, library};

/// Rounds against other writers of the same documents. Each round one of them wins.
const RACES_MAX: usize = 10;

/// Between them: who wins is done in less, and so is an edition that takes over.
const RACE_PAUSE: Duration = Duration::from_millis(10);

/// Feeds asked at once to fill holes: they are masters, busy with orders.
pub(crate) const FILLS_MAX: usize = 8;

/// Entries that a live topic keeps: what a client may miss and still resume.
pub(crate) const LIVE_ENTRIES_MAX: usize = 1_000;

/// Documents that one call writes, some 20 us each: nobody else is served meanwhile.
const WRITTEN_TOGETHER: usize = 64;

/// A topic without events for so long is forgotten; its clients get a snapshot instead.
pub(crate) const LIVE_TTL_S: u64 = 2 * 3600;

/// A first event that is older is probably sent again, as after the loss of the broker: then the
/// document is there, and refusing takes longer than looking.
const NEW_FOR: SignedDuration = SignedDuration::from_secs(10);

/// How a write is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice<'a> {
    /// News for the current edition: announced on the live topics.
    Aloud,
    /// What the bus never brought to the current edition. Clients cannot tell from which event on
    /// they missed something, so they get a fresh snapshot instead of the events.
    Mending,
    /// History for an edition that is not complete: announced to nobody, and refused once it is,
    /// so that a slow filler cannot swallow the announcement of news.
    Quiet(&'a str),
}

impl<'a> Voice<'a> {
    fn name(self) -> &'static str {
        match self {
            Self::Aloud => "aloud",
            Self::Mending => "mending",
            Self::Quiet(_) => "quiet",
        }
    }

    fn is_news(self) -> bool {
        !matches!(self, Self::Quiet(_))
    }

    /// The edition meant; the current one if it is empty.
    fn edition(self) -> &'a str {
        match self {
            Self::Aloud | Self::Mending => "",
            Self::Quiet(edition) => edition,
        }
    }
}

/// Where one stream stands after an attempt to apply events of it.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// The document's version.
    pub version: u64,
    /// The document is not to be touched.
    pub quarantined: bool,
    /// What kept the events behind `version` from being applied.
    pub hindrance: Option<Hindrance>,
}

#[derive(Debug)]
pub(crate) enum Hindrance {
    /// Redis or a feed; worth another try.
    Away(String),
    /// The event of this version cannot be folded.
    Poison { version: u64, error: String },
}

/// Why a whole batch came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("redis unavailable")]
    Redis(#[from] redis::RedisError),
    /// Redis has no generation: it lost everything.
    #[error("redis has lost its data")]
    Lost,
    /// The view is complete: no quiet write is needed any more.
    #[error("view is filled already")]
    Filled,
    /// That edition is not built any more.
    #[error("edition was given up")]
    Gone,
}

/// What Redis holds of a stream, or should hold.
struct Stored {
    edition: Arc<str>,
    version: u64,
    base: Base,
    quarantined: bool,
    /// A later build's: ours would fold it in another way.
    is_foreign: bool,
}

/// A stream on its way through a batch.
struct Task {
    stream: String,
    /// In order of their versions, each once.
    events: Vec<Envelope>,
}

impl Task {
    /// Whether there are events behind `version`, without a hole.
    fn goes_on(&self, version: u64) -> bool {
        let known = self.events.partition_point(|event| event.version <= version);
        known < self.events.len() && follows(version, &self.events[known..])
    }

    fn begins(&self) -> bool {
        let now = clock::wall();
        let is_new = |first: &Envelope| now.duration_since(first.recorded_at) < NEW_FOR;
        self.goes_on(0) && self.events.first().is_some_and(is_new)
    }
}

/// A document that is ready, and what stopped the fold behind it.
struct Draft {
    task: Task,
    edition: Arc<str>,
    expected: u64,
    folded: Option<Folded>,
    stuck: Option<Stuck>,
}

enum Drafted {
    Ready(Draft),
    /// Nothing to write, or nothing that may be written.
    Standing(String, Standing),
    /// To be folded onto what Redis has.
    Again(Task),
}

enum Verdict {
    Set,
    Dropped,
    Raced,
}

impl Inner {
    /// Applies events of any number of streams. Tells for each stream where it stands then.
    pub async fn apply(
        &self,
        shown: &Shown,
        events: Vec<Envelope>,
        voice: Voice<'_>,
    ) -> Result<BTreeMap<String, Standing>, WriteError> {
        let mut standings = BTreeMap::new();
        let mut tasks = by_stream(events);
        for round in 0..RACES_MAX {
            if tasks.is_empty() {
                break;
            }
            if round > 0 {
                tokio::time::sleep(RACE_PAUSE).await;
            }
            let stored = self.recalled_or_stored(shown, &tasks, voice, round == 0).await?;
            let (drafts, again) = self.draft(shown, tasks, stored, voice, &mut standings).await;
            let verdicts = self.write_drafts(shown, &drafts, voice).await?;
            tasks = self.conclude(shown, drafts, verdicts, voice, &mut standings);
            tasks.extend(again);
        }
        for task in tasks {
            let standing = Standing {
                hindrance: Some(Hindrance::Away("other writers keep winning".into())),
                ..Standing::default()
            };
            standings.insert(task.stream, standing);
        }
        self.applied.notify_waiters();
        Ok(standings)
    }

    /// Marks a stream as not to be applied any more.
    pub async fn quarantine(&self, shown: &Shown, stream: &str, error: &str) -> Result<(), BoxError> {
        let mut cmd = self.fcall(library::QUARANTINE);
        cmd.arg(&self.prefix).arg(shown.view.kind()).arg(stream).arg(error);
        self.write::<()>(&cmd).await?;
        Ok(())
    }

    /// Where documents of an edition stand (of the current one, if its name is empty), in the
    /// order asked: their versions, 0 for one that is not there, and whether they are quarantined.
    pub async fn versions(
        &self,
        shown: &Shown,
        edition: &str,
        streams: &[String],
    ) -> redis::RedisResult<Vec<(u64, bool)>> {
        if streams.is_empty() {
            return Ok(Vec::new());
        }
        self.write(&self.ask(library::VERSIONS, shown, edition, streams)).await
    }

    /// A question about documents of an edition.
    pub fn ask<S: AsRef<str>>(
        &self,
        function: &str,
        shown: &Shown,
        edition: &str,
        streams: impl IntoIterator<Item = S>,
    ) -> Cmd {
        let mut cmd = self.fcall(function);
        cmd.arg(&self.prefix).arg(shown.view.kind()).arg(edition);
        for stream in streams {
            cmd.arg(stream.as_ref());
        }
        cmd
    }

    /// What the tasks follow on, one for each. Only what is not remembered is read.
    async fn recalled_or_stored(
        &self,
        shown: &Shown,
        tasks: &[Task],
        voice: Voice<'_>,
        is_first: bool,
    ) -> Result<Vec<Stored>, WriteError> {
        // In a later round something was not as we thought.
        let may_recall = is_first && voice == Voice::Aloud;
        let recalled: Vec<Option<Stored>> = tasks
            .iter()
            .map(|task| may_recall.then(|| recall(shown, task)).flatten())
            .collect();
        let unknown = tasks.iter().zip(&recalled).filter(|(_, recalled)| recalled.is_none());
        let unknown: Vec<&str> = unknown.map(|(task, _)| task.stream.as_str()).collect();
        let mut stored = self.stored(shown, &unknown, voice).await?.into_iter();
        let both = recalled.into_iter().map(|recalled| recalled.or_else(|| stored.next()));
        Ok(both.map(|stored| stored.expect("a row for each stream")).collect())
    }

    async fn stored(&self, shown: &Shown, streams: &[&str], voice: Voice<'_>) -> Result<Vec<Stored>, WriteError> {
        if streams.is_empty() {
            return Ok(Vec::new());
        }
        let cmd = self.ask(library::STORED, shown, voice.edition(), streams);
        type Row = (Option<u64>, Option<String>, Option<String>);
        let (edition, rows): (Option<String>, Vec<Row>) = self.write(&cmd).await?;
        let Some(edition) = edition else {
            shown.lost.notify_one();
            return Err(WriteError::Lost);
        };
        let is_foreign = keys::version(&edition) > shown.view.version();
        // Each document goes with its edition, since the current one may be another a moment later.
        let edition: Arc<str> = edition.into();
        if voice.is_news() {
            shown.memory.note_edition((!is_foreign).then(|| edition.clone()));
        }
        let stored = rows.into_iter().map(|(version, doc, quarantine)| Stored {
            edition: edition.clone(),
            is_foreign,
            version: version.unwrap_or_default(),
            base: Base::Stored(doc.unwrap_or_default()),
            quarantined: quarantine.is_some(),
        });
        Ok(stored.collect())
    }

    /// Folds what can be folded; streams that need no write or allow none go to `standings`, and
    /// those that are to be read first are given back.
    async fn draft(
        &self,
        shown: &Shown,
        tasks: Vec<Task>,
        stored: Vec<Stored>,
        voice: Voice<'_>,
        standings: &mut BTreeMap<String, Standing>,
    ) -> (Vec<Draft>, Vec<Task>) {
        let outcomes: Vec<_> = stream::iter(tasks.into_iter().zip(stored))
            .map(|(task, stored)| self.draft_one(shown, task, stored, voice))
            .buffered(FILLS_MAX)
            .collect()
            .await;
        let (mut drafts, mut again) = (Vec::with_capacity(outcomes.len()), Vec::new());
        for outcome in outcomes {
            match outcome {
                Drafted::Ready(draft) => drafts.push(draft),
                Drafted::Again(task) => again.push(task),
                Drafted::Standing(stream, standing) => {
                    standings.insert(stream, standing);
                }
            }
        }
        (drafts, again)
    }

    async fn draft_one(&self, shown: &Shown, mut task: Task, stored: Stored, voice: Voice<'_>) -> Drafted {
        let Stored {
            edition,
            version,
            base,
            quarantined,
            is_foreign,
        } = stored;
        let newest = task.events.last().map_or(0, |event| event.version);
        if quarantined || newest <= version {
            let standing = Standing {
                version,
                quarantined,
                hindrance: None,
            };
            return Drafted::Standing(task.stream, standing);
        }
        if is_foreign {
            return away(task, version, "a later build folds this edition".into());
        }
        task.events.retain(|event| event.version > version);
        if !follows(version, &task.events) {
            if let Err(err) = self.fill_hole(&mut task, version).await {
                return away(task, version, err.to_string());
            }
            if !follows(version, &task.events) {
                return away(task, version, "the feed has a hole, too".into());
            }
        }
        match shown.view.fold(base, &task.events, voice.is_news()) {
            Ok((folded, stuck)) => Drafted::Ready(Draft {
                task,
                edition,
                expected: version,
                folded,
                stuck,
            }),
            Err(NotFolded::Eaten) => Drafted::Again(task),
            Err(NotFolded::Unreadable(err)) => {
                tracing::warn!(view = shown.view.kind(), stream = %task.stream, error = %err, "stored document unreadable, folding it anew");
                self.draft_anew(shown, task, edition, version, voice).await
            }
        }
    }

    /// A document of another build's shape: folded again from the stream's beginning.
    async fn draft_anew(
        &self,
        shown: &Shown,
        mut task: Task,
        edition: Arc<str>,
        expected: u64,
        voice: Voice<'_>,
    ) -> Drafted {
        let anew = match self.fill_hole(&mut task, 0).await {
            Ok(()) if follows(0, &task.events) => {
                let folded = shown
                    .view
                    .fold(Base::Stored(String::new()), &task.events, voice.is_news());
                folded.map_err(|err| err.to_string())
            }
            Ok(()) => Err("the feed has a hole".into()),
            Err(err) => Err(err.to_string()),
        };
        match anew {
            Ok((folded, stuck)) => Drafted::Ready(Draft {
                task,
                edition,
                expected,
                // Announced are only the events that are new.
                folded: folded.map(|folded| newer_than(expected, folded)),
                stuck,
            }),
            Err(reason) => away(task, expected, reason),
        }
    }

    /// Adds what the owner's feed has after `version`.
    async fn fill_hole(&self, task: &mut Task, version: u64) -> Result<(), mesh_bus::feed::FeedError> {
        metrics::counter!("projection_gaps_total").increment(1);
        let mut events = self.feeds.after(&task.stream, version).await?;
        events.append(&mut task.events);
        task.events = in_order(events);
        Ok(())
    }

    async fn write_drafts(
        &self,
        shown: &Shown,
        drafts: &[Draft],
        voice: Voice<'_>,
    ) -> Result<Vec<Verdict>, WriteError> {
        let folded = drafts.iter().filter_map(|draft| Some((draft, draft.folded.as_ref()?)));
        let folded: Vec<(&Draft, &Folded)> = folded.collect();
        if folded.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for some in folded.chunks(WRITTEN_TOGETHER) {
            pipeline.add_command(self.applying(shown, some, voice));
        }
        let answers: Vec<Vec<String>> = self.write_all(&pipeline).await?;
        let answers = answers.into_iter().flatten();
        answers
            .map(|answer| match answer.as_str() {
                "set" => Ok(Verdict::Set),
                "dropped" => Ok(Verdict::Dropped),
                "gap" => Ok(Verdict::Raced),
                "unfilled" => {
                    shown.lost.notify_one();
                    Err(WriteError::Lost)
                }
                "filled" => Err(WriteError::Filled),
                "gone" => Err(WriteError::Gone),
                other => unreachable!("the function answers in our words, not {other}"),
            })
            .collect()
    }

    fn applying(&self, shown: &Shown, drafts: &[(&Draft, &Folded)], voice: Voice<'_>) -> Cmd {
        let json = |value: Result<String, serde_json::Error>| value.expect("strings have JSON");
        let mut cmd = self.fcall(library::APPLY);
        cmd.arg(&self.prefix)
            .arg(shown.view.kind())
            .arg(voice.name())
            .arg(LIVE_ENTRIES_MAX)
            .arg(LIVE_TTL_S);
        for (draft, folded) in drafts {
            cmd.arg(&*draft.edition)
                .arg(&draft.task.stream)
                .arg(draft.expected)
                .arg(folded.version)
                .arg(&folded.doc)
                .arg(json(serde_json::to_string(&folded.entries)))
                .arg(json(serde_json::to_string(&folded.announcements)));
        }
        cmd
    }

    /// Notes where streams stand; gives back those that lost a race.
    fn conclude(
        &self,
        shown: &Shown,
        drafts: Vec<Draft>,
        verdicts: Vec<Verdict>,
        voice: Voice<'_>,
        standings: &mut BTreeMap<String, Standing>,
    ) -> Vec<Task> {
        let mut raced = Vec::new();
        let mut verdicts = verdicts.into_iter();
        for draft in drafts {
            let verdict = draft.folded.as_ref().and_then(|_| verdicts.next());
            if let Some(Verdict::Raced) = verdict {
                raced.push(draft.task);
                continue;
            }
            let version = draft.folded.as_ref().map_or(draft.expected, |folded| folded.version);
            if let (Some(Verdict::Set), Voice::Aloud) = (verdict, voice) {
                record_lag(shown, &draft.task.events, draft.expected, version);
                tell(shown, &draft.task.events, draft.expected, version);
                if let Some(folded) = draft.folded {
                    shown
                        .memory
                        .put(draft.task.stream.clone(), remembered(draft.edition, folded));
                }
            }
            let hindrance = draft.stuck.map(|stuck| Hindrance::Poison {
                version: stuck.version,
                error: stuck.error.to_string(),
            });
            let standing = Standing {
                version,
                quarantined: false,
                hindrance,
            };
            standings.insert(draft.task.stream, standing);
        }
        raced
    }
}

/// What news follows on, if this process knows; taken out of its memory.
fn recall(shown: &Shown, task: &Task) -> Option<Stored> {
    let (edition, version, base) = match shown.memory.take(&task.stream) {
        // What another process wrote in between is read from Redis, not from the master.
        Some(written) if !task.goes_on(written.version) => return None,
        Some(written) => (written.edition, written.version, Base::Known(written.doc)),
        None if task.begins() => (shown.memory.edition()?, 0, Base::Stored(String::new())),
        None => return None,
    };
    Some(Stored {
        edition,
        version,
        base,
        quarantined: false,
        is_foreign: false,
    })
}

fn remembered(edition: Arc<str>, folded: Folded) -> Remembered {
    Remembered {
        edition,
        version: folded.version,
        doc: folded.known,
        bytes: folded.doc.len(),
    }
}

fn away(task: Task, version: u64, reason: String) -> Drafted {
    let standing = Standing {
        version,
        quarantined: false,
        hindrance: Some(Hindrance::Away(reason)),
    };
    Drafted::Standing(task.stream, standing)
}

fn by_stream(events: Vec<Envelope>) -> Vec<Task> {
    let mut streams: BTreeMap<String, Vec<Envelope>> = BTreeMap::new();
    for event in events {
        streams.entry(event.stream.clone()).or_default().push(event);
    }
    streams
        .into_iter()
        .map(|(stream, events)| Task {
            stream,
            events: in_order(events),
        })
        .collect()
}

fn in_order(mut events: Vec<Envelope>) -> Vec<Envelope> {
    events.sort_by_key(|event| event.version);
    events.dedup_by_key(|event| event.version);
    events
}

/// Whether the events are `version` + 1, + 2 and so on.
fn follows(version: u64, events: &[Envelope]) -> bool {
    events
        .iter()
        .zip(version + 1..)
        .all(|(event, expected)| event.version == expected)
}

fn newer_than(version: u64, mut folded: Folded) -> Folded {
    folded
        .announcements
        .retain(|announcement| announcement.version > version);
    folded
}

/// The end of an event's way, in the trace that its command began. A batch has events of many traces, so each is told
/// by a line instead of a span.
fn tell(shown: &Shown, events: &[Envelope], from: u64, to: u64) {
    for event in events
        .iter()
        .filter(|event| event.version > from && event.version <= to)
    {
        tracing::debug!(
            trace_id = event.meta.traceparent.as_deref().and_then(telemetry::trace_id_of),
            view = shown.view.kind(),
            event.id = %event.event_id,
            event.r#type = %event.event_type,
            stream = %event.stream,
            version = event.version,
            "event shown"
        );
    }
}

fn record_lag(shown: &Shown, events: &[Envelope], from: u64, to: u64) {
    let now = clock::wall();
    let lag = metrics::histogram!("projection_lag_seconds", "view" => shown.view.kind());
    for event in events {
        if event.version > from && event.version <= to {
            lag.record(now.duration_since(event.recorded_at).as_secs_f64().max(0.0));
        }
    }
}
