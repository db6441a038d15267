//! What a master brings: its events, its state, and how one becomes the other.
//!
//! Pure: no clock, no randomness, no I/O. Deciding is a closure given to `Streams::submit`.

use std::borrow::Cow;

use jiff::Timestamp;
use mesh_contracts::envelope::EventBody;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// One kind of stream.
pub trait Aggregate: Send + Sync + Sized + 'static {
    /// What happens to it.
    type Event: EventBody;
    /// What is remembered of that.
    type State: Clone + Send + Sync + 'static;
    /// The prefix of its stream ids, such as `ord`.
    const CATEGORY: &'static str;
    /// How states are kept beside the events, where streams grow long; nothing where reading all of one is cheap.
    const SNAPSHOT: Option<SnapshotForm<Self::State>> = None;

    /// The state after an event; `None` before the first one.
    fn evolve(state: Option<Self::State>, event: &Self::Event, recorded: Recorded) -> Option<Self::State>;

    /// Timers to set and clear because of an event, given the state after it.
    fn react(state: &Self::State, event: &Self::Event, at: Timestamp) -> Vec<Effect> {
        let _ = (state, event, at);
        Vec::new()
    }

    /// The version of the last change of status: what `If-Match` compares.
    fn status_version(state: &Self::State) -> u64;

    /// What a command on this stream is answered, given the state after it.
    fn answer(id: &str, state: &Self::State, version: u64) -> Value;
}

/// The form in which states of long streams are kept, so that loading need not fold every event.
pub struct SnapshotForm<S> {
    fold_version: u16,
    pub(crate) encode: fn(&S) -> serde_json::Result<String>,
    pub(crate) decode: fn(&str) -> serde_json::Result<S>,
}

impl<S: Serialize + DeserializeOwned> SnapshotForm<S> {
    /// As JSON. `fold_version` stands beside the fold and is raised whenever the state's form changes or the same
    /// events fold to something else: what was kept under another one is not read.
    pub const fn json(fold_version: u16) -> Self {
        Self {
            fold_version,
            encode: |state| serde_json::to_string(state),
            decode: |text| serde_json::from_str(text),
        }
    }
}

impl<S> SnapshotForm<S> {
    pub(crate) fn fold_version(&self) -> i32 {
        i32::from(self.fold_version)
    }
}

impl<S> Clone for SnapshotForm<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for SnapshotForm<S> {}

/// Where in its stream an event stands, and when it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// 1 for the first.
    pub version: u64,
    /// Business time.
    pub at: Timestamp,
}

/// What happens beside the event itself. A timer's key is its stream and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Sets a timer, in place of one of the same kind.
    SetTimer {
        /// Which.
        kind: Cow<'static, str>,
        /// Business time.
        due: Timestamp,
    },
    /// Clears a timer; no matter if there is none.
    ClearTimer {
        /// Which.
        kind: Cow<'static, str>,
    },
}

impl Effect {
    /// Sets a timer, in place of one of the same kind.
    pub fn set(kind: impl Into<Cow<'static, str>>, due: Timestamp) -> Self {
        Self::SetTimer { kind: kind.into(), due }
    }

    /// Clears a timer.
    pub fn clear(kind: impl Into<Cow<'static, str>>) -> Self {
        Self::ClearTimer { kind: kind.into() }
    }
}

/// What a decision adds to its own stream and, all or nothing, to others of the same master.
#[derive(Debug, Clone)]
pub struct Decided<E> {
    /// For the stream that was asked. May be empty: accepted, nothing to do.
    pub events: Vec<E>,
    /// For other streams.
    pub also: Vec<AlsoAppend>,
}

impl<E> From<Vec<E>> for Decided<E> {
    fn from(events: Vec<E>) -> Self {
        Self {
            events,
            also: Vec::new(),
        }
    }
}

impl<E> Decided<E> {
    /// The same, and this too.
    #[must_use]
    pub fn and(mut self, also: AlsoAppend) -> Self {
        self.also.push(also);
        self
    }
}

/// Events for another stream than the one that decided.
#[derive(Debug, Clone)]
pub struct AlsoAppend {
    pub(crate) stream: String,
    pub(crate) expected: u64,
    pub(crate) events: Vec<AlsoEvent>,
}

#[derive(Debug, Clone)]
pub(crate) struct AlsoEvent {
    pub event_type: &'static str,
    pub schema_version: u16,
    pub data: String,
    pub effects: Vec<Effect>,
}

impl AlsoAppend {
    /// Starts a stream of `B`. If it exists already, the request ends in a conflict, so check
    /// first that the rules allow no second start.
    pub fn create<B: Aggregate>(stream: impl ToString, events: Vec<B::Event>, now: Timestamp) -> Self {
        Self::at::<B>(stream, None, 0, events, now)
    }

    /// Continues a stream of `B` that was loaded in this state at this version. If it has moved
    /// on, the request ends in a conflict: load again and submit again.
    pub fn at<B: Aggregate>(
        stream: impl ToString,
        state: Option<B::State>,
        version: u64,
        events: Vec<B::Event>,
        now: Timestamp,
    ) -> Self {
        let mut state = state;
        let mut also = Vec::with_capacity(events.len());
        for (event, version) in events.iter().zip(version + 1..) {
            state = B::evolve(state, event, Recorded { version, at: now });
            also.push(AlsoEvent {
                event_type: event.event_type(),
                schema_version: B::Event::SCHEMA_VERSION,
                data: event.encode().to_string(),
                effects: state
                    .as_ref()
                    .map(|state| B::react(state, event, now))
                    .unwrap_or_default(),
            });
        }
        Self {
            stream: stream.to_string(),
            expected: version,
            events: also,
        }
    }
}
