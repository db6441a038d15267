//! Baskets, checkout, and the money of every order: promised, taken, given back.
//!
//! Knows an order only by what it says is due, and a card only by its token, which is in no event.

pub mod domain;
pub mod error;

pub mod http;
pub mod reactions;
pub mod reprice;

pub mod jobs;
pub mod provider;
pub mod settle;
pub mod webhook;

pub mod ledger;
pub mod store;

pub mod config;

use std::sync::Arc;

use jiff::Timestamp;
use mesh_bus::Bus;
use mesh_bus::feed::Feeds;
use mesh_contracts::api::Receipt;
use mesh_contracts::id::{BasketId, PaymentId};
use mesh_contracts::subject::Context;
use mesh_contracts::view::basket::Basket;
use mesh_contracts::view::payment::Payment;
use mesh_contracts::{basket, payment, view};
use mesh_eventstore::inbox::Drained;
use mesh_eventstore::{Aggregate, Effect, Recorded, SnapshotForm, Store, Streams, relay};
use mesh_runtime::consistency::Signer;
use mesh_runtime::settings::Secret;
use mesh_runtime::{Clock, Shutdown};
use serde_json::{Value, json};

use domain::Policy;
use ledger::Books;
use provider::Provider;
use settle::Settler;
use store::Tables;

/// The name of the service, everywhere.
pub const NAME: &str = "basket-master";

/// Customers' baskets.
#[derive(Debug)]
pub struct Baskets;

impl Aggregate for Baskets {
    type Event = basket::Event;
    type State = Basket;
    const CATEGORY: &'static str = BasketId::PREFIX;
    /// A customer has one for good.
    const SNAPSHOT: Option<SnapshotForm<Basket>> = Some(SnapshotForm::json(view::basket::FOLD_VERSION));

    fn evolve(basket: Option<Basket>, event: &basket::Event, recorded: Recorded) -> Option<Basket> {
        // Events that only a newer build knows have moved the stream's version and not the state's.
        let basket = basket.map(|basket| Basket {
            version: recorded.version - 1,
            ..basket
        });
        view::basket::fold(basket, event, recorded.at)
    }

    fn react(basket: &Basket, event: &basket::Event, at: Timestamp) -> Vec<Effect> {
        domain::basket::react(basket, event, at)
    }

    /// Every change of a basket matters to whoever checks it out.
    fn status_version(basket: &Basket) -> u64 {
        basket.version
    }

    /// A receipt; after a checkout with the quote.
    fn answer(id: &str, basket: &Basket, _version: u64) -> Value {
        match &basket.checkout {
            Some(checkout) => json!({ "id": id, "status": "checked_out", "quote": checkout.quote }),
            None if basket.lines.is_empty() => receipt(id, "empty"),
            None => receipt(id, "open"),
        }
    }
}

/// Orders' payments.
#[derive(Debug)]
pub struct Payments;

impl Aggregate for Payments {
    type Event = payment::Event;
    type State = Payment;
    const CATEGORY: &'static str = PaymentId::PREFIX;

    fn evolve(payment: Option<Payment>, event: &payment::Event, recorded: Recorded) -> Option<Payment> {
        // As with baskets.
        let payment = payment.map(|payment| Payment {
            version: recorded.version - 1,
            ..payment
        });
        view::payment::fold(payment, event, recorded.at)
    }

    fn react(payment: &Payment, event: &payment::Event, at: Timestamp) -> Vec<Effect> {
        domain::payment::react(payment, event, at)
    }

    fn status_version(payment: &Payment) -> u64 {
        payment.status_version
    }

    fn answer(id: &str, payment: &Payment, _version: u64) -> Value {
        receipt(id, payment.status.as_str())
    }
}

fn receipt(id: &str, status: &str) -> Value {
    let receipt = Receipt {
        id: id.to_owned(),
        status: status.to_owned(),
        number: None,
    };
    serde_json::to_value(receipt).expect("a receipt is plain data")
}

/// What handlers, reactions and timers share.
pub struct App {
    pub baskets: Streams<Baskets>,
    pub payments: Streams<Payments>,
    pub tables: Tables,
    pub policy: Policy,
    pub settler: Settler,
    pub books: Books,
    pub signer: Signer,
    pub webhook_secret: Secret,
}

impl App {
    pub fn new(store: Store, provider: Provider, signer: Signer, webhook_secret: Secret) -> Self {
        let policy = Policy::floored(store.clock().rate());
        let payments = Streams::new(store.clone());
        let tables = Tables::new(store.pool().clone());
        let books = Books::new(tables.clone());
        Self {
            baskets: Streams::new(store),
            settler: Settler::new(
                payments.clone(),
                tables.clone(),
                provider,
                policy.clone(),
                books.clone(),
            ),
            books,
            payments,
            tables,
            policy,
            signer,
            webhook_secret,
        }
    }

    /// The one database behind both kinds of streams.
    pub fn store(&self) -> &Store {
        self.payments.store()
    }

    pub fn clock(&self) -> &Clock {
        self.store().clock()
    }
}

/// Everything that runs beside the router, until shutdown: what we hear, what we say, what is due.
pub async fn run(app: Arc<App>, bus: Bus, feeds: Feeds, shutdown: Shutdown) {
    let drained = Drained::new();
    let (orders, menu) = (drained.part(), drained.part());
    tokio::join!(
        reactions::hear_orders(&app, &bus, &feeds, orders, shutdown.clone()),
        reactions::hear_menu(&app, &bus, &feeds, menu, shutdown.clone()),
        reactions::reopen_baskets(&app, &feeds, drained.clone(), shutdown.clone()),
        settle::run(&app, &bus, drained.clone(), shutdown.clone()),
        app.tables.drop_useless_tokens(shutdown.clone()),
        settle::sweep_tokens(&app.tables, shutdown.clone()),
        app.books.run(shutdown.clone()),
        relay::run(app.store().clone(), bus.clone(), Context::Basket, shutdown.clone()),
    );
}
