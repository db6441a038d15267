//! One wish is one order, however often it is sent, and nobody else's business.

use futures::future::join_all;
use http::StatusCode;
use mesh_contracts::order::{Reason, Status};
use mesh_testkit::eventually_in;
use serde_json::{Value, json};

use super::crew::{Crew, Screen};
use super::get;
use crate::platform::{DEADLINE, Door, Sent, Site, among_others, ledger_of, visa};

/// Impatient, all of them.
const TAPS: usize = 20;

#[tokio::test]
async fn twenty_taps_of_one_button_are_one_order_with_one_answer() {
    let _others = among_others().await;
    let site = Site::open("twenty-taps", 1).await;
    let customer = site.customer().await;
    let quantity = mesh_contracts::api::Quantity::new(1).expect("within its bounds");
    let version = customer
        .person
        .set_line(site.product, quantity, site.country)
        .await
        .expect("it is sold");
    let body = json!({
        "basket_version": version,
        "kind": "delivery",
        "address_id": customer.address,
        "payment": {"method": "card", "token": "pm_card_visa"},
    });
    let door = Door::public();
    let tap = Sent::post("/v1/orders", &body).by(&door.token_of(&customer.email).await);
    let answers = join_all((0..TAPS).map(|_| door.send(tap.clone()))).await;
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::CREATED, "{:?}", answer.body);
        assert_eq!(answer.body, answers[0].body, "byte for byte");
        assert_eq!(answer.headers["etag"], answers[0].headers["etag"]);
    }
    let late = door.send(tap.clone()).await;
    assert_eq!(
        (late.status, &late.body),
        (StatusCode::CREATED, &answers[0].body),
        "much later still"
    );

    let other = json!({"payment": {"method": "cash"}, "kind": "delivery", "address_id": customer.address, "basket_version": version});
    let reused = door.send(tap.saying(other.to_string())).await;
    assert_eq!(reused.problem_kind().as_deref(), Ok("idempotency_key_reused"));

    let order: mesh_contracts::id::OrderId = answers[0].json()["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an order");
    eventually_in("the one order is paid", DEADLINE, || async {
        let orders = get(&customer.person, "/v1/orders").await;
        let items = orders["items"].as_array().expect("a page");
        assert!(items.len() <= 1, "{orders}");
        items.first().filter(|item| item["status"] == "paid").map(drop)
    })
    .await;
    assert_eq!(ledger_of(order).await.len(), 1, "one promise");
    customer
        .person
        .cancel(order, Reason::CustomerCancelled, "cancel")
        .await
        .expect("nobody accepted");
}

#[tokio::test]
async fn somebody_elses_order_does_not_exist() {
    let _others = among_others().await;
    let site = Site::open("mine", 1).await;
    let elsewhere = Site::open("theirs", 1).await;
    let customer = site.customer().await;
    let mut crew = Crew::of(&site).await;
    let placed = site.order(&customer, 1, visa()).await;
    let order = placed.id;
    let mut screen = Screen::of(&customer, &placed);
    crew.is_offered_the_ticket(0, order).await;

    let door = Door::public();
    let stranger = door.token_of(&elsewhere.customer().await.email).await;
    let reason = json!({"reason": "other"});
    let by_stranger = [
        Sent::get(format!("/v1/orders/{order}")),
        Sent::get(format!("/v1/orders/{order}/live")),
        Sent::get(format!("/v1/orders/{order}/history")),
        Sent::get(format!("/v1/orders/{order}/payment")),
        Sent::post(format!("/v1/orders/{order}/cancel"), &reason),
        Sent::post(
            format!("/v1/orders/{order}/payments"),
            &json!({"method": "card", "token": "pm_card_visa"}),
        ),
    ];
    let cook = door.token_of(&elsewhere.points[0].cook.email).await;
    let point = site.points[0].id;
    let by_cook = [
        Sent::get(format!("/v1/orders/{order}")),
        Sent::post(format!("/v1/orders/{order}/accept"), &json!({})),
        Sent::post(format!("/v1/orders/{order}/reject"), &reason),
        Sent::post(format!("/v1/orders/{order}/start"), &json!({})),
        Sent::post(format!("/v1/orders/{order}/ready"), &json!({})),
        Sent::get(format!("/v1/food-points/{point}/tickets")),
        Sent::get(format!("/v1/food-points/{point}/live")),
    ];
    let delivery = order.delivery();
    let courier = door.token_of(&elsewhere.courier().await.email).await;
    let by_courier = [
        Sent::get(format!("/v1/orders/{order}")),
        Sent::post(format!("/v1/deliveries/{delivery}/accept"), &json!({})),
        Sent::post(format!("/v1/deliveries/{delivery}/decline"), &json!({})),
        Sent::post(format!("/v1/deliveries/{delivery}/pick-up"), &json!({})),
        Sent::post(
            format!("/v1/deliveries/{delivery}/deliver"),
            &json!({"photo": "photo-1"}),
        ),
        Sent::post(format!("/v1/deliveries/{delivery}/fail"), &reason),
    ];
    // Once as an order that nobody brings yet, and once as a delivery that somebody else was offered.
    for round in ["offered to the kitchen", "offered to a courier"] {
        for (who, token, all) in [
            ("another customer", &stranger, &by_stranger[..]),
            ("another kitchen", &cook, &by_cook[..]),
            ("another courier", &courier, &by_courier[..]),
        ] {
            for sent in all {
                let answer = door.send(sent.clone().by(token)).await;
                let what = format!("{who}: {} {} while {round}", sent.method, sent.path);
                assert_eq!(
                    (answer.status, answer.problem_kind()),
                    (StatusCode::NOT_FOUND, Ok("not_found".into())),
                    "{what}"
                );
            }
        }
        if round == "offered to the kitchen" {
            crew.accepts(0, order).await;
            screen.shows(Status::Assigned).await;
            crew.starts_and_calls(0, order).await;
            crew.is_offered_the_delivery(order).await;
        }
    }
    let mine: Value = get(&customer.person, &format!("/v1/orders/{order}")).await;
    assert_eq!(mine["status"], "ready", "nothing of it had any effect");
    site.operator
        .override_order(order, Reason::Other, "override")
        .await
        .expect("operators end anything");
}
