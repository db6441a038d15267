//! Drives payments: intent, provider call, answer, until nothing is due.
//!
//! Decides nothing itself. What was just asked of us is driven at once; whatever dies in between, the timer `drive`
//! brings the payment back as a job on the queue, and the provider knows the call again by its key.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_bus::Bus;
use mesh_contracts::envelope::Actor;
use mesh_contracts::id::PaymentId;
use mesh_contracts::payment::{Event, Operation};
use mesh_contracts::view::payment::{Call, Payment};
use mesh_eventstore::inbox::Drained;
use mesh_eventstore::timers::{self, Timer};
use mesh_eventstore::{BoxError, Outcome, Request, Streams, SubmitError};
use mesh_runtime::{Shutdown, failpoint, telemetry};
use tracing::Instrument as _;

use crate::domain::payment::{self, Answer, Command, Step, decide, may_need_a_card, next_step};
use crate::domain::{Policy, Rejection};
use crate::ledger::Books;
use crate::provider::Provider;
use crate::store::Tables;
use crate::{App, NAME, Payments, jobs};

/// Tokens that a crash left behind are few and live a day anyway.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);

/// Drives payments, each by one task at a time. Clones share the tasks.
#[derive(Clone)]
pub struct Settler {
    inner: Arc<Inner>,
}

struct Inner {
    payments: Streams<Payments>,
    tables: Tables,
    provider: Provider,
    policy: Policy,
    books: Books,
    /// Payments that a task of this process is driving.
    in_hand: Mutex<HashSet<PaymentId>>,
}

/// What became of driving a payment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driven {
    /// Nothing is due any more, or not yet.
    Done,
    /// Another task of this process is at it.
    InOtherHands,
}

/// Takes the due steps of every payment whose timer passed, until shutdown.
pub async fn run(app: &App, bus: &Bus, drained: Drained, shutdown: Shutdown) {
    let ask = |timer: Timer| async move { app.settler.timer_passed(bus, timer).await };
    tokio::join!(
        resume(app, bus, drained.clone(), shutdown.clone()),
        timers::run(app.store(), PaymentId::PREFIX, drained.clone(), shutdown.clone(), ask),
        jobs::run(&app.settler, bus, drained, shutdown),
    );
}

/// A call that was in flight when this process ended before would be missed only after its time-out;
/// the customer waits for it now. Asking once too often is harmless: the key is the same.
async fn resume(app: &App, bus: &Bus, drained: Drained, shutdown: Shutdown) {
    tokio::select! {
        () = shutdown.triggered() => return,
        () = drained.wait() => {}
    }
    match app.tables.payments_to_drive().await {
        Ok(payments) => {
            for (id, version) in payments {
                app.settler.ask_for(bus, id, version).await;
            }
        }
        Err(err) => tracing::warn!(error = %err, "open payments not read, their timers will tell"),
    }
}

/// Removes tokens of orders that were never placed, until shutdown.
pub async fn sweep_tokens(tables: &Tables, shutdown: Shutdown) {
    while !shutdown.is_triggered() {
        match tables.drop_old_tokens().await {
            Ok(0) => {}
            Ok(tokens) => tracing::info!(tokens, "dropped tokens that were left behind"),
            Err(err) => tracing::warn!(error = %err, "old tokens not dropped"),
        }
        tokio::select! {
            () = shutdown.triggered() => {}
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
    }
}

impl Settler {
    pub fn new(payments: Streams<Payments>, tables: Tables, provider: Provider, policy: Policy, books: Books) -> Self {
        let in_hand = Mutex::default();
        Self {
            inner: Arc::new(Inner {
                payments,
                tables,
                provider,
                policy,
                books,
                in_hand,
            }),
        }
    }

    /// Drives a payment in the background, in the trace of what asked for it. Nothing is lost if that fails: its timer
    /// stands.
    pub fn kick(&self, id: PaymentId, traceparent: Option<String>) {
        let settler = self.clone();
        tokio::spawn(async move {
            if let Err(err) = settler.drive(id, traceparent.as_deref()).await {
                tracing::warn!(order.id = %id.order(), error = %err, "payment not driven, coming again");
            }
        });
    }

    /// By whoever is free, or here while the bus is away: money does not wait for it.
    async fn ask_for(&self, bus: &Bus, id: PaymentId, version: u64) {
        if let Err(err) = jobs::ask_for(bus, id, version).await {
            tracing::warn!(order.id = %id.order(), error = %err, "payment cannot be put on the queue, driven here");
            self.kick(id, None);
        }
    }

    /// Drives a payment until nothing is due now, in a trace that others began, or in a new one.
    pub async fn drive(&self, id: PaymentId, traceparent: Option<&str>) -> Result<Driven, BoxError> {
        let Some(hand) = Hand::take(&self.inner, id) else {
            return Ok(Driven::InOtherHands);
        };
        let span = tracing::info_span!("settle", order.id = %id.order(), trace_id = tracing::field::Empty);
        telemetry::adopt(&span, traceparent);
        hand.inner.settle(id).instrument(span).await?;
        Ok(Driven::Done)
    }

    async fn timer_passed(&self, bus: &Bus, timer: Timer) -> Result<(), BoxError> {
        let id: PaymentId = timer.stream.parse()?;
        // Never from memory: what another replica did since decides whether this timer may go.
        let known = self.inner.payments.load(id).await?;
        if let Some((payment, version)) = known
            && next_step(&payment).is_some()
        {
            self.ask_for(bus, id, version).await;
            return Ok(());
        }
        let nothing = |_: Option<&Payment>, _| Ok::<_, Rejection>(Vec::<Event>::new());
        self.inner
            .payments
            .submit(id, Request::timer(NAME, &timer), nothing)
            .await?;
        Ok(())
    }
}

impl Inner {
    async fn settle(&self, id: PaymentId) -> Result<(), BoxError> {
        while let Some(payment) = self.load(id).await? {
            match next_step(&payment) {
                None => {
                    self.forget_tokens(&payment);
                    return Ok(());
                }
                Some(Step::Ask(call)) => {
                    let answer = self.ask(&payment, &call).await?;
                    let lost = answer == Answer::Lost;
                    self.tell(
                        id,
                        Command::Answered {
                            attempt: call.attempt,
                            answer,
                        },
                    )
                    .await?;
                    if lost {
                        return Ok(());
                    }
                }
                Some(Step::Intend { .. } | Step::Book(_)) => {
                    let after = self.tell(id, Command::Drive).await?.answer.version;
                    if after == payment.version {
                        // Due, but not yet: a refund that failed waits, and so does a customer's other card.
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    async fn ask(&self, payment: &Payment, call: &Call) -> Result<Answer, BoxError> {
        let proof = match call.operation {
            Operation::Authorize => self.token(payment, call).await?,
            Operation::Capture | Operation::Void | Operation::Refund => payment.provider_id.clone(),
        };
        Ok(match proof {
            Some(proof) => {
                failpoint::reach(failpoint::PROVIDER_BEFORE);
                let answer = self.provider.ask(payment.order, call, &proof).await;
                failpoint::reach(failpoint::PROVIDER_AFTER);
                answer
            }
            // Never asked, and never will be: the customer may try another card.
            None if call.lost == 0 => Answer::Refused {
                code: "token_missing".into(),
            },
            None => {
                tracing::error!(order.id = %payment.order, attempt = call.attempt, "cannot ask again without the token");
                Answer::Lost
            }
        })
    }

    async fn tell(&self, id: PaymentId, command: Command) -> Result<Outcome, SubmitError<Rejection>> {
        let policy = self.policy.clone();
        let request = Request::by(Actor::service(NAME));
        let told = self
            .payments
            .submit(id, request, move |payment, now| decide(payment, &command, now, &policy))
            .await;
        self.books.note(id);
        told
    }

    /// As last known here: a step that another replica has taken since is refused when we tell of it, and the
    /// provider knows a call that it was asked before.
    async fn load(&self, id: PaymentId) -> Result<Option<Payment>, BoxError> {
        Ok(self.payments.recent(id).await?.map(|(payment, _)| payment))
    }

    /// That of the card that the call is for: its own, or when we ask anew, the one that promised before.
    async fn token(&self, payment: &Payment, call: &Call) -> Result<Option<String>, BoxError> {
        let own = self.tables.token(&call.key).await?;
        let is_anew = call.key == payment::key(payment.order.payment(), call.attempt);
        Ok(match (own, &payment.promised_under) {
            (None, Some(before)) if is_anew => self.tables.token(before).await?,
            (own, _) => own,
        })
    }

    /// Where no card will be asked for a promise any more, no token is kept.
    fn forget_tokens(&self, payment: &Payment) {
        if !may_need_a_card(payment) {
            self.tables.drop_tokens_of(payment.order);
        }
    }
}

/// A payment in the hand of one task; let go when dropped.
struct Hand {
    inner: Arc<Inner>,
    id: PaymentId,
}

impl Hand {
    fn take(inner: &Arc<Inner>, id: PaymentId) -> Option<Self> {
        lock(&inner.in_hand).insert(id).then(|| Self {
            inner: Arc::clone(inner),
            id,
        })
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        lock(&self.inner.in_hand).remove(&self.id);
    }
}

/// A panic elsewhere leaves the set whole: nothing panics while it is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
