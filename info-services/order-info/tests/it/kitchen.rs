//! A food point's open tickets.

use mesh_contracts::id::OrderId;
use mesh_testkit::eventually;

use crate::events::{OTHER_POINT, POINT, after, cooked_and_brought, held, placed, ticket};
use crate::world::{self, courier, customer, kitchen, operator};

#[tokio::test]
async fn a_ticket_is_on_the_list_from_the_question_until_the_food_is_out_of_the_house() {
    world::run(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        let path = format!("/food-points/{POINT}/tickets");
        let staff = kitchen(POINT);
        let listed = async |version: u64| world.gateway.get_after(&path, &staff, id, version).await.ids();

        world.orders.tell_all(id, [placed(id, ann.subject)]).await;
        let version = world.orders.tell_all(id, held(POINT)).await;
        assert!(listed(version).await.is_empty(), "nobody has paid yet");
        let version = world.orders.tell_all(id, crate::events::offered(POINT, after(3))).await;
        assert_eq!(listed(version).await, [id.to_string()]);
        for event in cooked_and_brought(POINT, courier(2).subject.courier())
            .into_iter()
            .take(4)
        {
            let version = world.orders.tell_all(id, [event.clone()]).await;
            assert_eq!(listed(version).await, [id.to_string()], "{event:?}");
        }
        let picked_up = cooked_and_brought(POINT, courier(2).subject.courier())[4].clone();
        let version = world.orders.tell_all(id, [picked_up]).await;
        assert!(listed(version).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_is_due_first_comes_first() {
    world::run(async |world| {
        let ann = customer(1);
        let mut ids = Vec::new();
        for minutes in [3, 1, 2] {
            let id = OrderId::new_v7();
            world
                .orders
                .tell_all(id, ticket(id, ann.subject, POINT, after(minutes)))
                .await;
            ids.push(id.to_string());
        }
        let expected = [ids[1].clone(), ids[2].clone(), ids[0].clone()];
        let path = format!("/food-points/{POINT}/tickets");
        eventually("the tickets are in order", async || {
            (world.gateway.get(&path, &kitchen(POINT)).await.ids() == expected).then_some(())
        })
        .await;
        assert_eq!(world.gateway.get(&path, &operator()).await.ids(), expected);
    })
    .await;
}

#[tokio::test]
async fn the_tickets_of_another_point_do_not_exist() {
    world::run(async |world| {
        for part in ["tickets", "live"] {
            let path = format!("/food-points/{POINT}/{part}");
            let answer = world.gateway.get(&path, &kitchen(OTHER_POINT)).await;
            assert_eq!(answer.problem(), (404, "not_found".into()));
            for wrong in [customer(1), courier(2)] {
                assert_eq!(
                    world.gateway.get(&path, &wrong).await.problem(),
                    (403, "forbidden".into())
                );
            }
        }
    })
    .await;
}
