//! One queue per busy stream, and the task that works through it.
//!
//! The task lives only as long as there is work; the state it leaves stays in memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::job::Job;
use super::{Inner, MAILBOX_MAX, lock};
use crate::aggregate::Aggregate;

/// Requests decided in one go. They share one commit, so more only delay the first of them.
const RUN_MAX: usize = 64;

/// Mean pause before a decision is made again after another replica won; half to one and a half
/// of it, times the tries so far, so that the two do not meet again.
const CONFLICT_PAUSE_MS: u64 = 6;

/// A job and how often another replica got ahead of it.
pub(super) struct Queued<A: Aggregate> {
    pub job: Box<dyn Job<A>>,
    pub conflicts: u8,
}

impl<A: Aggregate> Inner<A> {
    /// `false`: the mailbox is full.
    pub(super) fn post(self: &Arc<Self>, stream: String, job: Box<dyn Job<A>>) -> bool {
        let mut mailboxes = lock(&self.mailboxes);
        if let Some(mailbox) = mailboxes.get_mut(&stream) {
            let has_room = mailbox.len() < MAILBOX_MAX;
            if has_room {
                mailbox.push_back(job);
            }
            return has_room;
        }
        mailboxes.insert(stream.clone(), VecDeque::from([job]));
        drop(mailboxes);
        let mailbox = Mailbox {
            inner: Arc::clone(self),
            stream,
        };
        tokio::spawn(mailbox.work());
        true
    }
}

struct Mailbox<A: Aggregate> {
    inner: Arc<Inner<A>>,
    stream: String,
}

impl<A: Aggregate> Mailbox<A> {
    async fn work(self) {
        let mut again: Vec<Queued<A>> = Vec::new();
        loop {
            if let Some(conflicts) = again.iter().map(|queued| queued.conflicts).max()
                && conflicts > 0
            {
                let spread_ms = rand::random_range(CONFLICT_PAUSE_MS / 2..=CONFLICT_PAUSE_MS * 3 / 2);
                let pause = Duration::from_millis(spread_ms * u64::from(conflicts));
                tokio::time::sleep(pause).await;
            }
            let run = self.next_run(again);
            if run.is_empty() {
                return;
            }
            again = self.inner.carry_out(&self.stream, run).await;
        }
    }

    /// Those that come again, first, then the oldest of the queue. With none of either, the
    /// mailbox closes in the same breath, so that the next request starts a new one.
    fn next_run(&self, mut run: Vec<Queued<A>>) -> Vec<Queued<A>> {
        let mut mailboxes = lock(&self.inner.mailboxes);
        if let Some(mailbox) = mailboxes.get_mut(&self.stream) {
            let room = RUN_MAX.saturating_sub(run.len()).min(mailbox.len());
            run.extend(mailbox.drain(..room).map(|job| Queued { job, conflicts: 0 }));
        }
        if run.is_empty() {
            mailboxes.remove(&self.stream);
        }
        run
    }
}

impl<A: Aggregate> Drop for Mailbox<A> {
    /// Only a panic in the rules ends the task with an open mailbox. Its requests are dropped,
    /// which tells their callers; the next one starts afresh.
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.inner.mailboxes).remove(&self.stream);
        }
    }
}
