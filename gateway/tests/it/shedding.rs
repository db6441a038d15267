//! What is turned away first when there is too much to do, and how much of it is tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use http::StatusCode;
use mesh_contracts::user::Role;
use serde_json::json;

use crate::site::{Answered, CALLS_MAX, Door, Site, ask, eventually, get};

const ORDER: &str = "/v1/orders/ord_0000000000000000000000001z";

/// Whoever is asked keeps the caller waiting.
fn slow(body: &'static [u8], pause: Duration) -> Response {
    let late = stream::once(async move {
        tokio::time::sleep(pause).await;
        Ok::<_, std::io::Error>(Bytes::from_static(body))
    });
    Response::builder()
        .header("content-type", "application/json")
        .body(Body::from_stream(late))
        .unwrap()
}

#[tokio::test]
async fn browsing_is_turned_away_while_a_kitchens_command_still_gets_through() {
    let site = Site::start().await;
    site.answer("order-info", |_| {
        let never = stream::pending::<Result<Bytes, std::io::Error>>();
        Response::builder().body(Body::from_stream(never)).unwrap()
    });
    let (door, token) = (site.public(), site.token(Role::Customer));
    let waiting = futures::future::join_all((0..CALLS_MAX / 2).map(|_| door.send(get(ORDER, &token))));
    let turned_away = async {
        eventually("the seats are taken", || async { site.calls().len() == CALLS_MAX / 2 }).await;
        (
            door.send(get(ORDER, &token)).await,
            door.send(ask(
                "POST",
                &format!("{ORDER}/start"),
                &site.token(Role::Kitchen),
                &json!({}),
            ))
            .await,
        )
    };
    let (_, (shed, command)) = tokio::join!(waiting, turned_away);
    assert_eq!(shed.problem(), (503, "overloaded".to_owned()));
    assert_eq!(shed.header("retry-after"), Some("1"));
    assert_eq!(command.status, StatusCode::OK);
}

/// Sends the same again and again, so many at a time, until told to stop; how they were answered.
async fn flood(
    door: &Door,
    at_once: usize,
    ended: &AtomicBool,
    request: impl Fn() -> http::Request<Bytes>,
) -> Vec<Answered> {
    let requests = stream::iter(std::iter::repeat_with(request).take_while(|_| !ended.load(Ordering::Relaxed)));
    requests
        .map(|request| door.send(request))
        .buffer_unordered(at_once)
        .collect()
        .await
}

fn served(answers: &[Answered]) -> usize {
    answers.iter().filter(|answer| answer.status == StatusCode::OK).count()
}

#[track_caller]
fn the_others_were_turned_away(answers: &[Answered]) {
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::OK) {
        assert_eq!(answer.problem(), (503, "overloaded".to_owned()));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}

#[tokio::test]
async fn a_flood_of_customers_at_one_service_leaves_every_kitchen_served() {
    const TAPS: usize = 1000;
    let unlimited = ["TIFFIN_LIMIT_ADDRESS", "TIFFIN_LIMIT_COMMANDS", "TIFFIN_LIMIT_READS"];
    let site = Site::told(&unlimited.map(|limit| (limit, "off"))).await;
    for service in ["order-master", "order-info"] {
        site.answer(service, |_| slow(b"{}", Duration::from_millis(5)));
    }
    let (door, customer, kitchen) = (site.public(), site.token(Role::Customer), site.token(Role::Kitchen));
    let ended = AtomicBool::new(false);
    let cancel = || {
        ask(
            "POST",
            &format!("{ORDER}/cancel"),
            &customer,
            &json!({ "reason": "other" }),
        )
    };
    let work = async {
        let taps = stream::iter(0..TAPS)
            .map(|_| door.send(ask("POST", &format!("{ORDER}/ready"), &kitchen, &json!({}))))
            .buffer_unordered(CALLS_MAX / 4)
            .collect::<Vec<_>>()
            .await;
        ended.store(true, Ordering::Relaxed);
        taps
    };
    let (browsing, buying, work) = tokio::join!(
        flood(&door, 2 * CALLS_MAX, &ended, || get(ORDER, &customer)),
        flood(&door, 2 * CALLS_MAX, &ended, cancel),
        work
    );
    assert!(served(&work) * 1000 >= TAPS * 999, "{} of {TAPS}", served(&work));
    for flood in [&browsing, &buying] {
        assert!(served(flood) > 0, "what fits is served");
        assert!(served(flood) < flood.len(), "it was no flood");
        the_others_were_turned_away(flood);
    }
}

#[tokio::test]
async fn a_gateway_that_is_full_sheds_browsing_then_purchases_and_work_last() {
    let site = Site::told(&[("TIFFIN_REQUESTS_MAX", "8"), ("TIFFIN_CALLS_MAX", "1000")]).await;
    let (held, _) = tokio::sync::broadcast::channel::<()>(1);
    for service in ["menu-info", "basket-master", "order-master", "order-info"] {
        let held = held.clone();
        site.answer(service, move |_| {
            let mut until = held.subscribe();
            let body = stream::once(async move {
                let _ = until.recv().await;
                Ok::<_, std::io::Error>(Bytes::from_static(b"{}"))
            });
            Response::builder()
                .header("content-type", "application/json")
                .body(Body::from_stream(body))
                .unwrap()
        });
    }
    let door = Arc::new(site.public());
    let (customer, kitchen) = (site.token(Role::Customer), site.token(Role::Kitchen));
    let line = json!({ "quantity": 1, "country": "DE" });
    let menu = get("/v1/menu?country=DE", &customer);
    let put = ask(
        "PUT",
        "/v1/basket/lines/prd_0000000000000000000000001z",
        &customer,
        &line,
    );
    let tickets = get("/v1/food-points/pnt_0000000000000000000000001z/tickets", &kitchen);
    let ready = ask("POST", &format!("{ORDER}/ready"), &kitchen, &json!({}));

    // What is sent in turn, how many of it still find room, and what then does not any more.
    let mut waiting = Vec::new();
    for (request, fit, shed) in [
        (&menu, 4, vec![&menu]),
        (&put, 1, vec![&menu]),
        (&tickets, 1, vec![&menu, &put, &tickets]),
        (&ready, 2, vec![&menu, &put, &tickets, &ready]),
    ] {
        for _ in 0..fit {
            let (door, request) = (door.clone(), request.clone());
            waiting.push(tokio::spawn(async move { door.send(request).await }));
            eventually("it is under way", || async { site.calls().len() == waiting.len() }).await;
        }
        for request in shed {
            let refused = door.send(request.clone()).await;
            assert_eq!(refused.problem(), (503, "overloaded".to_owned()), "{}", request.uri());
        }
    }
    assert_eq!(site.calls().len(), 8, "nobody was asked for those who were turned away");
    held.send(()).unwrap();
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status, StatusCode::OK);
    }
    site.answer("menu-info", |_| crate::site::fine());
    assert_eq!(door.send(menu).await.status, StatusCode::OK, "there is room again");
}

#[tokio::test]
async fn reports_of_payments_are_not_shed_with_purchases() {
    let site = Site::start().await;
    site.answer("basket-master", |_| {
        Response::new(Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()))
    });
    let (door, customer) = (site.public(), site.token(Role::Customer));
    let card = json!({ "method": "card", "token": "pm_card_visa" });
    let pay = || door.send(ask("POST", &format!("{ORDER}/payments"), &customer, &card));
    let waiting = futures::future::join_all((0..CALLS_MAX * 3 / 4).map(|_| pay()));
    let report = http::Request::post("/v1/webhooks/payments")
        .body(Bytes::from_static(b"{}"))
        .unwrap();
    let meanwhile = async {
        eventually("the seats are taken", || async {
            site.calls().len() == CALLS_MAX * 3 / 4
        })
        .await;
        let shed = pay().await;
        site.answer("basket-master", |_| crate::site::fine());
        (shed, door.send(report).await)
    };
    let (_, (shed, reported)) = tokio::join!(waiting, meanwhile);
    assert_eq!(shed.problem(), (503, "overloaded".to_owned()));
    assert_eq!(reported.status, StatusCode::OK);
}

#[tokio::test]
async fn a_service_in_trouble_gets_little_more_work_because_of_it() {
    const CALLS: usize = 300;
    let site = Site::told(&[("TIFFIN_LIMIT_READS", "off")]).await;
    // Each answer begins and then breaks.
    site.answer("order-info", |_| {
        let broken = stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("broken"))]);
        Response::builder()
            .header("content-type", "application/json")
            .body(Body::from_stream(broken))
            .unwrap()
    });
    let (door, token) = (site.public(), site.token(Role::Customer));
    let answers = stream::iter(0..CALLS)
        .map(|_| door.send(get(ORDER, &token)))
        .buffer_unordered(CALLS_MAX / 2)
        .collect::<Vec<_>>()
        .await;
    for answer in &answers {
        assert_eq!(answer.problem(), (503, "upstream_unavailable".to_owned()));
    }
    let sent = site.calls().len();
    // A tenth of the calls, and ten a second over the ten seconds that are counted.
    let again_max = 100 + sent / 10 + 1;
    assert!(sent > CALLS + 50, "some are tried again: {sent}");
    assert!(sent <= CALLS + again_max, "{sent}");
}
