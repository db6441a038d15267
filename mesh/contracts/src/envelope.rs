//! What surrounds every event: where it stands, when it happened, who caused it and why.
//!
//! Knows no event by name; the modules beside it do.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeSeed, Error as _, MapAccess};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

/// An event as it is stored, published, fed and folded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Unique over the platform; the broker drops a repeat of it.
    pub event_id: Uuid,
    /// The aggregate it belongs to, such as `ord_…`.
    pub stream: String,
    /// 1 for the stream's first event, then without hole.
    pub version: u64,
    /// Order of insertion at the owner; not the order of commits.
    pub position: u64,
    /// Noun and past verb, such as `order.paid`.
    pub event_type: String,
    /// Version of the body's shape.
    pub schema_version: u16,
    /// When it happened, on the business clock.
    pub at: Timestamp,
    /// When it was stored, on the wall clock.
    pub recorded_at: Timestamp,
    /// Who, because of what.
    pub meta: Meta,
    /// The body; [`EventBody::decode`] turns it into the owner's enum.
    pub data: Body,
}

impl Envelope {
    /// The body as one of `E`'s events; `None` for a type that this build does not know.
    pub fn body<E: EventBody>(&self) -> Result<Option<E>, BadBody> {
        E::decode(&self.event_type, &self.data)
    }
}

/// What an event says, as the JSON text that its owner wrote. It passes through outbox, bus and live streams as it
/// is, and is read only by those whom its type concerns. Clones share the text.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Body(Arc<RawValue>);

impl Body {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The body taken apart, for those who know no type that it could have.
    pub fn value(&self) -> Value {
        serde_json::from_str(self.as_str()).expect("a body is JSON")
    }
}

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        let text = serde_json::value::to_raw_value(&value).expect("a JSON value has string keys");
        Self(text.into())
    }
}

/// Two texts may say the same.
impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str() || self.value() == other.value()
    }
}

impl fmt::Display for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Who caused an event, and in the course of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Who.
    pub actor: Actor,
    /// The event or command that led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<Uuid>,
    /// The command at the start of the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Uuid>,
    /// W3C trace context of the request or message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl Meta {
    /// Caused by `actor` and nothing else.
    pub fn by(actor: Actor) -> Self {
        Self {
            actor,
            causation: None,
            correlation: None,
            traceparent: None,
        }
    }
}

/// Who acted: a role and an id (`customer:usr_…`), a service (`service:order-master`)
/// or a timer (`timer:order-master`). Never a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Actor(pub String);

impl Actor {
    /// A person in a role.
    pub fn person(role: crate::user::Role, id: crate::id::UserId) -> Self {
        Self(format!("{}:{id}", role.as_str()))
    }

    /// One of our services, reacting to an event.
    pub fn service(name: &str) -> Self {
        Self(format!("service:{name}"))
    }

    /// A deadline that passed.
    pub fn timer(service: &str) -> Self {
        Self(format!("timer:{service}"))
    }

    /// The payment provider, by webhook.
    pub fn payment_provider() -> Self {
        Self("provider:payments".into())
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A body that claims a known type and does not have its shape.
#[derive(Debug, thiserror::Error)]
#[error("body of {event_type} has another shape")]
pub struct BadBody {
    /// The type it claims.
    pub event_type: String,
    /// What did not fit.
    pub source: serde_json::Error,
}

/// The events of one aggregate: a closed set of types, each with its body.
pub trait EventBody: Clone + fmt::Debug + Send + Sync + Sized + 'static {
    /// Raised when a body changes its shape in a way that old readers must notice.
    const SCHEMA_VERSION: u16 = 1;
    /// Every type of the set.
    const TYPES: &'static [&'static str];

    /// Noun and past verb.
    fn event_type(&self) -> &'static str;

    /// The body alone.
    fn encode(&self) -> Body;

    /// `None` for a type that this build does not know: the reader skips it.
    fn decode(event_type: &str, data: &Body) -> Result<Option<Self>, BadBody>;
}

/// Declares the events of one aggregate: an enum, its wire names and their codec.
///
/// A macro, because name and variant must not be written twice and serde gives no list of names.
macro_rules! events {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$vdoc:meta])* $wire:literal $variant:ident $body:tt)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "type", content = "data")]
        $vis enum $name { $($(#[$vdoc])* #[serde(rename = $wire)] $variant $body,)* }

        impl $crate::envelope::EventBody for $name {
            const TYPES: &'static [&'static str] = &[$($wire),*];

            fn event_type(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $wire,)* }
            }

            fn encode(&self) -> $crate::envelope::Body {
                $crate::envelope::data_of(self)
            }

            fn decode(
                event_type: &str,
                data: &$crate::envelope::Body,
            ) -> Result<Option<Self>, $crate::envelope::BadBody> {
                $crate::envelope::typed(event_type, data, Self::TYPES)
            }
        }
    };
}
pub(crate) use events;

/// Serde writes `{"type": …, "data": …}`, and the second is the body.
pub(crate) fn data_of<E: Serialize>(event: &E) -> Body {
    #[derive(Deserialize)]
    struct Tagged {
        #[serde(default)]
        data: Option<Body>,
    }
    let tagged = serde_json::to_string(event).expect("events have string keys and finite numbers");
    let Tagged { data } = serde_json::from_str(&tagged).expect("just written");
    data.unwrap_or_else(|| Body::from(Value::Null))
}

pub(crate) fn typed<E: serde::de::DeserializeOwned>(
    event_type: &str,
    data: &Body,
    known: &[&str],
) -> Result<Option<E>, BadBody> {
    if !known.contains(&event_type) {
        return Ok(None);
    }
    let tagged = MapAccessDeserializer::new(Tagged::Type(event_type, &data.0));
    E::deserialize(tagged).map(Some).map_err(|source| BadBody {
        event_type: event_type.into(),
        source,
    })
}

/// `{"type": …, "data": …}` as serde reads it: the name first, so that the body is read where it
/// lies. Every reader does this for every event; putting the two into one value first copies the
/// body twice.
enum Tagged<'a> {
    Type(&'a str, &'a RawValue),
    Data(&'a RawValue),
    Done,
}

impl<'a> MapAccess<'a> for Tagged<'a> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        let key = match self {
            Self::Type(..) => "type",
            Self::Data(_) => "data",
            Self::Done => return Ok(None),
        };
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        match std::mem::replace(self, Self::Done) {
            Self::Type(event_type, data) => {
                *self = Self::Data(data);
                seed.deserialize(BorrowedStrDeserializer::new(event_type))
            }
            Self::Data(data) => seed.deserialize(data),
            Self::Done => Err(Self::Error::custom("a key comes before its value")),
        }
    }
}
