//! The day itself: every order at its minute, every courier on shift, every kitchen by the instance's book.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::api::{HistoryEntry, Quantity};
use mesh_contracts::envelope::EventBody as _;
use mesh_contracts::id::OrderId;
use mesh_contracts::order::{Event, Reason, Status};
use mesh_runtime::Clock;
use tokio::sync::{Mutex as Turn, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::cast::Cast;
use super::instance::Instance;
use super::report::{Fate, Report};
use crate::client::{Person, Reply};
use crate::say::Steps;
use crate::simulation::courier::{self, Pace, Rider};
use crate::simulation::kitchen::{self, Answer, Cook};
use crate::simulation::{Track, delivery_of, follow, good_card, is_stale};

/// After the last courier went home and every open order was overridden, the last news may take this long.
const STRAGGLERS_TIMEOUT: Duration = Duration::from_secs(120);

/// How far ahead a promise must lie, in wall time, to be still ahead when it arrives.
const PROMISE_AHEAD: Duration = Duration::from_secs(2);

/// A basket that was changed elsewhere is looked at again so many times.
const TRIES_MAX: u32 = 5;

/// How often the progress is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// A cast with an instance to play.
pub(super) struct Day {
    stage: Arc<Stage>,
}

/// What all tasks of a day share.
struct Stage {
    instance: Instance,
    cast: Cast,
    operator: Person,
    clock: Clock,
    /// The business instant of minute 0.
    midnight: Timestamp,
    /// One basket per customer, so one order at a time goes through it.
    baskets: Vec<Turn<()>>,
    book: Book,
    /// The last courier went home.
    nobody_rides: watch::Sender<bool>,
}

impl Day {
    /// Begins now.
    pub(super) fn new(instance: Instance, cast: Cast, operator: Person, clock: Clock) -> Self {
        let midnight = clock.now() - minutes(instance.first_minute);
        let stage = Stage {
            baskets: cast.customers.iter().map(|_| Turn::new(())).collect(),
            instance,
            cast,
            operator,
            clock,
            midnight,
            book: Book::default(),
            nobody_rides: watch::Sender::new(false),
        };
        Self { stage: Arc::new(stage) }
    }

    /// Plays it to the end of its last order.
    pub(super) async fn play(self, steps: &Steps) -> Result<Report> {
        let stage = self.stage;
        let started = Instant::now();
        let mut kitchens = JoinSet::new();
        for name in stage.cast.kitchens.keys() {
            kitchens.spawn(stage.clone().cook(name.clone()));
        }
        let mut couriers = JoinSet::new();
        let mut home = HashSet::new();
        for index in 0..stage.cast.couriers.len() {
            couriers.spawn(stage.clone().ride(index));
        }
        let mut orders = JoinSet::new();
        for index in 0..stage.instance.orders.len() {
            orders.spawn(stage.clone().order(index));
        }
        let mut report = Report::new(stage.clock.rate());
        let mut ticks = tokio::time::interval(TELL_EVERY);
        let mut patience = None;
        steps.count("the day begins", stage.instance.orders.len());
        while !orders.is_empty() {
            tokio::select! {
                Some(ended) = orders.join_next() => {
                    report.add(&stage.instance, &ended?);
                    steps.one_more();
                }
                Some(ended) = couriers.join_next() => drop(home.insert(ended?)),
                Some(ended) = kitchens.join_next() => ended?,
                _ = ticks.tick() => steps.describe(&stage.describe()),
                () = too_long(patience), if patience.is_some() => break,
            }
            if couriers.is_empty() && patience.is_none() {
                stage.nobody_rides.send_replace(true);
                patience = Some(Instant::now() + STRAGGLERS_TIMEOUT);
            }
        }
        orders.shutdown().await;
        couriers.shutdown().await;
        stage.send_home(&home).await;
        for (id, index) in stage.book.unended() {
            report.add(&stage.instance, &stage.last_look(id, index).await);
        }
        report.finish(stage.instance.orders.len(), started.elapsed());
        Ok(report)
    }
}

async fn too_long(patience: Option<Instant>) {
    if let Some(until) = patience {
        tokio::time::sleep_until(until.into()).await;
    }
}

impl Stage {
    fn at(&self, minute: u32) -> Timestamp {
        self.midnight + minutes(minute)
    }

    /// A kitchen that never gives up: whatever broke, it looks at its tickets again.
    async fn cook(self: Arc<Self>, name: String) {
        let kitchen = self.cast.kitchens[&name].clone();
        loop {
            let book = ByTheBook(self.clone());
            if let Err(err) = kitchen::work(kitchen.clone(), book).await {
                tracing::warn!(kitchen = name, error = format!("{err:#}"), "a kitchen begins anew");
            }
            tokio::time::sleep(TELL_EVERY).await;
        }
    }

    /// A courier from the first to the last minute of the shift and the last job.
    async fn ride(self: Arc<Self>, index: usize) -> usize {
        let shift = &self.instance.couriers[index];
        let services = |count: u32| minutes(count);
        self.clock.sleep_until(self.at(shift.on_minute)).await;
        loop {
            let rider = Rider {
                person: self.cast.couriers[index].clone(),
                clock: self.clock.clone(),
                home: shift.at.on_earth(),
                off_at: self.at(shift.off_minute),
                pace: Pace {
                    speed_m_per_min: self.instance.meters_per_minute,
                    pickup_service: services(self.instance.pickup_service_minutes),
                    dropoff_service: services(self.instance.dropoff_service_minutes),
                    thinks_for: SignedDuration::ZERO,
                },
            };
            let Err(err) = courier::ride(rider).await else {
                return index;
            };
            tracing::warn!(
                courier = shift.name,
                error = format!("{err:#}"),
                "a courier begins anew"
            );
            tokio::time::sleep(TELL_EVERY).await;
        }
    }

    /// Nothing is left to bring: whoever is still on shift goes off it, so that the next replay meets nobody of this one.
    async fn send_home(&self, home: &HashSet<usize>) {
        let now = self.clock.now();
        let couriers = self.instance.couriers.iter().enumerate();
        let still_on = couriers.filter(|(index, shift)| !home.contains(index) && self.at(shift.on_minute) <= now);
        let told = still_on.map(|(index, shift)| self.cast.couriers[index].set_shift(false, shift.at.on_earth(), 0));
        for told in join_all(told).await {
            if let Err(failure) = told {
                tracing::warn!(%failure, "a courier could not go off shift");
            }
        }
    }

    /// An order from its minute to its end.
    async fn order(self: Arc<Self>, index: usize) -> Fate {
        let order = &self.instance.orders[index];
        self.clock.sleep_until(self.at(order.placed_minute)).await;
        let mut fate = Fate::new(index, self.at(order.placed_minute));
        match self.place(index).await {
            Ok((id, reply)) => {
                fate.place_took = Some(reply.took);
                if let Err(err) = self.watch(id, reply.token, &mut fate).await {
                    tracing::warn!(order = %id, error = format!("{err:#}"), "an order was lost from sight");
                    fate = self.last_look(id, index).await;
                }
                self.book.ended(id);
            }
            Err(err) => tracing::warn!(order = order.name, error = format!("{err:#}"), "an order was not taken"),
        }
        fate
    }

    async fn place(&self, index: usize) -> Result<(OrderId, Reply)> {
        let order = &self.instance.orders[index];
        let customer = self.cast.customer_of(index);
        let person = &self.cast.customers[customer];
        let one = Quantity::new(1).expect("within its bounds");
        let point = self.cast.kitchens[&order.restaurant].point;
        let meal = self.cast.meal_of(order);
        let _turn = self.baskets[customer].lock().await;
        for _ in 0..TRIES_MAX {
            let version = person.set_line(meal, one, self.cast.country).await?;
            let wish = delivery_of(version, self.cast.addresses[index], Some(point), good_card());
            match person.place(&wish, &Uuid::now_v7().to_string()).await {
                Ok((receipt, reply)) => {
                    let id = receipt.id.parse()?;
                    self.book.enter(id, index);
                    return Ok((id, reply));
                }
                Err(failure) if is_stale(&failure) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        bail!("the basket never stands still")
    }

    /// Follows an order; once nobody rides any more, the operator ends it.
    async fn watch(&self, id: OrderId, token: Option<String>, fate: &mut Fate) -> Result<()> {
        let person = &self.cast.customers[self.cast.customer_of(fate.order)];
        let mut lags = Vec::new();
        let following = follow(person, id, token, |_, happened| {
            lags.extend(happened.map(|happened| self.lag(happened.at)));
        });
        let mut nobody_rides = self.nobody_rides.subscribe();
        let ending = async {
            nobody_rides
                .wait_for(|nobody| *nobody)
                .await
                .expect("we hold the sender");
            let key = format!("override/{id}");
            let told = self.operator.override_order(id, Reason::CourierNotFound, &key).await;
            if let Err(failure) = told {
                tracing::debug!(order = %id, %failure, "an order needed no override");
            }
            std::future::pending::<()>().await;
        };
        let track = tokio::select! {
            track = following => track?,
            () = ending => unreachable!("it waits for the order's end"),
        };
        fate.lags = lags;
        fate.reached(&self.completed(person, id, track).await?);
        Ok(())
    }

    /// A track without holes: what was missed on the live stream is read from the order's history.
    async fn completed(&self, person: &Person, id: OrderId, track: Track) -> Result<Track> {
        let needed = [Status::Ready, Status::InDelivery, Status::Completed];
        let is_whole = track.status != Status::Completed || needed.iter().all(|status| track.at(*status).is_some());
        if is_whole {
            return Ok(track);
        }
        let history: Vec<HistoryEntry> = serde_json::from_value(person.order_history(id).await?)?;
        let mut whole = Track::new();
        for entry in history {
            // A customer does not see all of every event; of those that matter here, all.
            if let Ok(Some(event)) = Event::decode(&entry.event_type, &entry.data) {
                whole.apply(&event, entry.at);
            }
        }
        Ok(whole)
    }

    /// Wall time since a business instant.
    fn lag(&self, at: Timestamp) -> Duration {
        let business = self.clock.now().duration_since(at);
        Duration::try_from(business)
            .unwrap_or(Duration::ZERO)
            .div_f64(self.clock.rate())
    }

    /// What became of an order that nobody saw end.
    async fn last_look(&self, id: OrderId, index: usize) -> Fate {
        let mut fate = Fate::new(index, self.at(self.instance.orders[index].placed_minute));
        fate.is_placed = true;
        let Ok(document) = self.operator.order(id).await else {
            return fate;
        };
        fate.status = serde_json::from_value(document["status"].clone()).ok();
        let now = self.clock.now();
        fate.has_live_deadline = document["deadlines"].as_object().is_some_and(|deadlines| {
            let mut instants = deadlines
                .values()
                .filter_map(|at| at.as_str()?.parse::<Timestamp>().ok());
            instants.any(|at| at > now)
        });
        fate
    }

    fn describe(&self) -> String {
        let minute = self.clock.now().duration_since(self.midnight).as_mins();
        format!("minute {minute} of the day, {} orders open", self.book.open())
    }
}

fn minutes(count: u32) -> SignedDuration {
    SignedDuration::from_mins(count.into())
}

/// Which order of the instance an order of the platform is, for kitchens to look up.
#[derive(Default)]
struct Book {
    entries: Mutex<HashMap<OrderId, Entry>>,
    entered: tokio::sync::Notify,
}

#[derive(Clone, Copy)]
struct Entry {
    index: usize,
    ended: bool,
}

impl Book {
    fn enter(&self, id: OrderId, index: usize) {
        self.entries().insert(id, Entry { index, ended: false });
        self.entered.notify_waiters();
    }

    fn ended(&self, id: OrderId) {
        if let Some(entry) = self.entries().get_mut(&id) {
            entry.ended = true;
        }
    }

    fn open(&self) -> usize {
        self.entries().values().filter(|entry| !entry.ended).count()
    }

    fn unended(&self) -> Vec<(OrderId, usize)> {
        let entries = self.entries();
        let unended = entries.iter().filter(|(_, entry)| !entry.ended);
        unended.map(|(id, entry)| (*id, entry.index)).collect()
    }

    /// Waits for the entry: a ticket may reach its kitchen before the answer reaches the customer.
    async fn index_of(&self, id: OrderId) -> usize {
        loop {
            let entered = self.entered.notified();
            tokio::pin!(entered);
            // Enabled before the look, so that no entry falls in between.
            entered.as_mut().enable();
            if let Some(entry) = self.entries().get(&id) {
                return entry.index;
            }
            entered.await;
        }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<OrderId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A kitchen that promises and keeps the instance's ready time.
#[derive(Clone)]
struct ByTheBook(Arc<Stage>);

impl ByTheBook {
    async fn ready_at(&self, order: OrderId) -> Timestamp {
        let index = self.0.book.index_of(order).await;
        self.0.at(self.0.instance.orders[index].ready_minute)
    }
}

impl Cook for ByTheBook {
    async fn answer(&self, order: OrderId) -> Answer {
        let clock = &self.0.clock;
        let ahead = SignedDuration::try_from(PROMISE_AHEAD).expect("seconds");
        let earliest = clock.now() + ahead.mul_f64(clock.rate());
        Answer::Accept {
            ready_by: Some(self.ready_at(order).await.max(earliest)),
        }
    }

    async fn is_done(&self, order: OrderId, _: Timestamp) {
        let ready_at = self.ready_at(order).await;
        self.0.clock.sleep_until(ready_at).await;
    }

    fn says_when_it_starts(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kitchen_waits_for_an_order_whose_answer_is_still_under_way() {
        let book = Arc::new(Book::default());
        let id = OrderId(Uuid::from_u128(7));
        let waiting = tokio::spawn({
            let book = book.clone();
            async move { book.index_of(id).await }
        });
        tokio::task::yield_now().await;
        book.enter(OrderId(Uuid::from_u128(8)), 1);
        book.enter(id, 2);
        assert_eq!(waiting.await.expect("no panic"), 2);
        book.ended(id);
        assert_eq!(book.unended(), [(OrderId(Uuid::from_u128(8)), 1)]);
    }
}
