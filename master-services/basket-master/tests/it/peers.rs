//! Who may speak to this service at all.

use std::path::Path;

use axum::body::Bytes;
use http::{Request, header};
use mesh_identity::Mesh;
use mesh_testkit::certificates;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{World, customer, euros, one, run};

fn line(path: &str) -> Request<Bytes> {
    let request = Request::put(path).header(header::CONTENT_TYPE, "application/json");
    let mut request = request.body(one("DE").to_string().into()).expect("a request");
    customer().write(request.headers_mut());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_gateway_may_speak_for_people() {
    run(World::without_provider, async |world| {
        let path = format!("/basket/lines/{}", world.product(&[("DE", euros(450))]).await);
        for service in ["order-master", "basket-info", "sandbox-payments", "tiffin"] {
            let client = certificates::mesh(service).client();
            let answer = client.request(&world.upstream, line(&path)).await.expect("an answer");
            assert_eq!(answer.status(), 403, "{service}");
        }
        assert_eq!(world.written().await, (0, 0, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_is_for_those_who_hear_baskets_and_payments() {
    run(World::without_provider, async |world| {
        for (service, status) in [
            ("order-master", 200),
            ("basket-info", 200),
            ("tiffin", 200),
            ("sandbox-payments", 403),
            ("menu-info", 403),
        ] {
            let client = certificates::mesh(service).client();
            for path in ["/feed", "/feed/heads", "/feed/streams/pay_1"] {
                let request = Request::get(path).body(Bytes::new()).expect("a request");
                let answer = client.request(&world.upstream, request).await.expect("an answer");
                assert_eq!(answer.status(), status, "{service} {path}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_does_not_get_past_the_handshake() {
    run(World::without_provider, async |world| {
        let path = format!("/basket/lines/{}", world.product(&[("DE", euros(450))]).await);
        let call = async |folder: &Path| {
            let mesh = Mesh::load(folder, "gateway").expect("its files are whole");
            mesh.client().request(&world.upstream, line(&path)).await
        };
        assert!(call(&certificates::expired("gateway")).await.is_err(), "expired");
        assert!(
            call(&certificates::of_another_authority("gateway")).await.is_err(),
            "another authority"
        );

        let mut plain = TcpStream::connect(world.service.address()).await.expect("it listens");
        plain
            .write_all(b"GET /feed HTTP/1.1\r\nhost: basket-master\r\n\r\n")
            .await
            .expect("it is sent");
        let mut answer = Vec::new();
        // A reset says no as well as a closed connection does.
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "plaintext");
        assert_eq!(world.written().await, (0, 0, 0));
    })
    .await;
}
