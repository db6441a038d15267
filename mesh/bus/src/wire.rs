//! Envelopes as a message, as CloudEvents 1.0 has it: one alone in binary mode, with its attributes and ours in headers
//! and its body as JSON; several as a JSON batch. A message costs the broker and each reader more than what is in it.
//!
//! Knows nothing of subjects; a reader needs only headers and body.

use std::borrow::Cow;
use std::iter;
use std::str::FromStr;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use bytes::Bytes;
use jiff::Timestamp;
use mesh_contracts::envelope::{Actor, Body, Envelope, Meta};
use mesh_contracts::subject::Context;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::BoxError;

/// Events in one message at most: what a master says under load between two looks of its relay.
const BATCH_EVENTS_MAX: usize = 32;

/// Their bodies together, unless one alone is longer. A reader that catches up has a hundred messages in hand.
const BATCH_BYTES_MAX: usize = 32 * 1024;

const SPEC: &str = "1.0";
const JSON: &str = "application/json";
const JSON_BATCH: &str = "application/cloudevents-batch+json";

pub(crate) const EVENT_ID: &str = "ce-id";
pub(crate) const EVENT_TYPE: &str = "ce-type";
pub(crate) const STREAM: &str = "ce-subject";
const SOURCE: &str = "ce-source";
const SPEC_VERSION: &str = "ce-specversion";
const AT: &str = "ce-time";
const CONTENT_TYPE: &str = "content-type";
const VERSION: &str = "tiffin-version";
const POSITION: &str = "tiffin-position";
const SCHEMA: &str = "tiffin-schema";
const RECORDED_AT: &str = "tiffin-recorded-at";
const ACTOR: &str = "tiffin-actor";
const CAUSATION: &str = "tiffin-causation";
const CORRELATION: &str = "tiffin-correlation";
const TRACEPARENT: &str = "traceparent";

/// The message is not one of ours: a part is missing or unreadable.
#[derive(Debug, thiserror::Error)]
#[error("message has no readable {part}")]
pub struct Malformed {
    /// The header, `body` or `batch`.
    pub part: &'static str,
    /// What did not fit; `None` if it was missing.
    pub source: Option<BoxError>,
    /// The event's id, as far as it could be read.
    pub event_id: Option<String>,
    /// Its stream.
    pub stream: Option<String>,
    /// Its type.
    pub event_type: Option<String>,
}

/// Cuts events of one context into what goes into a message each, in their order.
pub fn batches(events: &[Envelope]) -> impl Iterator<Item = &[Envelope]> {
    let mut rest = events;
    iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rest.iter().take(BATCH_EVENTS_MAX).take_while(|event| {
            bytes += event.data.as_str().len();
            bytes <= BATCH_BYTES_MAX
        });
        let count = fits.count().max(1);
        let (batch, left) = rest.split_at_checked(count)?;
        rest = left;
        Some(batch)
    })
}

/// What the broker knows a repeat of this message by: the event's id, and of a batch something that no other batch
/// has, not even one that begins or ends with the same event.
///
/// # Panics
/// Without an event.
pub fn message_id(events: &[Envelope]) -> Uuid {
    let (first, others) = events.split_first().expect("a message has an event");
    if others.is_empty() {
        return first.event_id;
    }
    let others: Vec<u8> = others.iter().flat_map(|event| event.event_id.into_bytes()).collect();
    Uuid::new_v5(&first.event_id, &others)
}

/// The message that carries these events of one context; its id lets the broker drop a repeat.
///
/// # Panics
/// Without an event.
pub fn encode(events: &[Envelope]) -> (HeaderMap, Bytes) {
    if let [alone] = events {
        return encode_alone(alone);
    }
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, message_id(events).to_string());
    headers.insert(CONTENT_TYPE, JSON_BATCH);
    let batch: Vec<CloudEvent> = events.iter().map(CloudEvent::of).collect();
    let body = serde_json::to_vec(&batch).expect("events have string keys");
    (headers, body.into())
}

fn encode_alone(envelope: &Envelope) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    let event_id = envelope.event_id.to_string();
    headers.insert(NATS_MESSAGE_ID, event_id.as_str());
    headers.insert(EVENT_ID, event_id);
    headers.insert(EVENT_TYPE, envelope.event_type.as_str());
    headers.insert(SOURCE, source(envelope));
    headers.insert(SPEC_VERSION, SPEC);
    headers.insert(STREAM, envelope.stream.as_str());
    headers.insert(AT, envelope.at.to_string());
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(VERSION, envelope.version.to_string());
    headers.insert(POSITION, envelope.position.to_string());
    headers.insert(SCHEMA, envelope.schema_version.to_string());
    headers.insert(RECORDED_AT, envelope.recorded_at.to_string());
    headers.insert(ACTOR, envelope.meta.actor.0.as_str());
    if let Some(causation) = envelope.meta.causation {
        headers.insert(CAUSATION, causation.to_string());
    }
    if let Some(correlation) = envelope.meta.correlation {
        headers.insert(CORRELATION, correlation.to_string());
    }
    if let Some(traceparent) = &envelope.meta.traceparent {
        headers.insert(TRACEPARENT, traceparent.as_str());
    }
    (headers, Bytes::copy_from_slice(envelope.data.as_str().as_bytes()))
}

/// The envelopes that a message carries, in order. What is wrong with one says nothing about the others of its batch.
pub fn decode(headers: &HeaderMap, body: &[u8]) -> Vec<Result<Envelope, Malformed>> {
    match headers.get(CONTENT_TYPE) {
        Some(kind) if kind.as_str() == JSON_BATCH => decode_batch(body),
        Some(_) | None => vec![decode_alone(headers, body).map_err(|err| err.of(|name| headers_text(headers, name)))],
    }
}

fn decode_batch(body: &[u8]) -> Vec<Result<Envelope, Malformed>> {
    if let Ok(batch) = serde_json::from_slice::<Vec<CloudEvent>>(body) {
        return batch.into_iter().map(|event| Ok(event.into())).collect();
    }
    match serde_json::from_slice::<Vec<&RawValue>>(body) {
        Ok(batch) => batch.into_iter().map(decode_member).collect(),
        Err(err) => vec![Err(Malformed::new("batch", err))],
    }
}

fn decode_member(member: &RawValue) -> Result<Envelope, Malformed> {
    match serde_json::from_str::<CloudEvent>(member.get()) {
        Ok(event) => Ok(event.into()),
        Err(err) => {
            let named: serde_json::Value = serde_json::from_str(member.get()).unwrap_or_default();
            Err(Malformed::new("body", err).of(|name| Some(named.get(name.strip_prefix("ce-")?)?.as_str()?.to_owned())))
        }
    }
}

fn decode_alone(headers: &HeaderMap, body: &[u8]) -> Result<Envelope, Malformed> {
    Ok(Envelope {
        event_id: required(headers, EVENT_ID)?,
        stream: required(headers, STREAM)?,
        version: required(headers, VERSION)?,
        position: required(headers, POSITION)?,
        event_type: required(headers, EVENT_TYPE)?,
        schema_version: required(headers, SCHEMA)?,
        at: required(headers, AT)?,
        recorded_at: required(headers, RECORDED_AT)?,
        meta: Meta {
            actor: Actor(required(headers, ACTOR)?),
            causation: optional(headers, CAUSATION)?,
            correlation: optional(headers, CORRELATION)?,
            traceparent: optional(headers, TRACEPARENT)?,
        },
        data: serde_json::from_slice(body).map_err(|err| Malformed::new("body", err))?,
    })
}

/// A member of a batch. Names that CloudEvents or its registered extensions have are theirs.
#[derive(Serialize, Deserialize)]
struct CloudEvent<'a> {
    #[serde(borrow)]
    specversion: Cow<'a, str>,
    id: Uuid,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    subject: Cow<'a, str>,
    time: Timestamp,
    version: u64,
    position: u64,
    schema: u16,
    recordedtime: Timestamp,
    #[serde(borrow)]
    actor: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    causation: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    traceparent: Option<Cow<'a, str>>,
    data: Body,
}

impl<'a> CloudEvent<'a> {
    fn of(envelope: &'a Envelope) -> Self {
        Self {
            specversion: SPEC.into(),
            id: envelope.event_id,
            source: source(envelope).into(),
            event_type: envelope.event_type.as_str().into(),
            subject: envelope.stream.as_str().into(),
            time: envelope.at,
            version: envelope.version,
            position: envelope.position,
            schema: envelope.schema_version,
            recordedtime: envelope.recorded_at,
            actor: envelope.meta.actor.0.as_str().into(),
            causation: envelope.meta.causation,
            correlation: envelope.meta.correlation,
            traceparent: envelope.meta.traceparent.as_deref().map(Cow::from),
            data: envelope.data.clone(),
        }
    }
}

impl From<CloudEvent<'_>> for Envelope {
    fn from(event: CloudEvent<'_>) -> Self {
        Self {
            event_id: event.id,
            stream: event.subject.into_owned(),
            version: event.version,
            position: event.position,
            event_type: event.event_type.into_owned(),
            schema_version: event.schema,
            at: event.time,
            recorded_at: event.recordedtime,
            meta: Meta {
                actor: Actor(event.actor.into_owned()),
                causation: event.causation,
                correlation: event.correlation,
                traceparent: event.traceparent.map(Cow::into_owned),
            },
            data: event.data,
        }
    }
}

impl Malformed {
    fn new(part: &'static str, source: impl Into<BoxError>) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::missing(part)
        }
    }

    fn missing(part: &'static str) -> Self {
        Self {
            part,
            source: None,
            event_id: None,
            stream: None,
            event_type: None,
        }
    }

    /// Says which event it was, by what `text` gives for the names of headers.
    fn of(self, text: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            event_id: text(EVENT_ID),
            stream: text(STREAM),
            event_type: text(EVENT_TYPE),
            ..self
        }
    }
}

fn source(envelope: &Envelope) -> String {
    format!(
        "/{}",
        Context::of_stream(&envelope.stream).map_or("tiffin", Context::owner)
    )
}

fn headers_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.as_str().to_owned())
}

fn required<T: FromStr<Err: Into<BoxError>>>(headers: &HeaderMap, part: &'static str) -> Result<T, Malformed> {
    optional(headers, part)?.ok_or_else(|| Malformed::missing(part))
}

fn optional<T: FromStr<Err: Into<BoxError>>>(headers: &HeaderMap, part: &'static str) -> Result<Option<T>, Malformed> {
    headers
        .get(part)
        .map(|value| value.as_str().parse())
        .transpose()
        .map_err(|err| Malformed::new(part, err))
}
