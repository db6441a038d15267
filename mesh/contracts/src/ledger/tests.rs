use uuid::Uuid;

use super::*;
use crate::id::{OrderId, UserId};
use crate::payment::Operation;

const NOON: Timestamp = Timestamp::constant(1_700_000_000, 0);
const PRICE: i64 = 1290;

#[test]
fn what_is_due_is_owed_until_it_is_taken() {
    let mut events = vec![opened(Method::Card), authorized(), due(PRICE, 1)];
    check(&events, &[("customer_receivable", PRICE), ("revenue", -PRICE)]);
    events.push(captured(PRICE));
    check(&events, &[("provider_clearing", PRICE), ("revenue", -PRICE)]);
}

#[test]
fn what_goes_back_leaves_the_provider_and_is_seen_as_a_refund() {
    let mut events = vec![
        opened(Method::Card),
        authorized(),
        due(PRICE, 1),
        captured(PRICE),
        due(1000, 2),
    ];
    check(
        &events,
        &[
            ("customer_receivable", -290),
            ("provider_clearing", PRICE),
            ("refunds", 290),
            ("revenue", -PRICE),
        ],
    );
    events.push(refunded(290));
    check(
        &events,
        &[("provider_clearing", 1000), ("refunds", 290), ("revenue", -PRICE)],
    );
}

#[test]
fn cash_is_on_hand_and_goes_back_from_there() {
    let cash = Event::CashCollected { amount: euros(PRICE) };
    let mut events = vec![opened(Method::Cash), due(PRICE, 1), cash];
    check(&events, &[("cash_on_hand", PRICE), ("revenue", -PRICE)]);
    events.extend([due(0, 2), refunded(PRICE)]);
    check(&events, &[("refunds", PRICE), ("revenue", -PRICE)]);
}

#[test]
fn an_amount_due_that_is_old_or_the_same_posts_nothing() {
    let events = [opened(Method::Card), due(PRICE, 2), due(0, 1), due(PRICE, 3)];
    check(&events, &[("customer_receivable", PRICE), ("revenue", -PRICE)]);
}

#[test]
fn a_debt_and_a_liability_are_levels_of_which_the_difference_is_posted() {
    let debt = |cents| Event::DebtBooked { amount: euros(cents) };
    let borne = |cents| Event::LiabilityBooked {
        liable: Liable::Point,
        amount: euros(cents),
    };
    let mut events = vec![opened(Method::Card), due(PRICE, 1), debt(PRICE)];
    check(&events, &[("debts", PRICE), ("revenue", -PRICE)]);
    events.extend([due(290, 2), debt(290), borne(900), borne(1000)]);
    check(&events, &[("debts", 290), ("liable_point", 1000), ("revenue", -PRICE)]);
}

#[test]
fn promises_intents_and_lost_answers_post_nothing() {
    let quiet = [
        opened(Method::Card),
        Event::Intended {
            attempt: 1,
            operation: Operation::Authorize,
            amount: euros(PRICE),
            key: "key-1".into(),
            answer_by: NOON,
        },
        Event::Unknown {
            attempt: 1,
            operation: Operation::Authorize,
            retry_at: NOON,
        },
        authorized(),
        Event::Voided { attempt: 2 },
    ];
    check(&quiet, &[]);
}

#[test]
fn every_event_balances_by_itself() {
    let events = [
        opened(Method::Card),
        due(PRICE, 1),
        captured(PRICE),
        due(0, 2),
        refunded(PRICE),
        Event::DebtBooked { amount: euros(5) },
        Event::LiabilityBooked {
            liable: Liable::Courier,
            amount: euros(7),
        },
    ];
    let entries = entries_of(&events);
    assert!(entries.len() > 10, "{entries:?}");
    for version in 1..=events.len() as u64 {
        let sum: i64 = entries
            .iter()
            .filter(|entry| entry.version == version)
            .map(|entry| entry.posting.amount.amount)
            .sum();
        assert_eq!(sum, 0, "event {version}");
    }
}

#[test]
fn an_event_of_a_newer_build_only_counts() {
    let events = [Some(opened(Method::Card)), None, Some(due(PRICE, 1))];
    let entries = entries(events.map(|event| (event, NOON)));
    assert_eq!(entries.iter().map(|entry| entry.version).collect::<Vec<_>>(), [3, 3]);
}

#[test]
fn an_account_has_one_name() {
    for account in Account::ALL {
        assert_eq!(Account::parse(account.as_str()), Some(account));
    }
}

/// Balances that are not zero, by name.
#[track_caller]
fn check(events: &[Event], expected: &[(&str, i64)]) {
    let entries = entries_of(events);
    let mut balances: Vec<_> = balances(entries.iter().map(|entry| entry.posting))
        .into_iter()
        .filter(|(_, balance)| *balance != 0)
        .map(|((account, _), balance)| (account.as_str(), i64::try_from(balance).expect("small")))
        .collect();
    balances.sort_unstable();
    assert_eq!(balances, expected);
}

fn entries_of(events: &[Event]) -> Vec<Entry> {
    entries(events.iter().map(|event| (Some(event.clone()), NOON)))
}

fn euros(cents: i64) -> Money {
    Money::new(cents, Currency::EUR)
}

fn opened(method: Method) -> Event {
    Event::Opened {
        order: OrderId(Uuid::from_u128(7)),
        customer: UserId(Uuid::from_u128(8)),
        method,
        amount: euros(PRICE),
        pay_by: NOON,
    }
}

fn authorized() -> Event {
    Event::Authorized {
        attempt: 1,
        amount: euros(PRICE),
        provider_id: "pi_1".into(),
    }
}

fn due(cents: i64, seq: u32) -> Event {
    Event::Due {
        amount: euros(cents),
        is_final: seq > 1,
        seq,
    }
}

fn captured(cents: i64) -> Event {
    Event::Captured {
        attempt: 2,
        amount: euros(cents),
    }
}

fn refunded(cents: i64) -> Event {
    Event::Refunded {
        attempt: 3,
        amount: euros(cents),
    }
}
