//! Three witnesses of an order's money, read as `tiffin verify` reads them: order-master's events, basket-master's,
//! and the provider's own ledger.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::OrderId;
use mesh_contracts::money::Money;
use mesh_contracts::order::Status;
use mesh_contracts::payment::{self, Operation};
use mesh_verify::collect::Stores;
use mesh_verify::money::{self, Entry, Ledger};
use mesh_verify::orders;

use crate::platform::Shared;

/// Longer than money may move after an order's end: no excuse is left.
const LATER: SignedDuration = SignedDuration::from_mins(10);

/// A platform's stores, open to be read.
pub struct Witness {
    stores: Stores,
}

/// One order, as all three have it.
pub struct Record {
    pub order: OrderId,
    pub events: Vec<Envelope>,
    pub payment: Vec<Envelope>,
    pub entries: Vec<Entry>,
    asked_at: Timestamp,
}

impl Witness {
    /// # Panics
    /// If a store cannot be opened.
    pub async fn of(platform: &Shared) -> Self {
        let stores = Stores::of(&platform.running()).await.expect("the stores can be read");
        Self { stores }
    }

    /// # Panics
    /// If a store cannot be read.
    pub async fn record(&self, order: OrderId) -> Record {
        let mut records = self.records(&[order]).await;
        records.remove(&order).expect("it was asked for")
    }

    /// The provider is asked first: what is booked here and quiet since cannot be news to it.
    ///
    /// # Panics
    /// If a store cannot be read.
    pub async fn records(&self, orders: &[OrderId]) -> BTreeMap<OrderId, Record> {
        let Ledger { entries, asked_at } = self.stores.provider.ledger().await.expect("it has a ledger");
        let payments: Vec<String> = orders.iter().map(|order| order.payment().to_string()).collect();
        let mut payments = self.events_of("basket-master", &payments).await;
        let mut events = self.orders(orders).await;
        let mut record = |order: &OrderId| Record {
            order: *order,
            events: events.remove(&order.to_string()).unwrap_or_default(),
            payment: payments.remove(&order.payment().to_string()).unwrap_or_default(),
            entries: entries_of(&entries, *order),
            asked_at,
        };
        orders
            .iter()
            .map(|order| (*order, record(order)))
            .collect::<BTreeMap<_, _>>()
    }

    /// What happened to these orders, by their streams.
    ///
    /// # Panics
    /// If the store cannot be read.
    pub async fn orders(&self, orders: &[OrderId]) -> BTreeMap<String, Vec<Envelope>> {
        let orders: Vec<String> = orders.iter().map(ToString::to_string).collect();
        self.events_of("order-master", &orders).await
    }

    /// The events of a master's streams.
    ///
    /// # Panics
    /// If the store cannot be read.
    pub async fn events_of(&self, master: &str, streams: &[String]) -> BTreeMap<String, Vec<Envelope>> {
        let streams: Vec<&str> = streams.iter().map(String::as_str).collect();
        let database = self.stores.database(master).expect("it is a master");
        database.chunk(&streams).await.expect("it can be read").events
    }

    /// Lets go of the stores.
    pub async fn close(self) {
        self.stores.close().await;
    }
}

impl Record {
    pub fn status(&self) -> Option<Status> {
        orders::status(&self.events)
    }

    /// How often this happened to the order.
    pub fn count(&self, event_type: &str) -> usize {
        let is_it = |event: &&Envelope| event.event_type == event_type;
        self.events.iter().filter(is_it).count()
    }

    /// How often the provider took money, as it says.
    pub fn captures(&self) -> u32 {
        self.entries.iter().map(|entry| entry.captures).sum()
    }

    /// What it took, and gave back.
    pub fn taken(&self) -> (i64, i64) {
        let captured = self.entries.iter().map(|entry| entry.captured).sum();
        let refunded = self.entries.iter().map(|entry| entry.refunded).sum();
        (captured, refunded)
    }

    /// Whether the provider ever promised money.
    pub fn was_promised(&self) -> bool {
        self.paying()
            .any(|event| matches!(event, payment::Event::Authorized { .. }))
    }

    /// Whether basket-master ever meant to take money.
    pub fn was_to_be_captured(&self) -> bool {
        let capture = Operation::Capture;
        self.paying()
            .any(|event| matches!(event, payment::Event::Intended { operation, .. } if operation == capture))
    }

    /// What basket-master did about it.
    fn paying(&self) -> impl Iterator<Item = payment::Event> {
        let known = |event: &Envelope| event.body::<payment::Event>().ok().flatten();
        self.payment.iter().filter_map(known)
    }

    /// Nothing is promised, under way or still to be decided, and what is kept is what is due.
    pub fn is_settled(&self) -> bool {
        let is_decided = match self.status() {
            None | Some(Status::Created | Status::Paid) => false,
            Some(Status::Assigned | Status::Ready | Status::InDelivery) => true,
            Some(status) => status.is_terminal(),
        };
        let open: i64 = self.entries.iter().map(|entry| entry.open).sum();
        let due = money::claim(&self.events).and_then(|claim| claim.due);
        let (captured, refunded) = self.taken();
        let due = due.map_or(0, |due| due.amount.amount);
        is_decided && open == 0 && captured - refunded == due && self.is_quiet() && self.breaches().is_empty()
    }

    /// What `tiffin verify` would count, if nothing happened any more.
    pub fn breaches(&self) -> Vec<String> {
        let order = self.order.to_string();
        let claims = money::claim(&self.events).map(|claim| (order.clone(), claim));
        let accounts = money::account(&self.payment).map(|account| (order.clone(), account));
        let ledger = Ledger {
            entries: self.entries.clone(),
            asked_at: self.asked_at,
        };
        let (claims, accounts) = (claims.into_iter().collect(), accounts.into_iter().collect());
        let breaches = money::settled(&claims, &accounts, &ledger, Timestamp::now() + LATER);
        breaches.into_iter().map(|breach| breach.what).collect()
    }

    /// No call is in flight, and the provider was asked after the last word here, so that the two can be compared.
    fn is_quiet(&self) -> bool {
        match money::account(&self.payment) {
            Some(account) => account.payment.call.is_none() && account.written_at < self.asked_at,
            None => true,
        }
    }

    /// What the customer was to pay.
    pub fn price(&self) -> Option<Money> {
        Some(money::account(&self.payment)?.payment.amount)
    }
}

fn entries_of(entries: &[Entry], order: OrderId) -> Vec<Entry> {
    let order = order.to_string();
    let is_its = |entry: &&Entry| entry.order_id.as_ref() == Some(&order);
    entries.iter().filter(is_its).cloned().collect()
}
