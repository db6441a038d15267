//! Why an order went the way it did: each step with who took it, what led to it, and, where the platform chose by
//! itself, what it chose from.
//!
//! Says nothing that is not in the events: what it cannot trace it names by its id.

mod cause;
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

use super::seconds;
use super::story::Story;
use cause::Because;
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
        let named = event.meta.causation.and_then(|cause| causes.get(&cause).copied());
        let cause = named.or_else(|| cause::implied(event, story));
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
            because: Because::of(event, cause),
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
    !is_of_point || event.data.value()["order"] == Value::String(order.to_string())
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
