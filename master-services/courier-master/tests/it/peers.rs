//! Who may speak to this service at all.

use bytes::Bytes;
use http::{Request, header};
use mesh_testkit::{certificates, strangers};
use serde_json::json;

use crate::world::{self, counter, stranger};

fn shift() -> Request<Bytes> {
    let mut request = Request::put("/couriers/me/shift")
        .header(header::CONTENT_TYPE, "application/json")
        .body(json!({ "on": true, "at": counter() }).to_string().into())
        .expect("a request");
    stranger().write(request.headers_mut());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_gateway_may_speak_for_people() {
    world::run(async |world| {
        for service in ["order-master", "order-info", "courier-master"] {
            let client = certificates::mesh(service).client();
            let answer = client.request(&world.upstream, shift()).await.expect("an answer");
            assert_eq!(answer.status(), 403, "{service}");
        }
        assert_eq!(world.written().await, (0, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_is_for_services_that_hear_events() {
    world::run(async |world| {
        let courier = world.registered().await.subject.courier();
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
        for path in ["/feed", "/feed/heads", &format!("/feed/streams/{courier}")] {
            assert_eq!(status("order-info", path).await, 200, "{path}");
            assert_eq!(status("tiffin", path).await, 200, "{path}");
            assert_eq!(status("sandbox-payments", path).await, 403, "{path}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_does_not_get_past_the_handshake() {
    world::run(async |world| {
        strangers::are_refused(&world.service, &shift()).await;
        assert_eq!(world.written().await, (0, 0));
    })
    .await;
}
