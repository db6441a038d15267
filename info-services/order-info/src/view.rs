//! Documents as they are answered: what each role may see of them.

use std::collections::BTreeMap;

use mesh_contracts::api::HistoryEntry;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{AddressId, CourierId, UserId};
use mesh_contracts::ops::{CourierMark, KitchenMark, Pin};
use mesh_contracts::user::Role;
use mesh_contracts::view::courier::Courier;
use mesh_contracts::view::delivery::Delivery;
use mesh_contracts::view::kitchen::Kitchen;
use mesh_identity::Caller;
use mesh_projection::{Page, Read};
use mesh_runtime::consistency::Signer;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::projector::OrderDocument;

/// How the food point was chosen and what its recipes take: the chain's affair.
const INTERNAL: [&str; 5] = ["candidates", "tried", "needs", "attempt", "hold"];

/// Those of them that events have as lists.
const LISTS: [&str; 3] = ["candidates", "needs", "considered"];

/// Who bears which cost: the operators' affair and that of the kitchen that bears it.
const COSTS: [&str; 3] = ["liable", "borne", "stopped"];

/// Who else was asked is no courier's business.
const OTHER_COURIERS: [&str; 1] = ["passed"];

/// A part of a list, as answered.
#[derive(Debug, Serialize)]
pub struct Listed {
    pub items: Vec<Box<RawValue>>,
    pub next_cursor: Option<String>,
}

/// Who may see an address now: the courier who has the job, if anyone.
#[derive(Debug, Serialize)]
pub struct ActiveCourier {
    pub courier: Option<CourierId>,
    pub customer: UserId,
    pub address: AddressId,
}

impl From<&Delivery> for ActiveCourier {
    fn from(delivery: &Delivery) -> Self {
        Self {
            courier: delivery.active_courier(),
            customer: delivery.customer,
            address: delivery.destination.address,
        }
    }
}

/// Whether an order is this person's business.
pub fn concerns(document: &OrderDocument, caller: &Caller) -> bool {
    let order = &document.order;
    match caller.role {
        Role::Customer => order.customer == caller.subject,
        Role::Kitchen => {
            order.food_point.is_some_and(|point| caller.works_at(&point)) || is_borne_by_kitchen_of(document, caller)
        }
        Role::Courier => order.courier == Some(caller.subject.courier()),
        Role::Operator => true,
    }
}

/// An order as `caller` may see it; its owner also reads the PIN to tell the courier.
pub fn order(document: &OrderDocument, caller: &Caller, signer: &Signer) -> Box<RawValue> {
    let shows_pin = caller.subject == document.order.customer && !document.order.status.is_terminal();
    let pin = shows_pin.then(|| json(&signer.pin(&document.id.to_string())));
    let also = pin.as_deref().map(|pin| ("pin", pin));
    shown(document, also, &unseen(document, caller))
}

/// An order as it stood once, and as `caller` may see it. Without the PIN: a courier at the door is now.
pub fn past_order(document: &OrderDocument, caller: &Caller) -> Box<RawValue> {
    shown(document, None, &unseen(document, caller))
}

/// The body of an event as somebody of this role may see it. Lists are emptied, so that it still is one.
pub fn event(data: &mut Map<String, Value>, role: Role) {
    if !runs_the_chain(role) {
        for name in LISTS {
            data.entry(name).and_modify(|list| *list = Value::Array(Vec::new()));
        }
    }
    leave_out(data, &COSTS);
}

/// A food point on the operators' board.
pub fn kitchen(read: &Read<Kitchen>) -> Box<RawValue> {
    let mark = KitchenMark::from(&read.doc);
    json(&read.id.parse().ok().map(|id| Pin::Kitchen { id, mark }))
}

/// A courier on the operators' board.
pub fn courier(read: &Read<Courier>) -> Box<RawValue> {
    let known = read.id.parse().ok().zip(CourierMark::of(&read.doc));
    json(&known.map(|(id, mark)| Pin::Courier { id, mark }))
}

/// A delivery as its courier sees it.
pub fn job(read: &Read<Delivery>) -> Box<RawValue> {
    shown(&read.doc, Some(("id", &json(&read.id))), &OTHER_COURIERS)
}

/// An order's past as `caller` may see it.
pub fn history(events: Vec<Envelope>, document: &OrderDocument, caller: &Caller) -> Vec<HistoryEntry> {
    let entry = |event| {
        let mut entry = HistoryEntry::from(event);
        let mut data = entry.data.value();
        if let Value::Object(data) = &mut data {
            leave_out(data, &unseen(document, caller));
        }
        entry.data = data.into();
        entry
    };
    events.into_iter().map(entry).collect()
}

/// A page whose documents are shown by `show`.
pub fn page<D>(page: Page<D>, show: impl Fn(Read<D>) -> Box<RawValue>) -> Listed {
    Listed {
        items: page.items.into_iter().map(show).collect(),
        next_cursor: page.next,
    }
}

/// What of an order, and of its events, is none of the caller's business.
fn unseen(document: &OrderDocument, caller: &Caller) -> Vec<&'static str> {
    let internal = (!runs_the_chain(caller.role)).then_some(INTERNAL);
    let costs = (!sees_costs(document, caller)).then_some(COSTS);
    internal
        .into_iter()
        .flatten()
        .chain(costs.into_iter().flatten())
        .collect()
}

fn sees_costs(document: &OrderDocument, caller: &Caller) -> bool {
    match caller.role {
        Role::Operator => true,
        Role::Kitchen => is_borne_by_kitchen_of(document, caller),
        Role::Customer | Role::Courier => false,
    }
}

/// Another kitchen may have been asked since, and that one neither pays nor reads who does.
fn is_borne_by_kitchen_of(document: &OrderDocument, caller: &Caller) -> bool {
    let bearer = document.order.borne.and_then(|borne| borne.food_point);
    bearer.is_some_and(|point| caller.works_at(&point))
}

fn runs_the_chain(role: Role) -> bool {
    match role {
        Role::Kitchen | Role::Operator => true,
        Role::Customer | Role::Courier => false,
    }
}

/// A document with one field more, maybe, and without some. Its fields stay the text that they are.
fn shown(document: &impl Serialize, also: Option<(&str, &RawValue)>, unseen: &[&str]) -> Box<RawValue> {
    let text = json(document);
    let mut fields: BTreeMap<&str, &RawValue> = serde_json::from_str(text.get()).expect("documents are JSON objects");
    fields.extend(also);
    fields.retain(|name, _| !unseen.contains(name));
    json(&fields)
}

fn json(document: &impl Serialize) -> Box<RawValue> {
    to_raw_value(document).expect("documents have string keys and finite numbers")
}

fn leave_out(json: &mut Map<String, Value>, names: &[&str]) {
    for name in names {
        json.remove(*name);
    }
}
