use async_nats::HeaderMap;
use mesh_bus::{decode, encode};
use mesh_contracts::envelope::Meta;
use uuid::Uuid;

use crate::events::{event, stream};

#[test]
fn what_is_encoded_is_decoded() {
    let mut sent = event(&stream(1), 3);
    sent.meta = Meta {
        causation: Some(Uuid::now_v7()),
        correlation: Some(Uuid::now_v7()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        ..sent.meta
    };
    let (headers, body) = encode(&sent);
    assert_eq!(decode(&headers, &body).unwrap(), sent);
}

#[test]
fn headers_carry_the_attributes_of_cloudevents() {
    let sent = event(&stream(1), 3);
    let (headers, body) = encode(&sent);
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
    let (headers, _) = encode(&event(&stream(1), 1));
    assert_eq!(decode(&headers, b"{").unwrap_err().part, "body");
    assert_eq!(decode(&HeaderMap::new(), b"{}").unwrap_err().part, "ce-id");
    let mut headers = headers.clone();
    headers.insert("tiffin-version", "many");
    assert_eq!(decode(&headers, b"{}").unwrap_err().part, "tiffin-version");
}
