//! Every refusal: its status, its stable name, and that nothing was written.

use http::Method;
use mesh_contracts::id::ProductId;
use mesh_contracts::menu::Event;
use mesh_contracts::user::Role;
use serde_json::{Value, json};

use crate::world::{Answer, World, an_order, checkout, customer, dinars, euros, one, person, run, version};

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_cannot_be_is_refused() {
    run(World::without_provider, async |world| {
        let ann = customer();
        let club = world.product(&[("DE", euros(450))]).await;
        let burek = world.product(&[("RS", dinars(30_000))]).await;
        let gone = world.product(&[("DE", euros(450))]).await;
        world.heard(&world.menu.tell(gone, Event::Retired {}).await).await;
        world.set_line(&ann, club, one("DE")).await;
        let before = world.written().await;

        let refused = async |product, line: Value, status, kind: &str| {
            let answer = world.set_line(&ann, product, line.clone()).await;
            assert_eq!((answer.status, answer.kind().as_str()), (status, kind), "{line}");
        };
        refused(ProductId::new_v7(), one("DE"), 422, "unknown_product").await;
        refused(gone, one("DE"), 422, "unknown_product").await;
        refused(club, one("FR"), 422, "not_sold_here").await;
        refused(burek, one("RS"), 422, "foreign_currency").await;
        for quantity in [
            json!(0),
            json!(100),
            json!(-1),
            json!(99_999_999_999_u64),
            json!(1.5),
            json!("1"),
            json!(null),
        ] {
            refused(club, json!({ "quantity": quantity, "country": "DE" }), 422, "invalid").await;
        }
        refused(club, json!({ "quantity": 1, "country": "de" }), 422, "invalid").await;
        refused(
            club,
            json!({ "quantity": 1, "country": "DE", "price": 1 }),
            422,
            "invalid",
        )
        .await;
        refused(club, json!({ "quantity": 1 }), 422, "invalid").await;
        assert_eq!(world.written().await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_that_cannot_be_is_refused() {
    run(World::without_provider, async |world| {
        let (ann, bob) = (customer(), customer());
        let club = world.product(&[("DE", euros(450))]).await;
        let line = world.set_line(&ann, club, one("DE")).await;
        let before = world.written().await;
        let card = || json!({ "method": "card", "token": "pm_card_visa" });
        let at = |version, payment| checkout(an_order(), version, payment);

        refused(&world.checkout(&ann, at(7, card())).await, 409, "basket_changed");
        refused(&world.checkout(&bob, at(0, card())).await, 422, "basket_empty");
        let now = version(&line);
        for payment in [
            json!({ "method": "card" }),
            json!({ "method": "card", "token": "" }),
            json!({ "method": "card", "token": "x".repeat(201) }),
            json!({ "method": "card", "token": "two words" }),
            json!({ "method": "cash", "token": "pm_card_visa" }),
            json!({ "method": "cheque" }),
            json!({ "method": "cash", "tip": 1 }),
        ] {
            refused(&world.checkout(&ann, at(now, payment)).await, 422, "invalid");
        }
        let others = format!("/baskets/{}/checkout", ann.subject);
        let stolen = world.send(Method::POST, &others, &bob, at(now, card())).await;
        refused(&stolen, 404, "not_found");
        assert_eq!(world.written().await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_checked_out_with_one_body_only() {
    run(World::without_provider, async |world| {
        let ann = customer();
        let club = world.product(&[("DE", euros(450))]).await;
        let now = version(&world.set_line(&ann, club, one("DE")).await);
        let order = an_order();
        let with = |token| checkout(order, now, json!({ "method": "card", "token": token }));
        assert_eq!(world.checkout(&ann, with("pm_card_visa")).await.status, 200);
        let before = world.written().await;
        refused(
            &world.checkout(&ann, with("pm_card_declined")).await,
            422,
            "idempotency_key_reused",
        );
        assert_eq!(world.written().await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_cannot_be_is_refused() {
    run(World::new, async |world| {
        let (ann, bob) = (customer(), customer());
        let order = world.paying(&ann, "pm_card_visa").await;
        world.until(order, "payment.authorized").await;
        let declined = world.paying(&bob, "pm_card_declined").await;
        world.until(declined, "payment.declined").await;
        let before = world.written().await;
        let card = || json!({ "method": "card", "token": "pm_card_visa" });

        refused(
            &world.pay_again(&ann, order, "a", card()).await,
            409,
            "payment_not_open",
        );
        refused(&world.pay_again(&ann, declined, "b", card()).await, 404, "not_found");
        refused(&world.pay_again(&ann, an_order(), "c", card()).await, 404, "not_found");
        refused(
            &world.pay_again(&bob, declined, "d", json!({ "method": "cash" })).await,
            422,
            "invalid",
        );
        refused(
            &world.pay_again(&bob, declined, "e", json!({ "method": "card" })).await,
            422,
            "invalid",
        );
        let path = format!("/orders/{declined}/payments");
        let keyless = world.send(Method::POST, &path, &bob, card()).await;
        refused(&keyless, 400, "idempotency_key_required");
        assert_eq!(world.written().await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_payment_while_one_is_under_way_is_refused() {
    run(World::without_provider, async |world| {
        let ann = customer();
        let order = world.paying(&ann, "pm_card_visa").await;
        world.until(order, "payment.unknown").await;
        let tokens = world.written().await.2;
        let second = world
            .pay_again(
                &ann,
                order,
                "second",
                json!({ "method": "card", "token": "pm_card_visa" }),
            )
            .await;
        refused(&second, 409, "payment_in_progress");
        assert_eq!(world.written().await.2, tokens);
        world.provider.open(None).await;
        world.until(order, "payment.authorized").await;
        assert_eq!(world.provider.ledger(order).await.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_no_customer_has_no_basket() {
    run(World::without_provider, async |world| {
        let club = world.product(&[("DE", euros(450))]).await;
        let before = world.written().await;
        for role in [Role::Kitchen, Role::Courier, Role::Operator] {
            refused(&world.set_line(&person(role), club, one("DE")).await, 403, "forbidden");
        }
        let path = format!("/basket/lines/{club}");
        let nobody = world
            .send_raw(Method::PUT, &path, None, &[], one("DE").to_string().into())
            .await;
        refused(&nobody, 401, "caller_unknown");
        assert_eq!(world.written().await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused() {
    run(World::without_provider, async |world| {
        let ann = customer();
        let club = world.product(&[("DE", euros(450))]).await;
        let before = world.written().await;
        let path = format!("/basket/lines/{club}");
        let raw =
            async |path: &str, body: String| world.send_raw(Method::PUT, path, Some(&ann), &[], body.into()).await;
        refused(&raw(&path, "{".into()).await, 400, "malformed_json");
        refused(
            &raw(&path, format!("{{\"a\":\"{}\"}}", "x".repeat(70_000))).await,
            413,
            "body_too_large",
        );
        refused(
            &raw("/basket/lines/prd_1", one("DE").to_string()).await,
            404,
            "not_found",
        );
        refused(&raw("/nowhere", one("DE").to_string()).await, 404, "not_found");
        assert_eq!(world.written().await, before);
    })
    .await;
}

#[track_caller]
fn refused(answer: &Answer, status: u16, kind: &str) {
    assert_eq!((answer.status, answer.kind().as_str()), (status, kind), "{answer:?}");
}
