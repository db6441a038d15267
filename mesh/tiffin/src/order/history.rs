//! Every event of an order, with who caused it and what came before.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use mesh_contracts::envelope::{Body, Envelope};
use serde::Serialize;
use uuid::Uuid;

use super::seconds;
use super::story::Story;

/// One event of an order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// 1, 2, 3 …
    pub version: u64,
    /// Business time.
    pub at: Timestamp,
    /// Wall time.
    pub recorded_at: Timestamp,
    /// Noun and past verb.
    pub event_type: String,
    /// Who.
    pub actor: String,
    /// The event or command that led to it.
    pub causation: Option<Uuid>,
    /// The same, in words.
    pub because: String,
    /// What happened.
    pub data: Body,
}

impl Entry {
    fn of(event: Envelope, causes: &Causes) -> Self {
        let actor = event.meta.actor.0;
        let because = match event.meta.causation {
            None => "of itself".to_owned(),
            Some(cause) => match causes.get(&cause) {
                Some(known) if actor.starts_with("timer:") => format!("a deadline passed, set by {known}"),
                Some(known) => known.clone(),
                None if actor.starts_with("service:") => format!("event {cause}"),
                None => format!("command {cause}"),
            },
        };
        Self {
            version: event.version,
            at: event.at,
            recorded_at: event.recorded_at,
            event_type: event.event_type,
            actor,
            causation: event.meta.causation,
            because,
            data: event.data,
        }
    }
}

/// What is known of an event that may be a cause.
type Causes = BTreeMap<Uuid, String>;

/// An order's events, oldest first.
pub fn entries(story: Story) -> Vec<Entry> {
    let causes: Causes = story.all().map(|event| (event.event_id, place(event))).collect();
    story.order.into_iter().map(|event| Entry::of(event, &causes)).collect()
}

fn place(event: &Envelope) -> String {
    format!("{} of {} (version {})", event.event_type, event.stream, event.version)
}

/// Entries for people: one line each, in columns.
pub struct Table<'a>(pub &'a [Entry]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |of: fn(&Entry) -> usize, heading: &str| {
            let widest = self.0.iter().map(of).max().unwrap_or_default();
            widest.max(heading.len())
        };
        let event_width = width(|entry| entry.event_type.len(), "event");
        let actor_width = width(|entry| entry.actor.len(), "actor");
        write!(
            out,
            "{:>3}  {:<20}  {:<event_width$}  {:<actor_width$}  because of",
            "#", "time", "event", "actor"
        )?;
        for entry in self.0 {
            write!(
                out,
                "\n{:>3}  {:<20}  {:<event_width$}  {:<actor_width$}  {}",
                entry.version,
                seconds(entry.at),
                entry.event_type,
                entry.actor,
                entry.because
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mesh_contracts::envelope::{Actor, Meta};
    use mesh_contracts::id::{FoodPointId, OrderId};
    use serde_json::{Value, json};

    use super::*;

    const ORDER: OrderId = OrderId(Uuid::from_u128(9));
    const POINT: FoodPointId = FoodPointId(Uuid::from_u128(7));

    fn event(version: u64, event_type: &str, actor: &str, causation: Option<u128>, data: Value) -> Envelope {
        Envelope {
            event_id: Uuid::from_u128(100 + u128::from(version)),
            stream: ORDER.to_string(),
            version,
            position: version,
            event_type: event_type.to_owned(),
            schema_version: 1,
            at: Timestamp::UNIX_EPOCH,
            recorded_at: Timestamp::UNIX_EPOCH,
            meta: Meta {
                causation: causation.map(Uuid::from_u128),
                ..Meta::by(Actor(actor.to_owned()))
            },
            data: data.into(),
        }
    }

    #[test]
    fn every_event_says_who_and_because_of_what() {
        let held = Envelope {
            stream: POINT.to_string(),
            event_id: Uuid::from_u128(55),
            ..event(12, "hold.held", "service:point-master", None, json!({}))
        };
        let requested = json!({
            "attempt": 1, "food_point": POINT, "kind": "delivery", "needs": [],
            "answer_by": "2026-03-01T12:00:00Z", "expires_at": "2026-03-01T12:00:00Z",
        });
        let order = vec![
            event(1, "order.created", "customer:usr_1", Some(1), json!({})),
            event(2, "hold.requested", "customer:usr_1", Some(1), requested),
            event(3, "order.hold_held", "service:order-master", Some(55), json!({})),
            event(4, "order.expired", "timer:order-master", Some(101), json!({})),
        ];
        let entries = entries(Story {
            order,
            others: vec![held],
        });
        let because: Vec<&str> = entries.iter().map(|entry| entry.because.as_str()).collect();
        assert_eq!(because[0], format!("command {}", Uuid::from_u128(1)));
        assert_eq!(because[2], format!("hold.held of {POINT} (version 12)"));
        assert_eq!(
            because[3],
            format!("a deadline passed, set by order.created of {ORDER} (version 1)")
        );
        let table = Table(&entries).to_string();
        assert_eq!(table.lines().count(), 5);
        assert!(
            table
                .lines()
                .nth(4)
                .is_some_and(|line| line.contains("timer:order-master")),
            "{table}"
        );
    }
}
