//! Placing an order: what is answered, what is refused, and that a refusal writes nothing.

use std::time::Duration;

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::api::PlaceFrozen;
use mesh_contracts::geo::Coordinates;
use mesh_contracts::id::{AddressId, FoodPointId, OrderId, ProductId};
use mesh_contracts::order::Kind;
use mesh_contracts::point;
use mesh_contracts::point::HoldRefusal;
use mesh_contracts::user::Role;
use mesh_testkit::{eventually, run};

use crate::world::{World, caller, kind};

#[tokio::test]
async fn a_placed_order_is_created_and_asks_for_a_hold_and_its_repeat_is_answered_alike() {
    run(async |stage| {
        let world = World::new(stage).await;
        let order = world.order();
        let first = world.post(&world.customer, "/orders", &order).await;
        let again = world.post(&world.customer, "/orders", &order).await;
        assert_eq!(first.status(), StatusCode::CREATED);
        assert_eq!(first.headers()["etag"], "\"2.1\"");
        assert_eq!((first.status(), first.body()), (again.status(), again.body()));
        assert_eq!(
            first.headers()["tiffin-consistency"],
            again.headers()["tiffin-consistency"]
        );
        assert_eq!(world.types(order.order).await, ["order.created", "hold.requested"]);
        world
    })
    .await;
}

#[tokio::test]
async fn a_repeat_may_come_with_the_address_moved_on_the_map_but_not_with_another_address() {
    run(async |stage| {
        let world = World::new(stage).await;
        let order = world.order();
        let first = world.post(&world.customer, "/orders", &order).await;
        assert_eq!(first.status(), StatusCode::CREATED);
        let before = world.events().await;

        let mut moved = order.clone();
        moved.destination.as_mut().expect("a delivery").place.at.lat_e6 += 1_000;
        let again = world.post(&world.customer, "/orders", &moved).await;
        assert_eq!((first.status(), first.body()), (again.status(), again.body()));

        let mut elsewhere = order.clone();
        elsewhere.destination.as_mut().expect("a delivery").address = AddressId::new_v7();
        let mut dearer = order;
        dearer.quote.basket_version += 1;
        for other in [elsewhere, dearer] {
            let refused = world.post(&world.customer, "/orders", &other).await;
            assert_eq!(kind(&refused), "idempotency_key_reused");
        }
        assert_eq!(world.events().await, before);
        world
    })
    .await;
}

#[tokio::test]
async fn a_refused_order_says_why_and_writes_nothing() {
    run(async |stage| {
        let world = World::new(stage).await;
        let far = |order: &mut PlaceFrozen| {
            let destination = order.destination.as_mut().expect("a delivery");
            destination.place.at = Coordinates {
                lat_e6: 48_137_000,
                lon_e6: 11_576_000,
            };
        };
        let mut cases: Vec<(&str, StatusCode, PlaceFrozen)> = Vec::new();
        let mut case = |kind, status, change: &dyn Fn(&mut PlaceFrozen)| {
            let mut order = world.order();
            change(&mut order);
            cases.push((kind, status, order));
        };
        let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
        case("quote_expired", StatusCode::CONFLICT, &|order| {
            order.quote.valid_until = Timestamp::now() - SignedDuration::from_secs(1);
        });
        case("unknown_product", unprocessable, &|order| {
            order.quote.lines[0].product = ProductId::new_v7()
        });
        case("unknown_food_point", unprocessable, &|order| {
            order.food_point = Some(FoodPointId::new_v7())
        });
        case("out_of_zone", unprocessable, &far);
        case("food_point_too_far", unprocessable, &|order| {
            far(order);
            order.food_point = Some(world.point);
        });
        case("food_point_kind", unprocessable, &|order| {
            order.kind = Kind::PickUp;
            order.destination = None;
            order.food_point = Some(world.point);
        });
        case("nothing_available", unprocessable, &|order| {
            order.quote.lines[0].quantity = 11
        });
        case("invalid", unprocessable, &|order| order.destination = None);
        let before = world.events().await;
        for (expected, status, order) in cases {
            let answer = world.post(&world.customer, "/orders", &order).await;
            assert_eq!((kind(&answer).as_str(), answer.status()), (expected, status));
        }
        assert_eq!(world.events().await, before);
        world
    })
    .await;
}

#[tokio::test]
async fn a_closed_point_is_refused_when_pinned() {
    run(async |stage| {
        let world = World::new(stage).await;
        world
            .point_says(&point::Event::Closed {
                by: point::ClosedBy::Staff,
            })
            .await;
        let refused = eventually("the closed point is known", || async {
            let order = PlaceFrozen {
                food_point: Some(world.point),
                ..world.order()
            };
            let answer = world.post(&world.customer, "/orders", &order).await;
            (answer.status() != StatusCode::CREATED).then(|| kind(&answer))
        });
        assert_eq!(refused.await, "food_point_closed");
        world
    })
    .await;
}

#[tokio::test]
async fn wrong_roles_other_peoples_orders_and_bad_bodies_are_refused_and_write_nothing() {
    run(async |stage| {
        let world = World::new(stage).await;
        let order = world.placed().await;
        let before = world.events().await;
        let stranger = caller(Role::Customer, vec![]);
        let elsewhere = caller(Role::Kitchen, vec![FoodPointId::new_v7()]);
        let reason = serde_json::json!({ "reason": "customer_cancelled" });
        let nothing = serde_json::json!({});
        let cancel = format!("/orders/{order}/cancel");
        let accept = format!("/orders/{order}/accept");
        let operate = format!("/orders/{order}/override");
        let missing = format!("/orders/{}/cancel", OrderId::new_v7());

        for (who, path, body, status) in [
            (&stranger, &cancel, &reason, StatusCode::NOT_FOUND),
            (&world.customer, &missing, &reason, StatusCode::NOT_FOUND),
            (&elsewhere, &accept, &nothing, StatusCode::NOT_FOUND),
            (&world.kitchen, &cancel, &reason, StatusCode::CONFLICT),
            (&world.customer, &accept, &nothing, StatusCode::FORBIDDEN),
            (&world.customer, &operate, &reason, StatusCode::FORBIDDEN),
            (&world.kitchen, &accept, &nothing, StatusCode::CONFLICT),
        ] {
            let answer = world.post(who, path, body).await;
            assert_eq!(answer.status(), status, "{path}: {:?}", answer.body());
        }
        let foreign = world.post(&stranger, "/orders", &world.order()).await;
        assert_eq!(foreign.status(), StatusCode::NOT_FOUND, "another person's basket");
        for body in ["{", r#"{"reason":"because"}"#, r#"{"reason":"busy","more":1}"#, "[]"] {
            let answer = world.post_as("gateway", &world.customer, &cancel, body.into()).await;
            assert!(answer.status().is_client_error(), "{body}: {}", answer.status());
            kind(&answer);
        }
        let huge = world
            .post_as("gateway", &world.customer, &cancel, vec![b' '; 65 * 1024])
            .await;
        assert_eq!(huge.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(world.events().await, before);
        world
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_while_those_before_wait_for_a_kitchen_for_seconds() {
    /// An order's wait, longer than what is let pass; and so many that each counts for little.
    const WAIT: Duration = Duration::from_secs(4);
    const BEFORE: usize = 10;
    run(async |stage| {
        let world = World::new(stage).await;
        let mut orders = Vec::new();
        for _ in 0..BEFORE {
            orders.push(world.placed().await);
        }
        tokio::time::sleep(WAIT).await;
        let answering = async {
            for order in orders {
                let reason = HoldRefusal::Full;
                let failed = point::Event::HoldFailed {
                    order,
                    attempt: 1,
                    reason,
                };
                world.point_says(&failed).await;
            }
        };
        let turned_away = eventually("whoever comes now is turned away", async || {
            let order = world.order();
            let answer = world.post(&world.customer, "/orders", &order).await;
            (answer.status() == StatusCode::SERVICE_UNAVAILABLE).then_some((order, answer))
        });
        let ((), (order, answer)) = tokio::join!(answering, turned_away);
        assert_eq!(kind(&answer), "overloaded");
        assert_eq!(answer.headers()["retry-after"], "1");
        assert!(world.types(order.order).await.is_empty());
        eventually("whoever comes again later is taken", async || {
            let answer = world.post(&world.customer, "/orders", &order).await;
            (answer.status() == StatusCode::CREATED).then_some(())
        })
        .await;
        world
    })
    .await;
}
