//! Asks an admin port whether its service is ready, and what it has counted, in as little HTTP as that takes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A service that takes longer to say that it is ready is not.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Whether `GET /readyz` is answered with 200.
pub async fn is_ready(admin: SocketAddr) -> bool {
    matches!(tokio::time::timeout(TIMEOUT, readyz(admin)).await, Ok(Ok((200, _))))
}

/// The status and body of `GET /readyz`; the body names the conditions that are not met.
pub async fn readyz(admin: SocketAddr) -> std::io::Result<(u16, String)> {
    get(admin, "/readyz").await
}

/// What a service has counted, one metric a line.
pub async fn metrics(admin: SocketAddr) -> std::io::Result<String> {
    Ok(get(admin, "/metrics").await?.1)
}

async fn get(admin: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(admin).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}
