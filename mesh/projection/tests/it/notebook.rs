//! A view of notebooks: who holds one, and every version that was folded into it.

use jiff::Timestamp;
use mesh_contracts::envelope::{Actor, Envelope, Meta};
use mesh_projection::{BoxError, Placement, Read, View};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notebook {
    pub id: String,
    pub holder: String,
    pub closed: bool,
    pub seen: Vec<u64>,
}

pub struct Notebooks;

impl View for Notebooks {
    type Doc = Notebook;
    const KIND: &'static str = "notebook";

    fn fold(doc: Option<Notebook>, event: &Envelope) -> Result<Option<Notebook>, BoxError> {
        let mut doc = doc.unwrap_or_else(|| Notebook {
            id: event.stream.clone(),
            holder: String::new(),
            closed: false,
            seen: Vec::new(),
        });
        doc.seen.push(event.version);
        match event.event_type.as_str() {
            "notebook.given" => {
                doc.holder = event.data.value()["to"].as_str().ok_or("no holder")?.to_owned();
            }
            "notebook.closed" => doc.closed = true,
            "notebook.burnt" => return Ok(None),
            _ => {}
        }
        Ok(Some(doc))
    }

    fn place(doc: &Notebook) -> Placement {
        let first = i64::try_from(doc.seen.len()).expect("few");
        let placement = Placement::new()
            .indexed("holder", &doc.holder, score(&doc.id))
            .indexed("length", "all", first)
            .live(format!("order:{}", doc.id));
        match doc.closed {
            true => placement,
            false => placement
                .live(format!("point:{}", doc.holder))
                .marked("board", json!({ "holder": doc.holder })),
        }
    }
}

fn score(id: &str) -> i64 {
    // Pairs of notebooks share a score.
    id.trim_start_matches("ord_").parse::<i64>().expect("a number") / 2
}

/// A notebook on a live topic.
pub fn shown(read: Read<Notebook>) -> Box<RawValue> {
    to_raw_value(&json!({ "id": read.id, "version": read.version })).expect("a JSON object")
}

pub fn id(number: usize) -> String {
    format!("ord_{number:032}")
}

pub fn noted(number: usize, version: u64) -> Envelope {
    event(number, version, "notebook.noted", json!({ "text": version }))
}

pub fn given(number: usize, version: u64, to: &str) -> Envelope {
    event(number, version, "notebook.given", json!({ "to": to }))
}

pub fn closed(number: usize, version: u64) -> Envelope {
    event(number, version, "notebook.closed", Value::Null)
}

pub fn burnt(number: usize, version: u64) -> Envelope {
    event(number, version, "notebook.burnt", Value::Null)
}

/// Claims to be given and names nobody: cannot be folded.
pub fn poison(number: usize, version: u64) -> Envelope {
    event(number, version, "notebook.given", json!({ "to": 7 }))
}

fn event(number: usize, version: u64, event_type: &str, data: Value) -> Envelope {
    Envelope {
        event_id: Uuid::now_v7(),
        stream: id(number),
        version,
        position: 0,
        event_type: event_type.into(),
        schema_version: 1,
        at: Timestamp::UNIX_EPOCH,
        recorded_at: Timestamp::now(),
        meta: Meta::by(Actor::service("order-master")),
        data: data.into(),
    }
}
