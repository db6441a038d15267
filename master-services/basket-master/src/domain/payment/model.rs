//! The payment machine against a model of the provider, under every order of loss, crash, repetition and change of mind.

use std::collections::HashMap;

use mesh_contracts::money::Currency;
use mesh_contracts::view::payment::fold;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const PRICE: i64 = 1290;
/// More steps than any settled payment has left.
const STEPS_MAX: usize = 100;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn whatever_happens_money_ends_where_it_is_due(acts in acts(), last in amount()) {
        let mut world = World::opened();
        for act in acts {
            world.act(act);
        }
        let possible = world.possible(last);
        world.settle(last);
        world.check(&possible);
    }
}

/// What can happen at any time.
#[derive(Debug, Clone)]
enum Act {
    /// The driver takes a step, over a network and through a process that may fail it.
    Drive(Fate),
    /// order-master names another amount.
    Due { cents: i64, is_final: bool },
    /// The customer tries another card.
    PayAgain(Card),
    /// A webhook arrives: any of those sent so far, again or for the first time.
    Webhook(prop::sample::Index),
    /// An answer arrives that had been given up: to any call so far.
    LateAnswer(prop::sample::Index),
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    /// Asked and answered.
    Fine,
    /// Asked, done, and the answer is lost.
    AnswerLost,
    /// Never arrives.
    RequestLost,
    /// Asked, done, and we die before recording it.
    KilledAfter,
    /// We die before asking.
    KilledBefore,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Card {
    Good,
    Declined,
    CaptureFails,
    /// This many refunds fail.
    RefundFails(u32),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let fate = prop_oneof![
        4 => Just(Fate::Fine),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::RequestLost),
        1 => Just(Fate::KilledAfter),
        1 => Just(Fate::KilledBefore),
    ];
    let act = prop_oneof![
        8 => fate.prop_map(Act::Drive),
        2 => (amount(), any::<bool>()).prop_map(|(cents, is_final)| Act::Due { cents, is_final }),
        1 => card().prop_map(Act::PayAgain),
        1 => any::<prop::sample::Index>().prop_map(Act::Webhook),
        1 => any::<prop::sample::Index>().prop_map(Act::LateAnswer),
    ];
    prop::collection::vec(act, 0..40)
}

fn card() -> impl Strategy<Value = Card> {
    prop_oneof![
        4 => Just(Card::Good),
        2 => Just(Card::Declined),
        1 => Just(Card::CaptureFails),
        1 => (1..4_u32).prop_map(Card::RefundFails),
    ]
}

fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![2 => Just(0), 2 => Just(PRICE), 1 => 0..=PRICE]
}

/// One promise, as the provider's ledger has it.
#[derive(Debug, Clone)]
struct Intent {
    card: Card,
    open: i64,
    captured: i64,
    captures: u32,
    refunded: i64,
    refunds_failed: u32,
}

/// The provider: durable, idempotent by key.
#[derive(Default)]
struct Provider {
    intents: Vec<Intent>,
    answers: HashMap<String, Answer>,
    /// Keys in the order of their first use; each was announced by a webhook.
    keys: Vec<String>,
}

impl Provider {
    fn ask(&mut self, call: &Call, card: Card, promise: Option<&str>) -> Answer {
        if let Some(answer) = self.answers.get(&call.key) {
            return answer.clone();
        }
        let answer = self.carry_out(call, card, promise);
        self.answers.insert(call.key.clone(), answer.clone());
        self.keys.push(call.key.clone());
        answer
    }

    fn carry_out(&mut self, call: &Call, card: Card, promise: Option<&str>) -> Answer {
        let cents = call.amount.amount;
        let refused = Answer::Refused {
            code: "declined".into(),
        };
        if call.operation == Operation::Authorize {
            let provider_id = self.intents.len().to_string();
            let open = if card == Card::Declined { 0 } else { cents };
            self.intents.push(Intent {
                card,
                open,
                captured: 0,
                captures: 0,
                refunded: 0,
                refunds_failed: 0,
            });
            return if card == Card::Declined {
                refused
            } else {
                Answer::Done { provider_id }
            };
        }
        let provider_id = promise
            .expect("only promises are captured, voided and refunded")
            .to_owned();
        let intent = &mut self.intents[provider_id.parse::<usize>().expect("ours")];
        match (call.operation, intent.card) {
            (Operation::Capture, Card::CaptureFails) => return refused,
            (Operation::Capture, _) => {
                assert!(intent.open >= cents, "captured more than was promised");
                (intent.open, intent.captured) = (0, cents);
                intent.captures += 1;
            }
            (Operation::Void, _) => {
                assert!(intent.open > 0, "voided twice");
                intent.open = 0;
            }
            (Operation::Refund, Card::RefundFails(times)) if intent.refunds_failed < times => {
                intent.refunds_failed += 1;
                return refused;
            }
            (Operation::Refund, _) => {
                assert!(
                    intent.captured - intent.refunded >= cents,
                    "gave back more than was taken"
                );
                intent.refunded += cents;
            }
            (Operation::Authorize, _) => unreachable!("returned above"),
        }
        Answer::Done { provider_id }
    }
}

struct World {
    now: Timestamp,
    policy: Policy,
    payment: Option<Payment>,
    events: Vec<Event>,
    provider: Provider,
    cards: HashMap<String, Card>,
    seq: u32,
}

impl World {
    fn opened() -> Self {
        let now = Timestamp::constant(1_700_000_000, 0);
        let order = OrderId(Uuid::from_u128(7));
        let mut world = Self {
            now,
            policy: Policy::default(),
            payment: None,
            events: Vec::new(),
            provider: Provider::default(),
            cards: HashMap::new(),
            seq: 0,
        };
        world.tell(&Command::Open {
            order,
            customer: customer(),
            method: Method::Card,
            amount: euros(PRICE),
            pay_by: now + jiff::SignedDuration::from_hours(100),
        });
        world
    }

    /// Decides and commits: what is decided is recorded, as the store promises.
    fn tell(&mut self, command: &Command) {
        let Ok(events) = decide(self.payment.as_ref(), command, self.now, &self.policy) else {
            return;
        };
        for event in &events {
            self.payment = fold(self.payment.take(), event, self.now);
        }
        self.events.extend(events);
    }

    fn act(&mut self, act: Act) {
        // Past every pause between tries.
        self.now += jiff::SignedDuration::from_secs(90);
        match act {
            Act::Drive(fate) => self.drive(fate),
            Act::Due { cents, is_final } => self.due(cents, is_final),
            Act::PayAgain(card) => {
                let key = format!("again-{}", self.cards.len());
                self.cards.insert(key.clone(), card);
                self.tell(&Command::PayAgain {
                    customer: customer(),
                    key,
                });
            }
            Act::Webhook(which) => {
                if let Some(key) = pick(&self.provider.keys, which) {
                    let answer = self.provider.answers[&key].clone();
                    let call = self.payment.as_ref().and_then(|payment| payment.call.clone());
                    if let Some(call) = call.filter(|call| call.key == key) {
                        self.tell(&Command::Answered {
                            attempt: call.attempt,
                            answer,
                        });
                    }
                }
            }
            Act::LateAnswer(which) => {
                if let Some(key) = pick(&self.provider.keys, which) {
                    let attempt = self.attempt_of(&key);
                    let answer = self.provider.answers[&key].clone();
                    self.tell(&Command::Answered { attempt, answer });
                }
            }
        }
    }

    fn due(&mut self, cents: i64, is_final: bool) {
        self.seq += 1;
        self.tell(&Command::Due {
            amount: euros(cents),
            is_final,
            seq: self.seq,
        });
    }

    /// What the driver does: the intent is committed before the call, the answer after it.
    fn drive(&mut self, fate: Fate) {
        self.tell(&Command::Drive);
        let Some(Step::Ask(call)) = self.payment.as_ref().and_then(next_step) else {
            return;
        };
        let asked = match fate {
            Fate::Fine | Fate::AnswerLost | Fate::KilledAfter => Some(self.ask(&call)),
            Fate::RequestLost | Fate::KilledBefore => None,
        };
        let heard = match fate {
            Fate::Fine => asked,
            Fate::AnswerLost | Fate::RequestLost => Some(Answer::Lost),
            Fate::KilledAfter | Fate::KilledBefore => None,
        };
        if let Some(answer) = heard {
            self.tell(&Command::Answered {
                attempt: call.attempt,
                answer,
            });
        }
    }

    fn ask(&mut self, call: &Call) -> Answer {
        let payment = self.payment.as_ref().expect("opened");
        // Its own card, or the one that promised before.
        let before = || self.cards.get(payment.promised_under.as_ref()?);
        let card = self.cards.get(&call.key).or_else(before).copied().unwrap_or(Card::Good);
        let promise = payment.provider_id.clone();
        self.provider.ask(call, card, promise.as_deref())
    }

    fn attempt_of(&self, wanted: &str) -> u32 {
        let attempt = self.events.iter().find_map(|event| match event {
            Event::Intended { attempt, key, .. } if key == wanted => Some(*attempt),
            _ => None,
        });
        attempt.expect("nothing is asked without an intent")
    }

    /// The order ends, the network heals, and the driver runs until nothing is due.
    fn settle(&mut self, cents: i64) {
        self.due(cents, true);
        for _ in 0..STEPS_MAX {
            self.now += jiff::SignedDuration::from_hours(2);
            match self.payment.as_ref().and_then(next_step) {
                Some(_) => self.drive(Fate::Fine),
                None => return,
            }
        }
        panic!("still not settled: {:?}", self.payment);
    }

    /// What may be kept in the end if this much is due from now on: a call whose intent is recorded is carried out.
    fn possible(&self, due: i64) -> Vec<i64> {
        let payment = self.payment.as_ref().expect("opened");
        let under_way = payment.call.as_ref().map(|call| (call.operation, call.amount.amount));
        let kept = payment.captured.amount - payment.refunded.amount;
        match under_way {
            Some((Operation::Refund, back)) => vec![due.min(kept - back), due.min(kept)],
            Some((Operation::Capture, cents)) => vec![due.min(cents), 0],
            Some((Operation::Void, _)) => vec![0],
            Some((Operation::Authorize, _)) | None if payment.captured.is_zero() => vec![due, 0],
            Some((Operation::Authorize, _)) | None => vec![due.min(kept)],
        }
    }

    fn check(&self, possible: &[i64]) {
        let payment = self.payment.as_ref().expect("opened");
        let sum = |of: fn(&Intent) -> i64| self.provider.intents.iter().map(of).sum::<i64>();
        let captures: u32 = self.provider.intents.iter().map(|intent| intent.captures).sum();
        let (captured, refunded) = (sum(|intent| intent.captured), sum(|intent| intent.refunded));
        assert!(captures <= 1, "captured {captures} times");
        assert_eq!(sum(|intent| intent.open), 0, "a promise is still open");
        assert_eq!(
            (payment.captured.amount, payment.refunded.amount),
            (captured, refunded),
            "the ledgers differ"
        );
        assert!(payment.authorized.is_zero() && payment.call.is_none());
        let kept = captured - refunded;
        assert_eq!(
            payment.owed(),
            (payment.due() - kept).max(0),
            "what is not kept is owed"
        );
        assert!(possible.contains(&kept), "kept {kept}, possible {possible:?}");
        let taken_or_closed = captured > 0 || payment.status == Status::Voided;
        assert!(taken_or_closed, "neither taken nor closed: {payment:?}");
    }
}

fn pick(keys: &[String], which: prop::sample::Index) -> Option<String> {
    (!keys.is_empty()).then(|| which.get(keys).clone())
}

fn customer() -> UserId {
    UserId(Uuid::from_u128(8))
}

fn euros(cents: i64) -> Money {
    Money::new(cents, Currency::EUR)
}
