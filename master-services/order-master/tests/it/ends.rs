//! Every command that ends or turns an accepted order: what it does, who may say it, and against which state.

use http::StatusCode;
use mesh_contracts::api::PlaceFrozen;
use mesh_contracts::geo::Coordinates;
use mesh_contracts::id::{FoodPointId, OrderId};
use mesh_contracts::order::Kind;
use mesh_contracts::point::{self, ClosedBy, Settings};
use mesh_contracts::user::Role;
use mesh_testkit::{eventually, gateway, run};
use serde_json::{Value, json};

use crate::world::{PRICE, World, caller, kind, place};

#[tokio::test]
async fn row_9_a_kitchen_cancels_what_it_accepted_and_the_cost_is_booked_on_it() {
    run(async |stage| {
        let world = World::new(stage).await;
        let order = world.placed().await;
        world.assigned(order).await;
        let cancel = format!("/orders/{order}/cancel");
        let reason = json!({ "reason": "ingredient_unavailable" });
        let elsewhere = caller(Role::Kitchen, vec![FoodPointId::new_v7()]);
        let refused = world.post(&elsewhere, &cancel, &reason).await;
        assert_eq!(refused.status(), StatusCode::NOT_FOUND);
        let cancelled = world.post(&world.kitchen, &cancel, &reason).await;
        assert_eq!(cancelled.status(), StatusCode::OK, "{:?}", cancelled.body());

        let end = world.data(order, "order.cancelled").await;
        let borne = json!({ "amount": PRICE, "food_point": world.point });
        assert_eq!((&end["by"], &end["liable"]), (&json!("kitchen"), &json!("point")));
        assert_eq!((&end["borne"], &end["cooking_began"]), (&borne, &json!(false)));
        assert_eq!(end["held_at"], json!(world.point));
        let due = world.data(order, "settlement.due").await;
        assert_eq!((&due["amount"]["amount"], &due["final"]), (&json!(0), &json!(true)));
        world
    })
    .await;
}

#[tokio::test]
async fn row_9_the_customer_pays_half_of_what_is_on_the_stove() {
    run(async |stage| {
        let world = World::new(stage).await;
        let order = world.placed().await;
        world.assigned(order).await;
        let started = world
            .post(&world.kitchen, &format!("/orders/{order}/start"), &json!({}))
            .await;
        assert_eq!(started.status(), StatusCode::OK);
        let cancel = format!("/orders/{order}/cancel");
        let cancelled = world
            .post(&world.customer, &cancel, &json!({ "reason": "customer_cancelled" }))
            .await;
        assert_eq!(cancelled.status(), StatusCode::OK, "{:?}", cancelled.body());
        assert_eq!(world.data(order, "order.cancelled").await["cooking_began"], true);
        let due = world.data(order, "settlement.due").await;
        assert_eq!(due["amount"]["amount"], json!(PRICE.amount / 2));
        world
    })
    .await;
}

/// The one point that there is takes pick-up orders, too, and there is another one as far again.
async fn two_points(world: &World) -> FoodPointId {
    let settings = |nth: i32| Settings {
        name: "Alexanderplatz".into(),
        place: mesh_contracts::geo::Place {
            at: Coordinates {
                lat_e6: place().at.lat_e6 + nth * 2_000,
                ..place().at
            },
            ..place()
        },
        kinds: vec![Kind::Delivery, Kind::PickUp],
        radius_m: 5_000,
        pool: 5,
        auto_accept: false,
        hours: vec![],
        utc_offset_minutes: 0,
    };
    world.point_says(&point::Event::Changed { settings: settings(0) }).await;
    let other = FoodPointId::new_v7();
    world
        .say(other, 1, &point::Event::Registered { settings: settings(1) })
        .await;
    let goods = point::Event::Received {
        ingredient: mesh_contracts::id::IngredientId(uuid::Uuid::from_u128(77)),
        quantity: 1_000,
    };
    world.say(other, 2, &goods).await;
    other
}

/// Places orders until one has this many kitchens to ask.
async fn placed_with(world: &World, kitchens: usize) -> OrderId {
    eventually("both points are known", || async {
        let order = world.placed().await;
        let created = world.data(order, "order.created").await;
        let candidates = created["candidates"].as_array()?;
        let can = candidates.iter().filter(|candidate| candidate["passed_over"].is_null());
        (can.count() == kitchens).then_some(order)
    })
    .await
}

#[tokio::test]
async fn row_10_a_kitchen_that_stops_hands_the_order_to_the_next_one_and_its_repeat_is_answered_alike() {
    run(async |stage| {
        let world = World::new(stage).await;
        let other = two_points(&world).await;
        let order = placed_with(&world, 2).await;
        world.assigned(order).await;
        let stop = format!("/orders/{order}/stop");
        let reason = json!({ "reason": "closing_early" });
        let customers = world.post(&world.customer, &stop, &reason).await;
        assert_eq!(customers.status(), StatusCode::FORBIDDEN);
        let stopped = world.post(&world.kitchen, &stop, &reason).await;
        assert_eq!(stopped.status(), StatusCode::OK, "{:?}", stopped.body());
        let types = world.types(order).await;
        assert_eq!(types[types.len() - 2..], ["ticket.stopped", "hold.requested"]);
        assert_eq!(world.data(order, "hold.requested").await["food_point"], json!(other));
        // It is not that kitchen's business any more.
        let late = world.post(&world.kitchen, &stop, &reason).await;
        assert_eq!(late.status(), StatusCode::NOT_FOUND);

        let held = point::Event::HoldHeld {
            order,
            attempt: 2,
            needs: vec![],
            expires_at: jiff::Timestamp::now(),
        };
        world.say(other, 3, &held).await;
        let offers = || async {
            let types = world.types(order).await;
            (types.iter().filter(|known| *known == "ticket.offered").count() == 2).then_some(())
        };
        eventually("the other kitchen is asked", offers).await;
        let staff = caller(Role::Kitchen, vec![other]);
        let accepted = world.post(&staff, &format!("/orders/{order}/accept"), &json!({})).await;
        assert_eq!(accepted.status(), StatusCode::OK, "{:?}", accepted.body());
        world
            .say(other, 4, &point::Event::HoldConfirmed { order, attempt: 2 })
            .await;
        let requests = || async {
            let types = world.types(order).await;
            (types.iter().filter(|known| *known == "delivery.requested").count() == 2).then_some(())
        };
        eventually("a courier is asked for anew", requests).await;
        let dues = world.types(order).await;
        assert_eq!(dues.iter().filter(|known| *known == "settlement.due").count(), 1);
        world
    })
    .await;
}

#[tokio::test]
async fn row_10_a_point_that_closes_gives_up_every_order_it_has_not_begun() {
    run(async |stage| {
        let world = World::new(stage).await;
        let (order, other) = (world.placed().await, world.placed().await);
        world.assigned(order).await;
        world.assigned(other).await;
        let started = world
            .post(&world.kitchen, &format!("/orders/{other}/start"), &json!({}))
            .await;
        assert_eq!(started.status(), StatusCode::OK);
        world.point_says(&point::Event::Closed { by: ClosedBy::Staff }).await;
        world.hears(order, "order.cancelled").await;
        let end = world.data(order, "order.cancelled").await;
        assert_eq!(
            (&end["reason"], &end["liable"]),
            (&json!("closing_early"), &json!("point"))
        );
        // Whatever follows the closing is heard after it, so it did nothing to what is being cooked.
        world.point_says(&point::Event::Opened {}).await;
        world.is_heard(&world.point.to_string()).await;
        let types = world.types(other).await;
        assert_eq!(types.last().map(String::as_str), Some("ticket.started"));
        world
    })
    .await;
}

#[tokio::test]
async fn row_19_a_pick_up_order_is_collected_with_its_pin_and_nothing_else() {
    run(async |stage| {
        let world = World::new(stage).await;
        two_points(&world).await;
        let order = eventually("the point hands out at its counter", || async {
            let wish = PlaceFrozen {
                kind: Kind::PickUp,
                destination: None,
                food_point: Some(world.point),
                ..world.order()
            };
            let answer = world.post(&world.customer, "/orders", &wish).await;
            (answer.status() == StatusCode::CREATED).then_some(wish.order)
        })
        .await;
        world.assigned(order).await;
        let collect = format!("/orders/{order}/collect");
        let pin = gateway::signer().pin(&order.to_string());
        let wrong = if pin == "0000" { "0001" } else { "0000" };
        let told = |pin: &str| json!({ "pin": pin });
        let before = world.events().await;
        let early = world.post(&world.kitchen, &collect, &told(&pin)).await;
        assert_eq!(
            (kind(&early).as_str(), early.status()),
            ("too_early", StatusCode::CONFLICT)
        );
        assert_eq!(world.events().await, before);

        let ready = world
            .post(&world.kitchen, &format!("/orders/{order}/ready"), &json!({}))
            .await;
        assert_eq!(ready.status(), StatusCode::OK);
        let before = world.events().await;
        let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
        for (body, expected) in [
            (told(wrong), "wrong_pin"),
            (told("123"), "invalid"),
            (told("12345"), "invalid"),
            (told("12a4"), "invalid"),
            (json!({}), "invalid"),
            (json!({ "pin": 1234 }), "invalid"),
            (json!({ "pin": pin, "tip": 5 }), "invalid"),
        ] {
            let refused = world.post(&world.kitchen, &collect, &body).await;
            assert_eq!(
                (kind(&refused).as_str(), refused.status()),
                (expected, unprocessable),
                "{body}"
            );
        }
        let customers = world.post(&world.customer, &collect, &told(&pin)).await;
        assert_eq!(customers.status(), StatusCode::FORBIDDEN);
        let elsewhere = caller(Role::Kitchen, vec![FoodPointId::new_v7()]);
        let strangers = world.post(&elsewhere, &collect, &told(&pin)).await;
        assert_eq!(strangers.status(), StatusCode::NOT_FOUND);
        assert_eq!(world.events().await, before);

        let collected = world.post(&world.kitchen, &collect, &told(&pin)).await;
        assert_eq!(collected.status(), StatusCode::OK, "{:?}", collected.body());
        let types = world.types(order).await;
        assert_eq!(types[types.len() - 2..], ["order.completed", "settlement.due"]);
        assert!(!types.contains(&"delivery.requested".to_owned()));
        world
    })
    .await;
}

#[tokio::test]
async fn what_a_courier_brings_is_not_collected_at_the_counter() {
    run(async |stage| {
        let world = World::new(stage).await;
        let order = world.placed().await;
        let pin = gateway::signer().pin(&order.to_string());
        let collect = format!("/orders/{order}/collect");
        let before = world.events().await;
        let refused = world.post(&world.kitchen, &collect, &json!({ "pin": pin })).await;
        assert_eq!(
            (kind(&refused).as_str(), refused.status()),
            ("not_pick_up", StatusCode::CONFLICT)
        );
        assert_eq!(world.events().await, before);
        world
    })
    .await;
}

#[tokio::test]
async fn row_18_an_override_gives_a_reason_of_the_field_or_is_refused() {
    run(async |stage| {
        let world = World::new(stage).await;
        let order = world.placed().await;
        let operator = caller(Role::Operator, vec![]);
        let end = format!("/orders/{order}/override");
        let before = world.events().await;
        for body in [
            json!({}),
            json!({ "reason": "" }),
            json!({ "reason": "because" }),
            json!({ "reason": "payment" }),
            json!({ "reason": "no_candidate" }),
        ] {
            let refused = world.post(&operator, &end, &body).await;
            let found = (kind(&refused), refused.status());
            assert_eq!(
                found,
                ("invalid".to_owned(), StatusCode::UNPROCESSABLE_ENTITY),
                "{body}"
            );
        }
        assert_eq!(world.events().await, before);
        let ended = world.post(&operator, &end, &json!({ "reason": "duplicate" })).await;
        assert_eq!(ended.status(), StatusCode::OK);
        world
    })
    .await;
}

#[tokio::test]
async fn a_command_against_another_state_than_its_tag_says_is_refused_with_the_current_one() {
    run(async |stage| {
        let world = World::new(stage).await;
        let order = world.placed().await;
        let operator = caller(Role::Operator, vec![]);
        let (nothing, reason) = (json!({}), json!({ "reason": "other" }));
        let pin = json!({ "pin": "1234" });
        let before = world.events().await;
        for (who, verb, body) in [
            (&world.customer, "cancel", &reason),
            (&world.kitchen, "cancel", &reason),
            (&world.kitchen, "accept", &nothing),
            (&world.kitchen, "reject", &reason),
            (&world.kitchen, "start", &nothing),
            (&world.kitchen, "ready", &nothing),
            (&world.kitchen, "stop", &reason),
            (&world.kitchen, "collect", &pin),
            (&operator, "override", &reason),
        ] {
            let path = format!("/orders/{order}/{verb}");
            let stale = world.post_if("\"7.7\"", who, &path, body).await;
            assert_eq!(
                (kind(&stale).as_str(), stale.status()),
                ("stale", StatusCode::CONFLICT),
                "{verb}"
            );
            let problem: Value = serde_json::from_slice(stale.body()).expect("a problem");
            assert_eq!(problem["current"]["status"], "created", "{verb}");
            assert_eq!(problem["current"]["id"], json!(order), "{verb}");
            assert_eq!(problem["etag"], "\"2.1\"", "{verb}");
            let malformed = world.post_if("7", who, &path, body).await;
            assert_eq!(kind(&malformed), "if_match_malformed", "{verb}");
        }
        // Nobody else learns where it stands, nor that there is such an order.
        let stranger = caller(Role::Customer, vec![]);
        let cancel = format!("/orders/{order}/cancel");
        let theirs = world.post_if("\"7.7\"", &stranger, &cancel, &reason).await;
        assert_eq!(
            (kind(&theirs).as_str(), theirs.status()),
            ("not_found", StatusCode::NOT_FOUND)
        );
        assert_eq!(world.events().await, before);

        // What only moved the version, as a hold does, is no other status.
        let held = point::Event::HoldHeld {
            order,
            attempt: 1,
            needs: vec![],
            expires_at: jiff::Timestamp::now(),
        };
        world.point_says(&held).await;
        world.hears(order, "payment.requested").await;
        let seen = world.post_if("\"2.1\"", &world.customer, &cancel, &reason).await;
        assert_eq!(seen.status(), StatusCode::OK, "{:?}", seen.body());
        world
    })
    .await;
}

#[tokio::test]
async fn of_two_who_saw_the_same_state_the_second_is_told_what_the_first_did() {
    run(async |stage| {
        let world = World::new(stage).await;
        let order = world.placed().await;
        world.assigned(order).await;
        let tag = {
            let probe = world
                .post_if(
                    "\"0.0\"",
                    &world.customer,
                    &format!("/orders/{order}/cancel"),
                    &json!({ "reason": "other" }),
                )
                .await;
            let problem: Value = serde_json::from_slice(probe.body()).expect("a problem");
            problem["etag"].as_str().expect("a tag").to_owned()
        };
        let ready = format!("/orders/{order}/ready");
        let first = world.post_if(&tag, &world.kitchen, &ready, &json!({})).await;
        assert_eq!(first.status(), StatusCode::OK, "{:?}", first.body());
        let cancel = format!("/orders/{order}/cancel");
        let second = world
            .post_if(
                &tag,
                &world.customer,
                &cancel,
                &json!({ "reason": "customer_cancelled" }),
            )
            .await;
        assert_eq!(
            (kind(&second).as_str(), second.status()),
            ("stale", StatusCode::CONFLICT)
        );
        let problem: Value = serde_json::from_slice(second.body()).expect("a problem");
        assert_eq!(problem["current"]["status"], "ready");
        world
    })
    .await;
}
