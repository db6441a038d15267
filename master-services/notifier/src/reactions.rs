//! What a job makes this service do: ask for the recipient, hand the mail in, and note and say what came of it.

use std::convert::Infallible;
use std::time::Duration;

use mesh_bus::{self as bus, Bus, Verdict, Work};
use mesh_contracts::envelope::Actor;
use mesh_contracts::notification::{Failure, Job};
use mesh_contracts::subject::Queue;
use mesh_contracts::view::notification::Notifications;
use mesh_eventstore::Request;
use mesh_runtime::Shutdown;

use crate::error::Error;
use crate::{App, NAME, domain, store};

/// Mails handed in at once. Each holds a connection to the database while it is, so that nobody else hands it in.
pub const LANES: usize = 4;

/// Tries of a mail that the mail server puts off: with pauses of 1, 4, 15, 15 and 15 minutes, most of an hour.
const TRIES_MAX: u64 = 6;

/// Longest pause between two of them.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// Works on the queue until shutdown.
pub async fn run(app: App, bus: Bus, retry_after: Duration, shutdown: Shutdown) {
    let work = Work::on(Queue::Notify)
        .lanes(LANES)
        .tries_max(TRIES_MAX)
        .backoff(retry_after, RETRY_AFTER_MAX);
    bus.work(work, shutdown, |job| carry_out(app.clone(), job)).await;
}

async fn carry_out(app: App, job: bus::Job) -> Verdict {
    let Ok(notification) = job.read::<Job>() else {
        return Verdict::Poison("job is no notification".into());
    };
    match app.notify(&notification, job.is_last_try).await {
        Ok(()) => Verdict::Done,
        Err(err) => err.verdict(),
    }
}

impl App {
    /// Sends, notes and says, in one transaction that is the order's turn: a second job for the same order waits,
    /// and finds what this one noted.
    async fn notify(&self, job: &Job, is_last_try: bool) -> Result<(), Error> {
        let store = self.told.store();
        let mut tx = store.pool().begin().await?;
        store::take_turn(&mut tx, job.order).await?;
        if store::is_settled(&mut tx, job.order, job.occasion).await? {
            return Ok(());
        }
        let failure = match self.tell(job).await {
            Err(Error::PutOff(code)) if is_last_try => {
                tracing::warn!(order.id = %job.order, code, "mail was put off too often");
                Some(Failure::PutOff)
            }
            told => told?,
        };
        store::note(&mut tx, job.order, job.occasion, failure, store.clock().wall()).await?;
        let occasion = job.occasion;
        let decide =
            move |told: Option<&Notifications>, _| Ok::<_, Infallible>(domain::settle(told, occasion, failure));
        let request = Request::by(Actor::service(NAME));
        let stream = job.order.notifications();
        let pending = self.told.submit_in(&mut tx, stream, request, decide).await?;
        tx.commit().await?;
        pending.committed(store);
        let outcome = if failure.is_none() { "sent" } else { "failed" };
        metrics::counter!("notifications_total", "occasion" => occasion.as_str(), "outcome" => outcome).increment(1);
        tracing::info!(order.id = %job.order, %occasion, outcome, "notification settled");
        Ok(())
    }

    async fn tell(&self, job: &Job) -> Result<Option<Failure>, Error> {
        match self.people.contact(job.customer).await? {
            Some(contact) => self.mailer.send(job, &contact).await,
            None => Ok(Some(Failure::NoRecipient)),
        }
    }
}
