//! The accept loop on a real listener, spoken to byte by byte.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use mesh_runtime::Shutdown;
use mesh_runtime::server::{Accept, Limits, RemoteAddr, serve_within, with_layers};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const SHORT: Duration = Duration::from_millis(200);
/// Far above SHORT, far below the defaults that would mean a limit is not applied.
const SOON: Duration = Duration::from_secs(3);

struct Server {
    address: SocketAddr,
    shutdown: Shutdown,
    served: JoinHandle<std::io::Result<()>>,
}

async fn start(router: Router, limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::draining_within(SHORT);
    let served = tokio::spawn(serve_within(listener, Accept::Plain, router, shutdown.clone(), limits));
    Server {
        address,
        shutdown,
        served,
    }
}

impl Server {
    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn end(self) {
        self.shutdown.trigger();
        tokio::time::timeout(SOON, self.served)
            .await
            .expect("the drain has a deadline")
            .unwrap()
            .unwrap();
    }
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut buffer = vec![0; 4096];
    let read = tokio::time::timeout(SOON, stream.read(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end, too.
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut text))
        .await
        .expect("the connection ends");
    String::from_utf8_lossy(&text).into_owned()
}

fn hello() -> Router {
    Router::new().route(
        "/",
        get(|axum::Extension(RemoteAddr(remote)): axum::Extension<RemoteAddr>| async move { remote.ip().to_string() }),
    )
}

#[tokio::test]
async fn a_request_is_answered_and_knows_its_remote_address() {
    let server = start(hello(), Limits::default()).await;
    let mut stream = server
        .send("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await;
    let answer = read_to_end(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("127.0.0.1"),
        "{answer}"
    );
    server.end().await;
}

#[tokio::test]
async fn bytes_that_two_readers_could_cut_differently_are_refused_and_nothing_behind_them_is_read() {
    let server = start(with_layers(hello()), Limits::default()).await;
    let smuggled = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    for ambiguous in [
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\nfolded: a\r\n b\r\n\r\n",
    ] {
        let mut stream = server.send(&format!("{ambiguous}{smuggled}")).await;
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{ambiguous:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{ambiguous:?}: {answer}");
    }
    server.end().await;
}

#[tokio::test]
async fn what_no_request_may_be_is_a_problem_and_leaves_the_connection_in_step() {
    let server = start(with_layers(hello()), Limits::default()).await;
    let last = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let large = format!("GET / HTTP/1.1\r\nhost: x\r\nlarge: {}\r\n\r\n", "a".repeat(20_000));
    for (bad, status, kind) in [
        ("GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n", 400, "bad_request"),
        ("GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
        ("GET / HTTP/1.1\r\nhost: x\r\nsnake_case: y\r\n\r\n", 400, "bad_request"),
        (
            "GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            400,
            "bad_request",
        ),
        (&large, 431, "headers_too_large"),
    ] {
        let mut stream = server.send(&format!("{bad}{last}")).await;
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains(&format!("/problems/{kind}\"")), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    }
    server.end().await;
}

#[tokio::test]
async fn slow_headers_and_silence_end_the_connection() {
    let server = start(
        hello(),
        Limits {
            header_read: SHORT,
            ..Limits::default()
        },
    )
    .await;
    let mut slow = server.send("GET / HTTP/1.1\r\nhost:").await;
    let mut silent = server.send("").await;
    let started = Instant::now();
    read_to_end(&mut slow).await;
    read_to_end(&mut silent).await;
    assert!(started.elapsed() >= SHORT / 2);
    server.end().await;
}

#[tokio::test]
async fn connections_above_the_cap_are_closed_at_once() {
    let server = start(
        hello(),
        Limits {
            connections_max: 1,
            ..Limits::default()
        },
    )
    .await;
    let mut first = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(read_head(&mut first).await.contains("200 OK"));
    let mut second = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(read_to_end(&mut second).await, "");
    first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(read_head(&mut first).await.contains("200 OK"), "the first one stays");
    server.end().await;
}

#[tokio::test]
async fn the_drain_lets_requests_finish_and_accepts_no_more() {
    let slow = || async {
        tokio::time::sleep(SHORT / 2).await;
        "done"
    };
    let server = start(Router::new().route("/", get(slow)), Limits::default()).await;
    let address = server.address;
    let mut stream = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    tokio::time::sleep(SHORT / 4).await;
    server.end().await;
    assert!(read_to_end(&mut stream).await.ends_with("done"));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_connection_that_idles_when_its_process_retires_is_served_once_more_and_told_to_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::draining_within(Duration::from_secs(60));
    let limits = Limits::default();
    let served = tokio::spawn(serve_within(listener, Accept::Plain, hello(), shutdown.clone(), limits));
    let server = Server {
        address,
        shutdown,
        served,
    };
    let request = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut stream = server.send(request).await;
    let mut idle = server.send(request).await;
    assert!(!read_head(&mut stream).await.contains("close"));
    assert!(!read_head(&mut idle).await.contains("close"));
    server.shutdown.retire();
    // Nobody is let in any more, so the process knows.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stream.write_all(request.as_bytes()).await.unwrap();
    let last = read_to_end(&mut stream).await;
    assert!(last.contains("200 OK") && last.contains("connection: close"), "{last}");
    assert!(!server.served.is_finished(), "the other one has its time");
    server.end().await;
    assert_eq!(read_to_end(&mut idle).await, "");
}

#[tokio::test]
async fn a_live_stream_that_hears_of_the_drain_ends_in_order() {
    let shutdown = Shutdown::draining_within(Duration::from_secs(60));
    let until = shutdown.clone();
    let live = move || {
        let events = futures::stream::unfold((until.clone(), true), |(until, open)| async move {
            if !open {
                return None;
            }
            let (event, open) = tokio::select! {
                () = until.triggered() => ("data: last\n\n", false),
                () = tokio::time::sleep(Duration::from_millis(20)) => ("data: tick\n\n", true),
            };
            Some((Ok::<_, std::io::Error>(Bytes::from(event)), (until, open)))
        });
        async { Body::from_stream(events) }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(live));
    let served = tokio::spawn(serve_within(
        listener,
        Accept::Plain,
        router,
        shutdown.clone(),
        Limits::default(),
    ));
    let server = Server {
        address,
        shutdown,
        served,
    };
    let mut stream = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(read_head(&mut stream).await.contains("200 OK"));
    server.end().await;
    let rest = read_to_end(&mut stream).await;
    assert!(
        rest.contains("last") && rest.ends_with("0\r\n\r\n"),
        "the body has its proper end: {rest}"
    );
}

#[tokio::test]
async fn a_live_stream_that_does_not_is_cut_off_at_the_deadline() {
    let endless = || async {
        let first = futures::stream::once(async { Ok::<_, std::io::Error>(Bytes::from("data: tick\n\n")) });
        Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()))
    };
    let server = start(Router::new().route("/", get(endless)), Limits::default()).await;
    let mut stream = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(read_head(&mut stream).await.contains("200 OK"));
    server.end().await;
    read_to_end(&mut stream).await;
}

/// Says when it is dropped, that is, when whoever works for a request has stopped.
struct Stopped(mpsc::UnboundedSender<()>);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// A route whose work never ends by itself, and word of when it began and when it was stopped.
fn endless() -> (Router, mpsc::UnboundedReceiver<()>) {
    let (sender, told) = mpsc::unbounded_channel();
    let work = move || async move {
        let _ = sender.send(());
        let _stopped = Stopped(sender);
        std::future::pending::<()>().await;
    };
    (
        with_layers(Router::new().route("/", get(work.clone()).post(work))),
        told,
    )
}

async fn is_told(told: &mut mpsc::UnboundedReceiver<()>) {
    tokio::time::timeout(SOON, told.recv()).await.expect("in time");
}

#[tokio::test]
async fn work_whose_caller_is_gone_is_stopped() {
    let (router, mut told) = endless();
    let server = start(router, Limits::default()).await;
    let caller = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    is_told(&mut told).await;
    drop(caller);
    is_told(&mut told).await;
    server.end().await;
}

#[tokio::test]
async fn a_read_ends_where_its_deadline_is() {
    let (router, mut told) = endless();
    let server = start(router, Limits::default()).await;
    let mut stream = server
        .send("GET / HTTP/1.1\r\nhost: x\r\ntiffin-deadline-ms: 100\r\nconnection: close\r\n\r\n")
        .await;
    is_told(&mut told).await;
    let answer = read_to_end(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("/problems/deadline_passed\""),
        "{answer}"
    );
    is_told(&mut told).await;
    server.end().await;
}

#[tokio::test]
async fn a_command_that_has_begun_is_not_cut_off() {
    let slow = || async {
        tokio::time::sleep(SHORT).await;
        "done"
    };
    let server = start(with_layers(Router::new().route("/", post(slow))), Limits::default()).await;
    let mut stream = server
        .send("POST / HTTP/1.1\r\nhost: x\r\ntiffin-deadline-ms: 50\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .await;
    assert!(read_to_end(&mut stream).await.ends_with("done"));
    server.end().await;
}

#[tokio::test]
async fn what_comes_too_late_is_not_begun() {
    let (router, mut told) = endless();
    let server = start(router, Limits::default()).await;
    for method in ["GET", "POST"] {
        let mut stream = server
            .send(&format!(
                "{method} / HTTP/1.1\r\nhost: x\r\ntiffin-deadline-ms: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            ))
            .await;
        let answer = read_to_end(&mut stream).await;
        assert!(answer.contains("/problems/deadline_passed\""), "{answer}");
        assert!(answer.contains("retry-after: 1"), "{answer}");
    }
    assert!(told.try_recv().is_err(), "nothing was begun");
    server.end().await;
}

#[tokio::test]
async fn a_connection_that_is_old_answers_once_more_and_takes_no_further_request() {
    let limits = Limits {
        age: SHORT,
        ..Limits::default()
    };
    let server = start(Router::new().route("/", get(async || "hello")), limits).await;
    let request = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut stream = server.send(request).await;
    let young = read_head(&mut stream).await;
    assert!(!young.to_lowercase().contains("connection: close"), "{young}");
    tokio::time::sleep(SHORT).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let old = read_head(&mut stream).await;
    assert!(old.starts_with("HTTP/1.1 200"), "{old}");
    assert!(old.to_lowercase().contains("connection: close"), "{old}");
    assert_eq!(read_head(&mut stream).await, "", "and it is closed");
    server.end().await;
}
