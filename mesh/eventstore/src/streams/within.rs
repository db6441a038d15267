//! What writes the master's own tables together with events: the rare command, or what goes in batches.
//!
//! It bypasses the mailbox: the transaction, its retry and its commit are the caller's.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use mesh_contracts::envelope::Envelope;
use sqlx::postgres::PgConnection;
use sqlx::{Postgres, Transaction};

use super::job::Settled;
use super::run::{prepare, replay, stored_answers};
use super::{Standing, Streams, SubmitError, snapshot};
use crate::BoxError;
use crate::aggregate::{Aggregate, Decided};
use crate::answer::Outcome;
use crate::append::{Append, AppendError};
use crate::read::{histories_after, signed};
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
        let standings = self.within(tx, std::slice::from_ref(&stream)).await;
        let standing = standings.map_err(unavailable)?.pop();
        let mut standing = standing.unwrap_or_else(Standing::nothing);
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

    /// Streams, each named once, as a transaction sees them, with their versions, read in one statement: for who
    /// decides about many at once and stores it with [`crate::Store::append_in`]. 0: there is no such stream.
    pub async fn load_in(
        &self,
        tx: &mut PgConnection,
        streams: &[String],
    ) -> Result<Vec<(Option<A::State>, u64)>, BoxError> {
        let standings = self.within(tx, streams).await?.into_iter();
        Ok(standings.map(|standing| (standing.state, standing.version)).collect())
    }

    /// Streams as the transaction sees them. Read over its own connection: waiting for a second
    /// one while holding the first, many would wait for each other. Not kept: the transaction
    /// may have written them, and may yet be rolled back.
    async fn within(&self, tx: &mut PgConnection, streams: &[String]) -> Result<Vec<Standing<A>>, BoxError> {
        let kept: Vec<_> = streams.iter().map(|stream| self.inner.states.get(stream)).collect();
        let unknown = streams.iter().zip(&kept).filter(|(_, kept)| kept.is_none());
        let unknown: Vec<String> = unknown.map(|(stream, _)| stream.clone()).collect();
        let mut snapshots = snapshot::newest::<A>(&mut *tx, &unknown).await?;
        let mut standings: Vec<Standing<A>> = Vec::with_capacity(streams.len());
        for (stream, kept) in streams.iter().zip(kept) {
            standings.push(match kept {
                Some(kept) => Arc::unwrap_or_clone(kept),
                None => snapshots.remove(stream).unwrap_or_else(Standing::nothing),
            });
        }
        let versions: Vec<i64> = standings.iter().map(|standing| signed(standing.version)).collect();
        let mut newer: HashMap<String, Vec<Envelope>> = HashMap::new();
        for event in histories_after(tx, streams, &versions).await? {
            newer.entry(event.stream.clone()).or_default().push(event);
        }
        for (stream, standing) in streams.iter().zip(&mut standings) {
            standing.catch_up(newer.remove(stream).unwrap_or_default())?;
        }
        Ok(standings)
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
