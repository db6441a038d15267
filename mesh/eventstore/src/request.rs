//! Why something is asked of a stream: a person's command, a foreign event, or a timer.

use mesh_contracts::envelope::{Actor, Envelope, Meta};
use serde::Serialize;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::append::{Aside, Fired, Mark};
use crate::timers::Timer;

/// Names our command ids among all v5 ids.
const COMMAND_NAMESPACE: Uuid = Uuid::from_u128(0x6d1f_7a10_4f6e_5c0b_9a51_74f6_6b1e_2d03);

/// What accompanies a decision: who, why, and what makes it happen only once.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who acts.
    pub actor: Actor,
    /// Makes a command repeatable.
    pub command: Option<CommandKey>,
    /// The foreign event that this reacts to; its inbox mark commits with the effect.
    pub cause: Option<Cause>,
    /// The timer that fires; its row goes with the effect.
    pub timer: Option<TimerKey>,
    /// Refuse unless this is the stream's status version.
    pub if_match: Option<u64>,
    /// HTTP status of the answer.
    pub status: u16,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// The stream is most likely not there yet, so nothing is read before deciding. If it is, the
    /// version check finds out, and it is read then.
    pub starts: bool,
    /// A secret to be kept if the request is carried out: of two bodies under one key only the winner's is.
    pub aside: Option<Aside>,
}

/// A command's identity and the fingerprint of what it asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandKey {
    /// The same for every repetition.
    pub id: Uuid,
    /// Differs if something else is asked under the same id.
    pub hash: RequestHash,
}

/// A fingerprint of what a command asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHash(pub Vec<u8>);

/// A foreign event and the consumer that reacts to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Whose inbox.
    pub consumer: String,
    /// The event's stream.
    pub stream: String,
    /// The event's version.
    pub version: u64,
    /// The event.
    pub event_id: Uuid,
    /// The command at the start of the chain.
    pub correlation: Option<Uuid>,
}

/// A timer of the stream that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerKey {
    /// Which.
    pub kind: String,
    /// The event that set it.
    pub dedup: Uuid,
}

impl CommandKey {
    /// The key of a command: who asks, what for (method and path with its ids filled in), their
    /// idempotency key, and the parsed body.
    pub fn new(subject: &str, route: &str, key: &str, body: &impl Serialize) -> Self {
        Self {
            id: crate::http::command_id(subject, route, key),
            hash: RequestHash::of(body),
        }
    }

    /// A command with a known id.
    pub fn with_id(id: Uuid, body: &impl Serialize) -> Self {
        Self {
            id,
            hash: RequestHash::of(body),
        }
    }
}

impl RequestHash {
    /// Of a body as it was parsed, so that white space and the order of members do not matter.
    pub fn of(body: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(body).expect("a request body has text keys");
        Self::of_bytes(&bytes)
    }

    /// Of a body as it came.
    pub fn of_bytes(body: &[u8]) -> Self {
        Self(xxh3_128(body).to_be_bytes().to_vec())
    }
}

pub(crate) fn v5(parts: &[&str]) -> Uuid {
    // The separator cannot be in a part that matters: ids, routes and keys are visible ASCII.
    Uuid::new_v5(&COMMAND_NAMESPACE, parts.join("\0").as_bytes())
}

impl Request {
    /// By `actor`, without idempotency: for what is harmless to do twice.
    pub fn by(actor: Actor) -> Self {
        Self {
            actor,
            command: None,
            cause: None,
            timer: None,
            if_match: None,
            status: 200,
            traceparent: mesh_runtime::telemetry::traceparent(),
            starts: false,
            aside: None,
        }
    }

    /// A command that is carried out once, however often it comes.
    pub fn command(actor: Actor, command: CommandKey) -> Self {
        Self {
            command: Some(command),
            ..Self::by(actor)
        }
    }

    /// The one reaction of `consumer` to an event: effect and inbox mark commit together.
    /// Where an event leads to several requests, all but the last are [`Request::step`]s.
    pub fn because(consumer: &str, event: &Envelope) -> Self {
        Self {
            cause: Some(Cause {
                consumer: consumer.to_owned(),
                stream: event.stream.clone(),
                version: event.version,
                event_id: event.event_id,
                correlation: event.meta.correlation.or(Some(event.event_id)),
            }),
            traceparent: event.meta.traceparent.clone(),
            ..Self::by(Actor::service(consumer))
        }
    }

    /// One of several reactions to an event, named apart by `step`: carried out once, as a
    /// command whose id follows from the event's, and without the inbox mark.
    pub fn step(consumer: &str, event: &Envelope, step: &str) -> Self {
        let id = v5(&[consumer, &event.event_id.to_string(), step]);
        Self {
            command: Some(CommandKey::with_id(id, &event.event_id)),
            traceparent: event.meta.traceparent.clone(),
            ..Self::by(Actor::service(consumer))
        }
    }

    /// The firing of a timer.
    pub fn timer(service: &str, timer: &Timer) -> Self {
        Self {
            timer: Some(TimerKey {
                kind: timer.kind.clone(),
                dedup: timer.dedup,
            }),
            ..Self::by(Actor::timer(service))
        }
    }

    /// Refuses unless the stream's status version is this.
    #[must_use]
    pub fn if_match(mut self, status_version: Option<u64>) -> Self {
        self.if_match = status_version;
        self
    }

    /// Starts the stream, most likely: it is not looked for first.
    #[must_use]
    pub fn starting(mut self) -> Self {
        self.starts = true;
        self
    }

    /// Keeps a secret in the same commit.
    #[must_use]
    pub fn keeping(mut self, aside: Option<Aside>) -> Self {
        self.aside = aside;
        self
    }

    /// Answers with this HTTP status instead of 200.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Answers 201.
    #[must_use]
    pub fn created(self) -> Self {
        self.status(201)
    }

    pub(crate) fn meta(&self) -> Meta {
        let cause = self.cause.as_ref();
        let command = self.command.as_ref();
        Meta {
            actor: self.actor.clone(),
            causation: cause
                .map(|cause| cause.event_id)
                .or(command.map(|command| command.id))
                .or(self.timer.as_ref().map(|timer| timer.dedup)),
            correlation: cause
                .and_then(|cause| cause.correlation)
                .or(command.map(|command| command.id)),
            traceparent: self.traceparent.clone(),
        }
    }

    pub(crate) fn mark(&self) -> Option<Mark> {
        self.cause.as_ref().map(Cause::mark)
    }

    pub(crate) fn fired(&self, stream: &str) -> Option<Fired> {
        self.timer.as_ref().map(|timer| Fired {
            stream: stream.to_owned(),
            kind: timer.kind.clone(),
            dedup: timer.dedup,
        })
    }
}

impl Cause {
    /// The inbox mark that says this is done.
    pub fn mark(&self) -> Mark {
        Mark {
            consumer: self.consumer.clone(),
            stream: self.stream.clone(),
            version: self.version,
        }
    }
}
