//! Live streams of orders, tickets and jobs.

use http::HeaderName;
use mesh_contracts::id::OrderId;
use serde_json::json;

use crate::events::{POINT, after, cooked_and_brought, delivered, held, offer, offered, opened, placed, taken};
use crate::world::{self, courier, customer, kitchen, signer};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[tokio::test]
async fn an_orders_stream_is_a_snapshot_and_then_every_event() {
    world::run(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        let version = world.orders.tell_all(id, [placed(id, ann.subject)]).await;
        let path = format!("/orders/{id}/live");
        world
            .gateway
            .get_after(&format!("/orders/{id}"), &ann, id, version)
            .await;

        let mut client = world.listen(&path, &ann, &[]).await;
        let snapshot = client.next().await;
        assert_eq!((client.status, snapshot.name.as_str()), (200, "snapshot"));
        let document = &snapshot.data["documents"][0];
        assert_eq!((&document["id"], &document["version"]), (&json!(id), &json!(1)));
        assert_eq!(document["pin"], signer().pin(&id.to_string()));
        assert_eq!(document.get("candidates"), None);

        world.orders.tell_all(id, held(POINT)).await;
        let event = client.next().await;
        assert_eq!(
            (&event.data["type"], &event.data["version"]),
            (&json!("hold.requested"), &json!(2))
        );
        let seen = event.id;
        drop(client);
        world.orders.tell_all(id, offered(POINT, after(3))).await;
        let mut client = world.listen(&path, &ann, &[(LAST_EVENT_ID, seen)]).await;
        for version in 3..=5 {
            assert_eq!(client.next().await.data["version"], version);
        }
    })
    .await;
}

#[tokio::test]
async fn a_kitchen_hears_of_tickets_as_they_come_and_go() {
    world::run(async |world| {
        let (ann, id, rider) = (customer(1), OrderId::new_v7(), courier(2).subject.courier());
        let path = format!("/food-points/{POINT}/live");
        let mut client = world.listen(&path, &kitchen(POINT), &[]).await;
        assert_eq!(client.next().await.data["documents"], json!([]));
        world.orders.tell_all(id, [placed(id, ann.subject)]).await;
        world.orders.tell_all(id, held(POINT)).await;
        world.orders.tell_all(id, offered(POINT, after(3))).await;
        world.orders.tell_all(id, cooked_and_brought(POINT, rider)).await;
        for expected in [
            "ticket.offered",
            "ticket.accepted",
            "order.assigned",
            "order.courier_assigned",
            "order.ready",
            "order.in_delivery",
        ] {
            let event = client.next().await.data;
            assert_eq!((&event["type"], &event["stream"]), (&json!(expected), &json!(id)));
        }
        let next = OrderId::new_v7();
        world
            .orders
            .tell_all(next, crate::events::ticket(next, ann.subject, POINT, after(9)))
            .await;
        assert_eq!(
            client.next().await.data["stream"],
            json!(next),
            "nothing of the first any more"
        );
    })
    .await;
}

#[tokio::test]
async fn a_courier_hears_of_offers_and_jobs_and_of_nobody_elses() {
    world::run(async |world| {
        let (mine, other) = (OrderId::new_v7(), OrderId::new_v7());
        let (rider, rival) = (courier(2), courier(3).subject.courier());
        let me = rider.subject.courier();
        let mut client = world.listen("/couriers/me/live", &rider, &[]).await;
        assert_eq!(client.next().await.data["documents"], json!([]));
        let ann = customer(1).subject;
        let others = [opened(other, ann, after(20)), offer(rival), taken(rival)];
        world.couriers.tell_all(other.delivery(), others).await;
        let events = [opened(mine, ann, after(20)), offer(me), taken(me), delivered(me)];
        world.couriers.tell_all(mine.delivery(), events).await;
        for expected in ["delivery.offered", "delivery.assigned", "delivery.delivered"] {
            let event = client.next().await.data;
            assert_eq!(
                (&event["type"], &event["stream"]),
                (&json!(expected), &json!(mine.delivery()))
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_process_that_ends_tells_its_listeners_when_to_come_back() {
    world::run(async |world| {
        let mut client = world.listen("/couriers/me/live", &courier(2), &[]).await;
        client.next().await;
        let (stopped, last) = tokio::join!(world.service.stop(), async {
            let last = client.block().await;
            (last, client.block().await)
        });
        let () = stopped;
        assert_eq!(last, (Some("retry: 500".into()), None));
    })
    .await;
}
