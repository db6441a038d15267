//! Who may speak to this service at all: whoever hears it, and whoever audits it.

use bytes::Bytes;
use http::Request;
use mesh_testkit::{certificates, strangers};

use crate::world::run;

fn feed() -> Request<Bytes> {
    Request::get("/feed/heads").body(Bytes::new()).expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_hears_or_audits_reads_the_feed_and_nobody_makes_it_send() {
    run(async |world| {
        for (peer, status) in [
            ("order-master", 200),
            ("tiffin", 200),
            ("gateway", 403),
            ("user-master", 403),
        ] {
            let client = certificates::mesh(peer).client();
            let answer = client.request(&world.service.upstream(), feed()).await;
            assert_eq!(answer.expect("an answer").status(), status, "{peer}");
        }
        strangers::are_refused(&world.service, &feed()).await;
    })
    .await;
}
