//! One order's money under ten thousand orders of events: client, kitchen, network, provider, webhooks, time-outs and
//! crashes in any order. The provider is the stand-in's own ledger, so it is a witness that shares no rule with ours.

use std::sync::Arc;

use jiff::SignedDuration;
use mesh_contracts::ledger::{Account, balances, entries};
use mesh_contracts::money::Currency;
use mesh_contracts::view::payment::fold;
use proptest::prelude::*;
use proptest::sample::Index;
use sandbox_payments::cards::Card;
use sandbox_payments::ledger::{self, Ledger, Metadata, NoticeKind, Outcome, Record, Refusal, Stamp, Verdict};
use uuid::Uuid;

use super::*;

const PRICE: i64 = 1290;

/// More steps than any payment has left when nothing is in its way any more.
const STEPS_MAX: usize = 60;

/// Past every time-out and every pause between two tries of one call.
const A_WHILE: SignedDuration = SignedDuration::from_secs(40);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]
    #[test]
    fn captured_once_if_assigned_and_not_cancelled_before_and_nothing_stays_open(
        first in card(),
        acts in prop::collection::vec(act(), 0..48),
    ) {
        let mut world = World::opened(first);
        for act in acts {
            world.act(act);
        }
        world.end();
        world.check();
    }
}

/// What can happen next, if it can happen at all.
#[derive(Debug, Clone)]
enum Act {
    /// The driver writes down what it is about to ask, and asks.
    Drive,
    /// A request reaches the provider.
    Arrive(Index),
    /// A request never does.
    LoseRequest(Index),
    /// The provider's answer reaches us: the client's call is complete.
    Complete(Index),
    /// An answer never does.
    LoseAnswer(Index),
    /// The driver waits no longer.
    TimeOut,
    /// A webhook comes, so many times: any that was ever sent.
    Webhook(Index, usize),
    /// The process dies and starts again: only the events are kept.
    Crash,
    /// The customer brings a card.
    PayAgain(Card),
    /// The kitchen accepts.
    Assign,
    /// The kitchen begins.
    Cook,
    /// Somebody cancels.
    Cancel,
    /// The food is handed over.
    HandOver,
    /// Nobody does anything for a while.
    Wait,
}

fn act() -> impl Strategy<Value = Act> {
    let any = any::<Index>;
    prop_oneof![
        8 => Just(Act::Drive),
        8 => any().prop_map(Act::Arrive),
        1 => any().prop_map(Act::LoseRequest),
        6 => any().prop_map(Act::Complete),
        1 => any().prop_map(Act::LoseAnswer),
        2 => Just(Act::TimeOut),
        3 => (any(), prop_oneof![Just(1_usize), Just(100)]).prop_map(|(which, times)| Act::Webhook(which, times)),
        2 => Just(Act::Crash),
        2 => card().prop_map(Act::PayAgain),
        3 => Just(Act::Assign),
        1 => Just(Act::Cook),
        1 => Just(Act::Cancel),
        1 => Just(Act::HandOver),
        1 => Just(Act::Wait),
    ]
}

fn card() -> impl Strategy<Value = Card> {
    prop_oneof![
        6 => Just(Card::Visa),
        2 => Just(Card::Declined),
        1 => Just(Card::InsufficientFunds),
        1 => Just(Card::CaptureFails),
    ]
}

/// An order as far as money is concerned.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    Created,
    Paid,
    Assigned { cooking: bool },
    Completed,
    Cancelled,
}

/// An answer on its way, by whichever road.
#[derive(Debug, Clone)]
struct Told {
    key: String,
    attempt: u32,
    operation: Operation,
    answer: Answer,
}

struct World {
    now: Timestamp,
    policy: Policy,
    /// All that is durable.
    events: Vec<(Event, Timestamp)>,
    /// In memory.
    payment: Option<Payment>,
    /// In memory: the driver waits for the answer to this attempt.
    waiting: Option<u32>,
    cards: Vec<(String, Card)>,
    order: Order,
    /// It was assigned at some time.
    assigned: bool,
    seq: u32,
    requests: Vec<(Call, ledger::Call)>,
    answers: Vec<Told>,
    webhooks: Vec<Told>,
    provider: Ledger,
    nonce: u128,
}

impl World {
    fn opened(card: Card) -> Self {
        let now = Timestamp::constant(1_700_000_000, 0);
        let mut world = Self {
            now,
            policy: Policy::default(),
            events: Vec::new(),
            payment: None,
            waiting: None,
            cards: vec![(key(order().payment(), 1), card)],
            order: Order::Created,
            assigned: false,
            seq: 0,
            requests: Vec::new(),
            answers: Vec::new(),
            webhooks: Vec::new(),
            provider: Ledger::new(true),
            nonce: 0,
        };
        world.tell(&Command::Open {
            order: order(),
            customer: customer(),
            method: Method::Card,
            amount: euros(PRICE),
            pay_by: now + SignedDuration::from_hours(100),
        });
        world
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Drive => self.drive(),
            Act::Arrive(which) => {
                if let Some((call, asked)) = take(&mut self.requests, which) {
                    self.carry_out(call, asked);
                }
            }
            Act::LoseRequest(which) => drop(take(&mut self.requests, which)),
            Act::Complete(which) => {
                if let Some(told) = take(&mut self.answers, which) {
                    self.complete(&told);
                }
            }
            Act::LoseAnswer(which) => drop(take(&mut self.answers, which)),
            Act::TimeOut => {
                if let Some(attempt) = self.waiting.take() {
                    self.now += A_WHILE;
                    let answer = Answer::Lost;
                    self.tell(&Command::Answered { attempt, answer });
                }
            }
            Act::Webhook(which, times) => {
                if !self.webhooks.is_empty() {
                    let told = which.get(&self.webhooks).clone();
                    (0..times).for_each(|_| self.webhook(&told));
                }
            }
            Act::Crash => self.crash(),
            Act::PayAgain(card) => self.pay_again(card),
            Act::Assign => self.assign(),
            Act::Cook => {
                if let Order::Assigned { cooking } = &mut self.order {
                    *cooking = true;
                }
            }
            Act::Cancel => self.cancel(),
            Act::HandOver => self.hand_over(),
            Act::Wait => self.now += A_WHILE,
        }
    }

    /// Decides and commits: what is decided is recorded, as the store promises. Others hear of it.
    fn tell(&mut self, command: &Command) {
        let Ok(events) = decide(self.payment.as_ref(), command, self.now, &self.policy) else {
            return;
        };
        for event in events {
            self.payment = fold(self.payment.take(), &event, self.now);
            self.events.push((event.clone(), self.now));
            self.hear(&event);
        }
    }

    /// What order-master does about it.
    fn hear(&mut self, event: &Event) {
        match (event, self.order) {
            (Event::Authorized { .. }, Order::Created) => self.order = Order::Paid,
            (Event::Declined { count, .. }, Order::Created) if *count >= DECLINES_MAX => self.cancel(),
            (Event::CollectionFailed { .. }, Order::Assigned { cooking: false }) => self.cancel(),
            _ => {}
        }
    }

    fn due(&mut self, cents: i64, is_final: bool) {
        self.seq += 1;
        let (amount, seq) = (euros(cents), self.seq);
        self.tell(&Command::Due { amount, is_final, seq });
    }

    fn assign(&mut self) {
        if self.order == Order::Paid {
            self.order = Order::Assigned { cooking: false };
            self.assigned = true;
            self.due(PRICE, false);
        }
    }

    fn cancel(&mut self) {
        if !matches!(self.order, Order::Completed | Order::Cancelled) {
            self.order = Order::Cancelled;
            self.due(0, true);
        }
    }

    fn hand_over(&mut self) {
        if matches!(self.order, Order::Assigned { .. }) {
            self.order = Order::Completed;
            self.due(PRICE, true);
        }
    }

    fn pay_again(&mut self, card: Card) {
        let key = format!("again-{}", self.cards.len());
        self.cards.push((key.clone(), card));
        let customer = customer();
        self.tell(&Command::PayAgain { customer, key });
    }

    /// What the settler does: the intent is durable before the provider is asked, and one call is asked at a time.
    fn drive(&mut self) {
        self.tell(&Command::Drive);
        let Some(Step::Ask(call)) = self.payment.as_ref().and_then(next_step) else {
            return;
        };
        if self.waiting != Some(call.attempt) {
            self.waiting = Some(call.attempt);
            let asked = self.ask(&call);
            self.requests.push((call, asked));
        }
    }

    fn ask(&self, call: &Call) -> ledger::Call {
        let payment = self.payment.as_ref().expect("opened");
        let amount = call.amount.amount.unsigned_abs();
        let promise = || payment.provider_id.clone().expect("promised");
        let command = match call.operation {
            Operation::Authorize => ledger::Command::Authorize {
                amount,
                currency: "eur".to_owned(),
                card: self.card(payment, call),
                metadata: Metadata::from([(ledger::ORDER_ID.to_owned(), order().to_string())]),
            },
            Operation::Capture => ledger::Command::Capture {
                payment: promise(),
                amount: Some(amount),
            },
            Operation::Void => ledger::Command::Cancel {
                payment: promise(),
                reason: None,
            },
            Operation::Refund => ledger::Command::Refund {
                payment: promise(),
                amount: Some(amount),
                metadata: Metadata::new(),
            },
        };
        ledger::Call {
            key: call.key.clone(),
            fingerprint: format!("{command:?}"),
            command,
        }
    }

    /// The call's own card, or the one that promised before.
    fn card(&self, payment: &Payment, call: &Call) -> Card {
        let of = |wanted: &str| self.cards.iter().find(|(key, _)| key == wanted).map(|(_, card)| *card);
        let before = || payment.promised_under.as_deref().and_then(of);
        of(&call.key).or_else(before).expect("nothing is asked without a card")
    }

    fn carry_out(&mut self, call: Call, asked: ledger::Call) {
        self.nonce += 1;
        let stamp = Stamp {
            at: self.now,
            nonce: Uuid::from_u128(self.nonce),
        };
        let answer = match self.provider.decide(asked, stamp) {
            Verdict::New(settled) => {
                let answer = answer_of(&settled.payment, &settled.outcome);
                let notice = self.provider.apply(Record::Settled(Arc::clone(&settled)));
                self.webhooks.extend(notice.map(|notice| Told {
                    key: notice.key,
                    attempt: call.attempt,
                    operation: announced(notice.notice.kind),
                    answer: answer.clone(),
                }));
                answer
            }
            Verdict::Replayed(before) => answer_of(&before.payment, &before.outcome),
            Verdict::KeyReused | Verdict::NoSuchPayment => panic!("asked twice under one key: {call:?}"),
        };
        self.answers.push(Told {
            key: call.key,
            attempt: call.attempt,
            operation: call.operation,
            answer,
        });
    }

    fn complete(&mut self, told: &Told) {
        if self.waiting == Some(told.attempt) {
            self.waiting = None;
        }
        let (attempt, answer) = (told.attempt, told.answer.clone());
        self.tell(&Command::Answered { attempt, answer });
    }

    /// As the route takes it: only the answer to the call that is open.
    fn webhook(&mut self, told: &Told) {
        let call = self.payment.as_ref().and_then(|payment| payment.call.as_ref());
        if call.is_some_and(|call| call.key == told.key && call.operation == told.operation) {
            self.complete(told);
        }
    }

    fn crash(&mut self) {
        let kept = self
            .events
            .iter()
            .fold(None, |payment, (event, at)| fold(payment, event, *at));
        assert_eq!(kept, self.payment, "the events are all there is");
        self.payment = kept;
        self.waiting = None;
        self.answers.clear();
    }

    /// The order ends, the network heals, and time passes until nothing is due.
    fn end(&mut self) {
        match self.order {
            Order::Created | Order::Paid => self.cancel(),
            Order::Assigned { .. } => self.hand_over(),
            Order::Completed | Order::Cancelled => {}
        }
        for _ in 0..STEPS_MAX {
            self.now += A_WHILE;
            self.drive();
            while let Some((call, asked)) = self.requests.pop() {
                self.carry_out(call, asked);
            }
            while let Some(told) = self.answers.pop() {
                self.complete(&told);
            }
            // What was lost on the way is asked for again.
            self.waiting = None;
            if self.payment.as_ref().and_then(next_step).is_none() {
                return;
            }
        }
        panic!("still not settled: {:?}", self.payment);
    }

    fn check(&self) {
        let payment = self.payment.as_ref().expect("opened");
        let at_provider = self.provider.payments_of(&order().to_string());
        let sum = |of: fn(&ledger::Payment) -> u64| at_provider.iter().map(|payment| of(payment)).sum::<u64>();
        let captures: u32 = at_provider.iter().map(|payment| payment.captures).sum();
        let (captured, refunded) = (sum(|payment| payment.captured), sum(ledger::Payment::refunded));

        assert_eq!(sum(ledger::Payment::open), 0, "a promise stayed open");
        let ours = (
            payment.captured.amount,
            payment.refunded.amount,
            payment.authorized.amount,
        );
        let theirs = (captured.cast_signed(), refunded.cast_signed(), 0);
        assert_eq!(ours, theirs, "the ledgers differ");

        assert!(captures <= 1, "captured {captures} times");
        let was_cancelled = self.order == Order::Cancelled;
        if !self.assigned || self.cancelled_before_capture() {
            assert_eq!(captures, 0, "captured though not assigned, or cancelled before");
        } else if !self
            .events
            .iter()
            .any(|(event, _)| matches!(event, Event::CaptureFailed { .. }))
        {
            assert_eq!(captures, 1, "assigned, not cancelled before, and not captured");
        }
        let due = if was_cancelled { 0 } else { PRICE };
        assert_eq!(payment.kept() + payment.owed(), due, "kept and owed");
        if was_cancelled {
            assert_eq!(payment.owed(), 0, "nothing is owed for an order that was cancelled");
        }
        self.check_books(payment);
    }

    /// Whether nothing was to be taken any more when the capture could have begun.
    fn cancelled_before_capture(&self) -> bool {
        let place = |wanted: fn(&Event) -> bool| self.events.iter().position(|(event, _)| wanted(event));
        let cancelled = place(|event| matches!(event, Event::Due { amount, is_final: true, .. } if amount.is_zero()));
        let capturing = place(|event| {
            matches!(
                event,
                Event::Intended {
                    operation: Operation::Capture,
                    ..
                }
            )
        });
        match (cancelled, capturing) {
            (Some(cancelled), Some(capturing)) => cancelled < capturing,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    fn check_books(&self, payment: &Payment) {
        let events = self.events.iter().map(|(event, at)| (Some(event.clone()), *at));
        let balances = balances(entries(events).iter().map(|entry| entry.posting));
        assert_eq!(balances.values().sum::<i128>(), 0, "the books do not balance");
        let of = |account| balances.get(&(account, Currency::EUR)).copied().unwrap_or_default();
        assert_eq!(of(Account::ProviderClearing), payment.kept().into());
        assert_eq!(of(Account::Debts), payment.owed().into());
        assert_eq!(
            of(Account::CustomerReceivable),
            0,
            "settled, and something is still to come"
        );
    }
}

fn answer_of(payment: &ledger::Payment, outcome: &Outcome) -> Answer {
    let done = |provider_id: &str| Answer::Done {
        provider_id: provider_id.to_owned(),
    };
    let refused = |code: &str| Answer::Refused { code: code.to_owned() };
    match outcome {
        Outcome::Payment | Outcome::Refund => done(&payment.id),
        Outcome::Refused(Refusal::Declined | Refusal::CaptureDeclined) => refused("declined"),
        Outcome::Refused(refusal) => panic!("asked for what cannot be: {refusal:?} of {payment:?}"),
    }
}

fn announced(kind: NoticeKind) -> Operation {
    match kind {
        NoticeKind::Authorized | NoticeKind::Declined => Operation::Authorize,
        NoticeKind::Captured => Operation::Capture,
        NoticeKind::Canceled => Operation::Void,
        NoticeKind::Refunded | NoticeKind::RefundFailed => Operation::Refund,
    }
}

fn take<T>(all: &mut Vec<T>, which: Index) -> Option<T> {
    (!all.is_empty()).then(|| all.remove(which.index(all.len())))
}

fn order() -> OrderId {
    OrderId(Uuid::from_u128(7))
}

fn customer() -> UserId {
    UserId(Uuid::from_u128(8))
}

fn euros(cents: i64) -> Money {
    Money::new(cents, Currency::EUR)
}
