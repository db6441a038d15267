//! Keeps the board up to date from our own events, and makes the offers that `dispatch` proposes.
//!
//! One replica at a time; what another replica or a courier changes in between is refused by the streams.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use mesh_bus::{Bus, Subscription, Verdict};
use mesh_contracts::envelope::{Actor, Envelope};
use mesh_contracts::id::{CourierId, DeliveryId};
use mesh_contracts::subject::Context;
use mesh_eventstore::inbox::Drained;
use mesh_eventstore::{BoxError, Request, SubmitError};
use mesh_runtime::Shutdown;

use crate::dispatch::scene::Scene;
use crate::dispatch::{Offer, assign};
use crate::domain::delivery::Command;
use crate::{App, NAME};

/// The durable consumer of our own events; it keeps no inbox, since the board is gated by version.
const CONSUMER: &str = "courier-master-dispatch";
/// The advisory lock that keeps replicas from asking at the same time: "dispatch" in ASCII.
const LOCK: i64 = 0x6469_7370_6174_6368;
/// Changes come in bursts; one look serves all of a burst.
const LOOK_GAP: Duration = Duration::from_millis(50);
/// The net under missed wake-ups: another replica may have taken the event.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Shows on the board what our own events changed.
pub async fn follow(app: &Arc<App>, bus: &Bus, shutdown: Shutdown) {
    bus.consume(Subscription::new(Context::Courier, CONSUMER), shutdown, |batch| {
        show(app.clone(), batch)
    })
    .await;
}

/// Looks whenever something changed or an offer is due, until shutdown; first when the inbox has been drained.
pub async fn run(app: &App, drained: Drained, shutdown: Shutdown) {
    tokio::select! {
        () = shutdown.triggered() => return,
        () = drained.wait() => {}
    }
    if let Err(err) = app.catch_up().await {
        // The bus brings the rest, half a minute later.
        tracing::warn!(error = %err, "board not caught up");
    }
    while !shutdown.is_triggered() {
        let again_at = app.look().await.unwrap_or_else(|err| {
            tracing::warn!(error = %err, "dispatch failed, looking again");
            None
        });
        let due = async {
            match again_at {
                Some(at) => app.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.triggered() => return,
            () = app.changed.notified() => {}
            () = due => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        tokio::time::sleep(LOOK_GAP).await;
    }
}

impl App {
    /// One look: takes jobs from couriers who fell silent, makes the offers that are due, and says when the next is.
    async fn look(&self) -> Result<Option<Timestamp>, BoxError> {
        let mut turn = self.deliveries.store().pool().begin().await?;
        let is_ours: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut *turn)
            .await?;
        if !is_ours {
            return Ok(None);
        }
        let scene = self.scene().await?;
        metrics::gauge!("deliveries_open").set(scene.deliveries.len() as f64);
        let now = self.clock.now();
        for (delivery, courier) in scene.silent(self.started_at, now, &self.policy) {
            self.act(delivery, Command::Silence { courier }).await?;
        }
        let plan = assign(&scene.waiting(), &scene.available(&self.policy), now, &self.policy);
        for made in join_all(plan.offers.iter().map(|offer| self.offer(offer))).await {
            made?;
        }
        turn.commit().await?;
        Ok(plan.again_at)
    }

    async fn scene(&self) -> Result<Scene, sqlx::Error> {
        let deliveries = self.board.open_deliveries().await?;
        let couriers = self.board.couriers_on_shift().await?;
        let holders = deliveries.iter().filter_map(|delivery| delivery.active_courier());
        let asked: HashSet<CourierId> = couriers.iter().map(|(id, _)| *id).chain(holders).collect();
        let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
        let seen = self.positions.of(&asked).await?;
        Ok(Scene {
            deliveries,
            couriers,
            seen,
        })
    }

    async fn offer(&self, offer: &Offer) -> Result<(), BoxError> {
        let command = Command::Offer {
            courier: offer.courier,
            pickup_distance_m: offer.pickup_distance_m,
            considered: offer.considered.clone(),
        };
        self.act(offer.delivery, command).await
    }

    /// Does it, and shows it before the next look. Refused: it has changed, and the next look will see how.
    async fn act(&self, delivery: DeliveryId, command: Command) -> Result<(), BoxError> {
        let outcome = self
            .on_delivery(delivery, Request::by(Actor::service(NAME)), command)
            .await;
        match outcome {
            Ok(_) | Err(SubmitError::Rejected(_)) => self.show_delivery(delivery).await,
            Err(err) => Err(err.into()),
        }
    }

    async fn show_delivery(&self, id: DeliveryId) -> Result<(), BoxError> {
        if let Some((delivery, version)) = self.deliveries.load(id).await? {
            self.board.show_delivery(id, &delivery, version).await?;
        }
        Ok(())
    }

    async fn show_courier(&self, id: CourierId) -> Result<(), BoxError> {
        if let Some((courier, version)) = self.couriers.load(id).await? {
            self.board.show_courier(id, &courier, version).await?;
        }
        Ok(())
    }

    /// Shows what happened while nobody showed it.
    async fn catch_up(&self) -> Result<(), BoxError> {
        for stream in self.board.behind().await? {
            self.show_stream(&stream).await?;
        }
        Ok(())
    }

    async fn show_stream(&self, stream: &str) -> Result<(), BoxError> {
        if let Ok(delivery) = stream.parse() {
            self.show_delivery(delivery).await
        } else if let Ok(courier) = stream.parse() {
            self.show_courier(courier).await
        } else {
            Ok(())
        }
    }
}

async fn show(app: Arc<App>, batch: Vec<Envelope>) -> Vec<Verdict> {
    let streams: HashSet<&str> = batch.iter().map(|event| event.stream.as_str()).collect();
    // Not events but states are shown: the newest, whatever the event was.
    let shown = join_all(streams.into_iter().map(|stream| app.show_stream(stream))).await;
    let verdict = match shown.into_iter().collect::<Result<Vec<()>, _>>() {
        Ok(_) => Verdict::Done,
        Err(err) => Verdict::Later(err.to_string()),
    };
    app.changed.notify_one();
    vec![verdict; batch.len()]
}
