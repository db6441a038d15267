use uuid::Uuid;

use super::*;
use crate::money::Currency;

const NOON: Timestamp = Timestamp::constant(1_700_000_000, 0);
const LATER: Timestamp = Timestamp::constant(1_700_000_060, 0);

fn euros(cents: i64) -> Money {
    Money::new(cents, Currency::EUR)
}

fn opened(method: Method) -> Event {
    Event::Opened {
        order: OrderId(Uuid::from_u128(7)),
        customer: UserId(Uuid::from_u128(8)),
        method,
        amount: euros(1290),
        pay_by: LATER,
    }
}

fn intended(attempt: u32, operation: Operation, cents: i64) -> Event {
    Event::Intended {
        attempt,
        operation,
        amount: euros(cents),
        key: format!("key-{attempt}"),
        answer_by: LATER,
    }
}

fn authorized() -> Event {
    Event::Authorized {
        attempt: 1,
        amount: euros(1290),
        provider_id: "pi_1".into(),
    }
}

fn captured() -> Event {
    Event::Captured {
        attempt: 2,
        amount: euros(1290),
    }
}

fn folded(events: &[Event]) -> Payment {
    events
        .iter()
        .fold(None, |payment, event| fold(payment, event, NOON))
        .expect("starts with opened")
}

#[test]
fn money_moves_from_promised_to_taken_to_given_back() {
    let mut events = vec![opened(Method::Card), intended(1, Operation::Authorize, 1290)];
    assert_eq!(folded(&events).status, Status::Authorizing);
    events.push(authorized());
    let promised = folded(&events);
    assert_eq!(
        (promised.status, promised.authorized, promised.call),
        (Status::Authorized, euros(1290), None)
    );
    events.extend([intended(2, Operation::Capture, 1290), captured()]);
    let taken = folded(&events);
    assert_eq!(
        (taken.status, taken.authorized, taken.captured),
        (Status::Captured, euros(0), euros(1290))
    );
    events.extend([
        intended(3, Operation::Refund, 290),
        Event::Refunded {
            attempt: 3,
            amount: euros(290),
        },
    ]);
    assert_eq!(folded(&events).status, Status::PartiallyRefunded);
    events.extend([
        intended(4, Operation::Refund, 1000),
        Event::Refunded {
            attempt: 4,
            amount: euros(1000),
        },
    ]);
    let back = folded(&events);
    assert_eq!((back.status, back.refunded), (Status::Refunded, euros(1290)));
    assert_eq!(back.version, events.len() as u64);
    assert_eq!(back.status_version, back.version);
}

#[test]
fn a_lost_answer_keeps_the_call_and_its_key() {
    let payment = folded(&[
        opened(Method::Card),
        intended(1, Operation::Authorize, 1290),
        Event::Unknown {
            attempt: 1,
            operation: Operation::Authorize,
            retry_at: LATER,
        },
    ]);
    let call = payment.call.expect("still open");
    assert_eq!(payment.status, Status::Unknown);
    assert_eq!((call.key.as_str(), call.lost), ("key-1", 1));
}

#[test]
fn only_the_newest_amount_due_counts() {
    let due = |cents, seq| Event::Due {
        amount: euros(cents),
        is_final: true,
        seq,
    };
    let payment = folded(&[opened(Method::Card), due(0, 2), due(1290, 1)]);
    assert_eq!(
        payment.target,
        Some(Target {
            amount: euros(0),
            is_final: true,
            seq: 2
        })
    );
    assert_eq!((payment.status, payment.version), (Status::None, 3));
}

#[test]
fn a_failed_capture_leaves_the_promise() {
    let payment = folded(&[
        opened(Method::Card),
        intended(1, Operation::Authorize, 1290),
        authorized(),
        intended(2, Operation::Capture, 1290),
        Event::CaptureFailed {
            attempt: 2,
            code: "expired".into(),
            recover_by: Some(LATER),
        },
    ]);
    assert_eq!(payment.status, Status::Authorized);
    assert!(payment.capture_failed);
    assert_eq!(payment.authorized, euros(1290));
    assert_eq!(
        (payment.recover_by, payment.promised_under.as_deref()),
        (Some(LATER), Some("key-1"))
    );
}

#[test]
fn a_new_promise_takes_the_place_of_one_that_failed() {
    let failed = Event::CaptureFailed {
        attempt: 2,
        code: "expired".into(),
        recover_by: Some(LATER),
    };
    let again = Event::Authorized {
        attempt: 4,
        amount: euros(1290),
        provider_id: "pi_2".into(),
    };
    let mut events = vec![
        opened(Method::Card),
        intended(1, Operation::Authorize, 1290),
        authorized(),
        intended(2, Operation::Capture, 1290),
        failed,
        intended(3, Operation::Void, 1290),
        Event::Voided { attempt: 3 },
    ];
    assert!(!folded(&events).asked_anew);
    events.extend([intended(4, Operation::Authorize, 1290), again]);
    let payment = folded(&events);
    assert!(payment.asked_anew && !payment.capture_failed);
    assert_eq!(payment.provider_id.as_deref(), Some("pi_2"));
    assert_eq!(payment.promised_under.as_deref(), Some("key-4"));
}

#[test]
fn what_is_not_taken_is_a_debt_and_what_need_not_be_taken_is_borne_by_who_is_at_fault() {
    let liable = Liable::Courier;
    let payment = folded(&[
        opened(Method::Card),
        Event::CollectionFailed { amount: euros(1290) },
        Event::DebtBooked { amount: euros(1290) },
        Event::LiableNamed {
            liable,
            amount: euros(1290),
            borne: None,
        },
        Event::DebtBooked { amount: euros(290) },
        Event::LiabilityBooked {
            liable,
            amount: euros(1000),
        },
    ]);
    assert_eq!(payment.status, Status::Voided);
    assert_eq!((payment.owed(), payment.borne()), (290, 1000));
    assert_eq!((payment.liable, payment.liable_for), (Some(liable), Some(euros(1290))));
}

#[test]
fn a_refund_is_overdue_until_it_goes_back() {
    let mut events = vec![
        opened(Method::Card),
        intended(1, Operation::Authorize, 1290),
        authorized(),
        intended(2, Operation::Capture, 1290),
        captured(),
        intended(3, Operation::Refund, 1290),
        Event::RefundFailed {
            attempt: 3,
            code: "no".into(),
            retry_at: LATER,
        },
        Event::RefundOverdue {
            amount: euros(1290),
            failures: 1,
        },
    ];
    assert!(folded(&events).refund_overdue);
    let back = Event::Refunded {
        attempt: 4,
        amount: euros(1290),
    };
    events.extend([intended(4, Operation::Refund, 1290), back]);
    assert!(!folded(&events).refund_overdue);
}

#[test]
fn cash_is_agreed_then_collected() {
    let agreed = Event::CashAgreed { amount: euros(1290) };
    let payment = folded(&[opened(Method::Cash), agreed.clone()]);
    assert_eq!((payment.status, payment.authorized), (Status::Authorized, euros(1290)));
    let paid = folded(&[
        opened(Method::Cash),
        agreed,
        Event::CashCollected { amount: euros(1290) },
    ]);
    assert_eq!((paid.status, paid.captured), (Status::Captured, euros(1290)));
    assert!(paid.authorized.is_zero());
}

#[test]
fn a_stream_starts_with_opened() {
    assert_eq!(fold(None, &captured(), NOON), None);
}
