//! A request in a mailbox, with the type of its rejection hidden: mailboxes hold all kinds.

use std::marker::PhantomData;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{SubmitError, UnderWay};
use crate::aggregate::{Aggregate, Decided};
use crate::answer::{Answer, Outcome};
use crate::request::Request;

/// A request that waits to be decided and answered.
pub(super) trait Job<A: Aggregate>: Send {
    fn request(&self) -> &Request;

    /// `None`: the rules say no; why is kept for [`Job::settle`].
    fn decide(&mut self, state: Option<&A::State>, now: Timestamp) -> Option<Decided<A::Event>>;

    fn settle(self: Box<Self>, settled: Settled);
}

/// How a job ends.
pub(super) enum Settled {
    Answered(Outcome),
    Rejected,
    Stale(Answer),
    Conflict,
    KeyReused,
    Unavailable(String),
}

pub(super) struct Typed<A: Aggregate, F, R> {
    request: Request,
    decide: F,
    rejection: Option<R>,
    reply: oneshot::Sender<Result<Outcome, SubmitError<R>>>,
    under_way: Option<UnderWay<A>>,
    aggregate: PhantomData<fn() -> A>,
}

impl<A: Aggregate, F, R> Typed<A, F, R> {
    pub fn new(
        request: Request,
        decide: F,
        reply: oneshot::Sender<Result<Outcome, SubmitError<R>>>,
        under_way: Option<UnderWay<A>>,
    ) -> Self {
        Self {
            request,
            decide,
            rejection: None,
            reply,
            under_way,
            aggregate: PhantomData,
        }
    }
}

impl<A, F, R, D> Job<A> for Typed<A, F, R>
where
    A: Aggregate,
    F: Fn(Option<&A::State>, Timestamp) -> Result<D, R> + Send,
    D: Into<Decided<A::Event>>,
    R: Send,
{
    fn request(&self) -> &Request {
        &self.request
    }

    fn decide(&mut self, state: Option<&A::State>, now: Timestamp) -> Option<Decided<A::Event>> {
        match (self.decide)(state, now) {
            Ok(decided) => Some(decided.into()),
            Err(rejection) => {
                self.rejection = Some(rejection);
                None
            }
        }
    }

    fn settle(self: Box<Self>, settled: Settled) {
        drop(self.under_way);
        let result = match (settled, self.rejection) {
            (Settled::Answered(outcome), _) => Ok(outcome),
            (Settled::Rejected, Some(rejection)) => Err(SubmitError::Rejected(rejection)),
            (Settled::Rejected, None) => Err(SubmitError::Unavailable("no reason given".into())),
            (Settled::Stale(answer), _) => Err(SubmitError::Stale(answer)),
            (Settled::Conflict, _) => Err(SubmitError::Conflict),
            (Settled::KeyReused, _) => Err(SubmitError::KeyReused),
            (Settled::Unavailable(why), _) => Err(SubmitError::Unavailable(why)),
        };
        // Whoever asked may have gone; what is stored is stored.
        let _ = self.reply.send(result);
    }
}
