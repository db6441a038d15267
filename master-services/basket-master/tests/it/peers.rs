//! Who may speak to this service at all.

use axum::body::Bytes;
use http::{Request, header};
use mesh_testkit::{certificates, strangers};

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
        strangers::are_refused(&world.service, &line(&path)).await;
        assert_eq!(world.written().await, (0, 0, 0));
    })
    .await;
}
