//! One run of a mailbox: decide its requests in turn, store them in one go, answer each.
//!
//! Nothing is answered on a state that is not committed: a refusal waits for what was decided
//! before it, and for a look whether another replica has moved the stream on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, Row as _};
use uuid::Uuid;

use super::job::Settled;
use super::mailbox::Queued;
use super::{Inner, Standing};
use crate::BoxError;
use crate::aggregate::{Aggregate, Decided, Effect};
use crate::answer::{Answer, Outcome};
use crate::append::{Append, AppendError, NewEvent, StoredCommand, StreamAppend, TimerChange};
use crate::request::{Request, RequestHash};

/// How often a decision is made again because another replica got ahead.
const CONFLICTS_MAX: u8 = 3;

/// What is to be done for one request of the run.
enum Plan {
    /// Stored as the n-th append, then answered with this.
    Append(usize, Answer),
    /// Accepted with nothing to store.
    Nothing(Answer),
    Rejected,
    Stale(Answer),
    /// The same command stands earlier in this run: first see what becomes of that one.
    Behind,
}

/// A run as decided and not stored yet.
struct Draft<A: Aggregate> {
    plans: Vec<Plan>,
    appends: Vec<Append>,
    /// The state if everything commits.
    after: Standing<A>,
}

impl<A: Aggregate> Inner<A> {
    /// Answers the run's requests, and returns those to be decided again, in order.
    pub(super) async fn carry_out(&self, stream: &str, mut run: Vec<Queued<A>>) -> Vec<Queued<A>> {
        let kept = self.states.get(stream);
        let starts = run
            .iter()
            .all(|queued| queued.conflicts == 0 && queued.job.request().starts);
        let mut is_fresh = false;
        let before = match kept {
            Some(kept) => kept,
            None if starts => Arc::new(Standing::nothing()),
            None => match self.fresh(stream).await {
                Ok(standing) => {
                    is_fresh = true;
                    standing
                }
                Err(err) => return fail(run, &err),
            },
        };
        let draft = self.draft(stream, &before, &mut run);
        let checks_version = draft
            .appends
            .iter()
            .map(|append| !append.streams.is_empty())
            .collect::<Vec<_>>();
        let verdicts = self.store.append_run(draft.appends).await;
        is_fresh |= verdicts
            .iter()
            .zip(checks_version)
            .any(|(verdict, checked)| checked && verdict.is_ok());
        if verdicts.iter().all(Result::is_ok) && draft.after.version > before.version {
            let after = Arc::new(draft.after);
            self.keep(stream, &after);
            self.snapshots.moved(stream, before.version, &after);
        }
        let refusals = refusals(&run, &draft.plans);
        let confirmed = match self.confirm(stream, refusals, &before, is_fresh).await {
            Ok(confirmed) => confirmed,
            Err(err) => Confirmed::Unknown(err.to_string()),
        };
        self.answer(stream, run, draft.plans, verdicts, confirmed).await
    }

    fn draft(&self, stream: &str, before: &Standing<A>, run: &mut [Queued<A>]) -> Draft<A> {
        let mut draft = Draft {
            plans: Vec::with_capacity(run.len()),
            appends: Vec::with_capacity(run.len()),
            after: before.clone(),
        };
        let mut commands = HashSet::new();
        for queued in run {
            let request = queued.job.request();
            let plan = if let Some(command) = &request.command
                && !commands.insert(command.id)
            {
                Plan::Behind
            } else if request
                .if_match
                .is_some_and(|wanted| wanted != draft.after.status_version())
            {
                Plan::Stale(draft.after.answer(request.status, stream))
            } else {
                let now = self.store.clock().now();
                match queued.job.decide(draft.after.state.as_ref(), now) {
                    Some(decided) => {
                        let request = queued.job.request();
                        draft.accept(stream, request, decided, now)
                    }
                    None => Plan::Rejected,
                }
            };
            draft.plans.push(plan);
        }
        draft
    }

    /// Whether refusals may be told: the state they rest on is the committed one, and none of
    /// them is a repetition of a command that was carried out.
    async fn confirm(
        &self,
        stream: &str,
        refusals: Option<Vec<Uuid>>,
        before: &Standing<A>,
        is_fresh: bool,
    ) -> Result<Confirmed, BoxError> {
        let Some(commands) = refusals else {
            return Ok(Confirmed::Nothing);
        };
        if !is_fresh && self.fresh(stream).await?.version != before.version {
            return Ok(Confirmed::Moved);
        }
        let stored = stored_answers(self.store.pool(), &commands).await?;
        Ok(Confirmed::Stored(stored))
    }

    async fn answer(
        &self,
        stream: &str,
        run: Vec<Queued<A>>,
        plans: Vec<Plan>,
        verdicts: Vec<Result<(), AppendError>>,
        confirmed: Confirmed,
    ) -> Vec<Queued<A>> {
        let mut again = Vec::new();
        let mut broken = false;
        for (mut queued, plan) in run.into_iter().zip(plans) {
            let settled = match plan {
                Plan::Append(index, answer) => match &verdicts[index] {
                    Ok(()) => Some(Settled::Answered(Outcome {
                        answer,
                        replayed: false,
                    })),
                    Err(err) => {
                        let is_first = !broken;
                        broken = true;
                        self.refused(stream, &mut queued, err, is_first).await
                    }
                },
                Plan::Behind => None,
                _ if broken => None,
                Plan::Nothing(answer) => confirmed.settle(&queued, || {
                    Settled::Answered(Outcome {
                        answer,
                        replayed: false,
                    })
                }),
                Plan::Rejected => confirmed.settle(&queued, || Settled::Rejected),
                Plan::Stale(answer) => confirmed.settle(&queued, || Settled::Stale(answer)),
            };
            match settled {
                Some(settled) => queued.job.settle(settled),
                None => again.push(queued),
            }
        }
        if broken && let Err(err) = self.fresh(stream).await {
            return fail(again, &err);
        }
        again
    }

    /// `None`: decide it again.
    async fn refused(
        &self,
        stream: &str,
        queued: &mut Queued<A>,
        err: &AppendError,
        is_first: bool,
    ) -> Option<Settled> {
        match err {
            AppendError::Conflict => {
                // Behind a refused one a conflict says nothing about other replicas.
                queued.conflicts += u8::from(is_first);
                (queued.conflicts > CONFLICTS_MAX).then_some(Settled::Conflict)
            }
            AppendError::Duplicate { hash, response } => Some(replay(queued.job.request(), hash, response)),
            AppendError::AlreadySeen | AppendError::TimerGone => match self.fresh(stream).await {
                Ok(standing) => Some(Settled::Answered(Outcome {
                    answer: standing.answer(queued.job.request().status, stream),
                    replayed: true,
                })),
                Err(err) => Some(Settled::Unavailable(err.to_string())),
            },
            AppendError::Refused(why) | AppendError::Unavailable(why) => Some(Settled::Unavailable(why.clone())),
        }
    }
}

impl<A: Aggregate> Draft<A> {
    /// Applies a decision to the draft and says how it is stored and answered.
    fn accept(&mut self, stream: &str, request: &Request, decided: Decided<A::Event>, now: jiff::Timestamp) -> Plan {
        let (append, answer) = prepare(&mut self.after, stream, request, decided, now);
        let stores = append.has_events() || append.command.is_some() || append.mark.is_some() || append.fired.is_some();
        if !stores {
            return Plan::Nothing(answer);
        }
        self.appends.push(append);
        Plan::Append(self.appends.len() - 1, answer)
    }
}

/// What a decision on `standing` stores, and what it is answered; `standing` moves on.
pub(super) fn prepare<A: Aggregate>(
    standing: &mut Standing<A>,
    stream: &str,
    request: &Request,
    decided: Decided<A::Event>,
    now: jiff::Timestamp,
) -> (Append, Answer) {
    let meta = request.meta();
    // Also without events: it checks that the state decided on is the committed one.
    let mut own = StreamAppend {
        stream: stream.to_owned(),
        expected: standing.version,
        events: Vec::with_capacity(decided.events.len()),
    };
    let mut append = Append {
        mark: request.mark(),
        fired: request.fired(stream),
        aside: request.aside.clone(),
        ..Append::default()
    };
    for event in &decided.events {
        let new = NewEvent::new(event, &meta, now);
        standing.apply(event, now);
        if let Some(state) = &standing.state {
            let effects = A::react(state, event, now);
            append.timers.extend(changes(stream, new.event_id, effects));
        }
        own.events.push(new);
    }
    append.streams.push(own);

    let mut answer = standing.answer(request.status, stream);
    for also in decided.also {
        let mut other = StreamAppend {
            stream: also.stream,
            expected: also.expected,
            events: Vec::with_capacity(also.events.len()),
        };
        for event in also.events {
            let event_id = Uuid::now_v7();
            append.timers.extend(changes(&other.stream, event_id, event.effects));
            other.events.push(NewEvent {
                event_id,
                event_type: event.event_type.into(),
                schema_version: event.schema_version,
                data: event.data,
                meta: serde_json::to_string(&meta).expect("meta is texts and ids"),
                at: now,
            });
        }
        let version = other.expected + other.events.len() as u64;
        answer.also.push((other.stream.clone(), version));
        append.streams.push(other);
    }
    append.command = request.command.as_ref().map(|command| StoredCommand {
        id: command.id,
        hash: command.hash.clone(),
        response: answer.to_stored(),
    });
    (append, answer)
}

fn changes(stream: &str, dedup: Uuid, effects: Vec<Effect>) -> impl Iterator<Item = TimerChange> {
    let stream = stream.to_owned();
    effects.into_iter().map(move |effect| {
        let (kind, due) = match effect {
            Effect::SetTimer { kind, due } => (kind, Some(due)),
            Effect::ClearTimer { kind } => (kind, None),
        };
        TimerChange {
            stream: stream.clone(),
            kind,
            due,
            dedup,
        }
    })
}

/// The commands among the answers that store nothing; `None` if there is no such answer.
fn refusals<A: Aggregate>(run: &[Queued<A>], plans: &[Plan]) -> Option<Vec<Uuid>> {
    let mut found = None;
    for (queued, plan) in run.iter().zip(plans) {
        match plan {
            Plan::Rejected | Plan::Stale(_) | Plan::Nothing(_) => {
                let command = queued.job.request().command.as_ref();
                found
                    .get_or_insert_with(Vec::new)
                    .extend(command.map(|command| command.id));
            }
            Plan::Append(..) | Plan::Behind => {}
        }
    }
    found
}

/// What is known about the refusals of a run.
enum Confirmed {
    /// There were none.
    Nothing,
    /// They hold, but for the commands that were carried out before.
    Stored(HashMap<Uuid, (RequestHash, String)>),
    /// Another replica has moved the stream on: decide again.
    Moved,
    /// The database could not be asked.
    Unknown(String),
}

impl Confirmed {
    /// `None`: decide it again.
    fn settle<A: Aggregate>(&self, queued: &Queued<A>, settled: impl FnOnce() -> Settled) -> Option<Settled> {
        match self {
            Self::Nothing => Some(settled()),
            Self::Moved => None,
            Self::Unknown(why) => Some(Settled::Unavailable(why.clone())),
            Self::Stored(answers) => {
                let request = queued.job.request();
                let stored = request.command.as_ref().and_then(|command| answers.get(&command.id));
                Some(match stored {
                    Some((hash, response)) => replay(request, hash, response),
                    None => settled(),
                })
            }
        }
    }
}

/// The stored answer of a repeated command.
pub(super) fn replay(request: &Request, hash: &RequestHash, response: &str) -> Settled {
    if request.command.as_ref().is_some_and(|command| command.hash != *hash) {
        return Settled::KeyReused;
    }
    match Answer::from_stored(response) {
        Ok(answer) => Settled::Answered(Outcome { answer, replayed: true }),
        Err(err) => Settled::Unavailable(err.to_string()),
    }
}

fn fail<A: Aggregate>(run: Vec<Queued<A>>, err: &BoxError) -> Vec<Queued<A>> {
    tracing::warn!(error = %err, "stream cannot be loaded");
    for queued in run {
        queued.job.settle(Settled::Unavailable(err.to_string()));
    }
    Vec::new()
}

/// What these commands were answered, those that were carried out.
pub(super) async fn stored_answers<'e>(
    executor: impl PgExecutor<'e>,
    commands: &[Uuid],
) -> Result<HashMap<Uuid, (RequestHash, String)>, sqlx::Error> {
    if commands.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query("select command_id, request_hash, response from commands where command_id = any($1)")
        .bind(commands)
        .try_map(|row: PgRow| {
            let hash = RequestHash(row.try_get(1)?);
            Ok((row.try_get(0)?, (hash, row.try_get(2)?)))
        })
        .fetch_all(executor)
        .await?;
    Ok(rows.into_iter().collect())
}
