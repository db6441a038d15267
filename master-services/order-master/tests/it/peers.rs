//! Who may talk to order-master at all.

use http::StatusCode;
use mesh_testkit::run;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn commands_are_taken_from_the_gateway_alone_and_a_caller_only_on_its_word() {
    run(async |stage| {
        let world = World::new(stage).await;
        let order = world.placed().await;
        let before = world.events().await;
        let cancel = format!("/orders/{order}/cancel");
        let body = json!({ "reason": "customer_cancelled" }).to_string();
        for peer in ["order-info", "basket-master", "tiffin"] {
            let answer = world.post_as(peer, &world.customer, &cancel, body.clone().into()).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{peer}");
        }
        let history = format!("/orders/{order}/history");
        assert_eq!(world.get("gateway", &history).await.status(), StatusCode::OK);
        assert_eq!(world.get("order-info", &history).await.status(), StatusCode::FORBIDDEN);
        assert_eq!(world.events().await, before);
        world
    })
    .await;
}
