//! The rare command that writes the master's own tables together with events.
//!
//! It bypasses the mailbox: the transaction, its retry and its commit are the caller's.

use jiff::Timestamp;
use sqlx::postgres::PgConnection;
use sqlx::{Postgres, Transaction};

use super::job::Settled;
use super::run::{prepare, replay, stored_answers};
use super::{Standing, Streams, SubmitError};
use crate::BoxError;
use crate::aggregate::{Aggregate, Decided};
use crate::answer::Outcome;
use crate::append::{Append, AppendError};
use crate::read::history_after;
use crate::request::Request;

/// A request stored in a transaction that is still open.
#[derive(Debug)]
pub struct Pending {
    /// What to answer once the transaction has committed. Replayed: this was carried out before,
    /// nothing was stored now; write nothing of your own and roll back.
    pub outcome: Outcome,
    append: Append,
}

impl Pending {
    fn replayed(outcome: Outcome) -> Self {
        Self {
            outcome,
            append: Append::default(),
        }
    }

    /// To be called when the transaction has committed: wakes relay and timers.
    pub fn committed(self, store: &crate::Store) -> Outcome {
        store.committed(&self.append);
        self.outcome
    }
}

impl<A: Aggregate> Streams<A> {
    /// Decides and stores within `tx`. On any error roll back; on [`SubmitError::Conflict`]
    /// the whole transaction may be tried again.
    pub async fn submit_in<D, R, F>(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        stream: impl ToString,
        request: Request,
        decide: F,
    ) -> Result<Pending, SubmitError<R>>
    where
        F: FnOnce(Option<&A::State>, Timestamp) -> Result<D, R>,
        D: Into<Decided<A::Event>>,
    {
        let stream = stream.to_string();
        if let Some(outcome) = stored(tx, &request).await? {
            return Ok(Pending::replayed(outcome));
        }
        let mut standing = self.within(tx, &stream).await.map_err(unavailable)?;
        if request
            .if_match
            .is_some_and(|wanted| wanted != standing.status_version())
        {
            return Err(SubmitError::Stale(standing.answer(request.status, &stream)));
        }
        let now = self.store().clock().now();
        let decided = decide(standing.state.as_ref(), now).map_err(SubmitError::Rejected)?;
        let current = standing.answer(request.status, &stream);
        let (append, answer) = prepare(&mut standing, &stream, &request, decided.into(), now);
        match self.store().append_in(tx, &append).await {
            Ok(()) => Ok(Pending {
                outcome: Outcome {
                    answer,
                    replayed: false,
                },
                append,
            }),
            Err(AppendError::Duplicate { hash, response }) => {
                settled(replay(&request, &hash, &response)).map(Pending::replayed)
            }
            Err(AppendError::AlreadySeen | AppendError::TimerGone) => Ok(Pending::replayed(Outcome {
                answer: current,
                replayed: true,
            })),
            Err(AppendError::Conflict) => Err(SubmitError::Conflict),
            Err(AppendError::Refused(why) | AppendError::Unavailable(why)) => Err(SubmitError::Unavailable(why)),
        }
    }

    /// The stream as the transaction sees it. Read over its own connection: waiting for a second
    /// one while holding the first, many would wait for each other. Not kept: the transaction
    /// may have written it, and may yet be rolled back.
    async fn within(&self, tx: &mut PgConnection, stream: &str) -> Result<Standing<A>, BoxError> {
        let kept = self.inner.states.get(stream);
        let mut standing = kept.map_or_else(Standing::nothing, |kept| (*kept).clone());
        standing.catch_up(history_after(tx, stream, standing.version).await?)?;
        Ok(standing)
    }
}

/// The stored answer, if this command was carried out before.
async fn stored<R>(tx: &mut PgConnection, request: &Request) -> Result<Option<Outcome>, SubmitError<R>> {
    let Some(command) = &request.command else {
        return Ok(None);
    };
    let answers = stored_answers(tx, &[command.id]).await.map_err(unavailable)?;
    match answers.get(&command.id) {
        Some((hash, response)) => settled(replay(request, hash, response)).map(Some),
        None => Ok(None),
    }
}

fn settled<R>(settled: Settled) -> Result<Outcome, SubmitError<R>> {
    match settled {
        Settled::Answered(outcome) => Ok(outcome),
        Settled::KeyReused => Err(SubmitError::KeyReused),
        Settled::Conflict | Settled::Rejected | Settled::Stale(_) => Err(SubmitError::Conflict),
        Settled::Unavailable(why) => Err(SubmitError::Unavailable(why)),
    }
}

fn unavailable<R>(err: impl ToString) -> SubmitError<R> {
    SubmitError::Unavailable(err.to_string())
}
