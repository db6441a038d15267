//! What led to an event: the command or event that it names, the deadline that a timer stands for, or what follows from
//! its body where it names none.

use std::fmt;

use jiff::Timestamp;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::subject::Context;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::order::seconds;
use crate::order::story::Story;

/// What led to an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Because {
    /// Somebody asked for it.
    Command { id: Uuid },
    /// Something happened.
    Event(Cause),
    /// A deadline passed, which something had set.
    Deadline {
        /// As the event that set it calls it; nothing if that does not tell.
        name: Option<String>,
        due: Option<Timestamp>,
        set_by: Cause,
    },
    /// An event of a stream that is not part of this story.
    Elsewhere { event: Uuid },
    /// Nothing is recorded.
    Itself,
}

/// An event that led to another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cause {
    pub event_type: String,
    pub stream: String,
    pub version: u64,
}

/// What led to an event that names no cause: an answer of the provider to its question, an offer to what left the
/// delivery without a courier, a mail to what it tells.
pub fn implied<'a>(event: &Envelope, story: &'a Story) -> Option<&'a Envelope> {
    if event.meta.causation.is_some() {
        return None;
    }
    let is_before = |other: &&Envelope| other.stream == event.stream && other.version < event.version;
    match Context::of_stream(&event.stream)? {
        Context::Basket => {
            let attempt = |event: &Envelope| event.data.value().get("attempt").cloned();
            let answered = attempt(event)?;
            let mut asked = story.others.iter().filter(is_before);
            asked.find(|other| other.event_type == "payment.intended" && attempt(other).as_ref() == Some(&answered))
        }
        Context::Courier if event.event_type == "delivery.offered" => story.others.iter().rfind(is_before),
        Context::Notify => {
            let told = format!("order.{}", event.data.value().get("occasion")?.as_str()?);
            story.order.iter().find(|other| other.event_type == told)
        }
        Context::Courier | Context::Order | Context::Point | Context::Menu | Context::User => None,
    }
}

impl Because {
    /// Of an event, given what is known of its cause.
    pub fn of(event: &Envelope, cause: Option<&Envelope>) -> Self {
        let actor = event.meta.actor.0.as_str();
        match (event.meta.causation, cause) {
            (None, None) => Self::Itself,
            (None, Some(cause)) => Self::Event(Cause::of(cause)),
            (Some(_), Some(cause)) if actor.starts_with("timer:") => {
                let passed = deadline(&cause.data.value(), event.at);
                Self::Deadline {
                    name: passed.as_ref().map(|(name, _)| name.clone()),
                    due: passed.map(|(_, due)| due),
                    set_by: Cause::of(cause),
                }
            }
            (Some(_), Some(cause)) => Self::Event(Cause::of(cause)),
            (Some(event), None) if actor.starts_with("service:") || actor.starts_with("timer:") => {
                Self::Elsewhere { event }
            }
            (Some(id), None) => Self::Command { id },
        }
    }
}

/// Of the deadlines that an event set, the one that passed last: a timer does not say its name.
fn deadline(data: &Value, fired_at: Timestamp) -> Option<(String, Timestamp)> {
    let members = data.as_object()?.iter();
    let instants = members.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.parse().ok()?)));
    instants.filter(|(_, due)| *due <= fired_at).max_by_key(|(_, due)| *due)
}

impl Cause {
    fn of(event: &Envelope) -> Self {
        Self {
            event_type: event.event_type.clone(),
            stream: event.stream.clone(),
            version: event.version,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {} (version {})", self.event_type, self.stream, self.version)
    }
}

impl fmt::Display for Because {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command { id } => write!(out, "command {id}"),
            Self::Event(cause) => write!(out, "{cause}"),
            Self::Deadline { name, due, set_by } => {
                write!(out, "a deadline passed")?;
                if let (Some(name), Some(due)) = (name, due) {
                    write!(out, " ({name} {})", seconds(*due))?;
                }
                write!(out, ", set by {set_by}")
            }
            Self::Elsewhere { event } => write!(out, "event {event}"),
            Self::Itself => out.write_str("nothing that is recorded"),
        }
    }
}
