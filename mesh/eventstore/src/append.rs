//! What is stored together or not at all.
//!
//! Plain data: `statement` turns it into SQL, `batcher` decides what shares a commit.

use std::borrow::Cow;

use jiff::Timestamp;
use mesh_contracts::envelope::{EventBody, Meta};
use mesh_runtime::settings::Secret;
use uuid::Uuid;

use crate::request::RequestHash;

/// One request to the store: all of it commits, or nothing.
#[derive(Debug, Clone, Default)]
pub struct Append {
    /// What each stream gets.
    pub streams: Vec<StreamAppend>,
    /// The command that this carries out, so that it is carried out once.
    pub command: Option<StoredCommand>,
    /// The foreign event whose effect this is.
    pub mark: Option<Mark>,
    /// The timer whose firing this is; its row goes.
    pub fired: Option<Fired>,
    /// Timers to set and clear, in this order.
    pub timers: Vec<TimerChange>,
    /// What no event may say.
    pub aside: Option<Aside>,
}

/// New events of one stream.
#[derive(Debug, Clone)]
pub struct StreamAppend {
    /// The stream.
    pub stream: String,
    /// The version it must have: 0 for one that does not exist yet.
    pub expected: u64,
    /// What to add. Empty only checks the version.
    pub events: Vec<NewEvent>,
}

/// An event on its way into the store, which gives it version, position and `recorded_at`.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Unique; the store compares it to know its own append again.
    pub event_id: Uuid,
    /// Noun and past verb.
    pub event_type: Cow<'static, str>,
    /// Of the body.
    pub schema_version: u16,
    /// The body, JSON.
    pub data: String,
    /// Who and why, JSON.
    pub meta: String,
    /// Business time.
    pub at: Timestamp,
}

/// An idempotency row.
#[derive(Debug, Clone)]
pub struct StoredCommand {
    /// The command.
    pub id: Uuid,
    /// Fingerprint of what was asked.
    pub hash: RequestHash,
    /// What it is answered, now and whenever it comes again.
    pub response: String,
}

/// "This consumer has applied that stream up to here."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Who.
    pub consumer: String,
    /// Whose stream.
    pub stream: String,
    /// Up to which event.
    pub version: u64,
}

/// A secret that is kept in the commit of what it is for, in the engine's table `secrets` and nowhere else. Of several
/// under one key the first stays. Whoever uses it deletes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// Names its one use.
    pub key: String,
    /// Whose it is; all of one owner's go together.
    pub about: String,
    /// The secret.
    pub secret: Secret,
}

/// A timer as it was when it was read; set again, it is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    /// Whose.
    pub stream: String,
    /// Which.
    pub kind: String,
    /// The event that set it.
    pub dedup: Uuid,
}

/// A timer set or cleared.
#[derive(Debug, Clone)]
pub struct TimerChange {
    /// Whose.
    pub stream: String,
    /// Which.
    pub kind: Cow<'static, str>,
    /// When it is due; `None` clears it.
    pub due: Option<Timestamp>,
    /// The event that sets it.
    pub dedup: Uuid,
}

/// Why nothing of an [`Append`] was stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// A stream has another version than expected: load and decide again.
    #[error("stream has another version")]
    Conflict,
    /// The command was carried out before.
    #[error("command was carried out before")]
    Duplicate {
        /// What was asked then.
        hash: RequestHash,
        /// What was answered then.
        response: String,
    },
    /// The effect of that foreign event is stored already.
    #[error("event was applied before")]
    AlreadySeen,
    /// The timer fired, was cleared or was set again in the meantime.
    #[error("timer is gone")]
    TimerGone,
    /// The database refused it. Trying again does not help.
    #[error("database refused the append: {0}")]
    Refused(String),
    /// The database is away or too slow. Whether it was stored is not known.
    #[error("database unavailable: {0}")]
    Unavailable(String),
}

impl NewEvent {
    /// An event with a new id.
    pub fn new<E: EventBody>(event: &E, meta: &Meta, at: Timestamp) -> Self {
        Self {
            event_id: Uuid::now_v7(),
            event_type: Cow::Borrowed(event.event_type()),
            schema_version: E::SCHEMA_VERSION,
            data: event.encode().to_string(),
            meta: serde_json::to_string(meta).expect("meta is texts and ids"),
            at,
        }
    }
}

impl Append {
    /// Nothing but an inbox mark.
    pub fn mark(mark: Mark) -> Self {
        Self {
            mark: Some(mark),
            ..Self::default()
        }
    }

    /// Events for one stream.
    pub fn events(stream: impl Into<String>, expected: u64, events: Vec<NewEvent>) -> Self {
        Self {
            streams: vec![StreamAppend {
                stream: stream.into(),
                expected,
                events,
            }],
            ..Self::default()
        }
    }

    /// The stream that it is about: where its command is noted.
    pub(crate) fn key(&self) -> &str {
        if let Some(first) = self.streams.first() {
            return &first.stream;
        }
        if let Some(mark) = &self.mark {
            return &mark.stream;
        }
        self.fired.as_ref().map_or("", |fired| &fired.stream)
    }

    pub(crate) fn has_events(&self) -> bool {
        self.streams.iter().any(|stream| !stream.events.is_empty())
    }
}
