//! What dispatch looks at, with two replicas that write it.

use std::sync::Arc;

use courier_master::store::{Board, Shown};
use jiff::Timestamp;
use mesh_contracts::delivery::Event;
use mesh_contracts::geo::{Country, Place};
use mesh_contracts::id::{AddressId, CourierId, DeliveryId, FoodPointId, OrderId, UserId};
use mesh_contracts::order::Destination;
use mesh_contracts::view;
use mesh_contracts::view::delivery::Delivery;
use uuid::Uuid;

use crate::world::{self, counter, door};

#[tokio::test(flavor = "multi_thread")]
async fn a_look_sees_what_either_replica_showed_last_and_nothing_older() {
    world::run(async |world| {
        let (here, there) = (Board::new(world.pool().await), Board::new(world.pool().await));
        let order = OrderId::new_v7();
        let waiting = fold(None, &opened(order));
        let offered = fold(Some(waiting.clone()), &offered());
        let ended = fold(Some(offered.clone()), &Event::Cancelled { courier: None });

        show(&here, &waiting).await;
        assert_eq!(seen(&here).await, [1]);
        show(&there, &offered).await;
        assert_eq!(seen(&here).await, [2]);
        show(&here, &waiting).await;
        assert_eq!((seen(&here).await, seen(&there).await), (vec![2], vec![2]), "late news");
        show(&there, &ended).await;
        show(&here, &offered).await;
        assert_eq!(
            (seen(&here).await, seen(&there).await),
            (vec![], vec![]),
            "it has ended"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_shown_at_once() {
    world::run(async |world| {
        let board = Board::new(world.pool().await);
        let orders: Vec<OrderId> = (0..200).map(|_| OrderId::new_v7()).collect();
        let deliveries = orders.iter().map(|order| fold(None, &opened(*order)));
        let shown = Shown {
            deliveries: deliveries
                .map(|delivery| (delivery.order.delivery(), Arc::new(delivery), 1))
                .collect(),
            ..Shown::default()
        };
        board.show(&shown).await.expect("the database is up");
        board.show(&Shown::default()).await.expect("nothing is as well");
        let elsewhere = Board::new(world.pool().await);
        assert_eq!(seen(&elsewhere).await, [1; 200]);
    })
    .await;
}

async fn show(board: &Board, delivery: &Delivery) {
    let id: DeliveryId = delivery.order.delivery();
    let shown = Shown {
        deliveries: vec![(id, Arc::new(delivery.clone()), delivery.version)],
        ..Shown::default()
    };
    board.show(&shown).await.expect("the database is up");
}

/// The versions of what is open.
async fn seen(board: &Board) -> Vec<u64> {
    let open = board.open_deliveries().await.expect("the database is up");
    open.iter().map(|delivery| delivery.version).collect()
}

fn fold(delivery: Option<Delivery>, event: &Event) -> Delivery {
    view::delivery::fold(delivery, event, Timestamp::now()).expect("it is opened")
}

fn opened(order: OrderId) -> Event {
    Event::Opened {
        order,
        customer: UserId(Uuid::from_u128(8)),
        food_point: FoodPointId(Uuid::from_u128(7)),
        pickup: counter(),
        destination: Destination {
            address: AddressId(Uuid::from_u128(6)),
            place: Place {
                country: Country::parse("DE").expect("a country"),
                at: door(),
            },
        },
        ready_by: Timestamp::now(),
        offer_from: Timestamp::now(),
    }
}

fn offered() -> Event {
    Event::Offered {
        attempt: 1,
        courier: CourierId(Uuid::from_u128(1)),
        pickup_distance_m: 1,
        answer_by: Timestamp::now(),
        considered: Vec::new(),
    }
}
