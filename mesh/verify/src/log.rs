//! Events as a master would have stored them, for tests of the rules.

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::{Actor, Envelope, EventBody, Meta};
use uuid::Uuid;

/// When everything was stored, on both clocks; later events a second later each.
pub(crate) const NOON: Timestamp = Timestamp::constant(1_772_366_400, 0);

/// A stream of these events, whole.
pub(crate) fn log<E: EventBody>(stream: impl ToString, events: &[E]) -> Vec<Envelope> {
    let stream = stream.to_string();
    events
        .iter()
        .zip(1..)
        .map(|(event, version)| {
            let at = NOON + SignedDuration::from_secs(version);
            let version = version.unsigned_abs();
            Envelope {
                event_id: Uuid::from_u128(version.into()),
                stream: stream.clone(),
                version,
                position: version,
                event_type: event.event_type().to_owned(),
                schema_version: E::SCHEMA_VERSION,
                at,
                recorded_at: at,
                meta: Meta::by(Actor::service("somebody")),
                data: event.encode(),
            }
        })
        .collect()
}

/// What is wrong, in one text.
pub(crate) fn said(breaches: &[crate::Breach]) -> String {
    let lines: Vec<String> = breaches
        .iter()
        .map(|breach| format!("{}: {}", breach.id, breach.what))
        .collect();
    lines.join("\n")
}
