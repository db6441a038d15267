//! Those who must not even get past the handshake.

use std::path::Path;

use bytes::Bytes;
use http::Request;
use mesh_identity::Mesh;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::certificates;
use crate::process::ServiceProcess;

/// Sends `request` with a certificate that expired, with one of another authority, and in plaintext.
///
/// # Panics
/// If any of them is answered.
pub async fn are_refused(service: &ServiceProcess, request: &Request<Bytes>) {
    let call = async |folder: &Path| {
        let mesh = Mesh::load(folder, "gateway").expect("its files are whole");
        mesh.client().request(&service.upstream(), request.clone()).await
    };
    assert!(call(&certificates::expired("gateway")).await.is_err(), "expired");
    let foreign = certificates::of_another_authority("gateway");
    assert!(call(&foreign).await.is_err(), "another authority");

    let mut plain = TcpStream::connect(service.address()).await.expect("it listens");
    let head = format!(
        "{} {} HTTP/1.1\r\nhost: {}\r\n\r\n",
        request.method(),
        request.uri(),
        service.name()
    );
    plain.write_all(head.as_bytes()).await.expect("it is sent");
    let mut answer = Vec::new();
    // A reset says no as well as a closed connection does.
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "plaintext");
}
