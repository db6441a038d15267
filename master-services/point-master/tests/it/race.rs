//! A hundred orders want the last portion at once, and two replicas answer them.

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::Actor;
use mesh_contracts::id::{FoodPointId, OrderId};
use mesh_contracts::order::{Kind, Need};
use mesh_contracts::point::{Event, HoldRefusal};
use mesh_eventstore::{Request, Streams, SubmitError};
use point_master::FoodPoints;
use point_master::domain::{self, Command, Wanted};
use uuid::Uuid;

use crate::world::{self, BREAD};

const ORDERS: u128 = 100;

fn hold(number: u128) -> Command {
    Command::Hold(Wanted {
        order: OrderId(Uuid::from_u128(1_000 + number)),
        attempt: 1,
        kind: Kind::Delivery,
        needs: vec![Need {
            ingredient: BREAD,
            quantity: 4,
        }],
        expires_at: Timestamp::now() + SignedDuration::from_mins(18),
    })
}

/// As an inbox does it: who loses against the other replica too often comes again.
async fn submit(replica: &Streams<FoodPoints>, point: FoodPointId, command: Command) {
    loop {
        let command = command.clone();
        let request = Request::by(Actor::service("order-master"));
        let decide = move |point: Option<&_>, now| domain::decide(point, command.clone(), now);
        match replica.submit(point, request, decide).await {
            Ok(_) => return,
            Err(SubmitError::Conflict) => {}
            Err(err) => panic!("{err:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_hold_the_last_portion_once() {
    world::run(async |world| {
        let point = world.stocked_point(4).await;
        let replicas = [world.replica().await, world.replica().await];
        let race = (0..ORDERS).map(|number| {
            let replica = &replicas[usize::from(number % 2 == 1)];
            submit(replica, point, hold(number))
        });
        futures::future::join_all(race).await;
        let answers: Vec<Event> = world
            .events(point)
            .await
            .split_off(2)
            .iter()
            .map(|event| event.body().expect("its own shape").expect("a known type"))
            .collect();
        let held = answers.iter().filter(|event| matches!(event, Event::HoldHeld { .. }));
        let short = answers.iter().filter(|event| {
            let reason = HoldRefusal::Stock;
            matches!(event, Event::HoldFailed { reason: said, .. } if *said == reason)
        });
        assert_eq!((held.count(), short.count(), answers.len()), (1, 99, 100));
    })
    .await;
}
