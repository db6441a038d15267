//! Live streams, passed through frame by frame.
//!
//! Ends them cleanly when the process does, when the token does, and when the service behind falls
//! silent; the client comes back with the last event's id and misses nothing.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use http_body::Frame;
use hyper::Error;
use hyper::body::Incoming;
use jiff::Timestamp;
use mesh_runtime::Shutdown;
use tokio::time::{Instant, Sleep};

use crate::ask::Ask;
use crate::upstream::Service;
use crate::{Answer, Gateway};

/// Three heartbeats of the services behind, which come at least every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// Follows a live route of a service.
pub(crate) async fn follow(app: &Gateway, service: &Service, ask: Ask) -> Answer {
    let until = ask.person()?.until;
    let body = match service.open(ask).await? {
        Ok(body) => body,
        Err(refusal) => return Ok(refusal),
    };
    let mut response = Response::new(Body::new(Live {
        body,
        ended: Box::pin(ended(app.shutdown.clone(), until)),
        silence: Box::pin(tokio::time::sleep(SILENCE_MAX)),
    }));
    let event_stream = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, event_stream);
    Ok(response)
}

async fn ended(shutdown: Shutdown, until: Timestamp) {
    let left = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
    tokio::select! {
        () = shutdown.triggered() => {}
        () = tokio::time::sleep(left) => {}
    }
}

struct Live {
    body: Incoming,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    silence: Pin<Box<Sleep>>,
}

impl http_body::Body for Live {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.silence.as_mut().reset(Instant::now() + SILENCE_MAX);
                Poll::Ready(Some(Ok(frame)))
            }
            // Broken or over is the same to a client that knows how to come back.
            Poll::Ready(Some(Err(_)) | None) => Poll::Ready(None),
            Poll::Pending => {
                ready!(self.silence.as_mut().poll(context));
                Poll::Ready(None)
            }
        }
    }
}
