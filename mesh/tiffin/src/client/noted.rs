//! What of an answer goes into `history.jsonl`.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Response;
use jiff::Timestamp;
use mesh_contracts::id::{OrderId, UserId};
use mesh_identity::ClientError;
use mesh_runtime::consistency::said_by;
use mesh_verify::history::{Outcome, Read};
use serde_json::Value;

use super::call::{Call, Reply};

/// What came of an attempt.
pub(super) fn outcome(result: &Result<Response<Bytes>, ClientError>) -> Outcome {
    match result {
        Ok(response) => Outcome::Answered {
            status: response.status().as_u16(),
            body: serde_json::from_slice(response.body())
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(response.body()).into_owned())),
        },
        Err(err) => Outcome::Unknown { why: super::said(err) },
    }
}

/// What somebody with a consistency token was shown; `None` without a token, or of an answer that is about another time than now.
pub(super) fn read(
    call: &Call,
    subject: Option<UserId>,
    result: &Result<Response<Bytes>, ClientError>,
) -> Option<Read> {
    let asked: BTreeMap<String, u64> = said_by(call.seen()?)?.into_iter().collect();
    let response = result.as_ref().ok().filter(|response| response.status().is_success())?;
    let (path, query) = call.path().split_once('?').unwrap_or((call.path(), ""));
    if query.contains("as_of=") {
        return None;
    }
    let mut shown = BTreeMap::new();
    if let Ok(body) = serde_json::from_slice(response.body()) {
        gather(&mut shown, &body);
    }
    // Documents that do not say whose they are: the path does, and the tag which version.
    let reply = Reply::of(response.clone());
    let stream = match path {
        "/v1/basket" => subject.map(|subject| subject.basket().to_string()),
        _ => path
            .strip_prefix("/v1/orders/")
            .and_then(|rest| rest.strip_suffix("/payment"))
            .and_then(|order| Some(order.parse::<OrderId>().ok()?.payment().to_string())),
    };
    shown.extend(stream.map(|stream| (stream, reply.version)));
    shown.retain(|stream, _| asked.contains_key(stream));
    Some(Read {
        read_at: Timestamp::now(),
        path: call.path().to_owned(),
        asked,
        shown,
    })
}

/// Every document in an answer that names itself and its version.
fn gather(shown: &mut BTreeMap<String, u64>, body: &Value) {
    if let (Some(id), Some(version)) = (body["id"].as_str(), body["version"].as_u64()) {
        shown.insert(id.to_owned(), version);
    }
    match body {
        Value::Array(items) => items.iter().for_each(|item| gather(shown, item)),
        Value::Object(members) => members.values().for_each(|member| gather(shown, member)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_notes_what_of_the_token_it_was_shown() {
        let customer = UserId(uuid::Uuid::from_u128(7));
        let (order, basket) = (OrderId(uuid::Uuid::from_u128(9)), customer.basket().to_string());
        let (id, payment) = (order.to_string(), order.payment().to_string());
        let signer = mesh_runtime::consistency::Signer::new(&[7; 32]).expect("long enough");
        let token = signer.sign(&[(id.as_str(), 4), (basket.as_str(), 2), (payment.as_str(), 1)]);
        let shown = |path: &str, body: Value| {
            let answer = Response::builder()
                .header("etag", "\"6.3\"")
                .body(Bytes::from(body.to_string()));
            let call = Call::get(path).having_seen(Some(token.clone()));
            let read = read(&call, Some(customer), &Ok(answer.expect("an answer")));
            read.map(|read| read.shown.into_iter().collect::<Vec<_>>())
        };
        let document = serde_json::json!({ "id": id, "version": 5 });
        let seen = Some(vec![(id.clone(), 5)]);
        assert_eq!(shown(&format!("/v1/orders/{id}"), document.clone()), seen);
        let list = serde_json::json!({ "items": [document, { "id": "ord_other", "version": 1 }] });
        assert_eq!(shown("/v1/orders?limit=2", list), seen);
        assert_eq!(
            shown("/v1/basket", serde_json::json!({})),
            Some(vec![(basket.clone(), 6)])
        );
        let paid = shown(&format!("/v1/orders/{id}/payment"), serde_json::json!({}));
        assert_eq!(paid, Some(vec![(payment.clone(), 6)]));
        assert_eq!(
            shown(
                &format!("/v1/orders/{id}?as_of=2026-03-01T12:00:00Z"),
                serde_json::json!({})
            ),
            None
        );
        assert_eq!(
            read(&Call::get("/v1/basket"), Some(customer), &Ok(Response::default())),
            None
        );
    }
}
