//! Live streams share connections by HTTP/2: a connection of its own for each would cost both ends the buffers of TLS
//! and of HTTP/1, several times what a stream that says nothing needs.
//!
//! A connection carries as many as a server lets it, so there are as many connections as it takes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::{CONNECT_TIMEOUT, Connections, HTTP2_PING_INTERVAL};
use crate::client::connect::Connector;

/// Streams on one connection: what our servers let it carry at a time.
const STREAMS_EACH: usize = 100;
/// What a stream may have unread. A reader that is slower stops its own stream.
const STREAM_WINDOW: u32 = 64 * 1024;
/// And a connection: room for all of its streams, so that the slow ones do not stop the others.
const CONNECTION_WINDOW: u32 = STREAMS_EACH as u32 * STREAM_WINDOW;

/// Connections to one service, each with its streams.
#[derive(Default)]
pub(super) struct Lanes(Mutex<Vec<Lane>>);

struct Lane {
    connections: Connections,
    /// One clone for each stream.
    seat: Seat,
}

/// A stream's place on a connection; free again when dropped.
type Seat = Arc<()>;

impl Lanes {
    /// A connection with room, and the place on it. The fullest one, so that few are needed.
    pub(super) fn take(&self, connector: impl FnOnce() -> Connector) -> (Connections, Seat) {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|lane| lane.taken() > 0);
        let open = lanes.iter().filter(|lane| lane.taken() < STREAMS_EACH);
        if let Some(lane) = open.max_by_key(|lane| lane.taken()) {
            return (lane.connections.clone(), lane.seat.clone());
        }
        let lane = Lane {
            connections: connect(connector()),
            seat: Arc::default(),
        };
        let taken = (lane.connections.clone(), lane.seat.clone());
        lanes.push(lane);
        taken
    }
}

impl Lane {
    fn taken(&self) -> usize {
        Arc::strong_count(&self.seat) - 1
    }
}

fn connect(connector: Connector) -> Connections {
    legacy::Client::builder(TokioExecutor::new())
        .http2_only(true)
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        // For as long as it has streams; then the lane goes, and the connection with it.
        .pool_idle_timeout(None)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(HTTP2_PING_INTERVAL)
        .http2_keep_alive_timeout(CONNECT_TIMEOUT)
        .build(connector.over_http2())
}

/// The body of an answer that goes on for as long as both sides want.
#[derive(Debug)]
pub struct Streamed {
    body: Incoming,
    _seat: Option<Seat>,
}

impl Streamed {
    pub(super) fn new(body: Incoming, seat: Option<Seat>) -> Self {
        Self { body, _seat: seat }
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
