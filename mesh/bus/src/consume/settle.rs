//! What becomes of a batch: acknowledged, tried again, or buried.
//!
//! Nothing leaves a batch unsettled but a shutdown; the broker hands those events out again.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{AckKind, Message};
use futures::FutureExt as _;
use mesh_contracts::envelope::Envelope;
use mesh_runtime::failpoint;
use tokio::time::{Instant, Interval};

use super::Verdict;
use super::session::{ACK_WAIT, Session};
use crate::{BoxError, DeadLetter, Poisoned, wire};

/// Tries of an event that may be poison.
const TRIES_MAX: u32 = 3;

/// Pause before the second try; doubles with each.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// Longest pause while a dependency is away: how much later than necessary we may notice that
/// it is back.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How often the broker is told that we still have an event: one message lost or late must not
/// cost it.
const PROGRESS_PERIOD: Duration = Duration::from_millis(ACK_WAIT.as_millis() as u64 / 3);

/// A message, acknowledged once none of its events is open.
struct InHand {
    message: Message,
    open: usize,
}

/// An event that is not settled yet.
struct Open {
    /// Which of the messages in hand it came with.
    message: usize,
    envelope: Envelope,
    failures: u32,
}

/// A letter on its way, and the stream to quarantine with it.
struct Burial {
    letter: DeadLetter,
    message_id: String,
    poisoned: Option<Poisoned>,
}

impl<H, Fut> Session<'_, H>
where
    H: Fn(Vec<Envelope>) -> Fut + Send + Sync,
    Fut: Future<Output = Vec<Verdict>> + Send,
{
    pub(super) async fn settle(&self, messages: Vec<Message>) {
        let (mut in_hand, mut events) = self.read(messages).await;
        let mut pause = PAUSE_MIN;
        let mut progress = tokio::time::interval_at(Instant::now() + PROGRESS_PERIOD, PROGRESS_PERIOD);
        while !events.is_empty() {
            let mut open: Vec<Open> = events.drain(..events.len().min(self.subscription.batch_max)).collect();
            while !open.is_empty() {
                let verdicts = self.keeping(&in_hand, &mut progress, self.judge(&open)).await;
                open = self.carry_out(open, verdicts, &mut in_hand).await;
                if !open.is_empty() && !self.keeping(&in_hand, &mut progress, self.pause(&mut pause)).await {
                    return;
                }
            }
        }
    }

    /// Decodes what is of our streams; what cannot be decoded is buried at once, since its stream may be unknown. The
    /// hole it leaves is filled from the owner's feed when the next version comes.
    async fn read(&self, messages: Vec<Message>) -> (Vec<InHand>, Vec<Open>) {
        let mut in_hand = Vec::with_capacity(messages.len());
        let mut events = Vec::with_capacity(messages.len());
        for message in messages {
            let mut taken = InHand { message, open: 0 };
            if !is_of_another(&taken.message, self.subscription.stream_prefix) {
                for (place, event) in decode(&taken.message).into_iter().enumerate() {
                    match event {
                        Ok(envelope) if !envelope.stream.starts_with(self.subscription.stream_prefix) => {}
                        Ok(envelope) => {
                            taken.open += 1;
                            events.push(Open {
                                message: in_hand.len(),
                                envelope,
                                failures: 0,
                            });
                        }
                        Err(err) => taken.open += usize::from(!self.bury_unreadable(&taken.message, place, err).await),
                    }
                }
            }
            if taken.open == 0 {
                self.acknowledge(&taken.message).await;
            }
            in_hand.push(taken);
        }
        (in_hand, events)
    }

    /// A handler that panics is asked again for one event at a time, to find the one it panics on.
    async fn judge(&self, open: &[Open]) -> Vec<Verdict> {
        if let Some(verdicts) = self.ask(open).await {
            return verdicts;
        }
        let mut verdicts = Vec::with_capacity(open.len());
        for one in open {
            let verdict = self.ask(std::slice::from_ref(one)).await.and_then(|mut one| one.pop());
            verdicts.push(verdict.unwrap_or_else(|| Verdict::Retry("handler panicked".into())));
        }
        verdicts
    }

    /// `None` if the handler panicked.
    async fn ask(&self, open: &[Open]) -> Option<Vec<Verdict>> {
        let envelopes = open.iter().map(|one| one.envelope.clone()).collect();
        let handling = AssertUnwindSafe(async { (self.handle)(envelopes).await });
        let verdicts = handling.catch_unwind().await.ok()?;
        assert_eq!(verdicts.len(), open.len(), "one verdict per event");
        Some(verdicts)
    }

    /// Acknowledges and buries by verdict; gives back what is still open.
    async fn carry_out(&self, open: Vec<Open>, verdicts: Vec<Verdict>, in_hand: &mut [InHand]) -> Vec<Open> {
        let mut left = Vec::new();
        // Only the first failing event of a stream is to blame; those behind it wait for its fate.
        let mut struck = HashSet::new();
        for (mut one, verdict) in open.into_iter().zip(verdicts) {
            let blamed = match verdict {
                Verdict::Done => {
                    self.settled(&mut in_hand[one.message]).await;
                    continue;
                }
                Verdict::Later(reason) => {
                    tracing::debug!(consumer = %self.subscription.durable, reason, "event waits");
                    None
                }
                Verdict::Retry(reason) | Verdict::Poison(reason) if !struck.insert(one.envelope.stream.clone()) => {
                    tracing::debug!(consumer = %self.subscription.durable, reason, "event waits behind another");
                    None
                }
                Verdict::Retry(reason) => {
                    one.failures += 1;
                    (one.failures >= TRIES_MAX).then_some(reason)
                }
                Verdict::Poison(reason) => Some(reason),
            };
            match blamed {
                Some(reason) => {
                    if self.bury(&one.envelope, &reason).await {
                        self.settled(&mut in_hand[one.message]).await;
                    }
                }
                None => left.push(one),
            }
        }
        left
    }

    /// Does some work on events, and tells the broker from time to time that they are in our hands.
    async fn keeping<T>(&self, in_hand: &[InHand], progress: &mut Interval, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = progress.tick() => {}
            }
            let client = self.bus.jetstream.client();
            let open = in_hand.iter().filter(|taken| taken.open > 0);
            for reply in open.filter_map(|taken| taken.message.reply.as_ref()) {
                if let Err(err) = client.publish(reply.clone(), AckKind::Progress.into()).await {
                    tracing::debug!(error = %err, "progress not told");
                }
            }
        }
    }

    /// False on shutdown.
    async fn bury(&self, envelope: &Envelope, reason: &str) -> bool {
        let consumer = &self.subscription.durable;
        tracing::error!(
            consumer, event.id = %envelope.event_id, event.type = %envelope.event_type,
            stream = %envelope.stream, version = envelope.version, error = reason, "poison event"
        );
        let letter = DeadLetter::of(self.subscription.context, consumer, envelope, reason);
        let poisoned = Poisoned {
            stream: envelope.stream.clone(),
            version: envelope.version,
            event_id: envelope.event_id,
            event_type: envelope.event_type.clone(),
            error: letter.error.clone(),
        };
        let message_id = format!("{consumer}/{}", envelope.event_id);
        let burial = Burial {
            letter,
            message_id,
            poisoned: Some(poisoned),
        };
        self.insist(burial).await
    }

    /// False on shutdown.
    async fn bury_unreadable(&self, message: &Message, place: usize, err: wire::Malformed) -> bool {
        let consumer = &self.subscription.durable;
        tracing::error!(consumer, error = %err, "unreadable message");
        let why = err.to_string();
        let letter = DeadLetter {
            event_id: err.event_id,
            stream: err.stream,
            event_type: err.event_type,
            ..DeadLetter::unreadable(self.subscription.context, consumer, &why)
        };
        let sequence = message.info().map_or(0, |info| info.stream_sequence);
        let burial = Burial {
            letter,
            message_id: format!("{consumer}/unreadable/{sequence}/{place}"),
            poisoned: None,
        };
        self.insist(burial).await
    }

    /// Buries again and again until it succeeds; gives up only on shutdown, and says false.
    async fn insist(&self, burial: Burial) -> bool {
        let mut pause = PAUSE_MIN;
        while let Err(err) = self.try_burying(&burial).await {
            tracing::warn!(consumer = %self.subscription.durable, error = %err, "dead letter not kept yet");
            if !self.pause(&mut pause).await {
                return false;
            }
        }
        true
    }

    async fn settled(&self, taken: &mut InHand) {
        taken.open -= 1;
        if taken.open == 0 {
            self.acknowledge(&taken.message).await;
        }
    }

    /// A lost acknowledgement costs a duplicate, so its failure is nothing to act on.
    async fn acknowledge(&self, message: &Message) {
        if self.is_reconnected() {
            return;
        }
        failpoint::reach(failpoint::ACK_BEFORE);
        if let Err(err) = message.ack().await {
            tracing::debug!(error = %err, "acknowledgement not sent");
        }
        failpoint::reach(failpoint::ACK_AFTER);
    }

    async fn try_burying(&self, burial: &Burial) -> Result<(), BoxError> {
        self.bus.bury(&burial.letter, burial.message_id.clone()).await?;
        match (&burial.poisoned, &self.subscription.quarantine) {
            (Some(poisoned), Some(quarantine)) => quarantine(poisoned.clone()).await,
            (Some(_), None) | (None, _) => Ok(()),
        }
    }

    /// False on shutdown.
    async fn pause(&self, pause: &mut Duration) -> bool {
        tokio::select! {
            () = self.shutdown.triggered() => return false,
            () = tokio::time::sleep(*pause) => {}
        }
        *pause = (*pause * 2).min(PAUSE_MAX);
        true
    }
}

/// Told by the header alone, since a body is many times as long.
fn is_of_another(message: &Message, stream_prefix: &str) -> bool {
    let stream = message.headers.as_ref().and_then(|headers| headers.get(wire::STREAM));
    stream.is_some_and(|stream| !stream.as_str().starts_with(stream_prefix))
}

fn decode(message: &Message) -> Vec<Result<Envelope, wire::Malformed>> {
    match &message.headers {
        Some(headers) => wire::decode(headers, &message.payload),
        None => wire::decode(&HeaderMap::new(), &message.payload),
    }
}
