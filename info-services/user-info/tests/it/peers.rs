//! Who may speak to this service at all.

use bytes::Bytes;
use http::Request;
use mesh_testkit::{certificates, strangers};

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
            let answer = client.request(world.gateway.upstream(), request).await;
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
        strangers::are_refused(&world.service, &me()).await;
    })
    .await;
}
