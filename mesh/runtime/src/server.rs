//! Our own accept loop. `axum::serve` has no header time-out, no connection cap, and waits
//! forever for live streams when it should stop; this one has all three limits.
//!
//! Knows TLS as a configuration and a peer as its certificates; what they mean is
//! `mesh-identity`'s business.

mod framing;
mod strict;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use http::{Extensions, HeaderMap, HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use self::framing::Strict;
use crate::shutdown::Shutdown;
use crate::{deadline, problem, telemetry};

/// The largest header set over HTTP/2 that is read at all: four times what `strict` lets through, so that most of those
/// who say too much are told so in a problem document.
const HEADERS_BYTES_MAX: u32 = 4 * strict::HEAD_BYTES_MAX as u32;
/// Read buffer of an HTTP/1 connection, and so the same there.
const HTTP1_BUFFER_BYTES_MAX: usize = 4 * strict::HEAD_BYTES_MAX;
/// How often an idle HTTP/2 peer is asked whether it still lives.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// Long enough for the kernel to get file descriptors back, short enough to go unnoticed.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// How connections are accepted.
#[derive(Clone)]
pub enum Accept {
    /// Without TLS: admin ports.
    Plain,
    /// With TLS.
    Tls(Tls),
    /// Without TLS, from a sidecar that says in headers for whom it asks. Anyone who reaches such a listener can say so:
    /// it must be on loopback.
    Sidecar(Arc<IntroduceRequest>),
}

/// What TLS needs. Both functions are asked per connection, so reloads need no restart.
#[derive(Clone)]
pub struct Tls {
    /// The configuration to greet the next connection with.
    pub config: Arc<Configure>,
    /// Reads the peer's certificate chain once, after the handshake; what it inserts becomes an
    /// extension of every request of the connection.
    pub introduce: Arc<Introduce>,
}

/// Gives the configuration of the moment.
pub type Configure = dyn Fn() -> Arc<ServerConfig> + Send + Sync;
/// Says in extensions whom a verified certificate chain, possibly empty, names.
pub type Introduce = dyn Fn(&[CertificateDer<'static>], &mut Extensions) + Send + Sync;
/// Says in extensions whom the headers of a request name.
pub type IntroduceRequest = dyn Fn(&HeaderMap, &mut Extensions) + Send + Sync;

/// The address that a request's connection came from; a request extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteAddr(pub SocketAddr);

/// What one listener puts up with.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections; further ones are closed at once, before TLS costs anything.
    pub connections_max: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub streams_max: u32,
    /// From connecting to the end of the TLS handshake.
    pub handshake: Duration,
    /// From connecting to the first request, and for each request's headers. Also how long an
    /// HTTP/1 connection may idle, so clients must forget idle connections sooner.
    pub header_read: Duration,
    /// After so long a connection takes no further request, so that its peer has to show again who
    /// it is: who was good when it began may have been replaced, or its authority. What is under way
    /// goes on; live streams end with their tokens.
    pub age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            streams_max: 100,
            handshake: Duration::from_secs(10),
            header_read: Duration::from_secs(10),
            // As long as the word of a token is taken.
            age: Duration::from_secs(600),
        }
    }
}

/// What every service's router wears: telemetry outside, then refusals of what could mean two things, the caller's
/// deadline and the limit on bodies, then problems for 404, 405 and panics.
pub fn with_layers<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    problem::layer(router)
        .layer(middleware::from_fn(guard))
        .layer(telemetry::layer())
}

/// Three in one, since each layer copies all that are below it, for every request.
async fn guard(request: Request<Body>, next: Next) -> Response {
    match strict::ambiguity(&request) {
        Some(problem) => problem.into_response(),
        None => deadline::adopt(request, |request| problem::limit_body(request, next)).await,
    }
}

/// Serves until the shutdown: then accepts no more, lets requests finish, tells clients to leave their connections, and
/// cuts off what is left at the shutdown's deadline. Live streams should end on `shutdown.triggered()` themselves.
///
/// # Errors
/// None after the listener is bound; the type leaves `main` one `try_join!`.
pub async fn serve(listener: TcpListener, accept: Accept, router: Router, shutdown: Shutdown) -> io::Result<()> {
    serve_within(listener, accept, router, shutdown, Limits::default()).await
}

/// As [`serve`], with limits of one's own.
///
/// # Errors
/// As [`serve`].
pub async fn serve_within(
    listener: TcpListener,
    accept: Accept,
    router: Router,
    shutdown: Shutdown,
    limits: Limits,
) -> io::Result<()> {
    let connections = TaskTracker::new();
    let seats = Arc::new(Semaphore::new(limits.connections_max));
    let door = Arc::new(Door {
        accept,
        router,
        shutdown: shutdown.clone(),
        limits,
    });
    loop {
        let (stream, remote) = tokio::select! {
            () = shutdown.triggered() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(err) => {
                    tracing::warn!(error = %err, "accept failed");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            },
        };
        let Ok(seat) = seats.clone().try_acquire_owned() else {
            metrics::counter!("connections_refused_total").increment(1);
            continue;
        };
        let door = door.clone();
        connections.spawn(async move {
            door.admit(stream, remote).await;
            drop(seat);
        });
    }
    drop(listener);
    connections.close();
    // Bounded: every connection ends at the shutdown's deadline at the latest.
    connections.wait().await;
    Ok(())
}

/// What all connections of a listener share.
struct Door {
    accept: Accept,
    router: Router,
    shutdown: Shutdown,
    limits: Limits,
}

impl Door {
    /// What is over before the next part begins is in boxes of its own: a connection may idle for hours, and would
    /// take the memory of its handshake all that time.
    async fn admit(&self, stream: TcpStream, remote: SocketAddr) {
        // Answers are small and complete; waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let mut extensions = Extensions::new();
        extensions.insert(RemoteAddr(remote));
        match &self.accept {
            Accept::Plain => self.talk(Box::new(stream), false, extensions).await,
            Accept::Sidecar(_) => {
                let begun = tokio::select! {
                    () = self.shutdown.idle_end() => return,
                    begun = tokio::time::timeout(self.limits.header_read, begins_with_http2(&stream)) => begun,
                };
                let Ok(is_http2) = begun else {
                    return;
                };
                self.talk(Box::new(stream), is_http2, extensions).await;
            }
            Accept::Tls(tls) => {
                let Some(stream) = Box::pin(self.greet(tls, stream, remote)).await else {
                    return;
                };
                let (_, session) = stream.get_ref();
                (tls.introduce)(session.peer_certificates().unwrap_or_default(), &mut extensions);
                let is_http2 = session.alpn_protocol() == Some(b"h2");
                self.talk(stream, is_http2, extensions).await;
            }
        }
    }

    async fn greet(&self, tls: &Tls, stream: TcpStream, remote: SocketAddr) -> Option<Box<TlsStream<TcpStream>>> {
        let handshake = TlsAcceptor::from((tls.config)()).accept(stream);
        let greeted = tokio::select! {
            () = self.shutdown.idle_end() => return None,
            greeted = tokio::time::timeout(self.limits.handshake, handshake) => greeted,
        };
        match greeted {
            Ok(Ok(stream)) => return Some(Box::new(stream)),
            Ok(Err(err)) => refused(remote, &err.to_string()),
            Err(_) => refused(remote, "handshake timed out"),
        }
        None
    }

    async fn talk<I>(&self, stream: I, is_http2: bool, extensions: Extensions)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let spoke = Arc::new(AtomicBool::new(false));
        let old_at = Instant::now() + self.limits.age;
        let service = hyper::service::service_fn({
            let router = self.router.clone();
            let spoke = spoke.clone();
            let shutdown = self.shutdown.clone();
            let introduce = match &self.accept {
                Accept::Sidecar(introduce) => Some(introduce.clone()),
                Accept::Plain | Accept::Tls(_) => None,
            };
            move |request: Request<Incoming>| {
                spoke.store(true, Ordering::Relaxed);
                let (mut head, body) = request.into_parts();
                head.extensions.extend(extensions.clone());
                if let Some(introduce) = &introduce {
                    introduce(&head.headers, &mut head.extensions);
                }
                let answer = router.clone().oneshot(Request::from_parts(head, Body::new(body)));
                let shutdown = shutdown.clone();
                async move {
                    let mut answer = answer.await?;
                    // Said with an answer, since a client that is not told might be sending the next request already.
                    let is_over = shutdown.is_triggered() || Instant::now() >= old_at;
                    if !is_http2 && is_over {
                        answer
                            .headers_mut()
                            .insert(header::CONNECTION, HeaderValue::from_static("close"));
                    }
                    Ok::<_, Infallible>(answer)
                }
            }
        });
        let builder = self.builder(is_http2);
        let stream = if is_http2 {
            Either::Left(stream)
        } else {
            Either::Right(Strict::new(stream))
        };
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        // Covers what no other time-out does: an HTTP/2 peer that never sends its preface.
        let silence = async {
            tokio::time::sleep(self.limits.header_read).await;
            if spoke.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        // HTTP/2 has a way to say it without losing a request; HTTP/1 is told above.
        let old = async {
            tokio::time::sleep_until(old_at).await;
            if !is_http2 {
                std::future::pending::<()>().await;
            }
        };
        // The same with the end of the process: HTTP/1 has no other way to say it than an answer.
        let ends = async {
            match is_http2 {
                true => self.shutdown.triggered().await,
                false => self.shutdown.idle_end().await,
            }
        };
        tokio::select! {
            // Peers vanish mid-request all the time; their requests have been logged.
            _ = connection.as_mut() => return,
            () = silence => return,
            () = old => {}
            () = ends => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = connection => {}
            () = self.shutdown.deadline() => {}
        }
    }

    fn builder(&self, is_http2: bool) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_read)
            .max_buf_size(HTTP1_BUFFER_BYTES_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.streams_max)
            .max_header_list_size(HEADERS_BYTES_MAX)
            .keep_alive_interval(HTTP2_PING_INTERVAL)
            .keep_alive_timeout(self.limits.header_read);
        // Known by now: by ALPN, or from a sidecar's first bytes.
        if is_http2 {
            builder.http2_only()
        } else {
            builder.http1_only()
        }
    }
}

/// How HTTP/2 begins where no ALPN has said so. No method of HTTP/1 does.
async fn begins_with_http2(stream: &TcpStream) -> bool {
    let mut first = [0; 3];
    stream.peek(&mut first).await.is_ok() && &first == b"PRI"
}

/// Strangers knock all day: counted, and visible when looked for.
fn refused(remote: SocketAddr, reason: &str) {
    metrics::counter!("tls_handshakes_refused_total").increment(1);
    tracing::debug!(peer.address = %remote, error = reason, "connection refused");
}
