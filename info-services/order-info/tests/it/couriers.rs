//! A courier's offers and jobs.

use bytes::Bytes;
use http::Request;
use mesh_contracts::id::OrderId;
use mesh_testkit::certificates;
use serde_json::{Value, json};

use crate::events::{after, delivered, offer, opened, taken};
use crate::world::{self, courier, customer, kitchen, operator};

const JOBS: &str = "/couriers/me/jobs";

#[tokio::test]
async fn a_job_is_on_the_list_from_the_offer_until_it_is_done() {
    world::run(async |world| {
        let (order, rider, other) = (OrderId::new_v7(), courier(2), courier(3));
        let id = order.delivery();
        let me = rider.subject.courier();
        let version = world
            .couriers
            .tell_all(id, [opened(order, customer(1).subject, after(20))])
            .await;
        assert!(
            world
                .gateway
                .get_after(JOBS, &rider, id, version)
                .await
                .ids()
                .is_empty()
        );
        let version = world.couriers.tell_all(id, [offer(me)]).await;
        let jobs = world.gateway.get_after(JOBS, &rider, id, version).await;
        assert_eq!(jobs.ids(), [id.to_string()]);
        let job = jobs.json()["items"][0].clone();
        assert_eq!((&job["status"], &job["order"]), (&json!("offered"), &json!(order)));
        assert_eq!(job.get("passed"), None, "who else was asked");
        let version = world.couriers.tell_all(id, [taken(me)]).await;
        let jobs = world.gateway.get_after(JOBS, &rider, id, version).await;
        assert_eq!(jobs.json()["items"][0]["status"], "assigned");
        assert!(world.gateway.get(JOBS, &other).await.ids().is_empty());
        let version = world.couriers.tell_all(id, [delivered(me)]).await;
        assert!(
            world
                .gateway
                .get_after(JOBS, &rider, id, version)
                .await
                .ids()
                .is_empty()
        );
    })
    .await;
}

#[tokio::test]
async fn jobs_are_for_couriers() {
    world::run(async |world| {
        for path in [JOBS, "/couriers/me/live"] {
            for wrong in [customer(1), kitchen(crate::events::POINT), operator()] {
                assert_eq!(
                    world.gateway.get(path, &wrong).await.problem(),
                    (403, "forbidden".into())
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn user_info_learns_who_may_see_an_address_now() {
    world::run(async |world| {
        let (order, ann, me) = (OrderId::new_v7(), customer(1), courier(2).subject.courier());
        let id = order.delivery();
        let asks = async |service: &str| {
            let path = format!("/deliveries/{id}/active-courier");
            let request = Request::get(path).body(Bytes::new()).expect("a path");
            let client = certificates::mesh(service).client();
            let answer = client
                .request(world.gateway.upstream(), request)
                .await
                .expect("an answer");
            let body: Value = serde_json::from_slice(answer.body()).expect("JSON");
            (answer.status().as_u16(), body)
        };
        assert_eq!(asks("user-info").await.0, 404);
        let events = [opened(order, ann.subject, after(20)), offer(me)];
        let version = world.couriers.tell_all(id, events).await;
        world.gateway.get_after(JOBS, &courier(2), id, version).await;
        let (_, offered) = asks("user-info").await;
        assert_eq!(
            (&offered["courier"], &offered["customer"]),
            (&Value::Null, &json!(ann.subject))
        );
        let version = world.couriers.tell_all(id, [taken(me)]).await;
        world.gateway.get_after(JOBS, &courier(2), id, version).await;
        assert_eq!(asks("user-info").await.1["courier"], json!(me));
        assert_eq!(asks("gateway").await.0, 403);
        let version = world.couriers.tell_all(id, [delivered(me)]).await;
        world.gateway.get_after(JOBS, &courier(2), id, version).await;
        assert_eq!(asks("user-info").await.1["courier"], Value::Null);
    })
    .await;
}
