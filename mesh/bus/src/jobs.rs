//! Work queues: one worker takes each job, and the broker forgets it once it is done.
//!
//! A job may be handed out twice, so workers are idempotent. The queue may lose everything, so a
//! producer keeps its job open until an event answers it, and publishes it again until then.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::pull::Config as PullConfig;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use async_nats::jetstream::stream::{Config as StreamConfig, RetentionPolicy};
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures::future::join_all;
use futures::{FutureExt as _, StreamExt as _};
use mesh_contracts::subject::Queue;
use mesh_runtime::Shutdown;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::{Instant, Interval};

use crate::streams::{self, ENSURE_TIMEOUT, EVENT_AGE_MAX};
use crate::{BoxError, Bus, DeadLetter, PublishError, Published, StreamsError, Verdict, wire};

/// What a dead letter calls a job's type.
const JOB_TYPE: &str = "job";

/// The broker hands a job out again if it heard nothing of it for so long: what a killed worker
/// had in hand is late by this much. A worker that needs longer says so meanwhile.
const ACK_WAIT: Duration = Duration::from_secs(5);

/// How often the broker is told that we still have a job: one message lost must not cost it.
const PROGRESS_PERIOD: Duration = Duration::from_millis(ACK_WAIT.as_millis() as u64 / 3);

/// How long one request for a job stays open on the broker. Jobs come at once all the same.
const PULL_EXPIRES: Duration = Duration::from_secs(10);

/// Jobs out at once over all replicas of a worker.
const UNACKED_MAX: i64 = 256;

/// Jobs, or batches of them, worked on at once unless told otherwise.
const LANES: usize = 4;

/// Tries of a job that may be to blame, unless told otherwise.
const TRIES_MAX: u64 = 5;

/// Times that a job may be handed out beyond its tries: a worker that is told to end while something is away gives
/// its jobs back, and a job that kills every worker must end all the same.
const DEATHS_MAX: u64 = 20;

/// Pause before the second try, unless told otherwise; four times as long before each next one …
const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// … up to this.
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// Pause before a job is tried again because something it needs is away, at first …
const AWAY_PAUSE_MIN: Duration = Duration::from_millis(50);

/// … and at most: how much later than necessary we may notice that it is back.
const AWAY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Pause before a broken lane asks the broker again, at first …
const REVIVE_PAUSE_MIN: Duration = Duration::from_millis(50);

/// … and at most.
const REVIVE_PAUSE_MAX: Duration = Duration::from_secs(1);

/// A job to be put on a queue.
#[derive(Debug, Clone)]
pub struct NewJob {
    id: String,
    about: String,
    body: Bytes,
}

impl NewJob {
    /// A job with an id that lets the broker drop a repeat (for ten minutes), about an aggregate.
    /// No personal data: jobs lie on the broker's disk.
    pub fn new(id: impl Into<String>, about: impl ToString, body: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self {
            id: id.into(),
            about: about.to_string(),
            body: serde_json::to_vec(body)?.into(),
        })
    }
}

/// A job in a worker's hands.
#[derive(Debug, Clone)]
pub struct Job {
    /// What the producer called it.
    pub id: String,
    /// The aggregate it is about.
    pub about: String,
    /// 1 at first; also counts what killed a worker.
    pub attempt: u64,
    /// No further try follows this one.
    pub is_last_try: bool,
    body: Bytes,
}

impl Job {
    /// What is to be done. A job that cannot be read is [`Verdict::Poison`].
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// What to work on, as whom, and how often.
#[derive(Debug, Clone)]
pub struct Work {
    queue: Queue,
    lanes: usize,
    batch_max: usize,
    gather: Duration,
    tries_max: u64,
    backoff: (Duration, Duration),
}

impl Work {
    /// The jobs of a queue, under the durable name of its one worker. Replicas share the name and
    /// the work.
    pub fn on(queue: Queue) -> Self {
        Self {
            queue,
            lanes: LANES,
            batch_max: 1,
            gather: Duration::ZERO,
            tries_max: TRIES_MAX,
            backoff: (BACKOFF_MIN, BACKOFF_MAX),
        }
    }

    /// Works on so many jobs at once, or on so many batches.
    #[must_use]
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.lanes = lanes.max(1);
        self
    }

    /// Hands over up to `max` jobs together: the first, and what is there `gather` (at most a second or so) after
    /// it. One by one unless told otherwise.
    #[must_use]
    pub fn batch(mut self, max: usize, gather: Duration) -> Self {
        self.batch_max = max.max(1);
        // What is gathered lies in our hands before the broker is told that it does.
        self.gather = gather.min(PROGRESS_PERIOD);
        self
    }

    /// Gives a job that may be to blame up after so many tries.
    #[must_use]
    pub fn tries_max(mut self, tries_max: u64) -> Self {
        self.tries_max = tries_max.max(1);
        self
    }

    /// Pauses between tries: the first, and the longest.
    #[must_use]
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff = (min, max.max(min));
        self
    }

    /// How long a job rests after its first, second … try.
    fn rest_after(&self, attempt: u64) -> Duration {
        let (min, max) = self.backoff;
        let steps = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        4_u32
            .checked_pow(steps)
            .and_then(|factor| min.checked_mul(factor))
            .map_or(max, |rest| rest.min(max))
    }
}

impl Bus {
    /// Makes the streams of `queues` and the one for dead letters where they are missing, reads
    /// them back and compares. Waits up to 30 s for the broker.
    pub async fn ensure_queues(&self, queues: &[Queue]) -> Result<(), StreamsError> {
        let ensuring = async {
            self.connected().await;
            for queue in queues {
                self.ensure_stream(&self.queue_stream(*queue)).await?;
            }
            self.ensure_dead_stream().await
        };
        tokio::time::timeout(ENSURE_TIMEOUT, ensuring)
            .await
            .map_err(streams::unavailable)?
    }

    /// Puts a job on a queue and waits until the broker has it. A broker that was wiped gets its
    /// queue again on the way.
    pub async fn publish_job(&self, queue: Queue, job: &NewJob) -> Result<Published, PublishError> {
        match self.try_publish_job(queue, job).await {
            Err(err) if err.is_stream_missing() => {
                if let Err(err) = self.ensure_stream(&self.queue_stream(queue)).await {
                    tracing::warn!(queue = queue.as_str(), error = %err, "queue cannot be made");
                }
                self.try_publish_job(queue, job).await
            }
            published => published,
        }
    }

    async fn try_publish_job(&self, queue: Queue, job: &NewJob) -> Result<Published, PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, job.id.as_str());
        headers.insert(wire::EVENT_ID, job.id.as_str());
        headers.insert(wire::EVENT_TYPE, JOB_TYPE);
        headers.insert(wire::STREAM, job.about.as_str());
        let subject = self.names.job_subject(queue);
        let ack = self
            .jetstream
            .publish_with_headers(subject, headers, job.body.clone())
            .await?
            .await?;
        Ok(Published {
            sequence: ack.sequence,
            duplicate: ack.duplicate,
        })
    }

    /// Hands the jobs of the queue to `handle`, in batches if `work` says so, a few at a time, and settles each by its
    /// own verdict, of which `handle` gives one per job in their order:
    /// - `Done`: the broker forgets it.
    /// - `Later`: kept in hand and tried again with short pauses, without end and without
    ///   counting: something it needs is away, and the next job would fare no better. Those of a
    ///   batch are tried again together.
    /// - `Retry`: goes back to the broker for a pause that grows, so that it is in nobody's way;
    ///   after the last try it is a dead letter.
    /// - `Poison`: a dead letter at once.
    ///
    /// A batch over which `handle` panics is handed over again, each job alone, to find out which is to blame.
    /// The broker counts how often it hands a job out, so the tries survive a restart; one that
    /// killed its worker counts, and so does what was in hand with it. Survives errors and a restarted or wiped
    /// broker; returns only on shutdown.
    pub async fn work<H, Fut>(&self, work: Work, shutdown: Shutdown, handle: H)
    where
        H: Fn(Vec<Job>) -> Fut + Send + Sync,
        Fut: Future<Output = Vec<Verdict>> + Send,
    {
        let lane = Lane {
            bus: self,
            work: &work,
            shutdown: &shutdown,
            turn: &Mutex::new(()),
            handle: &handle,
        };
        join_all((0..work.lanes).map(|_| lane.run())).await;
    }

    fn queue_stream(&self, queue: Queue) -> StreamConfig {
        StreamConfig {
            subjects: vec![self.names.job_subject(queue)],
            retention: RetentionPolicy::WorkQueue,
            max_age: EVENT_AGE_MAX,
            ..streams::stream(self.names.queue(queue))
        }
    }
}

/// Takes one batch after another. Asks for no more than it works on next: what waited in our hands for its turn
/// would be late at the broker and count as a try.
struct Lane<'a, H> {
    bus: &'a Bus,
    work: &'a Work,
    shutdown: &'a Shutdown,
    /// Held by the lane that asks the broker: two that gathered at once would have half a batch each.
    turn: &'a Mutex<()>,
    handle: &'a H,
}

/// A job in a lane's hands.
struct Held {
    message: Message,
    job: Job,
}

/// A job that is given up, or a message that is none.
struct Lost {
    message: Message,
    job: Option<Job>,
    reason: String,
}

impl<H, Fut> Lane<'_, H>
where
    H: Fn(Vec<Job>) -> Fut + Send + Sync,
    Fut: Future<Output = Vec<Verdict>> + Send,
{
    async fn run(&self) {
        let mut pause = REVIVE_PAUSE_MIN;
        while !self.shutdown.is_triggered() {
            let Err(err) = self.session(|| pause = REVIVE_PAUSE_MIN).await else {
                return;
            };
            tracing::warn!(queue = self.work.queue.as_str(), error = %err, "worker broke, asking again");
            if !self.pause(&mut pause, REVIVE_PAUSE_MAX).await {
                return;
            }
        }
    }

    /// Ends with `Ok` only on shutdown. Calls `alive` whenever the broker has shown that it is.
    async fn session(&self, mut alive: impl FnMut()) -> Result<(), BoxError> {
        self.bus.ensure_stream(&self.bus.queue_stream(self.work.queue)).await?;
        let consumer = self.consumer().await?;
        // What was asked of a connection that broke is never answered.
        let mut connections = self.bus.connections();
        connections.mark_unchanged();
        loop {
            let turn = self.turn.lock().await;
            let mut first = consumer
                .batch()
                .max_messages(1)
                .expires(PULL_EXPIRES)
                .messages()
                .await?;
            let message = tokio::select! {
                () = self.shutdown.triggered() => return Ok(()),
                Ok(()) = connections.changed() => return Err("connection was made anew".into()),
                message = first.next() => message,
            };
            if let Some(message) = message {
                let mut messages = vec![message?];
                let since = Instant::now();
                alive();
                self.gather(&consumer, &mut messages).await;
                drop(turn);
                self.settle(messages, since).await;
            } else if !self.bus.is_connected() {
                return Err("bus is away".into());
            } else {
                // Nothing came in the time: a wiped broker says nothing either, so look.
                consumer.get_info().await?;
                alive();
            }
        }
    }

    /// Adds what has come a little after the first.
    async fn gather(&self, consumer: &PullConsumer, messages: &mut Vec<Message>) {
        let more = self.work.batch_max - messages.len();
        if more == 0 {
            return;
        }
        let info = messages.first().and_then(|first| first.info().ok());
        // Nothing is gained by waiting for what is there.
        if info.is_none_or(|info| info.pending < more as u64) {
            tokio::select! {
                () = self.shutdown.triggered() => return,
                () = tokio::time::sleep(self.work.gather) => {}
            }
        }
        let fetching = async {
            let mut fetched = consumer.fetch().max_messages(more).messages().await?;
            while let Some(message) = fetched.next().await {
                messages.push(message?);
            }
            Ok::<_, BoxError>(())
        };
        // Whatever is wrong is wrong again at the next request, when nothing is in hand.
        if !matches!(tokio::time::timeout(PROGRESS_PERIOD, fetching).await, Ok(Ok(()))) {
            tracing::debug!(queue = self.work.queue.as_str(), "batch is smaller than it could be");
        }
    }

    async fn consumer(&self) -> Result<PullConsumer, BoxError> {
        let names = &self.bus.names;
        let stream = self
            .bus
            .jetstream
            .get_stream_no_info(names.queue(self.work.queue))
            .await?;
        let consumer = stream
            .create_consumer(PullConfig {
                durable_name: Some(names.durable(self.work.queue.worker())),
                deliver_policy: DeliverPolicy::All,
                ack_policy: AckPolicy::Explicit,
                ack_wait: ACK_WAIT,
                max_ack_pending: UNACKED_MAX,
                ..PullConfig::default()
            })
            .await?;
        Ok(consumer)
    }

    async fn settle(&self, messages: Vec<Message>, since: Instant) {
        let mut progress = tokio::time::interval_at(since + PROGRESS_PERIOD, PROGRESS_PERIOD);
        let (mut held, mut lost) = self.sort(messages);
        let mut pause = AWAY_PAUSE_MIN;
        let mut waits = false;
        loop {
            let verdicts = keeping(&in_hand(&held, &lost), &mut progress, self.judge(&held)).await;
            let mut away = None;
            let mut later = Vec::new();
            for (Held { message, job }, verdict) in held.into_iter().zip(verdicts) {
                match verdict {
                    Verdict::Done => tell(&message, AckKind::Ack).await,
                    Verdict::Later(reason) => {
                        away = Some(reason);
                        later.push(Held { message, job });
                    }
                    Verdict::Retry(reason) if !job.is_last_try => {
                        let rest = self.work.rest_after(job.attempt);
                        tracing::warn!(
                            queue = self.work.queue.as_str(), job.about = %job.about, job.attempt,
                            error = reason, "job failed, coming again"
                        );
                        tell(&message, AckKind::Nak(Some(rest))).await;
                    }
                    Verdict::Retry(reason) | Verdict::Poison(reason) => {
                        tracing::error!(
                            queue = self.work.queue.as_str(), job.about = %job.about, job.attempt,
                            error = reason, "job given up"
                        );
                        let job = Some(job);
                        lost.push(Lost { message, job, reason });
                    }
                }
            }
            let burying = join_all(lost.iter().map(|lost| self.insist(lost)));
            keeping(&in_hand(&later, &lost), &mut progress, burying).await;
            lost.clear();
            let Some(reason) = away else {
                return;
            };
            // Said once per batch: what is away may be away for hours.
            if !std::mem::replace(&mut waits, true) {
                tracing::warn!(
                    queue = self.work.queue.as_str(),
                    jobs = later.len(),
                    reason,
                    "jobs wait"
                );
            }
            let go_on = self.pause(&mut pause, AWAY_PAUSE_MAX);
            if !keeping(&in_hand(&later, &[]), &mut progress, go_on).await {
                for held in &later {
                    tell(&held.message, AckKind::Nak(None)).await;
                }
                return;
            }
            held = later;
        }
    }

    /// What can be handed over, and what cannot.
    fn sort(&self, messages: Vec<Message>) -> (Vec<Held>, Vec<Lost>) {
        let (mut held, mut lost) = (Vec::new(), Vec::new());
        for message in messages {
            let (job, reason) = match self.read(&message) {
                Ok(job) if job.attempt <= self.work.tries_max.saturating_add(DEATHS_MAX) => {
                    held.push(Held { message, job });
                    continue;
                }
                Ok(job) => (Some(job), "no worker survives it".to_owned()),
                Err(err) => (None, err.to_string()),
            };
            tracing::error!(
                queue = self.work.queue.as_str(),
                error = reason,
                "job cannot be handed over"
            );
            lost.push(Lost { message, job, reason });
        }
        (held, lost)
    }

    fn read(&self, message: &Message) -> Result<Job, BoxError> {
        let attempt = u64::try_from(message.info()?.delivered).unwrap_or(1);
        let header = |name: &'static str| {
            let headers = message.headers.as_ref()?;
            headers.get(name).map(|value| value.as_str().to_owned())
        };
        Ok(Job {
            id: header(wire::EVENT_ID).ok_or("job has no id")?,
            about: header(wire::STREAM).ok_or("job is about nothing")?,
            attempt,
            is_last_try: attempt >= self.work.tries_max,
            body: message.payload.clone(),
        })
    }

    /// One verdict for each. A panic is the job's fault until proven otherwise; that of several proves nothing.
    async fn judge(&self, held: &[Held]) -> Vec<Verdict> {
        let jobs: Vec<Job> = held.iter().map(|held| held.job.clone()).collect();
        if jobs.is_empty() {
            return Vec::new();
        }
        if let Some(verdicts) = self.hand_over(jobs.clone()).await {
            return verdicts;
        }
        let mut verdicts = Vec::new();
        for job in jobs {
            let alone = if held.len() > 1 {
                self.hand_over(vec![job]).await
            } else {
                None
            };
            verdicts.extend(alone.unwrap_or_else(|| vec![Verdict::Retry("handler panicked".into())]));
        }
        verdicts
    }

    /// `None`: the handler panicked.
    async fn hand_over(&self, jobs: Vec<Job>) -> Option<Vec<Verdict>> {
        let count = jobs.len();
        let handling = AssertUnwindSafe(async { (self.handle)(jobs).await });
        let mut verdicts = handling.catch_unwind().await.ok()?;
        verdicts.resize_with(count, || Verdict::Retry("handler gave no verdict".into()));
        Some(verdicts)
    }

    /// Buries again and again until it succeeds, then acknowledges; gives up only on shutdown.
    async fn insist(&self, lost: &Lost) {
        let queue = self.work.queue;
        let Lost { message, job, reason } = lost;
        let letter = DeadLetter {
            event_id: job.as_ref().map(|job| job.id.clone()),
            stream: job.as_ref().map(|job| job.about.clone()),
            event_type: Some(JOB_TYPE.to_owned()),
            ..DeadLetter::unreadable(queue.context(), queue.worker(), reason)
        };
        let sequence = message.info().map_or(0, |info| info.stream_sequence);
        let message_id = format!("{}/{sequence}", queue.as_str());
        let mut pause = AWAY_PAUSE_MIN;
        loop {
            match self.bus.bury(&letter, message_id.clone()).await {
                Ok(()) => return tell(message, AckKind::Ack).await,
                Err(err) => tracing::warn!(queue = queue.as_str(), error = %err, "dead letter not kept yet"),
            }
            if !self.pause(&mut pause, AWAY_PAUSE_MAX).await {
                return;
            }
        }
    }

    /// False on shutdown.
    async fn pause(&self, pause: &mut Duration, max: Duration) -> bool {
        tokio::select! {
            () = self.shutdown.triggered() => return false,
            () = tokio::time::sleep(*pause) => {}
        }
        *pause = (*pause * 2).min(max);
        true
    }
}

/// The messages of which the broker is to be told that we have them.
fn in_hand<'a>(held: &'a [Held], lost: &'a [Lost]) -> Vec<&'a Message> {
    let held = held.iter().map(|held| &held.message);
    held.chain(lost.iter().map(|lost| &lost.message)).collect()
}

/// Does some work on jobs, and tells the broker from time to time that they are in our hands.
async fn keeping<T>(messages: &[&Message], progress: &mut Interval, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = progress.tick() => for message in messages {
                tell(message, AckKind::Progress).await;
            },
        }
    }
}

/// A lost word to the broker costs a repeat, so its failure is nothing to act on.
async fn tell(message: &Message, what: AckKind) {
    if let Err(err) = message.ack_with(what).await {
        tracing::debug!(error = %err, "broker not told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_rests_longer_after_each_try_and_never_too_long() {
        let work = Work::on(Queue::Notify).backoff(Duration::from_secs(1), Duration::from_secs(60));
        let rests: Vec<u64> = (1..=5).map(|attempt| work.rest_after(attempt).as_secs()).collect();
        assert_eq!(rests, [1, 4, 16, 60, 60]);
        assert_eq!(work.rest_after(u64::MAX).as_secs(), 60);
    }
}
