//! An envelope as a message: CloudEvents 1.0 attributes and ours in headers, the body as JSON.
//!
//! Knows nothing of subjects; a reader needs only headers and body.

use std::str::FromStr;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use bytes::Bytes;
use mesh_contracts::envelope::{Actor, Envelope, Meta};
use mesh_contracts::subject::Context;

use crate::BoxError;

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

/// The message is not one of ours: a header is missing or unreadable, or the body is not JSON.
#[derive(Debug, thiserror::Error)]
#[error("message has no readable {part}")]
pub struct Malformed {
    /// The header, or `body`.
    pub part: &'static str,
    /// What did not fit; `None` if it was missing.
    pub source: Option<BoxError>,
}

/// The message that carries `envelope`; its id lets the broker drop a repeat.
pub fn encode(envelope: &Envelope) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    let event_id = envelope.event_id.to_string();
    let source = Context::of_stream(&envelope.stream).map_or("tiffin", Context::owner);
    headers.insert(NATS_MESSAGE_ID, event_id.as_str());
    headers.insert(EVENT_ID, event_id);
    headers.insert(EVENT_TYPE, envelope.event_type.as_str());
    headers.insert(SOURCE, format!("/{source}"));
    headers.insert(SPEC_VERSION, "1.0");
    headers.insert(STREAM, envelope.stream.as_str());
    headers.insert(AT, envelope.at.to_string());
    headers.insert(CONTENT_TYPE, "application/json");
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

/// The envelope that a message carries.
pub fn decode(headers: &HeaderMap, body: &[u8]) -> Result<Envelope, Malformed> {
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
        data: serde_json::from_slice(body).map_err(|err| Malformed {
            part: "body",
            source: Some(err.into()),
        })?,
    })
}

fn required<T: FromStr<Err: Into<BoxError>>>(headers: &HeaderMap, part: &'static str) -> Result<T, Malformed> {
    optional(headers, part)?.ok_or(Malformed { part, source: None })
}

fn optional<T: FromStr<Err: Into<BoxError>>>(headers: &HeaderMap, part: &'static str) -> Result<Option<T>, Malformed> {
    headers
        .get(part)
        .map(|value| value.as_str().parse())
        .transpose()
        .map_err(|err: T::Err| Malformed {
            part,
            source: Some(err.into()),
        })
}
