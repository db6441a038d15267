//! What the state of things forbids: a closed or far food point, a second payment, somebody else's order.

use http::{Method, StatusCode};
use mesh_contracts::api::ChangePoint;
use mesh_contracts::id::AddressId;
use mesh_contracts::order::Reason;
use mesh_testkit::eventually_in;
use serde_json::json;
use tiffin::client::Call;

use super::{Case, Scene, but, case};
use crate::platform::{Books, DEADLINE, Sent, Site, alone, seen, visa};

/// North of its point by 55 km: no food point of any site delivers there.
const FAR_E6: i32 = 500_000;

#[tokio::test]
async fn a_closed_or_far_food_point_takes_no_order_and_only_the_basket_has_waited_for_it() {
    let _alone = alone().await;
    let scene = Scene::new("closed-and-far").await;
    let mut books = Books::open().await;
    let far = AddressId::new_v7();
    scene.site.move_to(&scene.customer, far, FAR_E6).await;
    let elsewhere = Site::open("too-far", 1).await;
    let closed = scene.site.points[0].id;

    let far_away = |version| but(&scene.wish(version), "address_id", json!(far));
    refused(&mut books, &scene, far_away, "out_of_zone").await;
    let pinned = |version| but(&scene.wish(version), "food_point_id", json!(elsewhere.points[0].id));
    refused(&mut books, &scene, pinned, "food_point_too_far").await;
    let unknown = |version| {
        but(
            &scene.wish(version),
            "food_point_id",
            json!(mesh_contracts::id::FoodPointId::new_v7()),
        )
    };
    refused(&mut books, &scene, unknown, "unknown_food_point").await;
    open(&scene.site, false).await;
    refused(&mut books, &scene, |version| scene.wish(version), "food_point_closed").await;
    let insists = |version| but(&scene.wish(version), "food_point_id", json!(closed));
    refused(&mut books, &scene, insists, "food_point_closed").await;
}

/// The basket is frozen before a food point can be chosen, and comes back by itself: that is all that is written.
async fn refused(books: &mut Books, scene: &Scene, wish: impl Fn(u64) -> serde_json::Value, kind: &str) {
    let version = scene.filled_basket(1).await;
    let before = books.at_rest().await;
    let answer = scene
        .door
        .send(Sent::post("/v1/orders", &wish(version)).by(&scene.token))
        .await;
    let found = (answer.status, answer.problem_kind());
    assert_eq!(found, (StatusCode::UNPROCESSABLE_ENTITY, Ok(kind.to_owned())));
    let written = books.at_rest().await.since(&before);
    let elsewhere: Vec<&String> = written
        .iter()
        .filter(|place| !place.starts_with("basket-master "))
        .collect();
    assert!(elsewhere.is_empty(), "{kind}: wrote {elsewhere:?}");
    let events: Vec<&String> = written.iter().filter(|place| !place.contains(" table ")).collect();
    assert!(
        matches!(events[..], [one] if one.starts_with("basket-master basket.checked_out")),
        "{kind}: wrote {events:?}"
    );
}

async fn open(site: &Site, open: bool) {
    let change = ChangePoint {
        open: Some(open),
        settings: None,
    };
    let path = format!("/v1/food-points/{}", site.points[0].id);
    let door = crate::platform::Door::public();
    let token = door.operators_token().await;
    let answer = door
        .send(Sent::json(Method::PATCH, path, &json!(change)).by(&token))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    site.is_known().await;
}

#[tokio::test]
async fn a_paid_order_takes_no_second_payment_and_no_strangers_word() {
    let _alone = alone().await;
    let scene = Scene::new("second-payment").await;
    let stranger = scene.site.customer().await;
    let theirs = scene.door.token_of(&stranger.email).await;
    let placed = scene.site.order(&scene.customer, 1, visa()).await;
    let order = placed.id;
    eventually_in("the order is paid", DEADLINE, || async {
        (seen(&scene.customer.person, order, placed.token.clone()).await["status"] == "paid").then_some(())
    })
    .await;

    let pay = || {
        Sent::post(
            format!("/v1/orders/{order}/payments"),
            &json!({"method": "card", "token": "pm_card_visa"}),
        )
    };
    let in_cash = Sent::post(format!("/v1/orders/{order}/payments"), &json!({"method": "cash"}));
    let cancel = || Sent::post(format!("/v1/orders/{order}/cancel"), &json!({"reason": "other"}));
    let (conflict, nothing) = (StatusCode::CONFLICT, StatusCode::NOT_FOUND);
    let mut cases = vec![
        case("a second payment", pay().by(&scene.token), conflict, "payment_not_open"),
        case(
            "a second payment in cash",
            in_cash.by(&scene.token),
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
        ),
        case(
            "ready before anyone accepted",
            verb(&scene, order, "ready"),
            conflict,
            "too_early",
        ),
        case(
            "a stale If-Match",
            cancel().with(http::header::IF_MATCH, "\"1.1\"").by(&scene.token),
            conflict,
            "stale",
        ),
    ];
    for (what, sent) in [
        ("paying somebody else's order", pay()),
        ("cancelling somebody else's order", cancel()),
        (
            "reading somebody else's order",
            Sent::get(format!("/v1/orders/{order}")),
        ),
        (
            "somebody else's history",
            Sent::get(format!("/v1/orders/{order}/history")),
        ),
        (
            "somebody else's payment",
            Sent::get(format!("/v1/orders/{order}/payment")),
        ),
    ] {
        cases.push(case(what, sent.by(&theirs), nothing, "not_found"));
    }
    cases.push(reused_key(&scene).await);
    scene.refuses_all(cases).await;
    let cancelled = scene
        .customer
        .person
        .cancel(order, Reason::CustomerCancelled, "cancel")
        .await;
    cancelled.expect("none of it had any effect");
}

/// The kitchen's word on an order.
fn verb(scene: &Scene, order: mesh_contracts::id::OrderId, verb: &str) -> Sent {
    Sent::post(format!("/v1/orders/{order}/{verb}"), &json!({})).by(&scene.cook)
}

/// A key that stands for another delivery of goods already.
async fn reused_key(scene: &Scene) -> Case {
    let path = format!(
        "/v1/food-points/{}/stock/{}/receive",
        scene.site.points[0].id, scene.site.ingredients[0]
    );
    let key = "delivery-of-the-day";
    let first = Call::post(path.as_str(), &json!({"quantity": 1})).keyed(key);
    scene.site.points[0]
        .cook
        .person
        .send(first)
        .await
        .expect("goods arrive");
    let other = Sent::post(path, &json!({"quantity": 2})).with(mesh_runtime::headers::IDEMPOTENCY_KEY, key);
    let refused = StatusCode::UNPROCESSABLE_ENTITY;
    case(
        "a key for something else",
        other.by(&scene.cook),
        refused,
        "idempotency_key_reused",
    )
}
