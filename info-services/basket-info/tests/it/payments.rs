//! A payment as its customer sees it.

use http::header;
use jiff::Timestamp;
use mesh_contracts::id::{OrderId, UserId};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::Method;
use mesh_contracts::payment::{Event, Operation};
use serde_json::json;

use crate::world::{self, courier, customer, operator};

const PRICE: Money = Money::new(900, Currency::EUR);

fn authorized(order: OrderId, customer: UserId) -> [Event; 3] {
    [
        Event::Opened {
            order,
            customer,
            method: Method::Card,
            amount: PRICE,
            pay_by: Timestamp::UNIX_EPOCH,
        },
        Event::Intended {
            attempt: 1,
            operation: Operation::Authorize,
            amount: PRICE,
            key: format!("{order}/1"),
            answer_by: Timestamp::UNIX_EPOCH,
        },
        Event::Authorized {
            attempt: 1,
            amount: PRICE,
            provider_id: "pi_1".into(),
        },
    ]
}

#[tokio::test]
async fn a_payment_shows_where_the_money_is_and_not_how_it_is_moved() {
    world::run(async |world| {
        let (ann, order) = (customer(1), OrderId::new_v7());
        let path = format!("/orders/{order}/payment");
        let [opened, intended, authorized] = authorized(order, ann.subject);
        let version = world.baskets.tell_all(order.payment(), [opened, intended]).await;
        let payment = world
            .gateway
            .get_after(&path, &ann, order.payment(), version)
            .await
            .json();
        assert_eq!(
            (&payment["status"], &payment["order"]),
            (&json!("authorizing"), &json!(order))
        );
        let version = world.baskets.tell_all(order.payment(), [authorized]).await;
        let answer = world.gateway.get_after(&path, &ann, order.payment(), version).await;
        let payment = answer.json();
        assert_eq!(payment["status"], "authorized");
        assert_eq!(payment["authorized"], json!({ "amount": 900, "currency": "EUR" }));
        for internal in ["call", "provider_id", "target", "attempt"] {
            assert_eq!(payment.get(internal), None, "{internal}");
        }
        assert_eq!(answer.headers[header::ETAG], "\"3.3\"");
        let known = [(header::IF_NONE_MATCH, "\"3.3\"".to_owned())];
        assert_eq!(world.gateway.get_with(&path, &ann, &known).await.status, 304);
    })
    .await;
}

#[tokio::test]
async fn somebody_elses_payment_does_not_exist() {
    world::run(async |world| {
        let (ann, order) = (customer(1), OrderId::new_v7());
        let path = format!("/orders/{order}/payment");
        let version = world
            .baskets
            .tell_all(order.payment(), authorized(order, ann.subject))
            .await;
        let answer = world
            .gateway
            .get_after(&path, &customer(2), order.payment(), version)
            .await;
        assert_eq!(answer.problem(), (404, "not_found".into()));
        let nobodys = format!("/orders/{}/payment", OrderId::new_v7());
        assert_eq!(
            world.gateway.get(&nobodys, &ann).await.problem(),
            (404, "not_found".into())
        );
        assert_eq!(world.gateway.get(&path, &operator()).await.status, 200);
        assert_eq!(
            world.gateway.get(&path, &courier(3)).await.problem(),
            (403, "forbidden".into())
        );
    })
    .await;
}
