//! Commands over HTTP: the headers asked for, and answers that are equal byte for byte.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::Request;
use axum::response::Response;
use http_body_util::BodyExt as _;
use mesh_eventstore::http::{IdempotencyKey, IfMatch, answer};
use mesh_eventstore::{Outcome, SubmitError};
use mesh_runtime::Problem;
use mesh_runtime::consistency::Signer;
use mesh_testkit::Stage;
use serde_json::json;

use crate::tally::{Refusal, add, anyone, command, new_id, open, tallies};

fn parts(header: &str, value: &str) -> axum::http::request::Parts {
    let request = Request::get("/").header(header, value);
    request.body(()).expect("a valid header").into_parts().0
}

async fn key(value: &str) -> Result<IdempotencyKey, Problem> {
    let mut parts = parts("idempotency-key", value);
    <IdempotencyKey as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await
}

#[tokio::test]
async fn an_idempotency_key_is_visible_ascii_of_bounded_length() {
    assert_eq!(key("a-1").await.expect("fine"), IdempotencyKey("a-1".into()));
    assert!(key(&"k".repeat(255)).await.is_ok());
    for bad in ["", "with space", "tab\there", &"k".repeat(256)] {
        let problem = key(bad).await.expect_err(bad);
        assert_eq!(problem.kind, "idempotency_key_required");
        assert_eq!(problem.status, 400);
    }
    let mut none = parts("x-other", "1");
    let missing = <IdempotencyKey as FromRequestParts<()>>::from_request_parts(&mut none, &()).await;
    assert_eq!(missing.expect_err("required").kind, "idempotency_key_required");
    let optional = <IdempotencyKey as OptionalFromRequestParts<()>>::from_request_parts(&mut none, &()).await;
    assert_eq!(optional.expect("not required"), None);
}

#[tokio::test]
async fn if_match_takes_the_second_part_of_our_etag() {
    for (value, wanted) in [("\"12.7\"", Some(7)), ("*", None)] {
        let mut parts = parts("if-match", value);
        let IfMatch(found) = IfMatch::from_request_parts(&mut parts, &()).await.expect(value);
        assert_eq!(found, wanted);
    }
    for bad in ["12.7", "\"x\"", "\"1.y\"", "W/\"1.2\""] {
        let mut parts = parts("if-match", bad);
        assert!(IfMatch::from_request_parts(&mut parts, &()).await.is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_repeated_command_is_answered_equally_byte_for_byte() {
    let stage = Stage::new();
    let streams = tallies(&stage).await;
    let signer = Signer::new(b"a secret of sixteen bytes or more").expect("long enough");
    let id = new_id();
    let send = || async {
        let request = command("k", &json!({})).created();
        let outcome = streams.submit(&id, request, open(5)).await.expect("carried out once");
        bytes(answer(outcome, &signer)).await
    };
    let first = send().await;
    streams.submit(&id, anyone(), add(1)).await.expect("open");
    assert_eq!(send().await, first);
    let (status, headers, body) = first;
    assert_eq!(status, 201);
    assert_eq!(headers["etag"], "\"1.1\"");
    let token = headers["tiffin-consistency"].to_str().expect("ascii");
    assert_eq!(signer.verify(token), Ok(vec![(id.clone(), 1)]));
    assert_eq!(body, format!("{{\"id\":\"{id}\",\"total\":0,\"version\":1}}"));
}

async fn bytes(response: Response) -> (u16, axum::http::HeaderMap, String) {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("complete").to_bytes();
    let body = String::from_utf8(body.to_vec()).expect("json");
    (parts.status.as_u16(), parts.headers, body)
}

#[tokio::test]
async fn every_refusal_is_a_problem_of_its_own_kind() {
    let stage = Stage::new();
    let streams = tallies(&stage).await;
    let id = new_id();
    streams.submit(&id, anyone(), open(5)).await.expect("new");
    let stale: Result<Outcome, _> = streams.submit(&id, anyone().if_match(Some(9)), add(1)).await;
    let stale: Problem = stale.expect_err("another status version").into();
    assert_eq!(stale.extra["current"]["total"], 0);
    assert_eq!(stale.extra["etag"], "\"1.1\"");
    let kinds: [(SubmitError<Refusal>, u16, &str); 6] = [
        (SubmitError::Rejected(Refusal::Full), 409, "tally_refused"),
        (SubmitError::Conflict, 409, "conflict"),
        (SubmitError::InFlight, 409, "request_in_flight"),
        (SubmitError::KeyReused, 422, "idempotency_key_reused"),
        (SubmitError::Overloaded, 503, "overloaded"),
        (SubmitError::Unavailable("x".into()), 503, "unavailable"),
    ];
    for (err, status, kind) in kinds {
        let problem: Problem = err.into();
        assert_eq!((problem.status.as_u16(), &*problem.kind), (status, kind));
    }
}
