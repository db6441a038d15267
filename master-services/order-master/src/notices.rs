//! Asking notifier to tell the customer: a job for the queue whenever a notice's timer fires, until it is answered.
//!
//! Knows neither the customer nor the words. The job may be lost on its way; the timer is not.

use std::convert::Infallible;
use std::time::Duration;

use jiff::SignedDuration;
use mesh_bus::{Bus, NewJob};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::OrderId;
use mesh_contracts::notification::Occasion;
use mesh_contracts::subject::Queue;
use mesh_contracts::view::order::Order;
use mesh_eventstore::inbox::{Drained, Fault, Handled};
use mesh_eventstore::timers::{self, Timer};
use mesh_eventstore::{Aggregate as _, Append, AppendError, BoxError, Fired, Mark, Request, TimerChange};
use mesh_runtime::Shutdown;
use uuid::Uuid;

use crate::{App, NAME, Orders, domain};

/// Deadlines share their places with notices, so a slow broker must not hold those for long.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a timer is moved again because the order moved in between.
const CONFLICTS_MAX: usize = 5;

/// The queue, and how patiently we wait for its answers.
#[derive(Clone)]
pub struct Notices {
    bus: Bus,
    again_after: SignedDuration,
}

impl Notices {
    /// Asks again after this much wall time without an answer.
    pub fn new(bus: Bus, again_after: SignedDuration) -> Self {
        Self { bus, again_after }
    }
}

impl App {
    /// Lets deadlines pass and notices out until shutdown, once the inbox has drained.
    pub async fn fire_timers(&self, notices: Notices, drained: Drained, shutdown: Shutdown) {
        let handle = |timer: Timer| {
            let notices = notices.clone();
            async move {
                match domain::occasion_of(&timer.kind) {
                    Some(occasion) => self.ask(&notices, timer, occasion).await,
                    None => self.pass(timer).await,
                }
            }
        };
        timers::run(&self.store, Orders::CATEGORY, drained, shutdown, handle).await;
    }

    /// A deadline passes.
    async fn pass(&self, timer: Timer) -> Result<(), BoxError> {
        let request = Request::timer(NAME, &timer);
        let policy = self.policy.clone();
        let fire =
            move |order: Option<&Order>, now| Ok::<_, Infallible>(domain::fire(order, &timer.kind, now, &policy));
        self.orders.submit(timer.stream, request, fire).await?;
        Ok(())
    }

    /// Publishes the job, then moves the timer on: a crash between the two publishes it again under the same id,
    /// and the broker drops the repeat.
    async fn ask(&self, notices: &Notices, timer: Timer, occasion: Occasion) -> Result<(), BoxError> {
        let id: OrderId = timer.stream.parse()?;
        let now = self.clock.now();
        // As last known, if that shows what the notice is about; the rest is read again.
        let recent = self.orders.recent(id).await?;
        let standing = match recent.filter(|(order, _)| domain::shows(order, occasion)) {
            Some(standing) => Some(standing),
            None => self.orders.load(id).await?,
        };
        let version = standing.as_ref().map_or(0, |(_, version)| *version);
        let job = standing.and_then(|(order, _)| domain::job(id, &order, occasion, now));
        let due = match job {
            None => {
                tracing::warn!(order.id = %id, %occasion, "nobody answered this notice");
                None
            }
            Some(job) => {
                if !notices.bus.is_connected() {
                    return Err("the bus is away".into());
                }
                let job = NewJob::new(format!("{id}/{occasion}/{}", timer.dedup), id, &job)?;
                let publishing = notices.bus.publish_job(Queue::Notify, &job);
                tokio::time::timeout(PUBLISH_TIMEOUT, publishing).await??;
                let wall = self.clock.wall().saturating_add(notices.again_after)?;
                Some(self.clock.business_at(wall))
            }
        };
        let fired = Fired {
            stream: timer.stream,
            kind: timer.kind,
            dedup: timer.dedup,
        };
        let change = due.is_some().then(|| TimerChange {
            stream: id.to_string(),
            kind: domain::kind_of(occasion).into(),
            due,
            // Another id for the next job: the broker would take it for a repeat of this one.
            dedup: Uuid::now_v7(),
        });
        let moved = self.retime(id, version, |append| {
            append.fired = Some(fired.clone());
            append.timers.extend(change.clone());
        });
        match moved.await {
            // The answer was quicker.
            Ok(()) | Err(AppendError::TimerGone) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }

    /// notifier has answered: the notice is settled, whatever came of it.
    pub(crate) async fn answered(&self, event: Envelope) -> Result<Handled, Fault> {
        let Some((order, occasion)) = domain::answered(&event)? else {
            return Ok(Handled::Ignored);
        };
        let mark = Mark {
            consumer: NAME.to_owned(),
            stream: event.stream,
            version: event.version,
        };
        let settled = TimerChange {
            stream: order.to_string(),
            kind: domain::kind_of(occasion).into(),
            due: None,
            dedup: event.event_id,
        };
        let known = self.orders.recent(order).await.map_err(Fault::later)?;
        let version = known.map_or(0, |(_, version)| version);
        let stored = self.retime(order, version, |append| {
            append.mark = Some(mark.clone());
            append.timers.push(settled.clone());
        });
        match stored.await {
            Ok(()) | Err(AppendError::AlreadySeen) => Ok(Handled::Done),
            Err(err) => Err(err.into()),
        }
    }

    /// Changes timers of an order in turn with everything else that happens to it: an answer that comes while the
    /// job is published again must not find the timer gone and see it set anew.
    async fn retime(&self, order: OrderId, mut version: u64, change: impl Fn(&mut Append)) -> Result<(), AppendError> {
        for _ in 0..CONFLICTS_MAX {
            let mut append = Append::events(order.to_string(), version, Vec::new());
            change(&mut append);
            match self.store.append(append).await {
                Err(AppendError::Conflict) => version = self.version_of(order).await?,
                stored => return stored,
            }
        }
        Err(AppendError::Conflict)
    }

    async fn version_of(&self, order: OrderId) -> Result<u64, AppendError> {
        match self.orders.load(order).await {
            Ok(standing) => Ok(standing.map_or(0, |(_, version)| version)),
            Err(err) => Err(AppendError::Unavailable(err.to_string())),
        }
    }
}
