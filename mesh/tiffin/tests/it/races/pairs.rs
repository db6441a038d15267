//! Two people, or one and the clock, at the same moment: one of them wins, and the other is told where things stand.

mod couriers;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::id::OrderId;
use mesh_contracts::order::{Reason, Status};
use mesh_testkit::eventually_in;
use serde_json::json;
use tiffin::client::{Failure, Reply};

use super::plan::Draw;
use super::witness::Witness;
use super::{TURN, is_told, settled, shows};
use crate::platform::{Customer, DEADLINE, Door, STOCK, Sent, Site, hurried, visa};

/// Pairs at a time, and how often each.
const AT_ONCE: usize = 6;
const EACH: usize = 5;

/// Two requests that start within this overtake each other on their way through the door.
const APART_MS: u64 = 6;

/// A kitchen says yes so close to the end of its time, mostly before it: a timer is punctual, and a request has its way
/// through the door.
const AROUND_THE_END_MS: u64 = 100;
const BEFORE_THE_END: Duration = Duration::from_millis(80);

/// So late that nothing is on the stove.
const PROMISE: SignedDuration = SignedDuration::from_hours(3);

/// Which way each race went, and how often.
type Ends = BTreeMap<&'static str, usize>;

#[tokio::test(flavor = "multi_thread")]
async fn cancel_against_accept_ends_cancelled_with_nothing_kept() {
    let _turn = TURN.lock().await;
    let scene = Scene::new("cancel-or-accept", 1).await;
    let ends = scene.play(AT_ONCE, async |customer, draw| {
        scene.cancel_or_accept(customer, draw).await
    });
    report("cancel against accept", &ends.await, AT_ONCE * EACH);
    scene.witness.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_against_ready_has_one_winner() {
    let _turn = TURN.lock().await;
    let scene = Scene::new("cancel-or-ready", 1).await;
    let ends = scene.play(AT_ONCE, async |customer, draw| {
        scene.cancel_or_ready(customer, draw).await
    });
    report("cancel against ready", &ends.await, AT_ONCE * EACH);
    scene.witness.close().await;
}

/// Each at a food point of its own, since two silences close one.
#[tokio::test(flavor = "multi_thread")]
async fn accept_against_the_end_of_its_time_has_one_winner() {
    let _turn = TURN.lock().await;
    let mut scenes = Vec::new();
    for nth in 0..AT_ONCE {
        scenes.push(Scene::new(&format!("accept-or-time-out-{nth}"), 1).await);
    }
    let all = scenes
        .iter()
        .map(|scene| scene.play(1, async |customer, draw| scene.accept_or_time_out(customer, draw).await));
    let mut ends = Ends::new();
    for one in join_all(all).await {
        add(&mut ends, one);
    }
    report("accept against time-out", &ends, AT_ONCE * EACH);
    for scene in scenes {
        scene.witness.close().await;
    }
}

#[allow(clippy::print_stderr, reason = "how the races went is part of what is claimed")]
fn report(what: &str, ends: &Ends, races: usize) {
    eprintln!("{races} x {what}: {ends:?}");
    assert_eq!(ends.values().sum::<usize>(), races);
}

fn add(ends: &mut Ends, more: Ends) {
    for (end, count) in more {
        *ends.entry(end).or_default() += count;
    }
}

struct Scene {
    site: Site,
    witness: Witness,
}

impl Scene {
    async fn new(name: &str, points: usize) -> Self {
        Self {
            site: Site::open_on(hurried(), name, points).await,
            witness: Witness::of(hurried()).await,
        }
    }

    /// So many customers at once, each of them several times.
    async fn play(&self, customers: usize, race: impl AsyncFn(&Customer, &mut Draw) -> &'static str) -> Ends {
        let mut people = Vec::new();
        for _ in 0..customers {
            people.push(self.site.customer().await);
        }
        let races = people.iter().map(async |customer| {
            let (mut ends, mut draw) = (Ends::new(), Draw::of(rand::random()));
            for _ in 0..EACH {
                *ends.entry(race(customer, &mut draw).await).or_default() += 1;
            }
            ends
        });
        let mut ends = Ends::new();
        for one in join_all(races).await {
            add(&mut ends, one);
        }
        ends
    }

    /// A paid order whose ticket is on the kitchen's screen; when the kitchen must have answered, if it is asked.
    async fn offered(&self, customer: &Customer) -> (OrderId, Timestamp) {
        let order = self.site.order(customer, 1, visa()).await.id;
        let is_offered = |shown: &serde_json::Value| shown["ticket"] == "offered";
        let shown = shows(&customer.person, order, "with an offered ticket", is_offered).await;
        let accept_by = shown["deadlines"]["accept_by"]
            .as_str()
            .expect("a kitchen has a deadline");
        (order, accept_by.parse().expect("a timestamp"))
    }

    async fn accepts(&self, order: OrderId, after: Duration) -> Result<Reply, Failure> {
        tokio::time::sleep(after).await;
        let ready_by = self.site.platform.running().clock().now() + PROMISE;
        self.site.points[0]
            .cook
            .person
            .accept_ticket(order, Some(ready_by), "accept")
            .await
    }

    /// Row 8 or row 9: accepted or not, a customer may still cancel.
    async fn cancel_or_accept(&self, customer: &Customer, draw: &mut Draw) -> &'static str {
        let (order, _) = self.offered(customer).await;
        let (first, second) = (draw.within_ms(APART_MS), draw.within_ms(APART_MS));
        let (cancelled, accepted) = tokio::join!(cancels(customer, order, first), self.accepts(order, second));
        cancelled.expect("nothing is on the stove");
        let record = settled(&self.witness, order).await;
        assert_eq!(record.status(), Some(Status::Cancelled));
        let (captured, refunded) = record.taken();
        assert_eq!(captured, refunded, "{:?}", record.entries);
        assert_eq!(record.count("ticket.accepted"), usize::from(accepted.is_ok()));
        match accepted {
            Ok(_) if record.count("order.assigned") > 0 => "accepted, assigned, cancelled",
            Ok(_) => "accepted, cancelled",
            Err(failure) => {
                is_told(&failure, "already_ended", Status::Cancelled);
                assert_eq!(record.captures(), 0, "{:?}", record.entries);
                "cancelled, too late to accept"
            }
        }
    }

    async fn cancel_or_ready(&self, customer: &Customer, draw: &mut Draw) -> &'static str {
        let (order, _) = self.offered(customer).await;
        self.accepts(order, Duration::ZERO).await.expect("it is offered");
        shows(&customer.person, order, "as assigned", |shown| {
            shown["status"] == "assigned"
        })
        .await;
        let (first, second) = (draw.within_ms(APART_MS), draw.within_ms(APART_MS));
        let cook = &self.site.points[0].cook.person;
        let called = async {
            tokio::time::sleep(second).await;
            cook.mark_ready(order, "ready").await
        };
        let end = match tokio::join!(cancels(customer, order, first), called) {
            (Ok(_), Err(failure)) => {
                is_told(&failure, "already_ended", Status::Cancelled);
                "cancelled, too late to be ready"
            }
            (Err(failure), Ok(_)) => {
                is_told(&failure, "too_late", Status::Ready);
                let record = settled(&self.witness, order).await;
                assert_eq!((record.status(), record.captures()), (Some(Status::Ready), 1));
                self.ends(order).await;
                "ready, too late to cancel"
            }
            both => panic!("{both:?}"),
        };
        let record = settled(&self.witness, order).await;
        let (captured, refunded) = record.taken();
        assert_eq!((record.status(), captured), (Some(Status::Cancelled), refunded));
        end
    }

    async fn accept_or_time_out(&self, customer: &Customer, draw: &mut Draw) -> &'static str {
        let (order, accept_by) = self.offered(customer).await;
        let until = self.site.platform.running().clock().wall_until(accept_by);
        let after = until.saturating_sub(BEFORE_THE_END) + draw.within_ms(AROUND_THE_END_MS);
        let end = match self.accepts(order, after).await {
            Ok(_) => {
                shows(&customer.person, order, "as assigned", |shown| {
                    shown["status"] == "assigned"
                })
                .await;
                let record = settled(&self.witness, order).await;
                assert_eq!((record.captures(), record.count("ticket.timed_out")), (1, 0));
                self.ends(order).await;
                "accepted in time"
            }
            Err(failure) => {
                is_told(&failure, "already_ended", Status::Rejected);
                let record = settled(&self.witness, order).await;
                assert_eq!((record.captures(), record.count("ticket.accepted")), (0, 0));
                assert_eq!(record.count("ticket.timed_out"), 1);
                "timed out, too late to accept"
            }
        };
        let record = settled(&self.witness, order).await;
        assert_eq!(record.taken().0, record.taken().1, "{:?}", record.entries);
        self.opens_again().await;
        end
    }

    /// By an operator, with everything back.
    async fn ends(&self, order: OrderId) {
        let ended = self
            .site
            .operator
            .override_order(order, Reason::Other, "override")
            .await;
        ended.expect("operators end anything");
    }

    /// A kitchen that was silent twice has been closed.
    async fn opens_again(&self) {
        let point = self.site.points[0].id;
        eventually_in("all stock is on the shelf again", DEADLINE, || async {
            let stock = self.site.stock(point).await;
            (stock["available"] == STOCK && stock["held"] == 0).then_some(())
        })
        .await;
        let door = Door::of(self.site.platform);
        let by_operator = door.operators_token().await;
        let open = Sent::json(
            Method::PATCH,
            format!("/v1/food-points/{point}"),
            &json!({"open": true}),
        );
        let opened = door.send(open.by(&by_operator)).await;
        assert!(opened.status.is_success(), "{opened:?}");
        self.site.is_known().await;
    }
}

async fn cancels(customer: &Customer, order: OrderId, after: Duration) -> Result<Reply, Failure> {
    tokio::time::sleep(after).await;
    customer.person.cancel(order, Reason::CustomerCancelled, "cancel").await
}
