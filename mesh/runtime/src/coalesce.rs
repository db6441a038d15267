//! Small writes that share one statement: what is asked for while one is under way goes with the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::Pace;

/// Writes that may wait. A full queue makes its callers wait, not fail.
const QUEUE_MAX: usize = 1_024;

/// Writes whatever its callers bring, together. Clones share the writer, which ends with the last.
#[derive(Debug)]
pub struct Coalesce<T, E> {
    queue: mpsc::Sender<Asked<T, E>>,
}

type Asked<T, E> = (T, oneshot::Sender<Result<(), CoalesceError<E>>>);

impl<T, E> Clone for Coalesce<T, E> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

/// Why a write is not known to be done.
#[derive(Debug, thiserror::Error)]
pub enum CoalesceError<E> {
    /// The statement failed, for all that was in it.
    #[error(transparent)]
    Failed(Arc<E>),
    /// The writer is gone: it panicked, or the process ends.
    #[error("writer ended")]
    Gone,
}

impl<T, E> Coalesce<T, E>
where
    T: Send + 'static,
    E: Send + Sync + 'static,
{
    /// Starts the writer: at most `max` values per `write`, one `write` after the other, under load
    /// a `period` apart.
    pub fn start<F>(max: usize, period: Duration, write: impl Fn(Vec<T>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send,
    {
        let (queue, mut asked) = mpsc::channel::<Asked<T, E>>(QUEUE_MAX);
        tokio::spawn(async move {
            let mut pace = Pace::every(period);
            let mut together = Vec::new();
            while let Some(first) = asked.recv().await {
                together.push(first);
                pace.wait().await;
                while together.len() < max {
                    let Ok(next) = asked.try_recv() else { break };
                    together.push(next);
                }
                let (values, replies): (Vec<_>, Vec<_>) = together.drain(..).unzip();
                let written = write(values).await.map_err(Arc::new);
                for reply in replies {
                    // Whoever asked may have gone; what is written is written.
                    let _ = reply.send(written.clone().map_err(CoalesceError::Failed));
                }
            }
        });
        Self { queue }
    }

    /// Resolves when the value is written.
    pub async fn write(&self, value: T) -> Result<(), CoalesceError<E>> {
        let (reply, written) = oneshot::channel();
        let sent = self.queue.send((value, reply)).await;
        sent.map_err(|_| CoalesceError::Gone)?;
        written.await.unwrap_or(Err(CoalesceError::Gone))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::future::join_all;

    use super::*;

    #[tokio::test]
    async fn what_is_asked_for_at_the_same_time_is_written_together_and_in_order() {
        let written: Arc<Mutex<Vec<Vec<u32>>>> = Arc::default();
        let log = Arc::clone(&written);
        let coalesce = Coalesce::<u32, std::io::Error>::start(4, Duration::ZERO, move |values| {
            log.lock().expect("no panic").push(values);
            std::future::ready(Ok(()))
        });
        let results = join_all((0..6).map(|value| coalesce.write(value))).await;
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(*written.lock().expect("no panic"), [vec![0, 1, 2, 3], vec![4, 5]]);
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_that_were_in_it_and_to_nobody_else() {
        let coalesce = Coalesce::start(2, Duration::ZERO, |values: Vec<u32>| {
            std::future::ready(if values.contains(&1) {
                Err(std::io::Error::other("away"))
            } else {
                Ok(())
            })
        });
        let results = join_all((0..4).map(|value| coalesce.write(value))).await;
        let failed: Vec<bool> = results.iter().map(Result::is_err).collect();
        assert_eq!(failed, [true, true, false, false]);
    }
}
