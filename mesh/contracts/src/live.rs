//! What live streams say, and how a client keeps its screen: the reducer is the fold of the events.
//!
//! A snapshot replaces everything; an event moves one document on; what joins a topic comes with its document, and
//! what leaves it is said to leave. Ephemeral news is neither: it has no stamp and is in no document.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::envelope::{BadBody, Body, EventBody};
use crate::geo::Coordinates;
use crate::id::CourierId;
use crate::view::delivery::{self, Delivery};
use crate::view::order::{self, Order};

/// The kind of ephemeral news that courier-master tells: where couriers are.
pub const POSITIONS: &str = "positions";

/// Where a courier was seen. Travels beside the events and is stored nowhere but as the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Who.
    pub courier: CourierId,
    /// Where.
    pub place: Coordinates,
    /// Business time.
    pub at: Timestamp,
}

/// An event as live streams show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Happened {
    /// Noun and past verb.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Of what.
    pub stream: String,
    /// Its number in the stream.
    pub version: u64,
    /// Business time.
    pub at: Timestamp,
    /// Its body.
    pub data: Body,
    /// The document with this event in it, where its events alone would not give it: it has just joined the topic,
    /// or it has ended, and not everyone reads everything of how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Value>,
    /// It is not on this topic any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
}

impl Happened {
    /// The event as one of a known set; `None` if it is none of them or has another shape.
    pub fn body<E: EventBody>(&self) -> Option<E> {
        E::decode(&self.event_type, &self.data).ok().flatten()
    }
}

/// A document that live streams show.
pub trait Shown: DeserializeOwned {
    /// What moves it.
    type Event: EventBody;

    /// Version of its last event.
    fn version(&self) -> u64;

    /// The next state.
    fn fold(document: Option<Self>, event: &Self::Event, at: Timestamp) -> Option<Self>;

    /// An event that this build does not know.
    fn skip(&mut self, at: Timestamp);
}

impl Shown for Order {
    type Event = crate::order::Event;

    fn version(&self) -> u64 {
        self.version
    }

    fn fold(document: Option<Self>, event: &Self::Event, at: Timestamp) -> Option<Self> {
        order::fold(document, event, at)
    }

    fn skip(&mut self, at: Timestamp) {
        order::skip(self, at);
    }
}

impl Shown for Delivery {
    type Event = crate::delivery::Event;

    fn version(&self) -> u64 {
        self.version
    }

    fn fold(document: Option<Self>, event: &Self::Event, at: Timestamp) -> Option<Self> {
        delivery::fold(document, event, at)
    }

    fn skip(&mut self, at: Timestamp) {
        delivery::skip(self, at);
    }
}

/// Why a screen must be thrown away: its client asks for a fresh snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Torn {
    /// A document is not of the shape that was agreed.
    #[error("document not understood")]
    Document(#[from] serde_json::Error),
    /// An event is not of the shape of its type.
    #[error(transparent)]
    Body(#[from] BadBody),
    /// An event is missing, or one came twice: streams promise neither.
    #[error("{stream} goes from version {from} to {to}")]
    Hole {
        /// Of what.
        stream: String,
        /// What the screen has.
        from: u64,
        /// What came next.
        to: u64,
    },
}

/// The documents of a topic, as its client has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Screen<D> {
    /// By id.
    pub documents: BTreeMap<String, D>,
}

impl<D> Default for Screen<D> {
    fn default() -> Self {
        let documents = BTreeMap::new();
        Self { documents }
    }
}

impl<D: Shown> Screen<D> {
    /// A snapshot: what was shown before is superseded.
    pub fn show(&mut self, documents: &[Value]) -> Result<(), Torn> {
        self.documents.clear();
        for document in documents {
            let id = document["id"].as_str().unwrap_or_default().to_owned();
            self.documents.insert(id, D::deserialize(document)?);
        }
        Ok(())
    }

    /// The next event of the topic.
    pub fn hear(&mut self, happened: &Happened) -> Result<(), Torn> {
        let stream = &happened.stream;
        let shown = self.documents.remove(stream);
        if let Some(shown) = &shown
            && shown.version() + 1 != happened.version
        {
            return Err(Torn::Hole {
                stream: stream.clone(),
                from: shown.version(),
                to: happened.version,
            });
        }
        let next = match &happened.document {
            _ if happened.left => None,
            Some(document) => Some(D::deserialize(document)?),
            None => match D::Event::decode(&happened.event_type, &happened.data)? {
                Some(event) => D::fold(shown, &event, happened.at),
                None => shown.map(|mut shown| {
                    shown.skip(happened.at);
                    shown
                }),
            },
        };
        if let Some(next) = next {
            self.documents.insert(stream.clone(), next);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
