//! Compares, now and then, how far an inbox is with where its sources stand, and applies what never came.
//!
//! What is only late is given time to arrive.

use std::time::Duration;

use mesh_bus::Verdict;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::subject::Context;
use mesh_runtime::{Shutdown, audit};

use super::{Fault, Handled, Inbox, Known};
use crate::BoxError;

/// Streams per request for heads.
const PAGE: usize = 500;

/// Streams looked at again in one pass. An inbox that is behind in more is slow, and its consumer's affair.
const SUSPECTS_MAX: usize = 10_000;

/// A stream that is not applied up to the head that its owner had.
struct Suspect {
    stream: String,
    mark: u64,
    head: u64,
}

impl Inbox {
    /// Returns on shutdown.
    pub(super) async fn keep_audited<H, Fut>(&self, context: Context, shutdown: &Shutdown, handle: &H)
    where
        H: Fn(Envelope) -> Fut + Send + Sync,
        Fut: Future<Output = Result<Handled, Fault>> + Send,
    {
        let period = self.store.inner.audit_period;
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep(period) => {}
            }
            let audited = tokio::select! {
                () = shutdown.triggered() => return,
                audited = self.audit(context, audit::patience(period), handle) => audited,
            };
            if let Err(err) = audited {
                tracing::warn!(context = context.as_str(), error = %err, "audit broken off");
            }
        }
    }

    async fn audit<H, Fut>(&self, context: Context, patience: Duration, handle: &H) -> Result<(), BoxError>
    where
        H: Fn(Envelope) -> Fut + Send + Sync,
        Fut: Future<Output = Result<Handled, Fault>> + Send,
    {
        let suspects = self.suspects(context).await?;
        if suspects.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(patience).await;
        for Suspect { stream, mark, head } in suspects {
            if self.standings(&[&stream]).await?.marks.get(&stream) != Some(&mark) {
                continue;
            }
            let events = self.feeds.after(&stream, mark).await?;
            let verdicts = self.apply_batch(context, events, handle).await;
            if verdicts.iter().all(|verdict| *verdict == Verdict::Done) {
                tracing::warn!(context = context.as_str(), stream, mark, head, "inbox mended");
                metrics::counter!("audit_repaired_total", "reader" => context.as_str()).increment(1);
            }
        }
        Ok(())
    }

    async fn suspects(&self, context: Context) -> Result<Vec<Suspect>, BoxError> {
        let mut suspects = Vec::new();
        let mut after = String::new();
        loop {
            let mut heads = self.feeds.heads(context, &after, PAGE).await?;
            let Some((last, _)) = heads.last() else {
                return Ok(suspects);
            };
            after.clone_from(last);
            // A master's database may have streams of several contexts.
            heads.retain(|(stream, _)| Context::of_stream(stream) == Some(context));
            metrics::counter!("audit_compared_total", "reader" => context.as_str()).increment(heads.len() as u64);
            let streams: Vec<&str> = heads.iter().map(|(stream, _)| stream.as_str()).collect();
            let known = self.standings(&streams).await?;
            suspects.extend(heads.into_iter().filter_map(|(stream, head)| {
                let mark = known.marks.get(&stream).copied().unwrap_or(0);
                let is_behind = mark < head && !known.quarantined.contains(&stream);
                is_behind.then_some(Suspect { stream, mark, head })
            }));
            if suspects.len() >= SUSPECTS_MAX {
                return Ok(suspects);
            }
            tokio::time::sleep(audit::PAGE_PAUSE).await;
        }
    }

    /// What this process applied counts, whatever became of the stored mark: a second effect would
    /// be worse than a mark that is gone, which `tiffin verify` finds.
    async fn standings(&self, streams: &[&str]) -> Result<Known, sqlx::Error> {
        let mut known = Known::default();
        self.look(&mut known, streams.iter().copied().collect()).await?;
        for (stream, mark) in &mut known.marks {
            *mark = self.marks.get(stream).unwrap_or(0).max(*mark);
        }
        Ok(known)
    }
}
