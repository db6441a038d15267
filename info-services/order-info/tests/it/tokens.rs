//! Reading one's own writes.

use http::header;
use mesh_contracts::id::OrderId;
use mesh_runtime::consistency::Signer;
use mesh_runtime::headers;

use crate::events::{POINT, held, placed};
use crate::world::{self, customer};

#[tokio::test]
async fn a_reader_never_gets_less_than_the_token_names() {
    world::run(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        // Committed, and lost by the bus: only the master has it.
        world.orders.keep(id, placed(id, ann.subject));
        let path = format!("/orders/{id}");
        assert_eq!(world.gateway.get(&path, &ann).await.status, 404, "nobody told us");
        let answer = world.gateway.get_after(&path, &ann, id, 1).await;
        assert_eq!(answer.json()["version"], 1);
        assert_eq!(
            world.gateway.get_after("/orders", &ann, id, 1).await.ids(),
            [id.to_string()]
        );
        assert_eq!(
            world.gateway.get(&path, &ann).await.headers[header::ETAG],
            "\"1.1\"",
            "and it stays"
        );
        for event in held(POINT) {
            world.orders.keep(id, event);
        }
        assert_eq!(
            world.gateway.get_after(&path, &ann, id, 3).await.json()["hold"],
            serde_json::Value::Null
        );
        assert_eq!(world.gateway.get(&path, &ann).await.json()["version"], 3);
    })
    .await;
}

#[tokio::test]
async fn what_nobody_has_yet_is_unavailable_and_not_missing() {
    world::run(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        let path = format!("/orders/{id}");
        let answer = world.gateway.get_after(&path, &ann, id, 1).await;
        assert_eq!(answer.problem(), (503, "unavailable".into()));
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
        world.orders.tell_all(id, [placed(id, ann.subject)]).await;
        world.orders.set_down(true);
        assert_eq!(
            world.gateway.get_after(&path, &ann, id, 1).await.status,
            200,
            "the bus has it"
        );
        let answer = world.gateway.get_after(&path, &ann, id, 2).await;
        assert_eq!(answer.problem(), (503, "unavailable".into()));
        world.orders.set_down(false);
    })
    .await;
}

#[tokio::test]
async fn somebody_elses_token_shows_nothing_more() {
    world::run(async |world| {
        let (ann, bob, id) = (customer(1), customer(2), OrderId::new_v7());
        let own = OrderId::new_v7();
        world.orders.keep(id, placed(id, ann.subject));
        world.orders.keep(own, placed(own, bob.subject));
        // It makes the service look, and bob sees what is bob's.
        let answer = world.gateway.get_after(&format!("/orders/{id}"), &bob, id, 1).await;
        assert_eq!(answer.problem(), (404, "not_found".into()));
        assert_eq!(world.gateway.get_after("/orders", &bob, id, 1).await.ids(), [""; 0]);
        assert_eq!(
            world.gateway.get_after("/orders", &bob, own, 1).await.ids(),
            [own.to_string()]
        );
    })
    .await;
}

#[tokio::test]
async fn a_list_waits_for_what_its_token_names_or_is_unavailable() {
    world::run(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        world.orders.tell_all(id, [placed(id, ann.subject)]).await;
        for path in ["/orders", "/orders?limit=1"] {
            let answer = world.gateway.get_after(path, &ann, id, 2).await;
            assert_eq!(answer.problem(), (503, "unavailable".into()), "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_that_nobody_signed_is_refused() {
    world::run(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        let forged = Signer::new(b"another secret, as long").expect("long enough");
        for token in [forged.sign(&[(id.to_string(), 1)]), "x".to_owned()] {
            let answer = world
                .gateway
                .get_with("/orders", &ann, &[(headers::CONSISTENCY, token)])
                .await;
            assert_eq!(answer.problem(), (400, "consistency_token_malformed".into()));
        }
    })
    .await;
}
