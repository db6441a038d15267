//! A hundred customers want the last portion at once, again and again: one gets it, the others are told, and nobody
//! pays for nothing.

use std::fmt;
use std::ops::AddAssign;
use std::time::Instant;

use futures::StreamExt as _;
use futures::future::join_all;
use http::StatusCode;
use mesh_contracts::api::{PlaceOrder, Quantity, StockAmount, StockQuantity};
use mesh_contracts::id::OrderId;
use mesh_contracts::order::{Kind, Reason, Status};
use mesh_testkit::eventually_in;
use mesh_verify::{orders, stock};
use serde_json::json;
use tiffin::client::Call;

use super::witness::Witness;
use super::{refusal, settled, shows};
use crate::platform::{Customer, DEADLINE, PORTION, Site, among_others, shared, visa};

const BUYERS: usize = 100;
const REPEATS: usize = 50;

/// Nothing else is sold there, so that every step is about this one food point and its two ingredients.
const ABROAD: &str = "AT";

/// In how many rounds everybody also looks at the own screen: it costs as much as the race, and shows no more than the
/// order's events say in each of them.
const SCREENS_EVERY: usize = 10;

/// Registrations at a time: each hashes a password, and more would only wait for the cores until their callers give up.
const REGISTERING: usize = 8;

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr, reason = "how often it was tried is part of what is claimed")]
async fn of_a_hundred_who_want_the_last_portion_exactly_one_gets_it() {
    let mut race = Race::prepared().await;
    let (started, mut outcome) = (Instant::now(), Outcome::default());
    for nth in 0..REPEATS {
        // Between two rounds, whoever wants to be alone may.
        let _others = among_others().await;
        outcome += race.run(nth).await;
    }
    race.stock_was_never_made_or_lost().await;
    race.witness.close().await;
    eprintln!("{REPEATS} x {BUYERS} buyers in {:.1?}: {outcome}", started.elapsed());
    let told = outcome.refused + outcome.rejected;
    assert_eq!((outcome.won, told), (REPEATS, REPEATS * (BUYERS - 1)));
}

/// How many left with what.
#[derive(Debug, Default)]
struct Outcome {
    won: usize,
    /// At once: there was nothing any more.
    refused: usize,
    /// A moment later: somebody else got the hold.
    rejected: usize,
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.won += other.won;
        self.refused += other.refused;
        self.rejected += other.rejected;
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { won, refused, rejected } = self;
        write!(
            out,
            "{won} won, {refused} were refused at once, {rejected} rejected a moment later"
        )
    }
}

/// One portion, and everybody who wants it.
struct Race {
    site: Site,
    buyers: Vec<Buyer>,
    witness: Witness,
}

/// Somebody with a portion in the basket.
struct Buyer {
    customer: Customer,
    basket_version: u64,
}

impl Race {
    async fn prepared() -> Self {
        let _others = among_others().await;
        let site = Site::open_in(ABROAD, shared(), "last-portion", 1).await;
        let customers: Vec<Customer> = futures::stream::iter(0..BUYERS)
            .map(|_| site.customer())
            .buffer_unordered(REGISTERING)
            .collect()
            .await;
        only_one_portion_is_left(&site).await;
        let buyer = |customer| Buyer {
            customer,
            basket_version: 0,
        };
        let mut race = Self {
            buyers: customers.into_iter().map(buyer).collect(),
            witness: Witness::of(shared()).await,
            site,
        };
        let versions = race.everybody_wants_one().await;
        race.baskets_are(versions);
        race
    }

    /// Leaves everything as it was found: one portion, and everybody with a full basket.
    async fn run(&mut self, nth: usize) -> Outcome {
        let key = format!("last-portion/{nth}");
        let placed = join_all(self.buyers.iter().map(|buyer| buyer.orders(&key))).await;
        let created: Vec<(&Customer, OrderId)> = self
            .buyers
            .iter()
            .zip(&placed)
            .filter_map(|(buyer, order)| Some((&buyer.customer, (*order)?)))
            .collect();
        let winners = self.winners(&created).await;
        let [(winner, won)] = winners[..] else {
            panic!(
                "round {nth}: {} of {} got the last portion",
                winners.len(),
                created.len()
            );
        };
        let losers: Vec<(&Customer, OrderId)> = created.iter().copied().filter(|(_, order)| *order != won).collect();
        self.only_the_winner_pays(won, &losers).await;
        if nth.is_multiple_of(SCREENS_EVERY) {
            join_all(losers.iter().map(|(loser, order)| sees_it(loser, *order))).await;
        }
        let outcome = Outcome {
            won: 1,
            refused: BUYERS - created.len(),
            rejected: losers.len(),
        };
        let ((), versions) = tokio::join!(self.gives_it_back(winner, won), self.everybody_wants_one());
        self.baskets_are(versions);
        outcome
    }

    /// Waits until every order has either been paid or ended; those that were paid.
    async fn winners<'a>(&self, created: &[(&'a Customer, OrderId)]) -> Vec<(&'a Customer, OrderId)> {
        let ids: Vec<OrderId> = created.iter().map(|(_, order)| *order).collect();
        let paid = eventually_in("every order is decided", DEADLINE, || async {
            let events = self.witness.orders(&ids).await;
            let statuses = ids.iter().map(|order| orders::status(events.get(&order.to_string())?));
            let statuses: Vec<Status> = statuses.collect::<Option<_>>()?;
            let is_decided = |status: &Status| *status == Status::Paid || status.is_terminal();
            let paid = || {
                statuses
                    .iter()
                    .map(|status| *status == Status::Paid)
                    .collect::<Vec<_>>()
            };
            statuses.iter().all(is_decided).then(paid)
        })
        .await;
        created
            .iter()
            .zip(paid)
            .filter_map(|(one, is_paid)| is_paid.then_some(*one))
            .collect()
    }

    /// The others are told why they get nothing, and were never even asked for money.
    async fn only_the_winner_pays(&self, won: OrderId, losers: &[(&Customer, OrderId)]) {
        let mut ids: Vec<OrderId> = losers.iter().map(|(_, order)| *order).collect();
        ids.push(won);
        let mut records = self.witness.records(&ids).await;
        let winner = records.remove(&won).expect("it was asked for");
        let promised: i64 = winner.entries.iter().map(|entry| entry.open).sum();
        assert_eq!(promised, self.site.price(1).amount, "{:?}", winner.entries);
        for record in records.values() {
            let has_money = !record.payment.is_empty() || !record.entries.is_empty();
            assert!(
                !has_money,
                "{}: {:?} {:?}",
                record.order, record.payment, record.entries
            );
            assert!(record.is_settled(), "{}: {:?}", record.order, record.breaches());
            let last = record.events.last().expect("it was created");
            let end = (last.event_type.as_str(), &last.data.value()["reason"]);
            assert_eq!(end, ("order.rejected", &json!("no_candidate")), "{}", record.order);
        }
    }

    /// The winner thinks better of it: the money goes back to one, and the portion to everybody.
    async fn gives_it_back(&self, winner: &Customer, order: OrderId) {
        let cancelled = winner
            .person
            .cancel(order, Reason::CustomerCancelled, "better-not")
            .await;
        cancelled.expect("nobody has accepted it");
        let record = settled(&self.witness, order).await;
        assert_eq!((record.status(), record.captures()), (Some(Status::Cancelled), 0));
        eventually_in("the portion is on the shelf again", DEADLINE, || async {
            let stock = self.site.stock(self.site.points[0].id).await;
            (stock["available"] == PORTION && stock["held"] == 0).then_some(())
        })
        .await;
        self.site.is_known().await;
    }

    /// Also keeps the baskets of those who were refused from coming back later, while somebody else counts events.
    async fn everybody_wants_one(&self) -> Vec<u64> {
        let one = Quantity::new(1).expect("within its bounds");
        let filled = self.buyers.iter().map(async |buyer| {
            let person = &buyer.customer.person;
            let version = person.set_line(self.site.product, one, self.site.country).await;
            version.expect("the product is sold here")
        });
        join_all(filled).await
    }

    fn baskets_are(&mut self, versions: Vec<u64>) {
        for (buyer, version) in self.buyers.iter_mut().zip(versions) {
            buyer.basket_version = version;
        }
    }

    async fn stock_was_never_made_or_lost(&self) {
        let point = self.site.points[0].id.to_string();
        let events = self
            .witness
            .events_of("point-master", std::slice::from_ref(&point))
            .await;
        let breaches = stock::conserved(&point, &events[&point]);
        assert!(breaches.is_empty(), "{breaches:?}");
    }
}

impl Buyer {
    /// `None` if it was refused for the one reason there may be.
    async fn orders(&self, key: &str) -> Option<OrderId> {
        let wish = PlaceOrder {
            basket_version: self.basket_version,
            kind: Kind::Delivery,
            address_id: Some(self.customer.address),
            food_point_id: None,
            payment: visa(),
        };
        match self.customer.person.place(&wish, key).await {
            Ok((receipt, reply)) => {
                assert_eq!(
                    (reply.status, receipt.status.as_str()),
                    (StatusCode::CREATED, "created")
                );
                Some(receipt.id.parse().expect("an order's id"))
            }
            Err(failure) => {
                let (status, kind, _) = refusal(&failure);
                let expected = (StatusCode::UNPROCESSABLE_ENTITY, "nothing_available");
                assert_eq!((status, kind), expected, "{failure}");
                None
            }
        }
    }
}

/// The customer reads it, with the reason.
async fn sees_it(loser: &Customer, order: OrderId) {
    let shown = shows(&loser.person, order, "as rejected", |shown| {
        shown["status"] == "rejected"
    })
    .await;
    assert_eq!(shown["reason"], "no_candidate", "{shown}");
}

async fn only_one_portion_is_left(site: &Site) {
    let point = site.points[0].id;
    for ingredient in site.ingredients {
        let path = format!("/v1/food-points/{point}/stock/{ingredient}/count");
        let quantity = StockQuantity::new(PORTION).expect("within its bounds");
        let counted = site.operator.send(Call::post(path, &StockAmount { quantity })).await;
        counted.expect("operators count");
    }
    site.is_known().await;
}
