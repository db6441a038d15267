//! Live streams pass through frame by frame and end cleanly.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use mesh_contracts::id::UserId;
use mesh_contracts::user::Role;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::site::{Site, get, refusal};

const LIVE: &str = "/v1/orders/ord_0000000000000000000000001z/live";
/// Far longer than a frame takes, and far shorter than anything that is buffered would.
const SOON: Duration = Duration::from_secs(5);

type Frame = Result<Bytes, std::io::Error>;

/// order-info sends what is put in here, to everyone who listens.
fn follow(site: &Site) -> broadcast::Sender<&'static str> {
    let (sender, _) = broadcast::channel(8);
    let source = sender.clone();
    site.answer("order-info", move |_| {
        let frames = futures::stream::unfold(source.subscribe(), |mut frames| async move {
            loop {
                let frame: Frame = match frames.recv().await {
                    Ok("break") => Err(std::io::ErrorKind::ConnectionReset.into()),
                    Ok(text) => Ok(Bytes::from_static(text.as_bytes())),
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return None,
                };
                return Some((frame, frames));
            }
        });
        let greeting = futures::stream::once(async { Frame::Ok(Bytes::from_static(b": hello\n\n")) });
        Response::builder()
            .header("content-type", "text/event-stream")
            .body(Body::from_stream(greeting.chain(frames)))
            .unwrap()
    });
    sender
}

async fn next(body: &mut mesh_identity::client::Streamed) -> Option<Bytes> {
    let frame = tokio::time::timeout(SOON, body.frame())
        .await
        .expect("a frame in time")?;
    Some(frame.expect("a clean stream").into_data().unwrap())
}

#[tokio::test]
async fn every_frame_arrives_as_it_is_sent() {
    let site = Site::start().await;
    let events = follow(&site);
    let mut request = get(LIVE, &site.token(Role::Customer));
    request
        .headers_mut()
        .insert("last-event-id", HeaderValue::from_static("g-7"));
    let answer = site.public().open(request).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let mut body = answer.into_body();
    assert_eq!(next(&mut body).await.unwrap(), ": hello\n\n");
    for text in ["id: g-8\ndata: {}\n\n", "id: g-9\ndata: {}\n\n"] {
        events.send(text).unwrap();
        assert_eq!(next(&mut body).await.unwrap(), text);
    }
    let asked = site.calls().pop().unwrap();
    assert_eq!(asked.path, "/orders/ord_0000000000000000000000001z/live");
    assert_eq!(asked.header("last-event-id"), Some("g-7"));
}

#[tokio::test]
async fn a_shutdown_ends_live_streams_at_once_and_cleanly() {
    let site = Site::start().await;
    let _events = follow(&site);
    let mut body = site
        .public()
        .open(get(LIVE, &site.token(Role::Customer)))
        .await
        .into_body();
    assert!(next(&mut body).await.is_some());
    let started = Instant::now();
    site.shutdown.trigger();
    assert_eq!(next(&mut body).await.unwrap(), "retry: 500\n\n");
    assert_eq!(next(&mut body).await, None);
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_stream_whose_service_breaks_ends_cleanly() {
    let site = Site::start().await;
    let events = follow(&site);
    let mut body = site
        .public()
        .open(get(LIVE, &site.token(Role::Customer)))
        .await
        .into_body();
    assert!(next(&mut body).await.is_some());
    events.send("break").unwrap();
    assert_eq!(next(&mut body).await, None);
}

#[tokio::test]
async fn a_stream_ends_with_the_token_it_was_opened_with() {
    let site = Site::start().await;
    let _events = follow(&site);
    let token = site
        .issuer()
        .access_token(&UserId::new_v7(), Role::Customer, &[], Duration::from_secs(2));
    let mut body = site.public().open(get(LIVE, &token)).await.into_body();
    assert!(next(&mut body).await.is_some());
    assert_eq!(next(&mut body).await.unwrap(), "retry: 500\n\n");
    assert_eq!(next(&mut body).await, None);
}

#[tokio::test]
async fn a_stream_that_is_not_yours_is_refused_with_a_problem() {
    let site = Site::start().await;
    site.answer("order-info", |_| refusal(404, "not_found"));
    let answered = site.public().send(get(LIVE, &site.token(Role::Customer))).await;
    assert_eq!(
        (answered.status, answered.problem().1.as_str()),
        (StatusCode::NOT_FOUND, "not_found")
    );
}

#[tokio::test]
async fn a_client_that_leaves_takes_the_inner_stream_with_it() {
    let site = Site::start().await;
    let events = follow(&site);
    let mut body = site
        .public()
        .open(get(LIVE, &site.token(Role::Customer)))
        .await
        .into_body();
    assert!(next(&mut body).await.is_some());
    assert_eq!(events.receiver_count(), 1);
    drop(body);
    crate::site::eventually("the inner stream ends", || async {
        let _ = events.send(": still there?\n\n");
        events.receiver_count() == 0
    })
    .await;
}

#[tokio::test]
async fn a_farewell_does_not_fall_into_the_middle_of_an_event() {
    let site = Site::start().await;
    let events = follow(&site);
    let mut body = site
        .public()
        .open(get(LIVE, &site.token(Role::Customer)))
        .await
        .into_body();
    assert!(next(&mut body).await.is_some());
    events.send("id: g-8\ndat").unwrap();
    assert!(next(&mut body).await.is_some());
    site.shutdown.trigger();
    assert_eq!(next(&mut body).await, None);
}

#[tokio::test]
async fn a_client_that_never_reads_is_let_go_with_all_it_costs() {
    let site = Site::start().await;
    let events = follow(&site);
    let unread = site.public().open(get(LIVE, &site.token(Role::Customer))).await;
    assert_eq!(events.receiver_count(), 1);
    let event: &'static str = Box::leak(format!("data: {}\n\n", "x".repeat(256 * 1024)).into_boxed_str());
    let started = Instant::now();
    while events.receiver_count() > 0 {
        assert!(started.elapsed() < Duration::from_secs(40), "it still costs something");
        let _ = events.send(event);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        started.elapsed() > Duration::from_secs(5),
        "one who pauses is not let go"
    );
    drop(unread);
}
