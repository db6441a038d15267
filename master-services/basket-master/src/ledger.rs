//! Keeps the ledger: what the events of payments post, booked behind them, each event once.
//!
//! A follower and not a part of the append: entries are a pure function of the events, so nothing can be lost or
//! booked twice, and a payment that is under way does not wait for its books. Who asks is told up to which version
//! a payment is booked. Positions are not followed, since they are no order of commits: each stream is, by its version.

use std::collections::HashSet;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_contracts::id::PaymentId;
use mesh_contracts::ledger::entries;
use mesh_runtime::Shutdown;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::store::{Page, TableError, Tables};

/// What happened to a payment meanwhile is booked in one go.
const GATHER: Duration = Duration::from_millis(500);

/// How often it is looked for what nobody told us of: another replica's payments, and those of a crash.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Payments in one transaction: some thousand events, some hundred kilobytes.
const BATCH: usize = 200;

/// The books. Clones share what is to be done.
#[derive(Clone)]
pub struct Books {
    tables: Tables,
    behind: Arc<Behind>,
}

#[derive(Default)]
struct Behind {
    payments: Mutex<HashSet<PaymentId>>,
    noted: Notify,
}

impl Books {
    pub fn new(tables: Tables) -> Self {
        Self {
            tables,
            behind: Arc::default(),
        }
    }

    /// Something happened to this payment.
    pub fn note(&self, id: PaymentId) {
        self.payments().insert(id);
        self.behind.noted.notify_one();
    }

    /// Books what happens, until shutdown.
    pub async fn run(&self, shutdown: Shutdown) {
        let mut look_at = Instant::now();
        while !shutdown.is_triggered() {
            if let Err(err) = self.catch_up(&mut look_at).await {
                tracing::warn!(error = %err, "ledger not written, coming again");
            }
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep_until(look_at) => {}
                () = self.behind.noted.notified() => {}
            }
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep(GATHER) => {}
            }
        }
    }

    async fn catch_up(&self, look_at: &mut Instant) -> Result<(), TableError> {
        let noted: Vec<PaymentId> = mem::take(&mut *self.payments()).into_iter().collect();
        let noted: Vec<String> = noted.iter().map(PaymentId::to_string).collect();
        for batch in noted.chunks(BATCH) {
            // What fails is found again by the look.
            self.book(batch).await?;
        }
        if Instant::now() >= *look_at {
            *look_at = Instant::now() + LOOK_EVERY;
            loop {
                let behind = self.tables.payments_not_booked(BATCH).await?;
                if behind.is_empty() {
                    return Ok(());
                }
                self.book(&behind).await?;
            }
        }
        Ok(())
    }

    async fn book(&self, payments: &[String]) -> Result<(), TableError> {
        let booked = self.tables.booked(payments).await?;
        let mut page = Page::default();
        for (payment, events) in self.tables.payment_events(payments).await? {
            let known = booked.get(&payment).copied().unwrap_or_default();
            let head = events.len() as u64;
            let entries = entries(events).into_iter().filter(|entry| entry.version > known);
            page.entries.extend(entries.map(|entry| (payment.clone(), entry)));
            if head > known {
                page.heads.push((payment, head));
            }
        }
        self.tables.keep_page(&page).await?;
        Ok(())
    }

    fn payments(&self) -> MutexGuard<'_, HashSet<PaymentId>> {
        // A panic elsewhere leaves the set whole: nothing panics while it is held.
        self.behind.payments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
