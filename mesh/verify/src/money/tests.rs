use mesh_contracts::id::UserId;
use mesh_contracts::money::Currency;
use mesh_contracts::order::Reason;
use mesh_contracts::payment::{Event, Operation};
use uuid::Uuid;

use super::*;
use crate::log::{NOON, log, said};

const ORDER: OrderId = OrderId(Uuid::from_u128(1));
const AMOUNT: Money = Money::new(1_290, Currency::EUR);
const NOTHING: Money = Money::new(0, Currency::EUR);

fn opened(method: Method) -> Event {
    Event::Opened {
        order: ORDER,
        customer: UserId(Uuid::from_u128(2)),
        method,
        amount: AMOUNT,
        pay_by: NOON,
    }
}

fn intended(attempt: u32, operation: Operation) -> Event {
    Event::Intended {
        attempt,
        operation,
        amount: AMOUNT,
        key: format!("key-{attempt}"),
        answer_by: NOON,
    }
}

fn authorized() -> Event {
    Event::Authorized {
        attempt: 1,
        amount: AMOUNT,
        provider_id: "pi_1".into(),
    }
}

fn due(amount: Money) -> Event {
    Event::Due {
        amount,
        is_final: true,
        seq: 1,
    }
}

fn captured() -> Event {
    Event::Captured {
        attempt: 2,
        amount: AMOUNT,
    }
}

fn taken() -> Vec<Event> {
    vec![
        opened(Method::Card),
        intended(1, Operation::Authorize),
        authorized(),
        due(AMOUNT),
        intended(2, Operation::Capture),
        captured(),
    ]
}

fn entry(captured: i64, refunded: i64, open: i64) -> Entry {
    Entry {
        id: "pi_1".into(),
        order_id: Some(ORDER.to_string()),
        currency: "eur".into(),
        captured,
        refunded,
        open,
        captures: u32::from(captured > 0),
    }
}

/// An order that ended a while ago with this due, a payment, and what the provider has.
struct Case {
    due: Money,
    payment: Vec<Event>,
    provider: Vec<Entry>,
    /// When the provider was asked, and now.
    after: SignedDuration,
}

impl Case {
    fn of(due: Money, payment: Vec<Event>, provider: Vec<Entry>) -> Self {
        let after = SignedDuration::from_mins(5);
        Self {
            due,
            payment,
            provider,
            after,
        }
    }

    /// What order-master and basket-master know.
    fn witnesses(&self) -> (BTreeMap<String, Claim>, BTreeMap<String, Account>) {
        let order = [
            order::Event::PaymentRequested {
                customer: UserId(Uuid::from_u128(2)),
                method: Method::Card,
                amount: AMOUNT,
                pay_by: NOON,
            },
            order::Event::Rejected {
                reason: Reason::NoCandidate,
                held_at: None,
            },
            order::Event::SettlementDue {
                amount: self.due,
                is_final: true,
                seq: 1,
            },
        ];
        let id = ORDER.to_string();
        let claims = claim(&log(ORDER, &order)).map(|claim| (id.clone(), claim));
        let accounts = account(&log(ORDER.payment(), &self.payment)).map(|account| (id, account));
        (claims.into_iter().collect(), accounts.into_iter().collect())
    }

    #[track_caller]
    fn check(self, expected: &str) {
        let (claims, accounts) = self.witnesses();
        let ledger = Ledger {
            entries: self.provider,
            asked_at: NOON + self.after,
        };
        let breaches = settled(&claims, &accounts, &ledger, NOON + self.after);
        assert_eq!(breaches.is_empty(), expected.is_empty(), "{}", said(&breaches));
        assert!(said(&breaches).contains(expected), "{}", said(&breaches));
    }
}

#[test]
fn money_taken_that_was_due_is_fine() {
    Case::of(AMOUNT, taken(), vec![entry(1_290, 0, 0)]).check("");
}

#[test]
fn money_given_back_that_was_not_due_is_fine() {
    let mut payment = taken();
    payment.extend([
        intended(3, Operation::Refund),
        Event::Refunded {
            attempt: 3,
            amount: AMOUNT,
        },
    ]);
    Case::of(NOTHING, payment, vec![entry(1_290, 1_290, 0)]).check("");
}

#[test]
fn cash_is_none_of_the_providers_business() {
    let cash = vec![
        opened(Method::Cash),
        Event::CashAgreed { amount: AMOUNT },
        due(AMOUNT),
        Event::CashCollected { amount: AMOUNT },
    ];
    Case::of(AMOUNT, cash.clone(), Vec::new()).check("");
    Case::of(AMOUNT, cash, vec![entry(1_290, 0, 0)]).check("at the provider");
}

#[test]
fn money_kept_that_is_not_due_is_a_breach() {
    Case::of(NOTHING, taken(), vec![entry(1_290, 0, 0)]).check("0 is due, 1290 is kept, 0 is owed");
}

#[test]
fn money_due_without_a_payment_is_a_breach() {
    Case::of(AMOUNT, Vec::new(), Vec::new()).check("there is no payment");
    Case::of(NOTHING, Vec::new(), Vec::new()).check("");
}

#[test]
fn a_second_capture_is_a_breach_wherever_it_was_made() {
    let mut payment = taken();
    payment.push(captured());
    Case::of(AMOUNT, payment, vec![entry(1_290, 0, 0)]).check("taken 2 times");
    let twice = vec![entry(1_290, 0, 0), entry(1_290, 0, 0)];
    Case::of(AMOUNT, taken(), twice).check("the provider took the money 2 times");
}

#[test]
fn a_promise_left_open_is_a_breach_after_a_minute() {
    let promised = || vec![opened(Method::Card), intended(1, Operation::Authorize), authorized()];
    let case = || Case::of(NOTHING, promised(), vec![entry(0, 0, 1_290)]);
    case().check("1290 is still promised");
    Case {
        after: SignedDuration::from_secs(50),
        ..case()
    }
    .check("");
}

#[test]
fn a_provider_that_says_otherwise_is_a_breach() {
    Case::of(AMOUNT, taken(), vec![entry(1_290, 100, 0)]).check("(1290, 100, 0) at the provider");
    Case::of(AMOUNT, taken(), Vec::new()).check("(0, 0, 0) at the provider");
}

#[test]
fn a_provider_that_is_a_call_ahead_is_fine_while_the_call_is_open() {
    let mut payment = taken();
    payment.truncate(5);
    let after = SignedDuration::from_secs(50);
    Case {
        after,
        ..Case::of(AMOUNT, payment, vec![entry(1_290, 0, 0)])
    }
    .check("");
}

#[test]
fn money_of_an_order_that_nobody_knows_is_a_breach() {
    let stranger = Entry {
        order_id: None,
        ..entry(1_290, 0, 0)
    };
    Case::of(AMOUNT, taken(), vec![entry(1_290, 0, 0), stranger]).check("without a payment");
}

#[test]
fn a_debt_and_a_refund_that_is_tried_again_are_booked_not_lost() {
    let debt = vec![
        opened(Method::Card),
        intended(1, Operation::Authorize),
        authorized(),
        due(AMOUNT),
        intended(2, Operation::Capture),
        Event::CaptureFailed {
            attempt: 2,
            code: "declined".into(),
            recover_by: None,
        },
        intended(3, Operation::Void),
        Event::Voided { attempt: 3 },
        Event::CollectionFailed { amount: AMOUNT },
    ];
    let booked = [&debt[..], &[Event::DebtBooked { amount: AMOUNT }]].concat();
    Case::of(AMOUNT, booked, vec![entry(0, 0, 0)]).check("");
    Case::of(AMOUNT, debt, vec![entry(0, 0, 0)]).check("1290 is due, 0 is kept, 0 is owed");
    let mut refused = taken();
    refused.extend([
        intended(3, Operation::Refund),
        Event::RefundFailed {
            attempt: 3,
            code: "no".into(),
            retry_at: NOON,
        },
    ]);
    Case::of(NOTHING, refused, vec![entry(1_290, 0, 0)]).check("");
}

#[test]
fn an_order_is_waited_for_while_its_money_moves_and_no_longer() {
    let promised = vec![opened(Method::Card), intended(1, Operation::Authorize), authorized()];
    let (claims, accounts) = Case::of(NOTHING, promised, Vec::new()).witnesses();
    let at = |seconds| NOON + SignedDuration::from_secs(seconds);
    assert_eq!(pending(&claims, &accounts, at(30)), [ORDER]);
    assert_eq!(pending(&claims, &accounts, at(300)), []);
    let (claims, accounts) = Case::of(AMOUNT, taken(), Vec::new()).witnesses();
    assert_eq!(pending(&claims, &accounts, at(30)), []);
}
