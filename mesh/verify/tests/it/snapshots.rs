//! Long streams of every kind that keeps snapshots: a cold load gives the same with one, without one, and with one
//! that another build wrote.

use std::convert::Infallible;
use std::fmt::Debug;

use basket_master::Baskets;
use courier_master::streams::Couriers;
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::Actor;
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{BasketId, CourierId, DeliveryId, FoodPointId, IngredientId, OrderId, ProductId, UserId};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::{Kind, Method, Need, Quote, QuoteLine};
use mesh_contracts::{basket, courier, point};
use mesh_eventstore::{Aggregate, Request, Store, StoreConfig, Streams, migrate};
use mesh_local::servers::Database;
use mesh_runtime::Clock;
use mesh_testkit::{Stage, eventually};
use point_master::FoodPoints;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

/// Rounds of three events: enough for a snapshot, and for some that come after it.
const ROUNDS: u128 = 210;

/// So many come after it.
const SINCE: usize = 5;

/// Appends them, the last few after a snapshot, and loads what they leave in every way there is.
async fn check<A: Aggregate>(id: impl ToString, events: Vec<A::Event>)
where
    A::State: PartialEq + Debug,
{
    let (stage, id) = (Stage::new(), id.to_string());
    let database = stage.database().await;
    migrate::engine(&database.owner_url).await.expect("the engine migrates");
    let warm: Streams<A> = Streams::new(connect(&database).await);
    let (before, since) = events.split_at(events.len() - SINCE);
    append(&warm, &id, before).await;
    eventually("a snapshot", || async {
        let newest = sqlx::query_scalar::<_, i64>("select coalesce(max(version), 0) from snapshots");
        let newest = newest.fetch_one(warm.store().pool()).await.expect("readable");
        (newest == before.len() as i64).then_some(())
    })
    .await;
    append(&warm, &id, since).await;

    let known = warm.load(&id).await.expect("readable").expect("it has begun");
    assert_eq!(known.1, events.len() as u64);
    assert_eq!(cold::<A>(&database, &id).await, known, "with a snapshot");
    as_owner(&database, "update snapshots set fold_version = fold_version + 1").await;
    assert_eq!(cold::<A>(&database, &id).await, known, "with one of another build");
    as_owner(&database, "delete from snapshots").await;
    assert_eq!(cold::<A>(&database, &id).await, known, "without one");
}

async fn append<A: Aggregate>(streams: &Streams<A>, id: &str, events: &[A::Event]) {
    let events = events.to_vec();
    let decide = move |_: Option<&A::State>, _: Timestamp| Ok::<_, Infallible>(events.clone());
    let request = Request::by(Actor::service("test"));
    streams.submit(id, request, decide).await.expect("the database is up");
}

async fn cold<A: Aggregate>(database: &Database, id: &str) -> (A::State, u64) {
    let streams: Streams<A> = Streams::new(connect(database).await);
    streams.load(id).await.expect("readable").expect("it has begun")
}

async fn connect(database: &Database) -> Store {
    let config = StoreConfig::new(&database.url, "test");
    let store = Store::connect(config, Clock::real()).await;
    store.expect("the database answers")
}

async fn as_owner(database: &Database, statement: &str) {
    let mut owner = PgConnection::connect(&database.owner_url).await.expect("the owner");
    let statement = sqlx::query(AssertSqlSafe(statement));
    statement.execute(&mut owner).await.expect("the owner may");
}

fn noon() -> Timestamp {
    Timestamp::constant(1_700_000_000, 0)
}

fn country() -> Country {
    Country::parse("DE").expect("a country")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_basket_is_the_same_with_and_without_a_snapshot() {
    let customer = UserId(Uuid::from_u128(1));
    let unit_price = Money::new(450, Currency::EUR);
    let set = |product| basket::Event::LineSet {
        country: country(),
        product,
        quantity: 2,
        unit_price,
        options: Vec::new(),
        tax_bp: 700,
    };
    let round = |nth| {
        let (first, second) = (ProductId(Uuid::from_u128(nth)), ProductId(Uuid::from_u128(nth + 1)));
        let checked_out = basket::Event::CheckedOut {
            order: OrderId(Uuid::from_u128(nth)),
            quote: Quote {
                basket: customer.basket(),
                basket_version: 1,
                country: country(),
                lines: vec![QuoteLine::plain(first, 2, unit_price)],
                total: Money::new(900, Currency::EUR),
                method: Method::Card,
                valid_until: noon(),
            },
            reopen_at: noon(),
        };
        let repriced = basket::Event::Repriced {
            product: second,
            was: unit_price,
            unit_price: Money::new(490, Currency::EUR),
            options: Vec::new(),
            tax_bp: 700,
        };
        match nth % 3 {
            0 => [set(first), checked_out, set(second)],
            1 => [set(first), set(second), repriced],
            _ => [set(second), repriced, basket::Event::LineRemoved { product: first }],
        }
    };
    let id: BasketId = customer.basket();
    check::<Baskets>(id, (0..ROUNDS).flat_map(round).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_food_point_is_the_same_with_and_without_a_snapshot() {
    let bread = IngredientId(Uuid::from_u128(1));
    let settings = point::Settings {
        name: "Alexanderplatz".into(),
        place: Place {
            country: country(),
            at: Coordinates::new(52_521_918, 13_413_215).expect("on earth"),
        },
        kinds: vec![Kind::Delivery],
        radius_m: 5_000,
        pool: 200,
        auto_accept: false,
        hours: Vec::new(),
        utc_offset_minutes: 60,
    };
    let opened = [
        point::Event::Registered { settings },
        point::Event::Received {
            ingredient: bread,
            quantity: 100_000,
        },
    ];
    let round = |nth: u128| {
        let (order, attempt) = (OrderId(Uuid::from_u128(nth)), 1);
        let held = point::Event::HoldHeld {
            order,
            attempt,
            needs: vec![Need {
                ingredient: bread,
                quantity: 3,
            }],
            expires_at: noon() + SignedDuration::from_mins(30),
        };
        let confirmed = point::Event::HoldConfirmed { order, attempt };
        let then = match nth % 4 {
            0 => point::Event::HoldConsumed { order, attempt },
            1 => point::Event::HoldWasted { order, attempt },
            2 => point::Event::StockSettingsChanged {
                ingredient: bread,
                low_at: Some(50),
            },
            _ => point::Event::Closed {
                by: point::ClosedBy::Staff,
            },
        };
        [held, confirmed, then]
    };
    let events = opened.into_iter().chain((0..ROUNDS).flat_map(round)).collect();
    check::<FoodPoints>(FoodPointId(Uuid::from_u128(7)), events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_courier_is_the_same_with_and_without_a_snapshot() {
    let registered = courier::Event::Registered { country: country() };
    let round = |nth: u128| {
        let delivery = DeliveryId(Uuid::from_u128(nth));
        let taken = courier::Event::JobTaken { delivery };
        match nth % 3 {
            0 => [
                courier::Event::ShiftStarted { speed_m_per_min: 320 },
                taken,
                courier::Event::JobEnded { delivery },
            ],
            1 => [
                taken,
                courier::Event::OfferMissed { delivery },
                courier::Event::OfferMissed { delivery },
            ],
            _ => [
                courier::Event::OfferDeclined { delivery },
                taken,
                courier::Event::ShiftEnded {
                    reason: courier::ShiftEnd::Courier,
                },
            ],
        }
    };
    let events = std::iter::once(registered).chain((0..ROUNDS).flat_map(round)).collect();
    check::<Couriers>(CourierId(Uuid::from_u128(5)), events).await;
}
