//! I9: however often a key was sent, it had one effect and got one answer.
//!
//! Three witnesses: the answers that masters keep, the events that name their command as the cause, and what clients saw.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{OrderId, UserId};
use mesh_eventstore::http::command_id;
use serde_json::Value;
use uuid::Uuid;

use crate::findings::Breach;
use crate::history::{Line, Outcome};

/// Answers are kept for seven days; those about to go are not missed.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(7 * 24 - 1);

/// Public paths are those of the masters behind this.
const API: &str = "/v1";

/// An answer that a master keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Who keeps it.
    pub master: &'static str,
    /// The command that it answers.
    pub command: Uuid,
    /// HTTP.
    pub status: u16,
    /// As it was sent.
    pub body: Value,
    /// The stream that was asked.
    pub stream: String,
    /// Its version in the answer.
    pub version: u64,
    /// Its version now.
    pub head: u64,
    /// The version up to which we have read its events: a platform that runs goes on while we read.
    pub read: u64,
}

/// What one command or reaction did at one master.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effect {
    /// The newest version that it left in each stream.
    pub streams: BTreeMap<String, u64>,
    /// When its events were stored: one append has one time.
    pub stored_at: BTreeSet<Timestamp>,
    /// It was a person's command.
    pub by_person: bool,
}

/// By master and cause.
pub type Effects = BTreeMap<(&'static str, Uuid), Effect>;

/// Everything that was sent under one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// For the finding.
    pub what: String,
    /// The command that the key stands for, if it can be told.
    pub command: Option<Uuid>,
    /// Every answer that says it was carried out.
    pub answers: Vec<(u16, Value)>,
    /// Answers that it was not, for good.
    pub refusals: u64,
    /// Times that nobody knows.
    pub unknown: u64,
    /// When it was first sent, on the wall clock.
    pub first_at: Timestamp,
}

/// Notes what an event says of its cause.
pub fn note(effects: &mut Effects, master: &'static str, envelope: &Envelope) {
    let actor = envelope.meta.actor.0.as_str();
    let by_person = ["customer:", "kitchen:", "courier:", "operator:"]
        .iter()
        .any(|role| actor.starts_with(role));
    // A timer's cause is the event that set it, which may have set several.
    if !by_person && !actor.starts_with("service:") {
        return;
    }
    let Some(cause) = envelope.meta.causation else {
        return;
    };
    let effect = effects.entry((master, cause)).or_default();
    effect.by_person |= by_person;
    effect.stored_at.insert(envelope.recorded_at);
    let newest = effect.streams.entry(envelope.stream.clone()).or_default();
    *newest = envelope.version.max(*newest);
}

/// Puts a line of the history to the others of its key.
pub fn gather(sent: &mut BTreeMap<String, Sent>, line: Line) {
    let subject = line.subject.map(|subject| subject.to_string()).unwrap_or_default();
    let name = format!("{} {} {subject} {}", line.method, line.path, line.key);
    let entry = sent.entry(name).or_insert_with(|| Sent {
        what: format!("{} {} (key {})", line.method, line.path, line.key),
        command: None,
        answers: Vec::new(),
        refusals: 0,
        unknown: 0,
        first_at: line.sent_at,
    });
    entry.first_at = entry.first_at.min(line.sent_at);
    entry.command = entry.command.or_else(|| command_of(&line));
    match line.outcome {
        Outcome::Answered {
            status: status @ 200..=299,
            body,
        } => entry.answers.push((status, body)),
        // Come again later, or somebody is at it: nothing is known of what will have happened.
        Outcome::Answered {
            status: 408 | 409 | 425 | 429,
            ..
        }
        | Outcome::Unknown { .. } => entry.unknown += 1,
        Outcome::Answered { status: 400..=499, .. } => entry.refusals += 1,
        Outcome::Answered { .. } => entry.unknown += 1,
    }
}

/// The order that an answer to placing one names.
pub fn acknowledged_order(line: &Line) -> Option<&str> {
    match &line.outcome {
        Outcome::Answered {
            status: 200..=299,
            body,
        } if line.path == "/v1/orders" => body["id"].as_str(),
        Outcome::Answered { .. } | Outcome::Unknown { .. } => None,
    }
}

/// I9.
pub fn once(kept: &[Kept], effects: &Effects, sent: &BTreeMap<String, Sent>, wall: Timestamp) -> Vec<Breach> {
    let by_command: BTreeMap<Uuid, &Kept> = kept.iter().map(|kept| (kept.command, kept)).collect();
    let answers = kept.iter().filter_map(|kept| unlike_its_effect(kept, effects));
    let done = effects.iter().filter_map(|((master, cause), effect)| {
        let is_kept = by_command.contains_key(cause);
        unlike_one_command(effect, is_kept, wall).map(|what| Breach::of(cause.to_string(), format!("{master}: {what}")))
    });
    let clients = sent.values().filter_map(|sent| {
        let kept = sent.command.and_then(|command| by_command.get(&command).copied());
        unlike_the_answer(sent, kept, wall).map(|what| Breach::of(&sent.what, what))
    });
    answers.chain(done).chain(clients).collect()
}

fn unlike_its_effect(kept: &Kept, effects: &Effects) -> Option<Breach> {
    let wrong = |what: String| Some(Breach::of(kept.command.to_string(), format!("{}: {what}", kept.master)));
    if kept.version > kept.head {
        return wrong(format!(
            "answered that {} stands at {}, and it stands at {}",
            kept.stream, kept.version, kept.head
        ));
    }
    let effect = effects
        .get(&(kept.master, kept.command))
        .filter(|_| kept.version <= kept.read)?;
    match effect.streams.get(&kept.stream) {
        Some(newest) if *newest == kept.version => None,
        Some(newest) => wrong(format!(
            "answered version {} of {}, and left it at {newest}",
            kept.version, kept.stream
        )),
        None => wrong(format!("answered about {}, and changed others", kept.stream)),
    }
}

fn unlike_one_command(effect: &Effect, is_kept: bool, wall: Timestamp) -> Option<String> {
    if effect.stored_at.len() > 1 {
        let streams: Vec<&str> = effect.streams.keys().map(String::as_str).collect();
        return Some(format!("{} effects on {}", effect.stored_at.len(), streams.join(", ")));
    }
    let is_old = effect.stored_at.iter().any(|at| *at + KEPT_FOR < wall);
    (effect.by_person && !is_kept && !is_old)
        .then(|| "no answer is kept, so that the next try would have another effect".to_owned())
}

fn unlike_the_answer(sent: &Sent, kept: Option<&Kept>, wall: Timestamp) -> Option<String> {
    let Some(first) = sent.answers.first() else {
        let only_refused = sent.refusals > 0 && sent.unknown == 0;
        return (only_refused && kept.is_some()).then(|| "refused, and carried out".to_owned());
    };
    if let Some(other) = sent.answers.iter().find(|answer| *answer != first) {
        return Some(format!("answered {} and later {}", said(first), said(other)));
    }
    sent.command?;
    match kept {
        Some(kept) if (kept.status, &kept.body) == (first.0, &first.1) => None,
        Some(kept) => Some(format!(
            "answered {}, and {} keeps {}",
            said(first),
            kept.master,
            said(&(kept.status, kept.body.clone()))
        )),
        None if sent.first_at + KEPT_FOR < wall => None,
        None => Some(format!("answered {}, and no master keeps that", said(first))),
    }
}

/// The parts of an answer that tell two apart; receipts hold nothing personal.
fn said((status, body): &(u16, Value)) -> String {
    let part = |name: &str| body[name].as_str().unwrap_or("-").to_owned();
    format!("{status} {} {}", part("id"), part("status"))
}

/// The command that a line stands for, as the services name it.
fn command_of(line: &Line) -> Option<Uuid> {
    if line.method != "POST" {
        return None;
    }
    let path = line.path.strip_prefix(API)?;
    match (path, line.subject) {
        // The order's id is its command's.
        ("/orders", Some(customer)) => Some(order_id(customer, &line.key)),
        // So is the person's, which only the answer names: the subject is a hash of what must not be kept.
        ("/users", _) => match &line.outcome {
            Outcome::Answered { body, .. } => {
                let id: UserId = body["id"].as_str()?.parse().ok()?;
                Some(id.uuid())
            }
            Outcome::Unknown { .. } => None,
        },
        (_, Some(subject)) => Some(command_id(&subject.to_string(), &format!("POST {path}"), &line.key)),
        (_, None) => None,
    }
}

/// The gateway's name for a customer's wish.
fn order_id(customer: UserId, key: &str) -> Uuid {
    let wish = format!("POST {API}/orders\n{key}");
    OrderId(Uuid::new_v5(&customer.uuid(), wish.as_bytes())).uuid()
}

#[cfg(test)]
mod tests;
