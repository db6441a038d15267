//! One client of a live topic, as a server-sent-event stream.
//!
//! Subscribe first and queue; read the snapshot with its stamp, or what came after the client's
//! own stamp; drop what is queued at or below the stamp; then follow. The client pulls: one that
//! never reads holds a bounded queue and nothing more.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use mesh_runtime::Shutdown;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value as Json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use xxhash_rust::xxh3::xxh3_64;

use super::{Signal, Stamp};
use crate::connection::{Inner, Projection};
use crate::read::{Read, Unavailable};
use crate::view::{View, parse};
use crate::write::LIVE_TTL_S;
use crate::{keys, library};

/// The request header that names the last stamp a reconnecting client has seen.
pub const RESUME_HEADER: &str = "last-event-id";

/// Keeps proxies from closing an idle stream, and shows the client that we are alive.
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(10);

/// Pause before a snapshot that could not be had is asked for again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Told to clients when the process ends: come back soon, somewhere else.
const CLIENT_RETRY_MS: u32 = 500;

/// Snapshots that a client who cannot keep up is given: any more often they would be all it gets.
const SNAPSHOT_GAP: Duration = Duration::from_secs(1);

/// Documents in a snapshot: all food points and couriers of a region with room to spare. Other topics have far fewer.
const SNAPSHOT_MAX: usize = 10_000;

/// Events given to a resuming client; one that missed more gets a snapshot.
const RESUME_MAX: usize = 500;

/// Signs of life between two looks at whether something was missed although nothing said so. A look also keeps the topic
/// alive, which without news lives for two hours; the slowest heart beats for half an hour between two.
const BEATS_PER_LOOK: u32 = 180;

/// How an entry begins the document that it brings.
const DOCUMENT: &str = r#""document":{"#;

/// What an entry that brings a document says of it.
#[derive(Deserialize)]
struct Told<'a> {
    stream: &'a str,
    version: u64,
}

/// Kind, stream, version, document and quarantine, as Redis has them.
type Row = (String, String, Option<u64>, Option<String>, Option<String>);
type Shower = dyn Fn(&str, u64, &str) -> Result<Option<Box<RawValue>>, serde_json::Error> + Send + Sync;
type Editor = dyn Fn(&mut Map<String, Json>) + Send + Sync;

/// A live stream that is about to be opened.
pub struct Live {
    inner: Arc<Inner>,
    topic: String,
    shows: Vec<(&'static str, Box<Shower>)>,
    /// Names, kinds and lists.
    counts: Vec<(&'static str, &'static str, String)>,
    edit: Option<Box<Editor>>,
    event: &'static str,
    heartbeat: Duration,
}

impl Projection {
    /// The live stream of a topic: a snapshot, then every event.
    pub fn live(&self, topic: impl Into<String>) -> Live {
        Live {
            inner: self.inner.clone(),
            topic: topic.into(),
            shows: Vec::new(),
            counts: Vec::new(),
            edit: None,
            event: "event",
            heartbeat: HEARTBEAT_PERIOD,
        }
    }
}

impl Live {
    /// With the topic's `V` documents, each as `show` gives it. One that `show` has nothing of is left out.
    pub fn showing<V: View>(mut self, show: impl Fn(Read<V::Doc>) -> Box<RawValue> + Send + Sync + 'static) -> Self {
        let show = move |id: &str, version, doc: &str| {
            let doc = parse::<V::Doc>(doc)?;
            Ok(doc.map(|doc| {
                show(Read {
                    id: id.into(),
                    version,
                    doc,
                })
            }))
        };
        self.shows.push((V::KIND, Box::new(show)));
        self
    }

    /// With the number of `V` documents on each of these lists of `index`, by the lists' values.
    pub fn counting<V: View>(mut self, index: &str, values: impl IntoIterator<Item = &'static str>) -> Self {
        let counts = values
            .into_iter()
            .map(|value| (value, V::KIND, keys::index(index, value)));
        self.counts.extend(counts);
        self
    }

    /// Events go out with what `edit` leaves of their bodies.
    pub fn editing(mut self, edit: impl Fn(&mut Map<String, Json>) + Send + Sync + 'static) -> Self {
        self.edit = Some(Box::new(edit));
        self
    }

    /// Entries of the topic are called so instead of `event`, since they are none.
    pub fn calling(mut self, event: &'static str) -> Self {
        self.event = event;
        self
    }

    /// With a sign of life this often when nothing else is said.
    pub fn beating(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Opens it. With `last_event_id`, where a client left off, only what came after it, if that is still kept;
    /// anything else in it, also of another topic, gives a snapshot. Errors only before the first byte, if there is
    /// no snapshot to give.
    pub async fn open(self, last_event_id: Option<&str>, shutdown: Shutdown) -> Result<Response, Unavailable> {
        let tag = tag(&self.topic);
        let mut client = Client {
            seat: Seat::take(self.inner.clone(), self.topic.clone()),
            stamp: last_event_id.and_then(|id| stamp_of(id, tag)),
            tag,
            ready: VecDeque::new(),
            behind: true,
            ended: false,
            snapshot_at: None,
            heartbeat: heartbeat(self.heartbeat),
            beats: 0,
            shutdown,
            live: self,
        };
        client.catch_up().await?;
        let chunks = futures::stream::unfold(client, |mut client| async move {
            let chunk = client.next().await?;
            Some((Ok::<_, Infallible>(chunk), client))
        });
        Ok(response(Body::from_stream(chunks)))
    }
}

/// What an event's id says besides its stamp: topics count alike, and the stamp of one says nothing on another.
fn tag(topic: &str) -> u32 {
    xxh3_64(topic.as_bytes()) as u32
}

fn stamp_of(id: &str, tag: u32) -> Option<Stamp> {
    let (stamp, of) = id.trim().rsplit_once('-')?;
    (u32::from_str_radix(of, 16) == Ok(tag)).then(|| stamp.parse().ok())?
}

fn heartbeat(period: Duration) -> Interval {
    let mut heartbeat = tokio::time::interval_at(Instant::now() + period, period);
    // One is enough for a client that did not read for a while.
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}

fn response(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Proxies that buffer would hold every event back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// A place at a topic, given up when dropped.
struct Seat {
    inner: Arc<Inner>,
    topic: String,
    receiver: Option<broadcast::Receiver<Signal>>,
}

impl Seat {
    fn take(inner: Arc<Inner>, topic: String) -> Self {
        let receiver = Some(inner.hub.subscribe(&topic));
        metrics::gauge!("live_clients").increment(1.0);
        Self { inner, topic, receiver }
    }

    async fn recv(&mut self) -> Result<Signal, RecvError> {
        self.receiver().recv().await
    }

    fn receiver(&mut self) -> &mut broadcast::Receiver<Signal> {
        self.receiver.as_mut().expect("taken only by drop")
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        metrics::gauge!("live_clients").decrement(1.0);
        if let Some(receiver) = self.receiver.take() {
            self.inner.hub.leave(&self.topic, receiver);
        }
    }
}

struct Client {
    live: Live,
    seat: Seat,
    /// What the client has seen; `None` means that it needs a snapshot.
    stamp: Option<Stamp>,
    /// Of the topic.
    tag: u32,
    /// Chunks to be sent before anything else.
    ready: VecDeque<Bytes>,
    /// Something may be missing: Redis must be read before the queue is followed.
    behind: bool,
    ended: bool,
    snapshot_at: Option<Instant>,
    heartbeat: Interval,
    /// Since Redis was asked last.
    beats: u32,
    shutdown: Shutdown,
}

impl Client {
    /// The next piece of the body; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Some(chunk);
            }
            if self.ended {
                return None;
            }
            if self.behind {
                self.catch_up_or_wait().await;
            } else {
                self.follow().await;
            }
        }
    }

    async fn follow(&mut self) {
        tokio::select! {
            () = self.shutdown.triggered() => self.end(),
            _ = self.heartbeat.tick() => self.beat(),
            signal = self.seat.recv() => match signal {
                Ok(Signal::Entry(stamp, text)) => self.take(stamp, &text),
                Ok(Signal::Passing(name, text)) => self.pass(name, &text),
                Ok(Signal::Gap) => self.behind = true,
                Err(RecvError::Lagged(_)) => {
                    metrics::counter!("live_clients_lagged_total").increment(1);
                    self.start_over();
                }
                Err(RecvError::Closed) => self.start_over(),
            },
        }
    }

    fn beat(&mut self) {
        self.ready.push_back(Bytes::from_static(b":\n\n"));
        self.beats += 1;
        if self.beats >= BEATS_PER_LOOK {
            self.behind = true;
        }
    }

    fn take(&mut self, stamp: Stamp, text: &str) {
        match self.stamp {
            Some(seen) if seen.is_followed_by(stamp) => {
                if let Err(err) = self.push_event(stamp, text) {
                    tracing::warn!(topic = %self.seat.topic, error = %err, "live entry not understood");
                    self.start_over();
                }
            }
            Some(seen) if stamp <= seen => {}
            Some(_) | None => self.behind = true,
        }
    }

    /// Too far behind to be served piece by piece: forget the queue, take a fresh snapshot.
    fn start_over(&mut self) {
        self.seat.receiver = Some(self.seat.inner.hub.subscribe(&self.seat.topic));
        self.stamp = None;
        self.behind = true;
    }

    async fn catch_up_or_wait(&mut self) {
        let shutdown = self.shutdown.clone();
        let caught_up = tokio::select! {
            () = shutdown.triggered() => return self.end(),
            caught_up = self.catch_up() => caught_up,
        };
        let Err(err) = caught_up else { return };
        tracing::debug!(topic = %self.seat.topic, error = %err, "live stream waits");
        tokio::select! {
            () = shutdown.triggered() => self.end(),
            _ = self.heartbeat.tick() => self.ready.push_back(Bytes::from_static(b":\n\n")),
            () = tokio::time::sleep(RETRY_PAUSE) => {}
        }
    }

    async fn catch_up(&mut self) -> Result<(), Unavailable> {
        let resumed = match self.stamp {
            Some(stamp) => self.resume(stamp).await?,
            None => false,
        };
        if !resumed {
            if let Some(last) = self.snapshot_at {
                tokio::time::sleep_until(last + SNAPSHOT_GAP).await;
            }
            self.snapshot().await?;
            self.snapshot_at = Some(Instant::now());
        }
        self.behind = false;
        self.beats = 0;
        Ok(())
    }

    /// Whether everything after the stamp was still there.
    async fn resume(&mut self, stamp: Stamp) -> Result<bool, Unavailable> {
        let inner = &self.seat.inner;
        let mut cmd = redis::cmd("FCALL");
        cmd.arg(library::RESUME)
            .arg(3)
            .arg(inner.sentinel())
            .arg(keys::live(&inner.prefix, &self.seat.topic))
            .arg(format!("{}seq:{}", inner.prefix, self.seat.topic))
            .arg(stamp.generation)
            .arg(stamp.sequence)
            .arg(RESUME_MAX)
            .arg(LIVE_TTL_S);
        let answer: Vec<String> = inner.read(&cmd).await.map_err(unavailable)?;
        let Some(("ok", entries)) = answer.split_first().map(|(word, rest)| (word.as_str(), rest)) else {
            return Ok(false);
        };
        for entry in entries.chunks_exact(2) {
            let stamp = entry[0].parse().map_err(unavailable)?;
            if self.push_event(stamp, &entry[1]).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn snapshot(&mut self) -> Result<(), Unavailable> {
        let inner = &self.seat.inner;
        let mut cmd = inner.fcall(library::SNAPSHOT);
        cmd.arg(&inner.prefix)
            .arg(&self.seat.topic)
            .arg(SNAPSHOT_MAX)
            .arg(LIVE_TTL_S)
            .arg(self.live.shows.len());
        for (kind, _) in &self.live.shows {
            cmd.arg(kind);
        }
        for (_, kind, list) in &self.live.counts {
            cmd.arg(kind).arg(list);
        }
        let (stamp, counts, rows): (String, Vec<u64>, Vec<Row>) = inner.read(&cmd).await.map_err(unavailable)?;
        // The function has no stamp to give while a view is not complete.
        let stamp: Stamp = stamp.parse().map_err(unavailable)?;
        if rows.len() == SNAPSHOT_MAX {
            tracing::warn!(topic = %self.seat.topic, "live snapshot has reached its limit");
        }
        let mut documents = Vec::with_capacity(rows.len());
        for (kind, id, version, doc, quarantine) in rows {
            if quarantine.is_none() {
                let doc = doc.unwrap_or_default();
                let shown = self.shown(&kind, &id, version.unwrap_or_default(), &doc);
                documents.extend(shown.map_err(unavailable)?);
            }
        }
        self.push_snapshot(stamp, &counts, documents);
        Ok(())
    }

    fn shown(&self, kind: &str, id: &str, version: u64, doc: &str) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        let show = self.live.shows.iter().find(|(known, _)| *known == kind);
        show.map_or(Ok(None), |(_, show)| show(id, version, doc))
    }

    fn push_snapshot(&mut self, stamp: Stamp, counts: &[u64], documents: Vec<Box<RawValue>>) {
        #[derive(Serialize)]
        struct Snapshot<'a> {
            stamp: String,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            counts: BTreeMap<&'a str, u64>,
            documents: Vec<Box<RawValue>>,
        }
        let names = self.live.counts.iter().map(|(name, ..)| *name);
        let snapshot = Snapshot {
            stamp: self.id(stamp),
            counts: names.zip(counts.iter().copied()).collect(),
            documents,
        };
        let data = serde_json::to_string(&snapshot).expect("JSON values have string keys");
        self.push(stamp, "snapshot", &data);
    }

    fn push_event(&mut self, stamp: Stamp, text: &str) -> Result<(), serde_json::Error> {
        let text = self.dressed(text)?;
        self.push(stamp, self.live.event, &text);
        Ok(())
    }

    /// An entry as this client may see it.
    fn dressed<'a>(&self, text: &'a str) -> Result<Cow<'a, str>, serde_json::Error> {
        if self.live.edit.is_none() && !text.contains(DOCUMENT) {
            return Ok(text.into());
        }
        let (edited, shown);
        let mut entry: BTreeMap<&str, &RawValue> = serde_json::from_str(text)?;
        if let (Some(edit), Some(data)) = (&self.live.edit, entry.get("data")) {
            let mut data: Map<String, Json> = serde_json::from_str(data.get())?;
            edit(&mut data);
            edited = to_raw_value(&data)?;
            entry.insert("data", &edited);
        }
        if let Some(document) = entry.remove("document") {
            let Told { stream, version } = serde_json::from_str(text)?;
            let document: BTreeMap<&str, &RawValue> = serde_json::from_str(document.get())?;
            if let Some((kind, doc)) = document.first_key_value()
                && let Some(seen) = self.shown(kind, stream, version, doc.get())?
            {
                shown = seen;
                entry.insert("document", &shown);
            }
        }
        serde_json::to_string(&entry).map(Cow::Owned)
    }

    fn push(&mut self, stamp: Stamp, event: &str, data: &str) {
        let id = self.id(stamp);
        let mut chunk = String::with_capacity(data.len() + 80);
        write!(chunk, "id: {id}\nevent: {event}\ndata: {data}\n\n").expect("strings take everything");
        self.ready.push_back(chunk.into());
        self.stamp = Some(stamp);
    }

    /// Without an id: a client that comes back asks for what follows the last event.
    fn pass(&mut self, event: &str, data: &str) {
        self.ready.push_back(format!("event: {event}\ndata: {data}\n\n").into());
    }

    fn id(&self, stamp: Stamp) -> String {
        format!("{stamp}-{:08x}", self.tag)
    }

    fn end(&mut self) {
        self.ready.push_back(format!("retry: {CLIENT_RETRY_MS}\n\n").into());
        self.ended = true;
    }
}

fn unavailable(err: impl Into<crate::BoxError>) -> Unavailable {
    Unavailable::because("live stream", err)
}
