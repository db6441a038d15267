//! Ephemeral news: said once to whoever listens now, and stored by nobody.

use std::time::Duration;

use futures::StreamExt as _;
use mesh_runtime::Shutdown;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{BoxError, Bus};

/// Pause before a broken subscription is made again.
const REVIVE_PAUSE: Duration = Duration::from_millis(200);

/// Largest piece of news, in bytes of JSON: well below the broker's 1 MiB.
const PIECE_BYTES_MAX: usize = 512 * 1024;

impl Bus {
    /// Says something to whoever listens for this kind of news now. That it arrives is not promised, and while the
    /// bus is away it is dropped: what is queued for later would be old then.
    pub async fn tell(&self, kind: &str, news: &impl Serialize) -> Result<(), BoxError> {
        if !self.is_connected() {
            return Err("bus is away".into());
        }
        let body = serde_json::to_vec(news)?;
        if body.len() > PIECE_BYTES_MAX {
            return Err("too much to be said at once".into());
        }
        let subject = self.names.live_subject(kind);
        Ok(self.jetstream.client().publish(subject, body.into()).await?)
    }

    /// Hands every piece of this kind of news to `hear`; of the processes that name the same `group`, one hears it.
    /// Survives whatever ends a subscription; returns only on shutdown.
    pub async fn hear<N, Fut>(&self, kind: &str, group: &str, shutdown: Shutdown, hear: impl Fn(N) -> Fut + Send + Sync)
    where
        N: DeserializeOwned + Send,
        Fut: Future<Output = ()> + Send,
    {
        let subject = self.names.live_subject(kind);
        let client = self.jetstream.client();
        while !shutdown.is_triggered() {
            let subscribed = client.queue_subscribe(subject.clone(), self.names.durable(group)).await;
            if let Ok(mut news) = subscribed {
                loop {
                    let message = tokio::select! {
                        () = shutdown.triggered() => return,
                        message = news.next() => message,
                    };
                    let Some(message) = message else { break };
                    match serde_json::from_slice(&message.payload) {
                        Ok(news) => hear(news).await,
                        Err(err) => tracing::warn!(kind, error = %err, "ephemeral news is not understood"),
                    }
                }
            }
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep(REVIVE_PAUSE) => {}
            }
        }
    }
}
