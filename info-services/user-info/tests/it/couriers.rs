//! Couriers as operators see them.

use mesh_contracts::courier::Event;
use mesh_contracts::geo::Country;
use mesh_contracts::id::CourierId;
use serde_json::json;

use crate::world::{self, courier, customer, operator};

#[tokio::test]
async fn an_operator_sees_whether_a_courier_is_on_shift() {
    world::run(async |world| {
        let rider = courier(2);
        let id = rider.subject.courier();
        let path = format!("/couriers/{id}");
        let country = Country::parse("DE").expect("a country");
        let events = [
            Event::Registered { country },
            Event::ShiftStarted { speed_m_per_min: 320 },
        ];
        let version = world.couriers.tell_all(id, events).await;
        let seen = world.gateway.get_after(&path, &operator(), id, version).await.json();
        assert_eq!((&seen["id"], &seen["status"]), (&json!(id), &json!("on")));
        for wrong in [customer(1), rider] {
            assert_eq!(
                world.gateway.get(&path, &wrong).await.problem(),
                (403, "forbidden".into())
            );
        }
        let nobody = format!("/couriers/{}", CourierId::new_v7());
        assert_eq!(
            world.gateway.get(&nobody, &operator()).await.problem(),
            (404, "not_found".into())
        );
    })
    .await;
}
