//! Drives payments: intent, provider call, answer, until nothing is due.
//!
//! Decides nothing itself. Whatever dies in between, the timer `drive` brings the payment back here,
//! and the provider knows the call again by its key.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_contracts::envelope::Actor;
use mesh_contracts::id::PaymentId;
use mesh_contracts::payment::{Event, Operation};
use mesh_contracts::view::payment::{Call, Payment};
use mesh_eventstore::inbox::Drained;
use mesh_eventstore::timers::{self, Timer};
use mesh_eventstore::{BoxError, Outcome, Request, Streams, SubmitError};
use mesh_runtime::Shutdown;
use tracing::Instrument as _;

use crate::domain::payment::{self, Answer, Command, Step, decide, may_need_a_card, next_step};
use crate::domain::{Policy, Rejection};
use crate::ledger::Books;
use crate::provider::Provider;
use crate::store::Tables;
use crate::{App, NAME, Payments};

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

/// Takes the due steps of every payment whose timer passed, until shutdown.
pub async fn run(app: &App, drained: Drained, shutdown: Shutdown) {
    let drive = |timer: Timer| async move { app.settler.timer_passed(timer).await };
    tokio::join!(
        resume(app, drained.clone(), shutdown.clone()),
        timers::run(app.store(), PaymentId::PREFIX, drained, shutdown, drive),
    );
}

/// A call that was in flight when this process ended before would be missed only after its time-out;
/// the customer waits for it now. Asking once too often is harmless: the key is the same.
async fn resume(app: &App, drained: Drained, shutdown: Shutdown) {
    tokio::select! {
        () = shutdown.triggered() => return,
        () = drained.wait() => {}
    }
    match app.tables.payments_to_drive().await {
        Ok(payments) => payments.into_iter().for_each(|id| app.settler.kick(id)),
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

    /// Drives a payment in the background. Nothing is lost if that fails: its timer stands.
    pub fn kick(&self, id: PaymentId) {
        let Some(hand) = Hand::take(&self.inner, id) else {
            return;
        };
        let span = tracing::info_span!("settle", order.id = %id.order());
        let drive = async move {
            if let Err(err) = hand.inner.settle(id).await {
                tracing::warn!(error = %err, "payment not driven, coming again");
            }
        };
        tokio::spawn(drive.instrument(span));
    }

    async fn timer_passed(&self, timer: Timer) -> Result<(), BoxError> {
        let id: PaymentId = timer.stream.parse()?;
        // Never from memory: what another replica did since decides whether this timer may go.
        let known = self.inner.payments.load(id).await?;
        let due = known.and_then(|(payment, _)| next_step(&payment));
        if due.is_some() {
            // Not awaited: a slow provider must not hold up the timers of other payments.
            self.kick(id);
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
            Some(proof) => self.provider.ask(payment.order, call, &proof).await,
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
