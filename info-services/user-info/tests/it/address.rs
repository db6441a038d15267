//! The way to the door, for the courier who has the job and no longer than that.

use jiff::Timestamp;
use mesh_contracts::delivery::{DropCause, Event};
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{CourierId, FoodPointId, OrderId, UserId};
use mesh_contracts::order::{Destination, Proof};
use mesh_testkit::Answer;

use crate::people::HOME;
use crate::world::{self, courier, customer, operator};

fn offered(order: OrderId, customer: UserId, courier: CourierId) -> [Event; 2] {
    let at = Coordinates::new(52_520_000, 13_405_000).expect("on earth");
    let country = Country::parse("DE").expect("a country");
    let opened = Event::Opened {
        order,
        customer,
        food_point: FoodPointId::new_v7(),
        pickup: at,
        destination: Destination {
            address: HOME,
            place: Place { country, at },
        },
        ready_by: Timestamp::UNIX_EPOCH,
        offer_from: Timestamp::UNIX_EPOCH,
    };
    let offered = Event::Offered {
        attempt: 1,
        courier,
        pickup_distance_m: 300,
        answer_by: Timestamp::UNIX_EPOCH,
        considered: Vec::new(),
    };
    [opened, offered]
}

#[tokio::test]
async fn a_courier_sees_the_address_only_while_the_job_is_active() {
    world::run(async |world| {
        let (ann, rider, rival) = (customer(1), courier(2), courier(3));
        let (order, me) = (OrderId::new_v7(), rider.subject.courier());
        let id = order.delivery();
        let path = format!("/deliveries/{id}/address");
        world.register(ann.subject, "Ann").await;
        let refused = |answer: Answer| assert_eq!(answer.problem(), (404, "not_found".into()));

        let version = world.couriers.tell_all(id, offered(order, ann.subject, me)).await;
        refused(world.gateway.get_after(&path, &rider, id, version).await);
        let taken = Event::Assigned {
            courier: me,
            pick_up_by: None,
        };
        let version = world.couriers.tell_all(id, [taken.clone()]).await;
        let address = world.gateway.get_after(&path, &rider, id, version).await.json();
        assert_eq!(address["text"], "Holzweg 7, third floor");
        assert_eq!(address["instructions"], "ring twice");
        assert_eq!(address.get("phone"), None);
        refused(world.gateway.get(&path, &rival).await);

        let dropped = Event::Dropped {
            courier: me,
            cause: DropCause::Dropped,
        };
        let version = world.couriers.tell_all(id, [dropped]).await;
        refused(world.gateway.get_after(&path, &rider, id, version).await);
        let picked_up = Event::PickedUp {
            courier: me,
            eta: Timestamp::UNIX_EPOCH,
        };
        let version = world.couriers.tell_all(id, [taken, picked_up]).await;
        assert_eq!(world.gateway.get_after(&path, &rider, id, version).await.status, 200);
        let delivered = Event::Delivered {
            courier: me,
            proof: Proof::Pin,
        };
        let version = world.couriers.tell_all(id, [delivered]).await;
        refused(world.gateway.get_after(&path, &rider, id, version).await);
        for wrong in [ann, operator()] {
            assert_eq!(
                world.gateway.get(&path, &wrong).await.problem(),
                (403, "forbidden".into())
            );
        }
    })
    .await;
}
