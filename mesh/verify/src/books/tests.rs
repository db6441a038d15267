use mesh_contracts::id::{OrderId, UserId};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::payment::Event;
use uuid::Uuid;

use super::*;
use crate::log::{NOON, log};

const ORDER: OrderId = OrderId(Uuid::from_u128(1));
const AMOUNT: Money = Money::new(1_290, Currency::EUR);

/// A while after everything.
const LATER: SignedDuration = SignedDuration::from_mins(5);

/// Taken, and booked.
fn books() -> Books {
    let events = [
        Event::Opened {
            order: ORDER,
            customer: UserId(Uuid::from_u128(2)),
            method: Method::Card,
            amount: AMOUNT,
            pay_by: NOON,
        },
        Event::Due {
            amount: AMOUNT,
            is_final: true,
            seq: 1,
        },
        Event::Captured {
            attempt: 2,
            amount: AMOUNT,
        },
    ];
    let mut books = Books {
        events: log(ORDER.payment(), &events),
        head: 3,
        entries: Vec::new(),
    };
    books.entries = posted(&books);
    books
}

#[track_caller]
fn check(books: &Books, taken: i128, expected: &str) {
    let found = kept("pay_1", books, taken, NOON + LATER, NOON + LATER);
    let what = found.map(|breach| breach.what).unwrap_or_default();
    assert_eq!(what.is_empty(), expected.is_empty(), "{what}");
    assert!(what.contains(expected), "{what}");
}

#[test]
fn books_that_are_kept_are_fine() {
    check(&books(), 1_290, "");
    let unpaid = Books {
        events: books().events[..1].to_vec(),
        head: 1,
        entries: Vec::new(),
    };
    check(&unpaid, 0, "");
}

#[test]
fn an_event_that_is_not_booked_after_a_minute_is_a_breach() {
    let mut behind = books();
    behind.head = 2;
    behind.entries.retain(|entry| entry.version <= 2);
    check(&behind, 1_290, "stands at 2 of 3 events");
    let soon = kept("pay_1", &behind, 1_290, NOON, NOON + SignedDuration::from_secs(30));
    assert_eq!(soon, None, "it may still be booked");
    check(&Books { head: 4, ..books() }, 1_290, "stands at 4 of 3 events");
}

#[test]
fn a_line_that_no_event_posts_is_a_breach() {
    let mut missing = books();
    missing.entries.pop();
    check(&missing, 1_290, "has 3 lines where the events post 4");
    let mut changed = books();
    changed.entries[1].posting.amount.amount += 1;
    check(&changed, 1_290, "another line 1 of event 2");
}

#[test]
fn a_provider_that_has_another_amount_is_a_breach() {
    check(
        &books(),
        1_000,
        "has 1290 in provider_clearing where the provider has 1000",
    );
}

#[test]
fn what_the_provider_took_is_summed_over_an_orders_cards() {
    let entry = |captured, refunded| crate::money::Entry {
        id: "pi_1".into(),
        order_id: Some("ord_1".into()),
        currency: "eur".into(),
        captured,
        refunded,
        open: 0,
        captures: 1,
    };
    let ledger = Ledger {
        entries: vec![entry(0, 0), entry(1_290, 290)],
        asked_at: NOON,
    };
    assert_eq!(taken(&ledger), BTreeMap::from([("ord_1", 1_000)]));
}
