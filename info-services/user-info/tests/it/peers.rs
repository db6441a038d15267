//! Who may speak to this service at all.

use std::path::Path;

use bytes::Bytes;
use http::Request;
use mesh_identity::Mesh;
use mesh_testkit::certificates;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{self, customer};

fn me() -> Request<Bytes> {
    let mut request = Request::get("/me").body(Bytes::new()).expect("a path");
    customer(1).write(request.headers_mut());
    request
}

#[tokio::test]
async fn only_the_gateway_may_speak_for_people() {
    world::run(async |world| {
        let status = async |service: &str, request: Request<Bytes>| {
            let client = certificates::mesh(service).client();
            let answer = client.request(&world.upstream, request).await;
            answer.expect("an answer").status().as_u16()
        };
        for service in ["order-master", "menu-info", "basket-info", "user-info"] {
            assert_eq!(status(service, me()).await, 403, "{service}");
        }
        assert_eq!(status("gateway", me()).await, 404, "nobody has registered");
        let nobodys = Request::get("/me").body(Bytes::new()).expect("a path");
        assert_eq!(status("gateway", nobodys).await, 401);
    })
    .await;
}

#[tokio::test]
async fn a_stranger_does_not_get_past_the_handshake() {
    world::run(async |world| {
        let call = async |folder: &Path| {
            let mesh = Mesh::load(folder, "gateway").expect("its files are whole");
            mesh.client().request(&world.upstream, me()).await
        };
        assert!(call(&certificates::expired("gateway")).await.is_err(), "expired");
        let foreign = certificates::of_another_authority("gateway");
        assert!(call(&foreign).await.is_err(), "another authority");

        let mut plain = TcpStream::connect(world.service.address()).await.expect("it listens");
        plain
            .write_all(b"GET /me HTTP/1.1\r\nhost: user-info\r\n\r\n")
            .await
            .expect("it is sent");
        let mut answer = Vec::new();
        // A reset says no as well as a closed connection does.
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "plaintext");
    })
    .await;
}
