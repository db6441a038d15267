//! What jobs make this service do: ask for the recipients, hand the mails in, and note and say what came of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use mesh_bus::{self as bus, Bus, Verdict, Work};
use mesh_contracts::api::Contact;
use mesh_contracts::envelope::{Actor, Meta};
use mesh_contracts::id::OrderId;
use mesh_contracts::notification::{Failure, Job, Occasion};
use mesh_contracts::subject::Queue;
use mesh_contracts::view::notification::Notifications;
use mesh_eventstore::{Append, NewEvent, StreamAppend};
use mesh_runtime::{Shutdown, telemetry};
use tokio::time::Instant;

use crate::error::Error;
use crate::store::Outcome;
use crate::{App, NAME, domain, store};

/// Batches worked on at once. Each holds a connection to the database while its mails are handed in, so that nobody
/// else hands them in.
pub const LANES: usize = 4;

/// Jobs that share a transaction and a question to user-master. The mails of so many are handed in well within
/// [`PATIENCE`] by a server that takes half a second for each.
const BATCH_MAX: usize = 32;

/// How much later than it could be a mail may be, for the sake of those that go with it.
const GATHER: Duration = Duration::from_millis(250);

/// Mails of a batch handed in at once, each over a connection of its own: mail servers dislike more from one sender.
const MAILS_AT_ONCE: usize = 4;

/// A mail server that needs longer for a batch is taken for away with the rest of it. Below the ten seconds after which
/// the database would end whoever waits for the same order's turn.
const PATIENCE: Duration = Duration::from_secs(8);

/// Tries of a mail that the mail server puts off: with pauses of 1, 4, 15, 15 and 15 minutes, most of an hour.
const TRIES_MAX: u64 = 6;

/// Longest pause between two of them.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// What is told once, however many jobs ask for it.
type Key = (OrderId, Occasion);

/// What a batch of jobs asks for, in the order in which everybody takes turns.
type Notices = BTreeMap<Key, Notice>;

struct Notice {
    job: Job,
    is_last_try: bool,
}

/// What customers have been told about each order, and the version of that.
type History = BTreeMap<OrderId, (Option<Notifications>, u64)>;

/// Works on the queue until shutdown.
pub async fn run(app: App, bus: Bus, retry_after: Duration, shutdown: Shutdown) {
    let work = Work::on(Queue::Notify)
        .lanes(LANES)
        .batch(BATCH_MAX, GATHER)
        .tries_max(TRIES_MAX)
        .backoff(retry_after, RETRY_AFTER_MAX);
    bus.work(work, shutdown, |jobs| carry_out(app.clone(), jobs)).await;
}

async fn carry_out(app: App, jobs: Vec<bus::Job>) -> Vec<Verdict> {
    let mut keys = Vec::new();
    let mut notices = Notices::new();
    for queued in jobs {
        let job = queued.read::<Job>().ok();
        keys.push(job.as_ref().map(|job| (job.order, job.occasion)));
        if let Some(job) = job {
            let is_last_try = false;
            let notice = notices.entry((job.order, job.occasion));
            notice.or_insert(Notice { job, is_last_try }).is_last_try |= queued.is_last_try;
        }
    }
    let settled = app.notify(notices).await;
    let verdict = |key: Option<Key>| match (key, &settled) {
        (None, _) => Verdict::Poison("job is no notification".into()),
        (Some(key), Ok(open)) => open.get(&key).map_or(Verdict::Done, Error::verdict),
        (Some(_), Err(err)) => err.verdict(),
    };
    keys.into_iter().map(verdict).collect()
}

impl App {
    /// Sends, notes and says, in one transaction that is the turn of every order in it: a second job for one of them
    /// waits, and finds what this one noted. What is settled is noted whatever became of the rest, which is answered.
    async fn notify(&self, mut notices: Notices) -> Result<BTreeMap<Key, Error>, Error> {
        let store = self.told.store();
        let mut tx = store.pool().begin().await?;
        let mut orders: Vec<OrderId> = notices.keys().map(|(order, _)| *order).collect();
        orders.dedup();
        store::take_turns(&mut tx, &orders).await?;
        let until = Instant::now() + PATIENCE;
        let streams: Vec<String> = orders.iter().map(|order| order.notifications().to_string()).collect();
        let told = self.told.load_in(&mut tx, &streams).await;
        let told = told.map_err(|err| Error::away("postgres", err))?;
        let history: History = orders.into_iter().zip(told).collect();
        notices.retain(|(order, occasion), _| {
            let told = history.get(order).and_then(|(told, _)| told.as_ref());
            !domain::is_settled(told, *occasion)
        });
        let (outcomes, open) = self.tell(&notices, until).await?;
        if outcomes.is_empty() {
            return Ok(open);
        }
        store::note(&mut tx, &outcomes, store.clock().wall()).await?;
        let append = self.append(&history, &outcomes);
        store.append_in(&mut tx, &append).await?;
        tx.commit().await?;
        store.committed(&append);
        outcomes.iter().for_each(report);
        Ok(open)
    }

    /// Hands in what is to be told; gives what came of it, and what is not settled yet and why.
    async fn tell(&self, notices: &Notices, until: Instant) -> Result<(Vec<Outcome>, BTreeMap<Key, Error>), Error> {
        let (mut outcomes, mut open) = (Vec::new(), BTreeMap::new());
        if notices.is_empty() {
            return Ok((outcomes, open));
        }
        let people: BTreeSet<_> = notices.values().map(|notice| notice.job.customer).collect();
        let contacts = self.people.contacts(&people).await?;
        let mails: Vec<_> = notices
            .iter()
            .map(|(key, notice)| {
                let to = contacts.get(&notice.job.customer);
                async move { (*key, self.tell_one(notice, to, until).await) }
            })
            .collect();
        let mut telling = stream::iter(mails).buffer_unordered(MAILS_AT_ONCE);
        while let Some((key, told)) = telling.next().await {
            match told {
                Ok(failure) => outcomes.push((key.0, key.1, failure)),
                Err(err) => {
                    open.insert(key, err);
                }
            }
        }
        Ok((outcomes, open))
    }

    async fn tell_one(&self, notice: &Notice, to: Option<&Contact>, until: Instant) -> Result<Option<Failure>, Error> {
        let Some(to) = to else {
            return Ok(Some(Failure::NoRecipient));
        };
        match self.mailer.send(&notice.job, to, until).await {
            Err(Error::PutOff(code)) if notice.is_last_try => {
                tracing::warn!(order.id = %notice.job.order, code, "mail was put off too often");
                Ok(Some(Failure::PutOff))
            }
            told => told,
        }
    }

    fn append(&self, history: &History, outcomes: &[Outcome]) -> Append {
        let now = self.told.store().clock().now();
        let meta = Meta {
            traceparent: telemetry::traceparent(),
            ..Meta::by(Actor::service(NAME))
        };
        let mut events: BTreeMap<OrderId, Vec<NewEvent>> = BTreeMap::new();
        for (order, occasion, failure) in outcomes {
            let event = domain::settle(*occasion, *failure);
            events
                .entry(*order)
                .or_default()
                .push(NewEvent::new(&event, &meta, now));
        }
        let streams = events.into_iter().map(|(order, events)| StreamAppend {
            stream: order.notifications().to_string(),
            expected: history.get(&order).map_or(0, |(_, version)| *version),
            events,
        });
        Append {
            streams: streams.collect(),
            ..Append::default()
        }
    }
}

fn report((order, occasion, failure): &Outcome) {
    let outcome = if failure.is_none() { "sent" } else { "failed" };
    metrics::counter!("notifications_total", "occasion" => occasion.as_str(), "outcome" => outcome).increment(1);
    tracing::info!(order.id = %order, %occasion, outcome, "notification settled");
}
