//! The operators' board, and what passes without being an event.

use jiff::Timestamp;
use mesh_bus::Bus;
use mesh_contracts::geo::Coordinates;
use mesh_contracts::id::OrderId;
use mesh_contracts::live::{POSITIONS, Sighting};
use mesh_contracts::ops::{Board, Change, Health};
use mesh_contracts::order::Status;
use mesh_contracts::view::courier::Status as Shift;
use mesh_testkit::eventually;
use serde_json::{Value, json};

use crate::events::{
    POINT, cooked_and_brought, delivered, hold_consumed, hold_held, offer, on_shift, opened, picked_up, place, placed,
    registered, taken, ticket,
};
use crate::sse;
use crate::world::{self, World, courier, customer, kitchen, operator};

const OPS: &str = "/ops/live";

/// One event further.
async fn hear(board: &mut Board, client: &mut sse::Client) -> Value {
    let event = client.next().await;
    match event.name.as_str() {
        "snapshot" => board.show(serde_json::from_value(event.data.clone()).expect("a snapshot")),
        "change" => board.hear(serde_json::from_value::<Change>(event.data.clone()).expect("a change")),
        other => panic!("{other} has a stamp"),
    }
    event.data
}

/// The board as somebody sees it who comes now.
async fn now(world: &World) -> Board {
    let mut board = Board::default();
    hear(&mut board, &mut world.listen(OPS, &operator(), &[]).await).await;
    board
}

async fn courier_bus(world: &World) -> Bus {
    let bus = Bus::connect(world.stage.bus("courier-master"))
        .await
        .expect("an address");
    bus.connected().await;
    bus
}

#[tokio::test]
async fn the_board_is_for_operators() {
    world::run(async |world| {
        for wrong in [customer(1), kitchen(POINT), courier(2)] {
            let answer = world.gateway.get(OPS, &wrong).await;
            assert_eq!(answer.problem(), (403, "forbidden".into()));
        }
    })
    .await;
}

#[tokio::test]
async fn the_board_tells_what_changes_on_it_and_nothing_else() {
    world::run(async |world| {
        let (first, second, rider) = (OrderId::new_v7(), OrderId::new_v7(), courier(2).subject.courier());
        world.points.tell_all(POINT, [registered("Alexanderplatz")]).await;
        let ann = customer(1).subject;
        let version = world.orders.tell_all(first, [placed(first, ann)]).await;
        world.gateway.get_after("/orders", &customer(1), first, version).await;
        eventually("the food point is on the board", async || {
            (!now(world).await.kitchens.is_empty()).then_some(())
        })
        .await;

        let mut board = Board::default();
        let mut client = world.listen(OPS, &operator(), &[]).await;
        hear(&mut board, &mut client).await;
        assert_eq!(board.orders.get(&Status::Created), Some(&1));
        assert_eq!(board.kitchens[&POINT].busy, 0);

        world.points.tell_all(POINT, [hold_held(second)]).await;
        hear(&mut board, &mut client).await;
        assert_eq!(board.kitchens[&POINT].busy, 1);
        world.couriers.tell_all(rider, on_shift()).await;
        // Registered and not at work is not on the board.
        hear(&mut board, &mut client).await;
        assert_eq!(board.couriers[&rider].status, Shift::On);

        // Five events until the ticket is offered, and two of them move the order.
        let after = crate::events::after(3);
        world.orders.tell_all(second, ticket(second, ann, POINT, after)).await;
        world.orders.tell_all(second, cooked_and_brought(POINT, rider)).await;
        let mut moves = Vec::new();
        for _ in 0..6 {
            moves.push(hear(&mut board, &mut client).await["is"]["status"].clone());
        }
        let expected = [json!("created"), json!("paid"), json!("assigned"), json!("ready")];
        assert_eq!(moves[..4], expected);
        assert_eq!(moves[4..], [json!("in_delivery"), Value::Null]);
        world.points.tell_all(POINT, [hold_consumed(second)]).await;
        hear(&mut board, &mut client).await;
        assert_eq!(board, now(world).await);
    })
    .await;
}

#[tokio::test]
async fn the_board_shows_where_couriers_are_and_no_longer_than_they_say() {
    world::run(async |world| {
        let rider = courier(2).subject.courier();
        let bus = courier_bus(world).await;
        world.couriers.tell_all(rider, on_shift()).await;
        let mut client = world.listen(OPS, &operator(), &[]).await;
        let seen = Sighting {
            courier: rider,
            place: place(),
            at: Timestamp::now(),
        };
        bus.tell(POSITIONS, &[seen]).await.expect("the broker is up");
        assert_eq!(client.passing("positions").await, json!([seen]));
        let keys = world.redis.keys().await;
        assert!(
            keys.iter().any(|key| key.ends_with(&format!("last:at:{rider}"))),
            "{keys:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn the_board_says_what_readers_gave_up() {
    world::run(async |world| {
        let mut client = world.listen(OPS, &operator(), &[]).await;
        let health: Health = serde_json::from_value(client.passing("health").await).expect("health");
        assert_eq!(health.dead_letters, 0);
        let id = OrderId::new_v7();
        let mut poison = world.orders.keep(id, placed(id, customer(1).subject));
        poison.data = json!({ "number": 7 }).into();
        world.orders.publish(&poison).await;
        let newest = loop {
            let health: Health = serde_json::from_value(client.passing("health").await).expect("health");
            if let [letter] = health.newest.as_slice() {
                assert_eq!(health.dead_letters, 1);
                break letter.clone();
            }
        };
        assert_eq!(
            (newest.consumer.as_str(), newest.stream),
            (order_info::NAME, Some(id.to_string()))
        );
    })
    .await;
}

#[tokio::test]
async fn a_customer_sees_the_courier_come_while_the_job_is_active_and_no_longer() {
    world::run(async |world| {
        let (ann, order, rider) = (customer(1), OrderId::new_v7(), courier(2).subject.courier());
        let (id, bus) = (order.delivery(), courier_bus(world).await);
        world.couriers.tell_all(rider, on_shift()).await;
        let version = world.orders.tell_all(order, [placed(order, ann.subject)]).await;
        let path = format!("/orders/{order}");
        world.gateway.get_after(&path, &ann, order, version).await;
        let mut client = world.listen(&format!("{path}/live"), &ann, &[]).await;
        client.next().await;
        let soon = Timestamp::now() + jiff::SignedDuration::from_mins(10);
        world
            .couriers
            .tell_all(id, [opened(order, ann.subject, soon), offer(rider)])
            .await;
        let far = Coordinates::new(52_548_779, 13_405_000).expect("on earth");
        let seen = |place| Sighting {
            courier: rider,
            place,
            at: Timestamp::now(),
        };
        bus.tell(POSITIONS, &[seen(far)]).await.expect("the broker is up");
        world.couriers.tell_all(id, [taken(rider)]).await;
        let progress = client.passing("progress").await;
        assert_eq!(
            (&progress["order"], &progress["courier_at"]),
            (&json!(order), &json!(far))
        );
        let at = |progress: &Value, name: &str| -> Timestamp {
            progress["eta"][name].as_str().expect("a time").parse().expect("a time")
        };
        // Food and courier are there in ten minutes, four go at the door, and until more is known two early and six late.
        let minutes = |at: Timestamp| at.duration_since(soon).as_mins();
        assert_eq!(minutes(at(&progress, "earliest")), 2);
        assert_eq!(minutes(at(&progress, "latest")), 16);

        world.couriers.tell_all(id, [picked_up(rider, soon)]).await;
        bus.tell(POSITIONS, &[seen(place())]).await.expect("the broker is up");
        loop {
            let progress = client.passing("progress").await;
            // At the door's foot, with the food in hand: ten minutes from now, which were sixteen from then.
            if progress["courier_at"] == json!(place()) && minutes(at(&progress, "latest")) < 5 {
                break;
            }
        }
        let version = world.couriers.tell_all(id, [delivered(rider)]).await;
        world
            .gateway
            .get_after("/couriers/me/jobs", &courier(2), id, version)
            .await;
        bus.tell(POSITIONS, &[seen(far)]).await.expect("the broker is up");
        // Whatever was under way may still come; where the courier goes then does not.
        let quiet = tokio::time::timeout(std::time::Duration::from_secs(5), async {
            while client.passing("progress").await["courier_at"] != json!(far) {}
        });
        assert!(quiet.await.is_err(), "the job is over");
    })
    .await;
}
