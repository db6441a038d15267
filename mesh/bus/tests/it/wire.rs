use async_nats::HeaderMap;
use mesh_bus::{Malformed, batches, encode, message_id};
use mesh_contracts::envelope::{Envelope, Meta};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::events::{event, stream};

fn decode(headers: &HeaderMap, body: &[u8]) -> Result<Envelope, Malformed> {
    let mut events = mesh_bus::decode(headers, body);
    assert_eq!(events.len(), 1);
    events.remove(0)
}

/// With everything that an event may have.
fn full(version: u64) -> Envelope {
    let plain = event(&stream(1), version);
    let meta = Meta {
        causation: Some(Uuid::now_v7()),
        correlation: Some(Uuid::now_v7()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        ..plain.meta
    };
    Envelope { meta, ..plain }
}

#[test]
fn what_is_encoded_is_decoded() {
    let sent = full(3);
    let (headers, body) = encode(std::slice::from_ref(&sent));
    assert_eq!(decode(&headers, &body).unwrap(), sent);
}

#[test]
fn a_batch_is_decoded_in_its_order() {
    let mut sent = vec![full(1), event(&stream(2), 1), full(2)];
    sent[1].data = json!({ "note": "\"quoted\" and ü" }).into();
    let (headers, body) = encode(&sent);
    let id = headers.get("Nats-Msg-Id").map(|id| id.as_str().to_owned());
    assert_eq!(id, Some(message_id(&sent).to_string()));
    let events = mesh_bus::decode(&headers, &body);
    assert_eq!(events.into_iter().map(Result::unwrap).collect::<Vec<_>>(), sent);
}

#[test]
fn members_of_a_batch_carry_the_attributes_of_cloudevents() {
    let sent = [event(&stream(1), 3), event(&stream(1), 4)];
    let (headers, body) = encode(&sent);
    let kind = headers.get("content-type").map(|kind| kind.as_str());
    assert_eq!(kind, Some("application/cloudevents-batch+json"));
    let batch: Vec<Value> = serde_json::from_slice(&body).unwrap();
    let wanted = json!({
        "specversion": "1.0",
        "id": sent[0].event_id,
        "source": "/order-master",
        "type": "order.noted",
        "subject": sent[0].stream,
        "time": "1970-01-01T00:00:00Z",
        "version": 3,
        "position": 3,
        "schema": 1,
        "recordedtime": sent[0].recorded_at,
        "actor": "service:order-master",
        "data": { "version": 3 },
    });
    assert_eq!(batch[0], wanted);
}

#[test]
fn a_member_that_cannot_be_read_is_named_and_the_others_are_read() {
    let sent = [event(&stream(1), 1), event(&stream(2), 1), event(&stream(3), 1)];
    let (headers, body) = encode(&sent);
    let mut batch: Vec<Value> = serde_json::from_slice(&body).unwrap();
    batch[1]["version"] = "many".into();
    let mut events = mesh_bus::decode(&headers, &serde_json::to_vec(&batch).unwrap());
    let err = events.remove(1).unwrap_err();
    assert_eq!(err.event_id, Some(sent[1].event_id.to_string()));
    assert_eq!(
        (err.stream, err.event_type.as_deref()),
        (Some(stream(2)), Some("order.noted"))
    );
    let read: Vec<_> = events.into_iter().map(Result::unwrap).collect();
    assert_eq!(read, [sent[0].clone(), sent[2].clone()]);
    assert_eq!(decode(&headers, b"[").unwrap_err().part, "batch");
}

#[test]
fn batches_are_cut_by_count_and_by_length_and_lose_nothing() {
    let mut events: Vec<_> = (1..=100).map(|version| event(&stream(1), version)).collect();
    assert_eq!(batches(&events).map(<[_]>::len).collect::<Vec<_>>(), [32, 32, 32, 4]);
    // The second of them is longer than a batch may be, and travels alone.
    events[1].data = json!({ "note": "n".repeat(40_000) }).into();
    assert_eq!(
        batches(&events).map(<[_]>::len).collect::<Vec<_>>(),
        [1, 1, 32, 32, 32, 2]
    );
    assert_eq!(batches(&events).flatten().cloned().collect::<Vec<_>>(), events);
    assert_eq!(batches(&[]).count(), 0);
}

#[test]
fn headers_carry_the_attributes_of_cloudevents() {
    let sent = event(&stream(1), 3);
    let (headers, body) = encode(std::slice::from_ref(&sent));
    let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    assert_eq!(header("Nats-Msg-Id"), Some(sent.event_id.to_string()));
    assert_eq!(header("ce-id"), Some(sent.event_id.to_string()));
    assert_eq!(header("ce-type").as_deref(), Some("order.noted"));
    assert_eq!(header("ce-source").as_deref(), Some("/order-master"));
    assert_eq!(header("ce-specversion").as_deref(), Some("1.0"));
    assert_eq!(header("ce-subject"), Some(sent.stream));
    assert_eq!(header("ce-time").as_deref(), Some("1970-01-01T00:00:00Z"));
    assert_eq!(header("tiffin-version").as_deref(), Some("3"));
    assert_eq!(body.as_ref(), br#"{"version":3}"#);
}

#[test]
fn a_message_without_our_headers_is_malformed_and_names_the_part() {
    let (headers, _) = encode(&[event(&stream(1), 1)]);
    assert_eq!(decode(&headers, b"{").unwrap_err().part, "body");
    assert_eq!(decode(&HeaderMap::new(), b"{}").unwrap_err().part, "ce-id");
    let mut headers = headers.clone();
    headers.insert("tiffin-version", "many");
    assert_eq!(decode(&headers, b"{}").unwrap_err().part, "tiffin-version");
}
