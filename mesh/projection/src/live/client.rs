//! One client of a live topic, as a server-sent-event stream.
//!
//! Subscribe first and queue; read the snapshot with its stamp, or what came after the client's
//! own stamp; drop what is queued at or below the stamp; then follow. The client pulls: one that
//! never reads holds a bounded queue and nothing more.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use mesh_runtime::Shutdown;
use serde::Serialize;
use serde_json::Value as Json;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::{Signal, Stamp};
use crate::connection::{Inner, Projection};
use crate::read::{Read, Unavailable, read_listed};
use crate::view::View;
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

/// Documents in a snapshot; the topics of section 7 have far fewer.
const SNAPSHOT_MAX: usize = 500;

/// Events given to a resuming client; one that missed more gets a snapshot.
const RESUME_MAX: usize = 500;

type Show<D> = dyn Fn(Read<D>) -> Json + Send + Sync;

impl Projection {
    /// The live stream of a topic: a snapshot of its `V` documents (each as `show` gives it), then
    /// every event. With `last_event_id`, the stamp a client saw last, only what came after it,
    /// if that is still kept. Errors only before the first byte, if there is no snapshot to give.
    pub async fn live<V: View>(
        &self,
        topic: impl Into<String>,
        last_event_id: Option<&str>,
        shutdown: Shutdown,
        show: impl Fn(Read<V::Doc>) -> Json + Send + Sync + 'static,
    ) -> Result<Response, Unavailable> {
        let topic = topic.into();
        let mut client: Client<V> = Client {
            seat: Seat::take(self.inner.clone(), topic),
            stamp: last_event_id.and_then(|id| id.trim().parse().ok()),
            ready: VecDeque::new(),
            behind: true,
            ended: false,
            heartbeat: heartbeat(),
            shutdown,
            show: Box::new(show),
        };
        client.catch_up().await?;
        let chunks = futures::stream::unfold(client, |mut client| async move {
            let chunk = client.next().await?;
            Some((Ok::<_, Infallible>(chunk), client))
        });
        Ok(response(Body::from_stream(chunks)))
    }
}

fn heartbeat() -> Interval {
    let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT_PERIOD, HEARTBEAT_PERIOD);
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

struct Client<V: View> {
    seat: Seat,
    /// What the client has seen; `None` means that it needs a snapshot.
    stamp: Option<Stamp>,
    /// Chunks to be sent before anything else.
    ready: VecDeque<Bytes>,
    /// Something may be missing: Redis must be read before the queue is followed.
    behind: bool,
    ended: bool,
    heartbeat: Interval,
    shutdown: Shutdown,
    show: Box<Show<V::Doc>>,
}

impl<V: View> Client<V> {
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
            _ = self.heartbeat.tick() => self.ready.push_back(Bytes::from_static(b":\n\n")),
            signal = self.seat.recv() => match signal {
                Ok(Signal::Entry(stamp, text)) => self.take(stamp, &text),
                Ok(Signal::Gap) => self.behind = true,
                Err(RecvError::Lagged(_)) => {
                    metrics::counter!("live_clients_lagged_total").increment(1);
                    self.start_over();
                }
                Err(RecvError::Closed) => self.start_over(),
            },
        }
    }

    fn take(&mut self, stamp: Stamp, text: &str) {
        match self.stamp {
            Some(seen) if seen.is_followed_by(stamp) => self.push_event(stamp, text),
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
            self.snapshot().await?;
        }
        self.behind = false;
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
            .arg(RESUME_MAX);
        let answer: Vec<String> = inner.read(&cmd).await.map_err(unavailable)?;
        let Some(("ok", entries)) = answer.split_first().map(|(word, rest)| (word.as_str(), rest)) else {
            return Ok(false);
        };
        for entry in entries.chunks_exact(2) {
            let stamp = entry[0].parse().map_err(unavailable)?;
            self.push_event(stamp, &entry[1]);
        }
        Ok(true)
    }

    async fn snapshot(&mut self) -> Result<(), Unavailable> {
        let inner = &self.seat.inner;
        let mut cmd = inner.fcall(library::SNAPSHOT);
        cmd.arg(&inner.prefix)
            .arg(V::KIND)
            .arg(&self.seat.topic)
            .arg(SNAPSHOT_MAX)
            .arg(LIVE_TTL_S);
        let mut answer = inner
            .read::<Vec<redis::Value>>(&cmd)
            .await
            .map_err(unavailable)?
            .into_iter();
        let stamp: String = redis::from_redis_value(answer.next().unwrap_or(redis::Value::Nil)).map_err(unavailable)?;
        // The function has no stamp to give while the view is not complete.
        let stamp: Stamp = stamp.parse().map_err(unavailable)?;
        let mut documents = Vec::with_capacity(answer.len());
        for row in answer {
            let (stream, version, doc, quarantine): (String, _, _, _) =
                redis::from_redis_value(row).map_err(unavailable)?;
            let read = read_listed::<V>(&stream, (version, doc, quarantine))?;
            documents.extend(read.map(&self.show));
        }
        self.push_snapshot(stamp, documents);
        Ok(())
    }

    fn push_snapshot(&mut self, stamp: Stamp, documents: Vec<Json>) {
        #[derive(Serialize)]
        struct Snapshot {
            stamp: String,
            documents: Vec<Json>,
        }
        let snapshot = Snapshot {
            stamp: stamp.to_string(),
            documents,
        };
        let data = serde_json::to_string(&snapshot).expect("JSON values have string keys");
        self.push(stamp, "snapshot", &data);
    }

    fn push_event(&mut self, stamp: Stamp, text: &str) {
        self.push(stamp, "event", text);
    }

    fn push(&mut self, stamp: Stamp, event: &str, data: &str) {
        let mut chunk = String::with_capacity(data.len() + 64);
        write!(chunk, "id: {stamp}\nevent: {event}\ndata: {data}\n\n").expect("strings take everything");
        self.ready.push_back(chunk.into());
        self.stamp = Some(stamp);
    }

    fn end(&mut self) {
        self.ready.push_back(format!("retry: {CLIENT_RETRY_MS}\n\n").into());
        self.ended = true;
    }
}

fn unavailable(err: impl Into<crate::BoxError>) -> Unavailable {
    Unavailable::because("live stream", err)
}
