//! The one writer: takes calls in turn, makes them durable in groups, then answers.
//! It knows ledger and journal, not HTTP and not who listens to webhooks.
//!
//! Whoever asks during a sync waits for the next one, so the busier it is, the more calls share a sync.
//! Reads stand in the same queue: nobody sees what a power cut could still take away.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::journal::{Journal, OpenError};
use crate::ledger::{Call, Ledger, Pending, Record, Stamp, Verdict};

/// Calls waiting for a sync; whoever comes later waits at the door instead of in memory.
const QUEUE_MAX: usize = 1024;
/// Bounds what one sync writes (about 1 KiB a call), and with it how long the first of a batch waits.
const BATCH_MAX: usize = 256;

/// A handle to the writer; clones share it.
#[derive(Clone)]
pub struct Bank {
    queue: mpsc::Sender<Ask>,
}

/// The journal cannot be written any more; only a restart helps.
#[derive(Debug, thiserror::Error)]
#[error("the journal is closed")]
pub struct Closed;

/// The running writer, as its owner sees it.
pub struct Writer {
    /// Webhooks as they become durable, at start those of the last run.
    pub notices: mpsc::UnboundedReceiver<Pending>,
    /// Ends with an error when the disk refuses; with `Ok` when every [`Bank`] is gone.
    pub ended: oneshot::Receiver<io::Result<()>>,
}

type Reply = Box<dyn FnOnce() + Send>;
type Read = Box<dyn FnOnce(&Ledger) -> Reply + Send>;

enum Ask {
    Call(Call, oneshot::Sender<Verdict>),
    Read(Read),
    Note(Record),
}

impl Bank {
    /// Replays the journal in `dir` and starts the writer. `announces`: whether webhooks are wanted.
    pub fn open(dir: &Path, announces: bool) -> Result<(Bank, Writer), OpenError> {
        let mut ledger = Ledger::new(announces);
        let journal = Journal::open(dir, |record| drop(ledger.apply(record)))?;
        let (queue, asks) = mpsc::channel(QUEUE_MAX);
        // Unbounded, but holds no more than the ledger's own pending webhooks do.
        let (announce, notices) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        if announces {
            for pending in ledger.pending() {
                announce.send(pending.clone()).expect("the receiver is a line above");
            }
        }
        let desk = Desk {
            ledger,
            journal,
            asks,
            announce,
        };
        // A thread of its own: a sync blocks, and nothing else may run meanwhile anyway.
        thread::spawn(move || {
            let _ = end.send(desk.run());
        });
        Ok((Bank { queue }, Writer { notices, ended }))
    }

    /// Carries the call out, or finds what came of it before. Durable when this returns.
    pub async fn call(&self, call: Call) -> Result<Verdict, Closed> {
        let (reply, verdict) = oneshot::channel();
        self.queue.send(Ask::Call(call, reply)).await.map_err(|_| Closed)?;
        verdict.await.map_err(|_| Closed)
    }

    /// Looks at the ledger; what was seen is durable when this returns.
    pub async fn read<T: Send + 'static>(&self, look: impl FnOnce(&Ledger) -> T + Send + 'static) -> Result<T, Closed> {
        let (reply, seen) = oneshot::channel();
        let read: Read = Box::new(move |ledger| {
            let value = look(ledger);
            Box::new(move || drop(reply.send(value)))
        });
        self.queue.send(Ask::Read(read)).await.map_err(|_| Closed)?;
        seen.await.map_err(|_| Closed)
    }

    /// Notes what became of a webhook, without waiting for the sync: losing the note only sends it again.
    pub async fn note(&self, record: Record) -> Result<(), Closed> {
        self.queue.send(Ask::Note(record)).await.map_err(|_| Closed)
    }
}

/// The writer thread's own things.
struct Desk {
    ledger: Ledger,
    journal: Journal,
    asks: mpsc::Receiver<Ask>,
    announce: mpsc::UnboundedSender<Pending>,
}

impl Desk {
    fn run(mut self) -> io::Result<()> {
        while let Some(size) = self.batch()? {
            metrics::histogram!("journal_batch_size").record(size as f64);
        }
        Ok(())
    }

    /// Serves everybody who waits now under one sync; how many they were. None: nobody will come any more.
    fn batch(&mut self) -> io::Result<Option<usize>> {
        let Some(first) = self.asks.blocking_recv() else {
            return Ok(None);
        };
        let mut replies = Vec::new();
        let mut notices = Vec::new();
        let mut size = 1;
        self.take(first, &mut replies, &mut notices);
        while size < BATCH_MAX
            && let Ok(ask) = self.asks.try_recv()
        {
            self.take(ask, &mut replies, &mut notices);
            size += 1;
        }
        // On an error every waiting reply is dropped, which its caller sees as `Closed`.
        self.journal.commit()?;
        replies.into_iter().for_each(|reply| reply());
        for pending in notices {
            // Nobody listens while the process shuts down; the next start sends it.
            let _ = self.announce.send(pending);
        }
        Ok(Some(size))
    }

    fn take(&mut self, ask: Ask, replies: &mut Vec<Reply>, notices: &mut Vec<Pending>) {
        match ask {
            Ask::Call(call, reply) => {
                let stamp = Stamp {
                    at: Timestamp::now(),
                    nonce: Uuid::new_v4(),
                };
                let verdict = self.ledger.decide(call, stamp);
                if let Verdict::New(settled) = &verdict {
                    notices.extend(self.record(Record::Settled(Arc::clone(settled))));
                }
                replies.push(Box::new(move || drop(reply.send(verdict))));
            }
            Ask::Read(read) => replies.push(read(&self.ledger)),
            Ask::Note(record) => drop(self.record(record)),
        }
    }

    fn record(&mut self, record: Record) -> Option<Pending> {
        self.journal.push(&record);
        self.ledger.apply(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cards::Card;
    use crate::ledger::{Command, Metadata};

    fn authorization(key: usize) -> Call {
        let command = Command::Authorize {
            amount: 1290,
            currency: "eur".to_owned(),
            card: Card::Visa,
            metadata: Metadata::new(),
        };
        Call {
            key: key.to_string(),
            fingerprint: "same".to_owned(),
            command,
        }
    }

    #[test]
    fn calls_that_wait_together_share_a_sync() {
        let dir = tempfile::tempdir().unwrap();
        let (queue, asks) = mpsc::channel(QUEUE_MAX);
        let (announce, _notices) = mpsc::unbounded_channel();
        let journal = Journal::open(dir.path(), drop).unwrap();
        let mut desk = Desk {
            ledger: Ledger::new(false),
            journal,
            asks,
            announce,
        };
        let mut waiting: Vec<_> = (0..BATCH_MAX + 10)
            .map(|key| {
                let (reply, verdict) = oneshot::channel();
                assert!(queue.try_send(Ask::Call(authorization(key), reply)).is_ok());
                verdict
            })
            .collect();
        drop(queue);
        assert_eq!(desk.batch().unwrap(), Some(BATCH_MAX));
        assert!(
            waiting[..BATCH_MAX]
                .iter_mut()
                .all(|verdict| verdict.try_recv().is_ok())
        );
        assert!(
            waiting[BATCH_MAX..]
                .iter_mut()
                .all(|verdict| verdict.try_recv().is_err())
        );
        assert_eq!(desk.batch().unwrap(), Some(10));
        assert_eq!(desk.batch().unwrap(), None);
    }
}
