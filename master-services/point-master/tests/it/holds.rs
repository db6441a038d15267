//! What orders make the point do: holds from request to end, however the news arrives.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::id::{FoodPointId, OrderId};
use mesh_contracts::order::{EndedBy, Event, Kind, Need, Reason};
use mesh_contracts::view::point::{FoodPoint, HoldState, fold};
use mesh_testkit::eventually;
use uuid::Uuid;

use crate::world::{self, BREAD, World, operator};

const FIRST: OrderId = OrderId(Uuid::from_u128(11));
const SECOND: OrderId = OrderId(Uuid::from_u128(12));
const THIRD: OrderId = OrderId(Uuid::from_u128(13));

fn requested(food_point: FoodPointId, attempt: u32, bread: u64, life: SignedDuration) -> Event {
    let now = Timestamp::now();
    Event::HoldRequested {
        attempt,
        food_point,
        kind: Kind::Delivery,
        needs: vec![Need {
            ingredient: BREAD,
            quantity: bread,
        }],
        answer_by: now + SignedDuration::from_secs(30),
        expires_at: now + life,
    }
}

fn long() -> SignedDuration {
    SignedDuration::from_mins(18)
}

fn accepted(food_point: FoodPointId) -> Event {
    let now = Timestamp::now();
    Event::TicketAccepted {
        attempt: 1,
        food_point,
        ready_by: now,
        confirm_by: now,
    }
}

fn ready(food_point: FoodPointId) -> Event {
    let now = Timestamp::now();
    Event::Ready {
        food_point,
        attempt: 1,
        alert_at: now,
        give_up_at: now,
    }
}

fn timed_out(food_point: FoodPointId) -> Event {
    Event::TicketTimedOut { attempt: 1, food_point }
}

fn cancelled(food_point: FoodPointId, cooking_began: bool) -> Event {
    Event::Cancelled {
        by: EndedBy::Operator,
        reason: Reason::Other,
        liable: None,
        held_at: Some(food_point),
        cooking_began,
        borne: None,
    }
}

impl World {
    /// Waits until the events of these orders that were told have been heard, in one go.
    async fn settle(&self, told: &[(OrderId, i64)]) {
        for (order, version) in told {
            eventually("the order is heard", || async {
                (self.heard(order).await >= *version).then_some(())
            })
            .await;
        }
    }

    /// The point as its feed folds; the stock balances after every event.
    async fn folded(&self, point: FoodPointId) -> FoodPoint {
        let mut state = None;
        for envelope in self.events(point).await {
            let event = envelope.body().expect("its own shape").expect("a known type");
            state = fold(state, &event, envelope.at);
            assert!(state.as_ref().is_some_and(FoodPoint::balances), "{event:?}");
        }
        state.expect("it is registered")
    }

    /// From the fourth event on: registration, stock and what the test did first come before.
    async fn since(&self, point: FoodPointId, events_before: usize) -> Vec<String> {
        self.event_types(point).await.split_off(events_before)
    }
}

#[tokio::test]
async fn an_orders_hold_is_held_confirmed_and_consumed() {
    world::run(async |world| {
        let point = world.stocked_point(10).await;
        let cause = world.orders.tell(FIRST, requested(point, 1, 4, long())).await;
        world.settle(&[(FIRST, 1)]).await;
        assert_eq!(world.folded(point).await.stock[&BREAD].held, 4);
        let held = world.events(point).await.pop().expect("held");
        assert_eq!(held.meta.actor.0, "service:point-master");
        assert_eq!(held.meta.causation, Some(cause.event_id));
        world.orders.tell(FIRST, accepted(point)).await;
        world.settle(&[(FIRST, 2)]).await;
        assert_eq!(world.folded(point).await.holds[&FIRST].state, HoldState::Confirmed);
        world.orders.tell(FIRST, ready(point)).await;
        world.settle(&[(FIRST, 3)]).await;
        assert_eq!(
            world.since(point, 2).await,
            ["hold.held", "hold.confirmed", "hold.consumed"]
        );
        let stock = world.folded(point).await.stock[&BREAD];
        assert_eq!((stock.available, stock.held, stock.consumed), (6, 0, 4));
    })
    .await;
}

#[tokio::test]
async fn the_last_bread_is_held_for_one_order_only() {
    world::run(async |world| {
        let point = world.stocked_point(4).await;
        let orders: Vec<OrderId> = (100..200).map(|number| OrderId(Uuid::from_u128(number))).collect();
        let told: Vec<(OrderId, i64)> = orders.iter().map(|order| (*order, 1)).collect();
        let requests = orders
            .iter()
            .map(|order| world.orders.tell(order, requested(point, 1, 4, long())));
        futures::future::join_all(requests).await;
        world.settle(&told).await;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for event in world.since(point, 2).await {
            *counts.entry(event).or_default() += 1;
        }
        assert_eq!(
            counts,
            BTreeMap::from([("hold.held".into(), 1), ("hold.failed".into(), 99)])
        );
        assert_eq!(world.folded(point).await.stock[&BREAD].available, 0);
    })
    .await;
}

#[tokio::test]
async fn an_ended_order_gives_back_or_wastes_what_its_point_holds() {
    world::run(async |world| {
        let point = world.stocked_point(10).await;
        for order in [FIRST, SECOND] {
            world.orders.tell(order, requested(point, 1, 4, long())).await;
        }
        world.orders.tell(FIRST, cancelled(point, false)).await;
        world.orders.tell(SECOND, cancelled(point, true)).await;
        // An order that never asked here, and one that asked a point nobody knows.
        world
            .orders
            .tell(THIRD, requested(FoodPointId(Uuid::from_u128(404)), 1, 1, long()))
            .await;
        world
            .orders
            .tell(
                THIRD,
                Event::Rejected {
                    reason: Reason::NoCandidate,
                    held_at: Some(FoodPointId(Uuid::from_u128(404))),
                },
            )
            .await;
        world.settle(&[(FIRST, 2), (SECOND, 2), (THIRD, 2)]).await;
        let state = world.folded(point).await;
        let stock = state.stock[&BREAD];
        assert_eq!((stock.available, stock.held, stock.wasted), (6, 0, 4));
        assert!(state.holds.is_empty());
        assert!(world.events(FoodPointId(Uuid::from_u128(404))).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn news_that_comes_twice_or_not_at_all_changes_nothing() {
    world::run(async |world| {
        let point = world.stocked_point(10).await;
        // The bus loses the request: the acceptance shows the gap, and the feed fills it.
        world.orders.keep(FIRST, requested(point, 1, 4, long()));
        let acceptance = world.orders.tell(FIRST, accepted(point)).await;
        world.settle(&[(FIRST, 2)]).await;
        for _ in 0..3 {
            // With a new id, or the broker itself would drop it.
            let again = mesh_contracts::envelope::Envelope {
                event_id: Uuid::now_v7(),
                ..acceptance.clone()
            };
            world.orders.publish(&again).await;
        }
        world.orders.tell(FIRST, ready(point)).await;
        world.settle(&[(FIRST, 3)]).await;
        assert_eq!(
            world.since(point, 2).await,
            ["hold.held", "hold.confirmed", "hold.consumed"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_hold_that_nobody_confirms_expires_and_a_late_acceptance_is_told_so() {
    world::run(async |world| {
        let point = world.stocked_point(10).await;
        world
            .orders
            .tell(FIRST, requested(point, 1, 4, SignedDuration::from_secs(1)))
            .await;
        eventually("the hold expires", || async {
            (world.event_types(point).await.last()? == "hold.expired").then_some(())
        })
        .await;
        world.orders.tell(FIRST, accepted(point)).await;
        world.settle(&[(FIRST, 2)]).await;
        assert_eq!(
            world.since(point, 2).await,
            ["hold.held", "hold.expired", "hold.failed"]
        );
        let events = world.events(point).await;
        assert_eq!(events[3].meta.actor.0, "timer:point-master");
        assert_eq!(events[4].data.value()["reason"], "ended");
        assert_eq!(world.folded(point).await.stock[&BREAD].available, 10);
    })
    .await;
}

#[tokio::test]
async fn two_missed_tickets_pause_the_point_until_it_is_opened() {
    world::run(async |world| {
        let point = world.stocked_point(10).await;
        for order in [FIRST, SECOND] {
            world.orders.tell(order, requested(point, 1, 4, long())).await;
            world.orders.tell(order, timed_out(point)).await;
            world.settle(&[(order, 2)]).await;
        }
        assert!(!world.folded(point).await.open);
        world.orders.tell(THIRD, requested(point, 1, 4, long())).await;
        world.settle(&[(THIRD, 1)]).await;
        let refused = world.events(point).await.pop().expect("answered");
        assert_eq!(
            (refused.event_type.as_str(), &refused.data.value()["reason"]),
            ("hold.failed", &"closed".into())
        );
        let opened = world
            .patch(point, &operator(), serde_json::json!({ "open": true }))
            .await;
        assert_eq!(opened.json()["status"], "open");
        let state = world.folded(point).await;
        assert_eq!((state.misses, state.closed_by), (0, None));
    })
    .await;
}

#[tokio::test]
async fn what_was_told_while_the_service_was_down_is_heard_when_it_is_back() {
    world::run(async |world| {
        let point = world.stocked_point(10).await;
        // It would expire while the service is down, had the kitchen not accepted meanwhile.
        world
            .orders
            .tell(FIRST, requested(point, 1, 4, SignedDuration::from_secs(2)))
            .await;
        world.settle(&[(FIRST, 1)]).await;
        world.service.kill().await;
        let expires_at = Timestamp::now() + SignedDuration::from_secs(2);
        world.orders.tell(FIRST, accepted(point)).await;
        eventually("the hold is past its time", || async {
            (Timestamp::now() > expires_at).then_some(())
        })
        .await;
        world.service.start().await;
        world.settle(&[(FIRST, 2)]).await;
        assert_eq!(world.since(point, 2).await, ["hold.held", "hold.confirmed"]);
    })
    .await;
}
