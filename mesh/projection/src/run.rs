//! The life of one view: consume, and keep it filled.
//!
//! Decides what the bus is told about each event; how events become documents is in `write`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use mesh_bus::{Bus, Poisoned, Subscription, Verdict};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::subject::Context;
use mesh_runtime::Shutdown;
use tokio::sync::{Notify, watch};

use crate::connection::{Inner, Projection, Shown};
use crate::memory::Memory;
use crate::view::{Of, View};
use crate::write::{Hindrance, Standing, Voice};

impl Projection {
    /// Keeps the documents of `V` up to date with the streams of `context` whose ids begin with
    /// `stream_prefix` (`ord_`), through the durable consumer of this name, and fills them from
    /// the master's feed whenever Redis has lost them. The view counts from this call on, not
    /// from the first poll. Returns only on shutdown.
    pub fn run<V: View>(
        &self,
        bus: &Bus,
        context: Context,
        stream_prefix: &'static str,
        durable: &str,
        shutdown: Shutdown,
    ) -> impl Future<Output = ()> + Send + use<V> {
        let shown = Arc::new(Shown {
            view: Box::new(Of::<V>::new()),
            context,
            stream_prefix,
            lost: Notify::new(),
            filled: watch::channel(false).0,
            generation: AtomicU64::new(0),
            durable: durable.to_owned(),
            memory: Memory::default(),
        });
        self.inner.show(shown.clone());
        let inner = self.inner.clone();
        let bus = bus.clone();
        let subscription = subscription(&inner, &shown, durable.to_owned());
        async move {
            let consuming = bus.consume(subscription, shutdown.clone(), |batch| {
                let inner = inner.clone();
                let shown = shown.clone();
                async move { inner.handle(&shown, batch, Voice::Aloud).await }
            });
            tokio::join!(
                consuming,
                inner.keep_filled(&shown, &bus, &shutdown),
                inner.keep_audited(&shown, &shutdown)
            );
        }
    }
}

/// Of a view's events, for the consumer of this name.
pub(crate) fn subscription(inner: &Arc<Inner>, shown: &Arc<Shown>, durable: String) -> Subscription {
    let inner = inner.clone();
    let shown = shown.clone();
    Subscription::new(shown.context, durable)
        .only_streams_of(shown.stream_prefix)
        .on_poison(move |poisoned: Poisoned| {
            let inner = inner.clone();
            let shown = shown.clone();
            async move { inner.quarantine(&shown, &poisoned.stream, &poisoned.error).await }
        })
}

impl Inner {
    pub async fn handle(&self, shown: &Shown, batch: Vec<Envelope>, voice: Voice<'_>) -> Vec<Verdict> {
        let asked: Vec<(String, u64)> = batch
            .iter()
            .map(|event| (event.stream.clone(), event.version))
            .collect();
        match self.apply(shown, batch, voice).await {
            Ok(standings) => asked
                .iter()
                .map(|(stream, version)| verdict(*version, &standings[stream]))
                .collect(),
            Err(err) => {
                tracing::debug!(view = shown.view.kind(), error = %err, "batch not applied");
                vec![Verdict::Later(err.to_string()); asked.len()]
            }
        }
    }
}

fn verdict(version: u64, standing: &Standing) -> Verdict {
    if standing.quarantined || version <= standing.version {
        return Verdict::Done;
    }
    match &standing.hindrance {
        // The bus buries the first of a stream's poison verdicts and asks again for the rest.
        Some(Hindrance::Poison { version, error }) => Verdict::Poison(format!("version {version}: {error}")),
        Some(Hindrance::Away(reason)) => Verdict::Later(reason.clone()),
        None => Verdict::Later("not applied yet".into()),
    }
}
