//! Keeps the board up to date from our own events, and makes the offers that `dispatch` proposes.
//!
//! One replica at a time; what another replica or a courier changes in between is refused by the streams.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use mesh_bus::{Bus, Subscription, Verdict};
use mesh_contracts::envelope::{Actor, Envelope};
use mesh_contracts::id::{CourierId, DeliveryId};
use mesh_contracts::subject::Context;
use mesh_eventstore::inbox::Drained;
use mesh_eventstore::{Aggregate, BoxError, Request, Streams, SubmitError};
use mesh_runtime::Shutdown;

use crate::dispatch::scene::Scene;
use crate::dispatch::{Offer, assign};
use crate::domain::delivery::Command;
use crate::store::{Shown, Standing};
use crate::{App, NAME};

/// The durable consumer of our own events; it keeps no inbox, since the board is gated by version.
const CONSUMER: &str = "courier-master-dispatch";
/// The advisory lock that keeps replicas from asking at the same time: "dispatch" in ASCII.
const LOCK: i64 = 0x6469_7370_6174_6368;
/// Changes come in bursts; one look serves all of a burst. Nobody who is asked notices, and a look costs the more the more
/// couriers there are.
const LOOK_GAP: Duration = Duration::from_millis(100);
/// The net under missed wake-ups: another replica may have taken the event.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Streams shown in one statement after a start, some hundred bytes each.
const CAUGHT_UP_TOGETHER: usize = 500;

/// For a stream of which it is not known how far it has come.
const NEWEST: u64 = u64::MAX;

/// A stream, and the version to which it has come at least.
type Moved = (String, u64);

/// Shows on the board what our own events changed.
pub async fn follow(app: &Arc<App>, bus: &Bus, shutdown: Shutdown) {
    let subscription = Subscription::new(Context::Courier, CONSUMER).paced(LOOK_GAP);
    bus.consume(subscription, shutdown, |batch| follow_batch(app.clone(), batch))
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
        let silenced = scene.silent(self.started_at, now, &self.policy).into_iter();
        let silenced = silenced.map(|(delivery, courier)| self.act(delivery, Command::Silence { courier }));
        let plan = assign(&scene.waiting(), &scene.available(&self.policy), now, &self.policy);
        let offered = plan.offers.iter().map(|offer| self.offer(offer));
        let (silenced, offered) = tokio::join!(join_all(silenced), join_all(offered));
        // Before the next look, and also what was done beside something that failed.
        let (moved, acted) = partitioned(silenced.into_iter().chain(offered));
        self.show(moved.into_iter().collect()).await?;
        acted?;
        turn.commit().await?;
        Ok(plan.again_at)
    }

    async fn scene(&self) -> Result<Scene, sqlx::Error> {
        let deliveries = self.board.open_deliveries().await?;
        let couriers = self.board.couriers_on_shift().await?;
        let holders = deliveries.iter().filter_map(|delivery| delivery.active_courier());
        let asked: HashSet<CourierId> = couriers.iter().map(|(id, _)| *id).chain(holders).collect();
        let asked: Vec<CourierId> = asked.into_iter().collect();
        let seen = self.positions.of(&asked).await?;
        Ok(Scene {
            deliveries,
            couriers,
            seen,
        })
    }

    async fn offer(&self, offer: &Offer) -> Result<Moved, BoxError> {
        let command = Command::Offer {
            courier: offer.courier,
            pickup_distance_m: offer.pickup_distance_m,
            considered: offer.considered.clone(),
        };
        self.act(offer.delivery, command).await
    }

    /// Refused: it has changed, and the next look will see how.
    async fn act(&self, delivery: DeliveryId, command: Command) -> Result<Moved, BoxError> {
        let outcome = self
            .on_delivery(delivery, Request::by(Actor::service(NAME)), command)
            .await;
        match outcome {
            Ok(outcome) => Ok((delivery.to_string(), outcome.answer.version)),
            Err(SubmitError::Rejected(_)) => Ok((delivery.to_string(), NEWEST)),
            Err(err) => Err(err.into()),
        }
    }

    /// Shows these streams as they stand, each at least in its version. One that cannot be read keeps none of the others.
    async fn show(&self, moved: HashMap<String, u64>) -> Result<(), BoxError> {
        let (mut deliveries, mut couriers) = (Vec::new(), Vec::new());
        for (stream, version) in moved {
            if let Ok(id) = stream.parse() {
                deliveries.push(standing(&self.deliveries, id, version));
            } else if let Ok(id) = stream.parse() {
                couriers.push(standing(&self.couriers, id, version));
            }
        }
        let (deliveries, couriers) = tokio::join!(join_all(deliveries), join_all(couriers));
        let (deliveries, read_deliveries) = partitioned(deliveries.into_iter());
        let (couriers, read_couriers) = partitioned(couriers.into_iter());
        let shown = Shown {
            deliveries: deliveries.into_iter().flatten().collect(),
            couriers: couriers.into_iter().flatten().collect(),
        };
        self.board.show(&shown).await?;
        read_deliveries.and(read_couriers)
    }

    /// Shows what happened while nobody showed it.
    async fn catch_up(&self) -> Result<(), BoxError> {
        let mut caught_up = Ok(());
        for some in self.board.behind().await?.chunks(CAUGHT_UP_TOGETHER) {
            let some = some.iter().map(|stream| (stream.clone(), NEWEST)).collect();
            caught_up = caught_up.and(self.show(some).await);
        }
        caught_up
    }
}

/// What came of those that went well, and the first failure.
fn partitioned<T>(results: impl Iterator<Item = Result<T, BoxError>>) -> (Vec<T>, Result<(), BoxError>) {
    let (mut well, mut failed) = (Vec::new(), Ok(()));
    for result in results {
        match result {
            Ok(one) => well.push(one),
            Err(err) => failed = failed.and(Err(err)),
        }
    }
    (well, failed)
}

/// A stream in this version or a later one, to be shown; `None` if there is no such stream.
async fn standing<A: Aggregate, I: ToString + Copy>(
    streams: &Streams<A>,
    id: I,
    version: u64,
) -> Result<Option<Standing<I, A::State>>, BoxError> {
    let standing = streams.at_least(id, version).await?;
    Ok(standing.map(|(state, version)| (id, Arc::new(state), version)))
}

async fn follow_batch(app: Arc<App>, batch: Vec<Envelope>) -> Vec<Verdict> {
    let mut moved: HashMap<String, u64> = HashMap::new();
    for event in &batch {
        let version = moved.entry(event.stream.clone()).or_default();
        *version = event.version.max(*version);
    }
    // Not events but states are shown: the newest, whatever the event was.
    let verdict = match app.show(moved).await {
        Ok(()) => Verdict::Done,
        Err(err) => Verdict::Later(err.to_string()),
    };
    app.changed.notify_one();
    vec![verdict; batch.len()]
}
