//! One order's money under client, kitchen, provider, webhooks a hundred times over, lost answers, the end of the
//! payment window and kill -9: taken once if and only if the order was assigned and not cancelled before.
//!
//! The sandbox's API has no action for the customer to complete (3-D Secure): what a client completes is a second card.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::future::join_all;
use http::Method;
use jiff::SignedDuration;
use mesh_contracts::api::ChangePoint;
use mesh_contracts::id::OrderId;
use mesh_contracts::order::{Reason, Status};
use mesh_contracts::point::Settings;
use mesh_testkit::eventually_in;
use serde_json::{Value, json};
use tiffin::client::{Call, Failure};
use uuid::Uuid;

use super::meddling::Meddler;
use super::plan::{Cancel, DECLINED, Draw, Plan, SecondCard, VISA, Word, last_moment_of};
use super::witness::{Record, Witness};
use super::{TURN, refusal, settled};
use crate::platform::{Customer, DEADLINE, Door, Sent, Site, card, hurried};

/// Customers who order one thing after the other, and how often each.
const AT_ONCE: usize = 12;
const EACH: usize = 10;
/// Customers who order once, and let their time run out.
const OVERDUE: usize = 12;

/// More than all orders together: what is assigned stays on the stove.
const POOL: u16 = 500;
/// The kitchen promises it for so late that it never begins.
const PROMISE: SignedDuration = SignedDuration::from_hours(3);

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr, reason = "the seed is needed to draw the same again")]
async fn money_is_taken_once_if_and_only_if_the_order_was_assigned_and_not_cancelled_before() {
    let _turn = TURN.lock().await;
    let seed = std::env::var("TIFFIN_RACE_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a seed"));
    eprintln!("interleavings of TIFFIN_RACE_SEED={seed}");
    let scene = Scene::new().await;
    let people = scene.people(&mut Draw::of(seed)).await;

    let started = Instant::now();
    let all = join_all(people.iter().map(|(customer, plans)| scene.all(customer, plans)));
    let orders: Vec<OrderId> = tokio::select! {
        orders = all => orders.into_iter().flatten().collect(),
        () = scene.meddler.kills_the_payer() => unreachable!("it never ends"),
    };
    // Once more, when all is over: nothing that came late has moved anything.
    let records = scene.witness.records(&orders).await;
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for record in records.values() {
        *ends.entry(checked(record)).or_default() += 1;
    }
    eprintln!(
        "{} orders in {:.1?}: {ends:?}, with {} repeated webhooks and {} crashes",
        orders.len(),
        started.elapsed(),
        scene.meddler.webhooks.load(Ordering::Relaxed),
        scene.meddler.crashes.load(Ordering::Relaxed),
    );
    assert_eq!(records.len(), AT_ONCE * EACH + OVERDUE);
    assert!(ends.len() > 2, "every order went the same way");
    scene.witness.close().await;
}

/// How it ended, if it ended as it must.
fn checked(record: &Record) -> &'static str {
    let order = record.order;
    assert!(
        record.is_settled(),
        "{order}: {:?} {:?}",
        record.breaches(),
        record.entries
    );
    let (captures, (captured, refunded)) = (record.captures(), record.taken());
    let was_assigned = record.count("order.assigned") > 0;
    assert_eq!(
        captures == 1,
        record.was_to_be_captured(),
        "{order}: {:?}",
        record.entries
    );
    match (was_assigned, record.status()) {
        (true, Some(Status::Assigned)) => {
            let price = record.price().expect("it was to be paid").amount;
            assert_eq!(
                (captures, captured, refunded),
                (1, price, 0),
                "{order}: {:?}",
                record.entries
            );
            "taken"
        }
        // Cancelled before the capture was begun, or after it.
        (true, Some(Status::Cancelled)) if captures == 0 => "assigned, and cancelled before it was taken",
        (true, Some(Status::Cancelled)) => {
            assert_eq!((captures, captured), (1, refunded), "{order}: {:?}", record.entries);
            "taken and given back"
        }
        (false, Some(status @ (Status::Cancelled | Status::Rejected | Status::Expired))) => {
            assert_eq!(captures, 0, "{order}: {:?}", record.entries);
            match status {
                Status::Expired if record.was_promised() => "expired, promised too late",
                _ => status.as_str(),
            }
        }
        (_, status) => panic!("{order} ended as {status:?}"),
    }
}

struct Scene {
    site: Site,
    witness: Witness,
    meddler: Meddler,
}

impl Scene {
    async fn new() -> Self {
        let platform = hurried();
        let site = Site::open_on(platform, "interleavings", 1).await;
        let door = Door::of(platform);
        let settings = Settings {
            pool: POOL,
            ..site.settings("interleavings 0", site.place_of_first_point())
        };
        let change = ChangePoint {
            open: None,
            settings: Some(settings),
        };
        let path = format!("/v1/food-points/{}", site.points[0].id);
        let by_operator = door.operators_token().await;
        let changed = door
            .send(Sent::json(Method::PATCH, path, &json!(change)).by(&by_operator))
            .await;
        assert!(changed.status.is_success(), "{changed:?}");
        site.is_known().await;
        Self {
            site,
            witness: Witness::of(platform).await,
            meddler: Meddler::on(platform),
        }
    }

    async fn people(&self, draw: &mut Draw) -> Vec<(Customer, Vec<Plan>)> {
        let mut people = Vec::new();
        for _ in 0..AT_ONCE {
            let plans = (0..EACH).map(|_| draw.plan()).collect();
            people.push((self.site.customer().await, plans));
        }
        for _ in 0..OVERDUE {
            people.push((self.site.customer().await, vec![draw.overdue_plan()]));
        }
        people
    }

    async fn all(&self, customer: &Customer, plans: &[Plan]) -> Vec<OrderId> {
        let mut orders = Vec::new();
        for plan in plans {
            orders.push(self.plays(customer, plan).await);
        }
        orders
    }

    /// From the order to its settled money.
    async fn plays(&self, customer: &Customer, plan: &Plan) -> OrderId {
        let order = self.site.order(customer, 1, card(plan.card)).await.id;
        let acts = async {
            tokio::join!(
                self.people_act(customer, order, plan),
                self.second_card(customer, order, plan)
            );
            settled(&self.witness, order).await;
        };
        match plan.repeated {
            None => acts.await,
            Some(operation) => tokio::select! {
                () = acts => {}
                () = self.meddler.repeats(&self.witness, order, operation) => unreachable!("it never ends"),
            },
        }
        order
    }

    async fn people_act(&self, customer: &Customer, order: OrderId, plan: &Plan) {
        match plan.cancel {
            Cancel::Never => self.kitchen_speaks(customer, order, plan.kitchen).await,
            Cancel::AfterPlacing(after) => {
                tokio::join!(
                    self.kitchen_speaks(customer, order, plan.kitchen),
                    cancels(customer, order, after)
                );
            }
            Cancel::WithTheKitchen(after) => {
                if self.is_asked(customer, order).await {
                    tokio::join!(self.says(order, plan.kitchen), cancels(customer, order, after));
                }
            }
            Cancel::AfterTheKitchen(after) => {
                self.kitchen_speaks(customer, order, plan.kitchen).await;
                cancels(customer, order, after).await;
            }
        }
    }

    async fn kitchen_speaks(&self, customer: &Customer, order: OrderId, word: Word) {
        if self.is_asked(customer, order).await {
            self.says(order, word).await;
        }
    }

    /// Whether the kitchen ever is, once that is known.
    async fn is_asked(&self, customer: &Customer, order: OrderId) -> bool {
        eventually_in("the kitchen is asked, or the order has ended", DEADLINE, || async {
            let shown = customer.person.order(order).await.ok()?;
            let status: Status = serde_json::from_value(shown["status"].clone()).ok()?;
            let is_asked = shown["ticket"] == "offered";
            (is_asked || status.is_terminal()).then_some(is_asked)
        })
        .await
    }

    async fn says(&self, order: OrderId, word: Word) {
        let cook = &self.site.points[0].cook.person;
        tokio::time::sleep(word.after()).await;
        let ready_by = self.site.platform.running().clock().now() + PROMISE;
        let said = match word {
            Word::Accepts(_) => cook.accept_ticket(order, Some(ready_by), "word").await,
            Word::Rejects(_) => cook.reject_ticket(order, Reason::Busy, "word").await,
        };
        may_be_too_late(said.map(drop), &["already_ended"]);
    }

    /// If the first one was declined.
    async fn second_card(&self, customer: &Customer, order: OrderId, plan: &Plan) {
        if plan.card != DECLINED || plan.second_card == SecondCard::Never || !is_declined(customer, order).await {
            return;
        }
        match plan.second_card {
            SecondCard::Never => {}
            SecondCard::After(after) => tokio::time::sleep(after).await,
            SecondCard::AtTheLastMoment(after) => {
                let window = self.rest_of_the_window(order).await;
                tokio::time::sleep(last_moment_of(window) + after).await;
            }
        }
        let paid = customer
            .person
            .pay(order, &card(VISA), &Uuid::now_v7().to_string())
            .await;
        may_be_too_late(paid.map(drop), &["payment_not_open"]);
    }

    /// In wall time from now.
    async fn rest_of_the_window(&self, order: OrderId) -> Duration {
        let events = self.witness.orders(&[order]).await;
        let created = &events[&order.to_string()][0];
        let created = created.data.value();
        let pay_by = created["pay_by"].as_str().expect("a window has an end");
        let clock = self.site.platform.running().clock().clone();
        clock.wall_until(pay_by.parse().expect("a timestamp"))
    }
}

async fn cancels(customer: &Customer, order: OrderId, after: Duration) {
    tokio::time::sleep(after).await;
    let cancelled = customer.person.cancel(order, Reason::CustomerCancelled, "cancel").await;
    may_be_too_late(cancelled.map(drop), &["already_ended"]);
}

/// Whether it ever is, once that is known.
async fn is_declined(customer: &Customer, order: OrderId) -> bool {
    eventually_in(
        "the card is declined or good, or the order has ended",
        DEADLINE,
        || async {
            let shown = customer.person.order(order).await.ok()?;
            if shown["status"] != "created" {
                return Some(false);
            }
            let call = Call::get(format!("/v1/orders/{order}/payment"));
            let payment: Value = customer.person.send(call).await.ok()?.json().ok()?;
            (payment["status"] == "declined").then_some(true)
        },
    )
    .await
}

#[track_caller]
fn may_be_too_late(said: Result<(), Failure>, kinds: &[&str]) {
    if let Err(failure) = said {
        let (status, kind, _) = refusal(&failure);
        assert!(
            status == http::StatusCode::CONFLICT && kinds.contains(&kind),
            "{failure}"
        );
    }
}
