//! Who may speak to this service at all.

use bytes::Bytes;
use http::{Request, header};
use mesh_identity::{Mesh, Upstream};
use mesh_runtime::headers;
use mesh_testkit::{ServiceProcess, certificates, strangers};
use tokio::net::TcpStream;

use crate::world::{self, club, operator};

fn create() -> Request<Bytes> {
    let mut request = Request::post("/products")
        .header(header::CONTENT_TYPE, "application/json")
        .header(headers::IDEMPOTENCY_KEY, "create")
        .body(club().to_string().into())
        .expect("a request");
    operator().write(request.headers_mut());
    request
}

#[tokio::test]
async fn only_the_gateway_may_speak_for_people() {
    world::run(async |world| {
        for service in ["order-master", "menu-info", "menu-master"] {
            let client = certificates::mesh(service).client();
            let answer = client.request(&world.upstream, create()).await.expect("an answer");
            assert_eq!(answer.status(), 403, "{service}");
        }
        assert_eq!(world.written().await, (0, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn the_feed_is_for_services_that_hear_events() {
    world::run(async |world| {
        let product = world.created().await;
        let status = async |service: &str, path: &str| {
            let client = certificates::mesh(service).client();
            let request = Request::get(path).body(Bytes::new()).expect("a request");
            client
                .request(&world.upstream, request)
                .await
                .expect("an answer")
                .status()
                .as_u16()
        };
        for path in ["/feed", "/feed/heads", &format!("/feed/streams/{product}")] {
            assert_eq!(status("menu-info", path).await, 200, "{path}");
            assert_eq!(status("tiffin", path).await, 200, "{path}");
            assert_eq!(status("sandbox-payments", path).await, 403, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_stranger_does_not_get_past_the_handshake() {
    world::run(async |world| {
        strangers::are_refused(&world.service, &create()).await;
        assert_eq!(world.written().await, (0, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn behind_a_sidecar_the_peer_is_whom_it_names() {
    mesh_testkit::run(async |stage| {
        let database = stage.database().await;
        let mut service = ServiceProcess::new(stage, "menu-master", env!("CARGO_BIN_EXE_menu-master"))
            .env("TIFFIN_TLS", "sidecar")
            .env("TIFFIN_TLS_DIR", "")
            .migrated(&database)
            .await;
        service.start().await;

        let sidecar = Mesh::behind_a_sidecar("a sidecar").client();
        let upstream = Upstream::new("menu-master", service.address().to_string());
        let status = async |said: Option<&str>| {
            let mut request = create();
            if let Some(said) = said {
                let line = said.parse().expect("a header's value");
                request.headers_mut().insert("x-forwarded-client-cert", line);
            }
            sidecar
                .request(&upstream, request)
                .await
                .expect("an answer")
                .status()
                .as_u16()
        };
        let id = |service| format!("URI=spiffe://tiffin.local/ns/tiffin/sa/{service}");
        let forged = format!("{},{}", id("gateway"), id("menu-info"));
        for refused in [None, Some(id("menu-info").as_str()), Some(&forged), Some("URI=")] {
            assert_eq!(status(refused).await, 403, "{refused:?}");
        }
        assert_eq!(status(Some(&format!("{},{}", id("ingress"), id("gateway")))).await, 201);

        // Loopback is all of it: whoever comes from elsewhere comes by the sidecar.
        let mut elsewhere = service.address();
        elsewhere.set_ip([127, 0, 0, 2].into());
        assert!(TcpStream::connect(elsewhere).await.is_err());
        stage.settled().await;
        service.stop().await;
    })
    .await;
}
