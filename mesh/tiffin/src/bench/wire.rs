//! The bus alone: from publishing to delivery over core NATS, beside whatever else the machine does.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use jiff::Timestamp;
use mesh_local::running::Running;
use tokio::time::Instant;

use super::pace::Latency;

const SUBJECT: &str = "bench.wire";

/// About as large as an event of an order.
const MESSAGE_BYTES: usize = 1_024;

/// What has not come by then was lost.
const LAST_WITHIN: Duration = Duration::from_secs(5);

/// Messages at this rate, from one connection to another.
pub(super) async fn publish_to_deliver(running: &Running, rate: f64, span: Duration) -> Result<Latency> {
    let (speaker, hearer) = (connect(running).await?, connect(running).await?);
    let mut messages = hearer.subscribe(SUBJECT).await?;
    hearer.flush().await?;
    let total = (rate * span.as_secs_f64()).ceil() as usize;
    let hearing = tokio::spawn(async move {
        let mut latency = Latency::new();
        for _ in 0..total {
            let message = messages.next().await.context("the bus is gone")?;
            let now = Timestamp::now();
            let sent = message.payload.get(..8).and_then(|bytes| bytes.try_into().ok());
            let sent = i64::from_be_bytes(sent.context("eight bytes")?);
            let took = now.as_microsecond().saturating_sub(sent);
            latency.record(Duration::from_micros(u64::try_from(took).unwrap_or(0)));
        }
        anyhow::Ok(latency)
    });
    let started = Instant::now();
    for nth in 0..total {
        tokio::time::sleep_until(started + span.mul_f64(nth as f64 / total as f64)).await;
        let mut message = vec![0; MESSAGE_BYTES];
        message[..8].copy_from_slice(&Timestamp::now().as_microsecond().to_be_bytes());
        speaker.publish(SUBJECT, message.into()).await?;
    }
    speaker.flush().await?;
    tokio::time::timeout(LAST_WITHIN, hearing)
        .await
        .context("messages were lost")??
}

async fn connect(running: &Running) -> Result<async_nats::Client> {
    let nats = running.nats()?;
    let (user, password) = nats.admin();
    let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
    Ok(options.connect(nats.url()).await?)
}
