//! Compares, now and then, every document's version with its master's, and brings what never came.
//!
//! What is only late is given time to arrive. A document that had to be mended was announced in
//! part or not at all, so whoever listens gets a fresh snapshot.

use std::time::Duration;

use mesh_runtime::{Shutdown, audit};

use crate::BoxError;
use crate::connection::{Inner, Shown};
use crate::write::Voice;

/// Documents looked at again in one pass. A view with more of them behind is not audited but slow.
const SUSPECTS_MAX: usize = 10_000;

/// A document below the head that its master had.
struct Suspect {
    stream: String,
    version: u64,
    head: u64,
}

impl Inner {
    /// Returns on shutdown.
    pub async fn keep_audited(&self, shown: &Shown, shutdown: &Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep(self.audit_period) => {}
            }
            // A view that is not complete is being filled by somebody.
            if !*shown.filled.borrow() {
                continue;
            }
            let audited = tokio::select! {
                () = shutdown.triggered() => return,
                audited = self.audit(shown, audit::patience(self.audit_period)) => audited,
            };
            if let Err(err) = audited {
                tracing::warn!(view = shown.view.kind(), error = %err, "audit broken off");
            }
        }
    }

    async fn audit(&self, shown: &Shown, patience: Duration) -> Result<(), BoxError> {
        let kind = shown.view.kind();
        let suspects = self.suspects(shown).await?;
        if suspects.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(patience).await;
        for suspect in suspects {
            if self.mend(shown, &suspect).await? {
                let Suspect { stream, version, head } = suspect;
                tracing::warn!(view = kind, stream, version, head, "document mended");
                metrics::counter!("audit_repaired_total", "reader" => kind).increment(1);
            }
        }
        Ok(())
    }

    async fn suspects(&self, shown: &Shown) -> Result<Vec<Suspect>, BoxError> {
        let mut suspects = Vec::new();
        let mut after = shown.stream_prefix.to_owned();
        loop {
            let heads = self.heads_page(shown, &after).await?;
            let Some((last, _)) = heads.last() else {
                return Ok(suspects);
            };
            after.clone_from(last);
            metrics::counter!("audit_compared_total", "reader" => shown.view.kind()).increment(heads.len() as u64);
            let (streams, heads): (Vec<String>, Vec<u64>) = heads.into_iter().unzip();
            let have = self.versions(shown, "", &streams).await?;
            let all = streams.into_iter().zip(heads).zip(have);
            // Whoever quarantined a stream said so; mending would end at the same event.
            let behind = all.filter(|((_, head), (version, is_quarantined))| version < head && !is_quarantined);
            suspects.extend(behind.map(|((stream, head), (version, _))| Suspect { stream, version, head }));
            if suspects.len() >= SUSPECTS_MAX {
                return Ok(suspects);
            }
            tokio::time::sleep(audit::PAGE_PAUSE).await;
        }
    }

    /// Whether the document was still where it stood, and is not any more.
    async fn mend(&self, shown: &Shown, suspect: &Suspect) -> Result<bool, BoxError> {
        let stream = std::slice::from_ref(&suspect.stream);
        let standing = self.versions(shown, "", stream).await?;
        if standing != [(suspect.version, false)] {
            return Ok(false);
        }
        let events = self.feeds.after(&suspect.stream, suspect.version).await?;
        let standings = self.apply(shown, events, Voice::Mending).await?;
        self.hub.announce_gap();
        let reached = standings.get(&suspect.stream).map_or(0, |standing| standing.version);
        Ok(reached >= suspect.head)
    }
}
