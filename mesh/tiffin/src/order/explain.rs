//! Why an order went the way it did: each step with who took it, what led to it, and, where the platform chose by
//! itself, what it chose from.
//!
//! Says nothing that is not in the events: what it cannot trace it names by its id.

mod choice;
mod money;
mod words;

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Context as _;
use jiff::Timestamp;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{FoodPointId, OrderId, UserId};
use mesh_contracts::order::{Event, Status};
use mesh_contracts::view;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Story, seconds};
use choice::{Choice, Considered};

/// An order and all that happened to it, in the order it was recorded.
#[derive(Debug, Serialize)]
pub struct Explained {
    order: OrderId,
    number: String,
    status: Status,
    customer: UserId,
    steps: Vec<Step>,
}

/// One event.
#[derive(Debug, PartialEq, Serialize)]
pub struct Step {
    /// Business time.
    at: Timestamp,
    /// Wall time.
    recorded_at: Timestamp,
    stream: String,
    version: u64,
    event_type: String,
    /// Who.
    actor: String,
    /// What happened, in words.
    what: String,
    because: Because,
    /// What an automatic decision chose from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    considered: Vec<Considered>,
    /// What decided about money.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
}

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
    event_type: String,
    stream: String,
    version: u64,
}

/// The whole story of an order that was placed.
///
/// # Errors
/// If an event has another shape than this build knows.
pub fn explain(id: OrderId, story: &Story) -> anyhow::Result<Explained> {
    let causes: BTreeMap<Uuid, &Envelope> = story.all().map(|event| (event.event_id, event)).collect();
    let mut events: Vec<&Envelope> = story.all().filter(|event| is_about(event, id)).collect();
    events.sort_by_key(|event| (event.recorded_at, &event.stream, event.version));

    let mut state = None;
    let mut choice = Choice::default();
    let mut steps = Vec::with_capacity(events.len());
    for event in events {
        let cause = event.meta.causation.and_then(|cause| causes.get(&cause).copied());
        let is_own = event.stream == id.to_string();
        let own = if is_own { event.body::<Event>()? } else { None };
        let policy = own.as_ref().zip(state.as_ref()).and_then(|(body, order)| {
            let due = money::due_after(event, &story.order);
            money::policy(order, body, cause, due)
        });
        let considered = match &own {
            Some(body) => choice.of_food_points(body, state.as_ref()),
            None => choice::of_couriers(event)?,
        };
        if is_own {
            state = view::advance(state, event, view::order::fold, view::order::skip)?;
        }
        steps.push(Step {
            at: event.at,
            recorded_at: event.recorded_at,
            stream: event.stream.clone(),
            version: event.version,
            event_type: event.event_type.clone(),
            actor: event.meta.actor.to_string(),
            what: words::what(event)?,
            because: because(event, cause),
            considered,
            policy,
        });
    }
    let order = state.with_context(|| format!("{id} does not begin with being placed"))?;
    Ok(Explained {
        order: id,
        number: order.number,
        status: order.status,
        customer: order.customer,
        steps,
    })
}

/// Food points answer many orders in one stream; every other stream is about this one alone.
fn is_about(event: &Envelope, order: OrderId) -> bool {
    let is_of_point = event.stream.starts_with(FoodPointId::PREFIX);
    !is_of_point || event.data["order"] == Value::String(order.to_string())
}

fn because(event: &Envelope, cause: Option<&Envelope>) -> Because {
    let actor = event.meta.actor.0.as_str();
    match (event.meta.causation, cause) {
        (None, _) => Because::Itself,
        (Some(_), Some(cause)) if actor.starts_with("timer:") => {
            let passed = deadline(&cause.data, event.at);
            Because::Deadline {
                name: passed.as_ref().map(|(name, _)| name.clone()),
                due: passed.map(|(_, due)| due),
                set_by: Cause::of(cause),
            }
        }
        (Some(_), Some(cause)) => Because::Event(Cause::of(cause)),
        (Some(event), None) if actor.starts_with("service:") || actor.starts_with("timer:") => {
            Because::Elsewhere { event }
        }
        (Some(id), None) => Because::Command { id },
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

impl fmt::Display for Explained {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "order {}  {}\n{} of {}; times are business time, amounts in minor units",
            self.number,
            self.status.as_str(),
            self.order,
            self.customer
        )?;
        self.steps.iter().try_for_each(|step| write!(out, "\n\n{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}  {}  by {}", seconds(self.at), self.event_type, self.actor)?;
        write!(out, "\n    {}", self.what)?;
        for considered in &self.considered {
            write!(out, "\n    {considered}")?;
        }
        if let Some(policy) = &self.policy {
            write!(out, "\n    policy: {policy}")?;
        }
        write!(out, "\n    because of {}", self.because)
    }
}

#[cfg(test)]
mod tests;
