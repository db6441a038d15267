//! Documents as they are answered: what each role may see of them.

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
    pub items: Vec<Value>,
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
pub fn order(document: &OrderDocument, caller: &Caller, signer: &Signer) -> Value {
    let mut json = seen(document, caller);
    if caller.subject == document.order.customer && !document.order.status.is_terminal() {
        json.insert("pin".into(), signer.pin(&document.id.to_string()).into());
    }
    Value::Object(json)
}

/// An order as it stood once, and as `caller` may see it. Without the PIN: a courier at the door is now.
pub fn past_order(document: &OrderDocument, caller: &Caller) -> Value {
    Value::Object(seen(document, caller))
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
pub fn kitchen(read: &Read<Kitchen>) -> Value {
    let mark = KitchenMark::from(&read.doc);
    read.id.parse().map_or(Value::Null, |id| pin(Pin::Kitchen { id, mark }))
}

/// A courier on the operators' board.
pub fn courier(read: &Read<Courier>) -> Value {
    let known = read.id.parse().ok().zip(CourierMark::of(&read.doc));
    known.map_or(Value::Null, |(id, mark)| pin(Pin::Courier { id, mark }))
}

fn pin(pin: Pin) -> Value {
    serde_json::to_value(pin).expect("a pin has string keys")
}

/// A delivery as its courier sees it.
pub fn job(read: &Read<Delivery>) -> Value {
    let mut json = object(&read.doc);
    json.insert("id".into(), read.id.as_str().into());
    leave_out(&mut json, &OTHER_COURIERS);
    Value::Object(json)
}

/// An order's past as `caller` may see it.
pub fn history(events: Vec<Envelope>, document: &OrderDocument, caller: &Caller) -> Vec<HistoryEntry> {
    let entry = |event| {
        let mut entry = HistoryEntry::from(event);
        let mut data = entry.data.value();
        if let Value::Object(data) = &mut data {
            leave_out_unseen(data, document, caller);
        }
        entry.data = data.into();
        entry
    };
    events.into_iter().map(entry).collect()
}

/// A page whose documents are shown by `show`.
pub fn page<D>(page: Page<D>, show: impl Fn(Read<D>) -> Value) -> Listed {
    Listed {
        items: page.items.into_iter().map(show).collect(),
        next_cursor: page.next,
    }
}

fn seen(document: &OrderDocument, caller: &Caller) -> Map<String, Value> {
    let mut json = object(document);
    leave_out_unseen(&mut json, document, caller);
    json
}

fn leave_out_unseen(json: &mut Map<String, Value>, document: &OrderDocument, caller: &Caller) {
    if !runs_the_chain(caller.role) {
        leave_out(json, &INTERNAL);
    }
    if !sees_costs(document, caller) {
        leave_out(json, &COSTS);
    }
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

fn object(document: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(document) {
        Ok(Value::Object(object)) => object,
        other => unreachable!("documents are JSON objects, not {other:?}"),
    }
}

fn leave_out(json: &mut Map<String, Value>, names: &[&str]) {
    for name in names {
        json.remove(*name);
    }
}
