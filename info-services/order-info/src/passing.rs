//! What passes and is in no event: where couriers are, when food will be at the door, how far readers are behind.
//!
//! Positions come over the bus; the last one of each courier is kept in Redis until it expires, by one instance of us.
//! Every instance tells its own listeners, and only what they listen to. Estimates are worked out when they are told.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use mesh_bus::{Bus, Health, Subscription, Verdict};
use mesh_contracts::delivery::Event;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::eta::{self, Eta, Recent, Rider};
use mesh_contracts::geo::Coordinates;
use mesh_contracts::id::{CourierId, OrderId};
use mesh_contracts::live::{POSITIONS, Sighting};
use mesh_contracts::ops;
use mesh_contracts::subject::Context;
use mesh_contracts::view::delivery::Delivery;
use mesh_projection::BoxError;
use serde::Serialize;

use crate::projector::{Couriers, Deliveries, topic};
use crate::{App, NAME};

/// The durable consumer that learns how late kitchens and couriers are.
const LESSONS_DURABLE: &str = "order-info-lessons";

/// Couriers send one every 4 s; who has sent none for so long is nowhere that we know of.
const POSITION_TTL: Duration = Duration::from_secs(30);

/// How late somebody was last week says little of tonight.
const LESSON_TTL: Duration = Duration::from_secs(24 * 3600);

/// As often as couriers say where they are.
const ORDERS_PERIOD: Duration = Duration::from_secs(4);

/// Often enough to look alive, and as often as the board's heartbeat.
const BOARD_PERIOD: Duration = Duration::from_secs(2);

/// Documents asked at once: Redis answers thousands in a second, and others ask, too.
const READS_MAX: usize = 32;

/// Takes in and tells on what passes, until shutdown.
pub async fn run(app: &App, bus: &Bus) {
    let lessons = Subscription::new(Context::Courier, LESSONS_DURABLE);
    tokio::join!(
        bus.hear(POSITIONS, NAME, app.shutdown.clone(), |seen| app.keep(seen)),
        bus.consume(lessons, app.shutdown.clone(), |events| app.learn(events)),
        tell_orders(app),
        tell_board(app, bus),
    );
}

/// On an order's stream while a courier has the job.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Progress {
    order: OrderId,
    /// Nothing if the courier has not said for a while.
    courier_at: Option<Coordinates>,
    seen_at: Option<Timestamp>,
    eta: Option<Eta>,
}

impl App {
    async fn keep(&self, seen: Vec<Sighting>) {
        let values: Vec<(String, String)> = seen
            .iter()
            .map(|sighting| (position_of(sighting.courier), to_json(sighting)))
            .collect();
        if let Err(err) = self.projection.keep(&values, POSITION_TTL).await {
            // The next ones come in four seconds.
            tracing::debug!(error = %err, "positions not kept");
        }
    }

    async fn learn(&self, events: Vec<Envelope>) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(events.len());
        for event in events {
            verdicts.push(match self.learn_from(&event).await {
                Ok(()) => Verdict::Done,
                Err(err) => Verdict::Later(err.to_string()),
            });
        }
        verdicts
    }

    /// How late the kitchen was with the food, and the courier at the door.
    async fn learn_from(&self, event: &Envelope) -> Result<(), BoxError> {
        // Whatever is not understood is the projector's affair, and teaches nothing.
        let Ok(Some(body @ (Event::FoodReady { .. } | Event::Delivered { .. }))) = event.body::<Event>() else {
            return Ok(());
        };
        let Some(read) = self.projection.get::<Deliveries>(&event.stream).await? else {
            return Ok(());
        };
        let (name, due) = match body {
            Event::Delivered { courier, .. } => (lateness_of(courier), read.doc.eta),
            _ => (lateness_of(read.doc.food_point), Some(read.doc.ready_by)),
        };
        if let Some(late_s) = due.and_then(|due| eta::lesson(due, event.at)) {
            self.projection
                .remember(&name, late_s, eta::REMEMBERED_MAX, LESSON_TTL)
                .await?;
        }
        Ok(())
    }

    /// Of the orders whose jobs are active.
    async fn progress(&self, topics: Vec<String>) -> Result<Vec<Progress>, BoxError> {
        let orders = topics
            .iter()
            .filter_map(|topic| topic.strip_prefix(topic::ORDER)?.parse().ok());
        let jobs: Vec<(OrderId, CourierId, u32, Delivery)> = stream::iter(orders)
            .map(|order| self.job(order))
            .buffer_unordered(READS_MAX)
            .filter_map(async |job| job)
            .collect()
            .await;
        let positions: Vec<String> = jobs.iter().map(|(_, courier, ..)| position_of(*courier)).collect();
        let lateness: Vec<String> = jobs
            .iter()
            .flat_map(|(_, courier, _, job)| [lateness_of(job.food_point), lateness_of(*courier)])
            .collect();
        let seen = self.projection.kept(&positions).await?;
        let mut late = self.projection.remembered(&lateness).await?.into_iter().map(Recent::of);
        let now = self.clock.now();
        let mut known = Vec::with_capacity(jobs.len());
        for ((order, _, speed_m_per_min, job), seen) in jobs.into_iter().zip(seen) {
            let seen: Option<Sighting> = seen.and_then(|seen| serde_json::from_str(&seen).ok());
            let (kitchen, courier) = (late.next().unwrap_or_default(), late.next().unwrap_or_default());
            let rider = seen.map(|seen| Rider {
                at: seen.place,
                speed_m_per_min,
            });
            known.push(Progress {
                order,
                courier_at: seen.map(|seen| seen.place),
                seen_at: seen.map(|seen| seen.at),
                eta: eta::estimate(&job, rider, &kitchen, &courier, now),
            });
        }
        Ok(known)
    }

    /// The job of an order, if a courier has it, with the courier's speed.
    async fn job(&self, order: OrderId) -> Option<(OrderId, CourierId, u32, Delivery)> {
        let read = self.projection.get::<Deliveries>(&order.delivery().to_string()).await;
        let job = read.ok()??.doc;
        let courier = job.active_courier()?;
        let read = self.projection.get::<Couriers>(&courier.to_string()).await;
        let speed = read.ok().flatten().map_or(0, |read| read.doc.speed_m_per_min);
        Some((order, courier, speed, job))
    }

    /// Where the couriers on the board are.
    async fn sightings(&self) -> Result<Vec<Sighting>, BoxError> {
        let couriers = self.projection.members(topic::OPS, "courier").await?;
        let names: Vec<String> = couriers.iter().map(position_of).collect();
        let seen = self.projection.kept(&names).await?;
        let seen = seen.into_iter().flatten();
        Ok(seen.filter_map(|seen| serde_json::from_str(&seen).ok()).collect())
    }
}

/// What is the same as last time is not said again.
async fn tell_orders(app: &App) {
    let mut told: BTreeMap<String, Progress> = BTreeMap::new();
    while rest(app, ORDERS_PERIOD).await {
        let topics = app.projection.listened(topic::ORDER);
        told.retain(|topic, _| topics.contains(topic));
        if topics.is_empty() || !*app.projection.filled().borrow() {
            continue;
        }
        match app.progress(topics).await {
            Ok(known) => {
                for progress in known {
                    let topic = topic::order(progress.order);
                    if told.get(&topic) != Some(&progress) {
                        app.projection.pass(&topic, "progress", &to_json(&progress));
                        told.insert(topic, progress);
                    }
                }
            }
            Err(err) => tracing::debug!(error = %err, "progress of orders not known"),
        }
    }
}

async fn tell_board(app: &App, bus: &Bus) {
    let mut seen: HashMap<CourierId, Sighting> = HashMap::new();
    let mut health = Health::default();
    while rest(app, BOARD_PERIOD).await {
        if app.projection.listened(topic::OPS).is_empty() {
            seen.clear();
            continue;
        }
        match bus.health(&health).await {
            Ok(newest) => {
                health = newest;
                app.projection.pass(topic::OPS, "health", &to_json(&shown(&health)));
            }
            Err(err) => tracing::debug!(error = %err, "health of the bus not known"),
        }
        match app.sightings().await {
            Ok(sightings) => {
                let news: Vec<&Sighting> = sightings
                    .iter()
                    .filter(|now| seen.get(&now.courier) != Some(*now))
                    .collect();
                if !news.is_empty() {
                    app.projection.pass(topic::OPS, POSITIONS, &to_json(&news));
                }
                seen = sightings.into_iter().map(|now| (now.courier, now)).collect();
            }
            Err(err) => tracing::debug!(error = %err, "positions not known"),
        }
    }
}

/// False at the end of the process.
async fn rest(app: &App, period: Duration) -> bool {
    tokio::select! {
        () = app.shutdown.triggered() => false,
        () = tokio::time::sleep(period) => true,
    }
}

fn shown(health: &Health) -> ops::Health {
    ops::Health {
        behind: health.behind.clone(),
        lag: health.behind.values().sum(),
        dead_letters: health.dead_letters,
        newest: health
            .newest
            .iter()
            .map(|letter| ops::Letter {
                consumer: letter.consumer.clone(),
                stream: letter.stream.clone(),
                event_type: letter.event_type.clone(),
                error: letter.error.clone(),
                at: letter.at,
            })
            .collect(),
    }
}

fn position_of(courier: impl std::fmt::Display) -> String {
    format!("at:{courier}")
}

fn lateness_of(whom: impl std::fmt::Display) -> String {
    format!("late:{whom}")
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("ids and numbers have JSON")
}
