//! The day itself: every order at its minute, every courier on shift, every kitchen by the instance's book.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use mesh_runtime::Clock;
use tokio::sync::{Mutex as Turn, watch};
use tokio::task::JoinSet;

use super::book::Book;
use super::cast::Cast;
use super::chaos::Chaos;
use super::deeds::Deeds;
use super::instance::Instance;
use super::people::{AsPlanned, ByTheBook};
use super::reckoning;
use super::report::Report;
use crate::client::Person;
use crate::say::Steps;
use crate::simulation::courier::{self, Pace, Rider};
use crate::simulation::kitchen;

/// After the last courier went home and every open order was overridden, the last news may take this long.
const STRAGGLERS_TIMEOUT: Duration = Duration::from_secs(120);

/// How often the progress is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// A cast with an instance to play.
pub(crate) struct Day {
    stage: Arc<Stage>,
    chaos: Option<Chaos>,
}

/// What all tasks of a day share.
pub(super) struct Stage {
    pub(super) instance: Instance,
    pub(super) cast: Cast,
    pub(super) operator: Person,
    pub(super) clock: Clock,
    /// The business instant of minute 0.
    midnight: Timestamp,
    /// One basket per customer, so one order at a time goes through it.
    pub(super) baskets: Vec<Turn<()>>,
    pub(super) book: Book,
    /// What is to go wrong.
    pub(super) deeds: Deeds,
    /// The last courier went home.
    pub(super) nobody_rides: watch::Sender<bool>,
}

impl Day {
    /// Begins now.
    pub(super) fn new(instance: Instance, cast: Cast, operator: Person, clock: Clock, chaos: Option<Chaos>) -> Self {
        let deeds = chaos.map(|chaos| Deeds::plan(&instance, chaos)).unwrap_or_default();
        let midnight = clock.now() - minutes(instance.first_minute);
        let stage = Stage {
            baskets: cast.customers.iter().map(|_| Turn::new(())).collect(),
            instance,
            cast,
            operator,
            clock,
            midnight,
            book: Book::default(),
            deeds,
            nobody_rides: watch::Sender::new(false),
        };
        Self {
            stage: Arc::new(stage),
            chaos,
        }
    }

    /// Plays it to the end of its last order.
    pub(crate) async fn play(self, steps: &Steps) -> Result<Report> {
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
        if let Some(chaos) = self.chaos {
            steps.step("adding up who paid");
            report.reckoned(reckoning::of_day(&stage, chaos).await?);
        }
        Ok(report)
    }
}

async fn too_long(patience: Option<Instant>) {
    if let Some(until) = patience {
        tokio::time::sleep_until(until.into()).await;
    }
}

impl Stage {
    /// The business instant of a minute of the day.
    pub(super) fn at(&self, minute: u32) -> Timestamp {
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
                person: self.cast.couriers[index].person.clone(),
                clock: self.clock.clone(),
                home: shift.at.on_earth(),
                off_at: self.at(shift.off_minute),
                pace: Pace {
                    speed_m_per_min: self.instance.meters_per_minute,
                    pickup_service: services(self.instance.pickup_service_minutes),
                    dropoff_service: services(self.instance.dropoff_service_minutes),
                    thinks_for: SignedDuration::ZERO,
                },
                conduct: AsPlanned {
                    stage: self.clone(),
                    index,
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
        let told = still_on.map(|(index, shift)| {
            self.cast.couriers[index]
                .person
                .set_shift(false, shift.at.on_earth(), 0)
        });
        for told in join_all(told).await {
            if let Err(failure) = told {
                tracing::warn!(%failure, "a courier could not go off shift");
            }
        }
    }

    fn describe(&self) -> String {
        let minute = self.clock.now().duration_since(self.midnight).as_mins();
        format!("minute {minute} of the day, {} orders open", self.book.open())
    }
}

fn minutes(count: u32) -> SignedDuration {
    SignedDuration::from_mins(count.into())
}
