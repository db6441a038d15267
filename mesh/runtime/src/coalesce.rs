//! Small reads and writes that share one statement: what is asked for while one is under way goes with the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::Pace;

/// Questions that may wait. A full queue makes its callers wait, not fail.
const QUEUE_MAX: usize = 1_024;

/// Asks whatever its callers bring, together: each `T` has its `R`. Clones share the worker, which ends with the last.
#[derive(Debug)]
pub struct Coalesce<T, R, E> {
    queue: mpsc::Sender<Asked<T, R, E>>,
}

type Asked<T, R, E> = (T, oneshot::Sender<Result<R, CoalesceError<E>>>);

impl<T, R, E> Clone for Coalesce<T, R, E> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

/// Why there is no answer; whether a write was done is not known then.
#[derive(Debug, thiserror::Error)]
pub enum CoalesceError<E> {
    /// The statement failed, for all that was in it.
    #[error(transparent)]
    Failed(Arc<E>),
    /// The worker is gone: it panicked, or the process ends.
    #[error("worker ended")]
    Gone,
}

impl<T, R, E> Coalesce<T, R, E>
where
    T: Send + 'static,
    R: Send + 'static,
    E: Send + Sync + 'static,
{
    /// Starts the worker: at most `max` values per `ask`, one `ask` after the other, under load a `period` apart.
    /// `ask` answers each value, in their order.
    pub fn start<F>(max: usize, period: Duration, ask: impl Fn(Vec<T>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Vec<R>, E>> + Send,
    {
        let (queue, mut asked) = mpsc::channel::<Asked<T, R, E>>(QUEUE_MAX);
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
                // Whoever asked may have gone; what is written is written.
                match ask(values).await {
                    Ok(answers) => {
                        for (reply, answer) in replies.into_iter().zip(answers) {
                            let _ = reply.send(Ok(answer));
                        }
                    }
                    Err(err) => {
                        let err = Arc::new(err);
                        for reply in replies {
                            let _ = reply.send(Err(CoalesceError::Failed(Arc::clone(&err))));
                        }
                    }
                }
            }
        });
        Self { queue }
    }

    /// The answer to this value, which was asked for after this call began.
    pub async fn ask(&self, value: T) -> Result<R, CoalesceError<E>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.queue.send((value, reply)).await;
        sent.map_err(|_| CoalesceError::Gone)?;
        answer.await.unwrap_or(Err(CoalesceError::Gone))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::future::join_all;

    use super::*;

    #[tokio::test]
    async fn what_is_asked_for_at_the_same_time_goes_together_in_order_and_each_has_its_answer() {
        let together: Arc<Mutex<Vec<Vec<u32>>>> = Arc::default();
        let log = Arc::clone(&together);
        let coalesce = Coalesce::<u32, u32, std::io::Error>::start(4, Duration::ZERO, move |values| {
            let doubled = values.iter().map(|value| value * 2).collect();
            log.lock().expect("no panic").push(values);
            std::future::ready(Ok(doubled))
        });
        let answers = join_all((0..6).map(|value| coalesce.ask(value))).await;
        let answers: Vec<u32> = answers.into_iter().map(|answer| answer.expect("it is told")).collect();
        assert_eq!(answers, [0, 2, 4, 6, 8, 10]);
        assert_eq!(*together.lock().expect("no panic"), [vec![0, 1, 2, 3], vec![4, 5]]);
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_that_were_in_it_and_to_nobody_else() {
        let coalesce = Coalesce::start(2, Duration::ZERO, |values: Vec<u32>| {
            std::future::ready(if values.contains(&1) {
                Err(std::io::Error::other("away"))
            } else {
                Ok(values)
            })
        });
        let results = join_all((0..4).map(|value| coalesce.ask(value))).await;
        let failed: Vec<bool> = results.iter().map(Result::is_err).collect();
        assert_eq!(failed, [true, true, false, false]);
    }
}
