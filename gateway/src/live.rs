//! Live streams, passed through frame by frame.
//!
//! Ends them cleanly when the process does, when the token does, when the service behind falls silent, and when the
//! client reads no more; the client comes back with the last event's id and misses nothing.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use mesh_identity::client::Streamed;
use mesh_runtime::{Shutdown, clock};
use tokio::sync::mpsc;

use crate::ask::Ask;
use crate::limits::{OpenStream, Streams};
use crate::upstream::Service;
use crate::{Answer, App};

/// Three heartbeats of the services behind, which come at least every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// Frames that a client may leave unread: with what the connection buffers, all that it costs us.
const UNREAD_MAX: usize = 8;

/// A client that takes nothing for so long does not look at its screen.
const STALL_MAX: Duration = Duration::from_secs(10);

/// The last word: come back soon, with what was seen last.
const FAREWELL: Bytes = Bytes::from_static(b"retry: 500\n\n");

/// Follows a live route of a service.
pub(crate) async fn follow(app: &App, service: &Service, ask: Ask) -> Answer {
    let (whose, until) = (ask.person()?.caller.subject, ask.person()?.until);
    let Some(counted) = Streams::open(app, whose) else {
        return Ok(app.limits.streams.refusal());
    };
    let body = match service.open(ask).await? {
        Ok(body) => body,
        Err(refusal) => return Ok(refusal),
    };
    let (client, frames) = mpsc::channel(UNREAD_MAX);
    tokio::spawn(pass_on(body, client, counted, ended(app.shutdown.clone(), until)));
    let frames = futures::stream::unfold(frames, |mut frames: mpsc::Receiver<Bytes>| async move {
        let frame = frames.recv().await?;
        Some((Ok::<_, Infallible>(frame), frames))
    });
    let mut response = Response::new(Body::from_stream(frames));
    let event_stream = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, event_stream);
    Ok(response)
}

async fn ended(shutdown: Shutdown, until: Timestamp) {
    let left = Duration::try_from(until.duration_since(clock::wall())).unwrap_or_default();
    tokio::select! {
        () = shutdown.triggered() => {}
        () = tokio::time::sleep(left) => {}
    }
}

/// A task of its own, since a body is not polled while its client does not read.
async fn pass_on(
    mut body: Streamed,
    client: mpsc::Sender<Bytes>,
    _counted: OpenStream,
    ended: impl Future<Output = ()>,
) {
    let mut ended = std::pin::pin!(ended);
    // Where a farewell would not fall into the middle of an event.
    let mut is_between = true;
    loop {
        let frame = tokio::select! {
            () = &mut ended => break,
            () = client.closed() => return,
            frame = tokio::time::timeout(SILENCE_MAX, body.frame()) => frame,
        };
        // Silent, broken or over is the same to a client that knows how to come back.
        let Ok(Some(Ok(frame))) = frame else { return };
        let Ok(data) = frame.into_data() else { continue };
        is_between = data.ends_with(b"\n\n");
        let sent = tokio::select! {
            () = &mut ended => break,
            sent = client.send_timeout(data, STALL_MAX) => sent,
        };
        if sent.is_err() {
            metrics::counter!("live_clients_stalled_total").increment(1);
            return;
        }
    }
    if is_between {
        // One who has not read so far will not read this, either.
        let _ = client.try_send(FAREWELL);
    }
}
