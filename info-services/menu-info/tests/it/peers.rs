//! Who may speak to this service at all.

use bytes::Bytes;
use http::Request;
use mesh_testkit::{certificates, strangers};

use crate::world::{self, customer};

fn menu() -> Request<Bytes> {
    let mut request = Request::get("/menu?country=DE").body(Bytes::new()).expect("a path");
    customer(1).write(request.headers_mut());
    request
}

#[tokio::test]
async fn only_the_gateway_may_speak_for_people() {
    world::run(async |world| {
        let status = async |service: &str, request: Request<Bytes>| {
            let client = certificates::mesh(service).client();
            let answer = client.request(world.gateway.upstream(), request).await;
            answer.expect("an answer").status().as_u16()
        };
        for service in ["order-master", "basket-info", "user-info", "menu-info"] {
            assert_eq!(status(service, menu()).await, 403, "{service}");
        }
        assert_eq!(status("gateway", menu()).await, 200);
        let nobodys = Request::get("/menu?country=DE").body(Bytes::new()).expect("a path");
        assert_eq!(status("gateway", nobodys).await, 401);
    })
    .await;
}

#[tokio::test]
async fn a_stranger_does_not_get_past_the_handshake() {
    world::run(async |world| {
        strangers::are_refused(&world.service, &menu()).await;
    })
    .await;
}
