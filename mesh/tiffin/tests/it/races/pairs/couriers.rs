//! Two couriers who want the same job: when an offer passes from one to the other, and when one brings what another
//! was asked to go on with.

use futures::future::join_all;
use http::StatusCode;
use mesh_contracts::api::HandOver;
use mesh_contracts::id::{DeliveryId, OrderId};
use mesh_contracts::order::Status;
use mesh_testkit::eventually_in;
use tiffin::client::{Call, Failure, Job};
use uuid::Uuid;

use super::{EACH, Ends, Scene, add, report};
use crate::platform::{Customer, DEADLINE, Staff};
use crate::races::plan::Draw;
use crate::races::{TURN, refusal, settled, shows};

/// Sites at a time: each has two couriers of its own.
const SITES: usize = 4;

/// Two requests that start within this overtake each other on their way through the door.
const APART_MS: u64 = 10;

const SPEED_M_PER_MIN: u32 = 320;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_couriers_who_claim_one_job_exactly_one_gets_it_and_later_exactly_one_brings_it() {
    let _turn = TURN.lock().await;
    let mut scenes = Vec::new();
    for nth in 0..SITES {
        scenes.push(Scene::new(&format!("two-couriers-{nth}"), 1).await);
    }
    let (mut claims, mut hand_overs) = (Ends::new(), Ends::new());
    for (claimed, brought) in join_all(scenes.iter().map(several)).await {
        add(&mut claims, claimed);
        add(&mut hand_overs, brought);
    }
    report("two couriers claiming one job", &claims, SITES * EACH);
    report("hand-over against hand-over to the customer", &hand_overs, SITES * EACH);
    for scene in scenes {
        scene.witness.close().await;
    }
}

async fn several(scene: &Scene) -> (Ends, Ends) {
    let customer = scene.site.customer().await;
    let couriers = [scene.site.courier().await, scene.site.courier().await];
    for courier in &couriers {
        works(scene, courier, false).await;
    }
    let (mut claims, mut hand_overs) = (Ends::new(), Ends::new());
    let mut draw = Draw::of(rand::random());
    for _ in 0..EACH {
        let order = ready(scene, &customer).await;
        let (winner, how) = claim(scene, &couriers, order, &mut draw).await;
        *claims.entry(how).or_default() += 1;
        let (winner, other) = (&couriers[winner], &couriers[1 - winner]);
        let how = bring(scene, winner, other, order, &mut draw).await;
        *hand_overs.entry(how).or_default() += 1;
        shows(&customer.person, order, "as completed", |shown| {
            shown["status"] == "completed"
        })
        .await;
        let record = settled(&scene.witness, order).await;
        assert_eq!((record.status(), record.captures()), (Some(Status::Completed), 1));
        for courier in &couriers {
            works(scene, courier, false).await;
        }
    }
    (claims, hand_overs)
}

/// An order that only has to be fetched.
async fn ready(scene: &Scene, customer: &Customer) -> OrderId {
    let (order, _) = scene.offered(customer).await;
    scene
        .accepts(order, std::time::Duration::ZERO)
        .await
        .expect("it is offered");
    shows(&customer.person, order, "as assigned", |shown| {
        shown["status"] == "assigned"
    })
    .await;
    let cook = &scene.site.points[0].cook.person;
    cook.mark_ready(order, "ready").await.expect("it is assigned");
    order
}

/// The one who is asked goes home while saying yes, so that the other is asked, who taps all the time. Who got it.
async fn claim(scene: &Scene, couriers: &[Staff; 2], order: OrderId, draw: &mut Draw) -> (usize, &'static str) {
    let [first, second] = couriers;
    let delivery = order.delivery();
    works(scene, first, true).await;
    is_offered(first, delivery).await;
    works(scene, second, true).await;
    let (goes_home, says_yes) = (draw.within_ms(APART_MS), draw.within_ms(APART_MS));
    let ((), by_first, by_second) = tokio::join!(
        async {
            tokio::time::sleep(goes_home).await;
            works(scene, first, false).await;
        },
        async {
            tokio::time::sleep(says_yes).await;
            first.person.accept_job(delivery, "take").await
        },
        taps(scene, second, delivery),
    );
    let stream = delivery.to_string();
    let events = scene
        .witness
        .events_of("courier-master", std::slice::from_ref(&stream))
        .await;
    let assigned = events[&stream]
        .iter()
        .filter(|event| event.event_type == "delivery.assigned");
    assert_eq!(assigned.count(), 1, "{:?}", events[&stream]);
    match (by_first, by_second) {
        (Ok(_), Err(never_asked)) => {
            // What one was never asked for does not exist.
            assert_eq!(refusal(&never_asked).0, StatusCode::NOT_FOUND, "{never_asked}");
            (0, "the first one got it")
        }
        (Err(failure), Ok(())) => {
            let (status, kind, problem) = refusal(&failure);
            assert_eq!(status, StatusCode::CONFLICT, "{failure}");
            assert!(
                kind == "off_shift" || problem["delivery_status"].is_string(),
                "{problem}"
            );
            (1, "the second one got it")
        }
        both => panic!("{both:?}"),
    }
}

/// Says yes until somebody has the job.
async fn taps(scene: &Scene, courier: &Staff, delivery: DeliveryId) -> Result<(), Failure> {
    let stream = vec![delivery.to_string()];
    eventually_in("somebody has the job", DEADLINE, || async {
        let said = courier.person.accept_job(delivery, &Uuid::now_v7().to_string()).await;
        let events = scene.witness.events_of("courier-master", &stream).await;
        let is_taken = events
            .values()
            .flatten()
            .any(|event| event.event_type == "delivery.assigned");
        (said.is_ok() || is_taken).then(|| said.map(drop))
    })
    .await
}

/// The one who has the food hands it over at the door while the other, whom an operator asked to go on with it,
/// says yes.
async fn bring(scene: &Scene, winner: &Staff, other: &Staff, order: OrderId, draw: &mut Draw) -> &'static str {
    let delivery = order.delivery();
    winner.person.pick_up(delivery, "pick-up").await.expect("it is ready");
    works(scene, other, true).await;
    let body = HandOver {
        courier: other.id.courier(),
    };
    let asked = Call::post(format!("/v1/deliveries/{delivery}/hand-over"), &body);
    scene.site.operator.send(asked).await.expect("it is on the road");
    let (delivers, takes_over) = (draw.within_ms(APART_MS), draw.within_ms(APART_MS));
    let (delivered, taken_over) = tokio::join!(
        async {
            tokio::time::sleep(delivers).await;
            winner.person.deliver(delivery, "photo-1".to_owned(), "deliver").await
        },
        async {
            tokio::time::sleep(takes_over).await;
            other.person.accept_job(delivery, "take-over").await
        },
    );
    match (delivered, taken_over) {
        (Ok(_), Err(failure)) => {
            is_told(&failure, "delivered");
            "delivered, too late to take over"
        }
        (Err(failure), Ok(_)) => {
            is_told(&failure, "picked_up");
            let brought = other.person.deliver(delivery, "photo-2".to_owned(), "deliver").await;
            brought.expect("the other one has it now");
            "taken over, not the first one's to deliver any more"
        }
        both => panic!("{both:?}"),
    }
}

/// The loser is told where the delivery stands.
#[track_caller]
fn is_told(failure: &Failure, status: &str) {
    let (answered, _, problem) = refusal(failure);
    assert_eq!(answered, StatusCode::CONFLICT, "{failure}");
    assert_eq!(problem["delivery_status"], status, "{problem}");
}

async fn is_offered(courier: &Staff, delivery: DeliveryId) {
    eventually_in("the courier is offered the job", DEADLINE, || async {
        let jobs = courier.person.jobs(None).await.ok()?;
        let is_it = |job: &Job| job.delivery == delivery && !job.is_taken;
        jobs.iter().any(is_it).then_some(())
    })
    .await;
}

async fn works(scene: &Scene, courier: &Staff, on: bool) {
    let at = scene.site.place_of_first_point();
    let set = courier.person.set_shift(on, at, SPEED_M_PER_MIN).await;
    set.expect("couriers come and go as they like");
}
