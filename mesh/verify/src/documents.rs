//! I5: what Redis shows is the fold of the events.
//!
//! Folds with the contract's own functions, as the info services do, but from Postgres and from the beginning.

use jiff::Timestamp;
use mesh_contracts::envelope::{Envelope, EventBody};
use mesh_contracts::view;
use mesh_contracts::{basket, courier, delivery, menu, order, payment, point, promotion, user};
use serde::Serialize;
use serde_json::Value;

use crate::findings::Breach;

/// A document as Redis has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stored {
    /// The version it was folded to.
    pub version: u64,
    /// The JSON; empty where the fold gave nothing.
    pub document: String,
    /// Why it is no longer kept up to date.
    pub quarantine: Option<String>,
}

/// Why events give no document.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// An event has not the shape of its type.
    #[error(transparent)]
    Body(#[from] mesh_contracts::envelope::BadBody),
    /// No view shows streams of this kind.
    #[error("no view of {0}")]
    NoView(String),
}

/// I5, of one document. `events` are those of its stream, at least up to the document's version.
/// A document that is only behind is I10's affair, one that is not there at all is ours, too.
pub fn folded(service: &str, kind: &str, stream: &str, stored: Option<&Stored>, events: &[Envelope]) -> Option<Breach> {
    let wrong = |what: String| Some(Breach::of(stream, format!("{service} ({kind}): {what}")));
    let Some(stored) = stored else {
        return (!events.is_empty()).then(|| wrong("no document".into())).flatten();
    };
    if let Some(why) = &stored.quarantine {
        return wrong(format!("quarantined: {why}"));
    }
    let upto = events.iter().take_while(|event| event.version <= stored.version);
    let upto: Vec<&Envelope> = upto.collect();
    let last = upto.last().map_or(0, |event| event.version);
    if last != stored.version {
        return wrong(format!(
            "stands at version {}, the events end at {last}",
            stored.version
        ));
    }
    let expected = match expected(kind, stream, &upto) {
        Ok(expected) => expected,
        Err(err) => return wrong(err.to_string()),
    };
    let shown = match stored.document.as_str() {
        "" => None,
        text => match serde_json::from_str::<Value>(text) {
            Ok(shown) => Some(shown),
            Err(err) => return wrong(format!("unreadable: {err}")),
        },
    };
    if shown == expected {
        return None;
    }
    let parts = differing(shown.as_ref(), expected.as_ref());
    wrong(format!("differs from the fold in {parts}"))
}

/// The document that these events make.
pub fn expected(kind: &str, stream: &str, events: &[&Envelope]) -> Result<Option<Value>, FoldError> {
    let document = match kind {
        "order" => fold::<order::Event, _>(events, view::order::fold, view::order::skip)?.map(|mut document| {
            // The one document whose id is in it, since its events do not name it.
            document["id"] = stream.into();
            document
        }),
        "delivery" => fold::<delivery::Event, _>(events, view::delivery::fold, view::delivery::skip)?,
        "courier" => fold::<courier::Event, _>(events, view::courier::fold, view::courier::skip)?,
        "basket" => fold::<basket::Event, _>(events, view::basket::fold, view::basket::skip)?,
        "payment" => fold::<payment::Event, _>(events, view::payment::fold, view::payment::skip)?,
        "product" => fold::<menu::Event, _>(events, view::product::fold, view::product::skip)?,
        "promotion" => fold::<promotion::Event, _>(events, view::promotion::fold, view::promotion::skip)?,
        "point" => fold::<point::Event, _>(events, view::point::fold, view::point::skip)?,
        "kitchen" => fold::<point::Event, _>(events, view::kitchen::fold, view::kitchen::skip)?,
        "person" => fold::<user::Event, _>(events, view::person::fold, view::person::skip)?,
        other => return Err(FoldError::NoView(other.to_owned())),
    };
    Ok(document)
}

fn fold<E: EventBody, D: Serialize>(
    events: &[&Envelope],
    fold: fn(Option<D>, &E, Timestamp) -> Option<D>,
    skip: fn(&mut D, Timestamp),
) -> Result<Option<Value>, FoldError> {
    let mut document = None;
    for envelope in events {
        document = match envelope.body::<E>()? {
            Some(event) => fold(document, &event, envelope.at),
            None => document.map(|mut document| {
                skip(&mut document, envelope.at);
                document
            }),
        };
    }
    Ok(document.map(|document| serde_json::to_value(document).expect("views have string keys and finite numbers")))
}

/// The members in which two documents differ.
fn differing(shown: Option<&Value>, expected: Option<&Value>) -> String {
    let (Some(Value::Object(shown)), Some(Value::Object(expected))) = (shown, expected) else {
        return "everything".to_owned();
    };
    let mut names: Vec<&str> = shown
        .keys()
        .chain(expected.keys())
        .filter(|name| shown.get(*name) != expected.get(*name))
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

#[cfg(test)]
mod tests;
