use mesh_contracts::money::Currency;
use mesh_contracts::view::payment::fold;
use uuid::Uuid;

use super::*;

const NOON: Timestamp = Timestamp::constant(1_700_000_000, 0);
const LATER: Timestamp = Timestamp::constant(1_700_000_600, 0);
const PRICE: i64 = 1290;

#[test]
fn a_card_is_asked_for_its_promise_once() {
    check([], open(Method::Card), Ok(vec![opened(Method::Card)]));
    check([opened(Method::Card)], open(Method::Card), Ok(vec![]));
    check(
        [opened(Method::Card)],
        Command::Drive,
        Ok(vec![intended(1, Operation::Authorize, PRICE)]),
    );
    check([opened(Method::Card), authorizing()], Command::Drive, Ok(vec![]));
}

#[test]
fn cash_is_agreed_at_once_and_taken_when_the_amount_is_final() {
    check([opened(Method::Cash)], Command::Drive, Ok(vec![cash_agreed()]));
    check(
        [opened(Method::Cash), cash_agreed(), due(PRICE, false, 1)],
        Command::Drive,
        Ok(vec![]),
    );
    check(
        [
            opened(Method::Cash),
            cash_agreed(),
            due(PRICE, false, 1),
            due(PRICE, true, 2),
        ],
        Command::Drive,
        Ok(vec![Event::CashCollected { amount: euros(PRICE) }]),
    );
}

#[test]
fn agreed_cash_that_is_not_due_is_closed() {
    check(
        [opened(Method::Cash), cash_agreed(), due(0, true, 1)],
        Command::Drive,
        Ok(vec![voided(0)]),
    );
}

#[test]
fn the_providers_yes_and_no_are_recorded() {
    check(
        [opened(Method::Card), authorizing()],
        answer(1, done()),
        Ok(vec![authorized(1)]),
    );
    check(
        [opened(Method::Card), authorizing()],
        answer(1, refused()),
        Ok(vec![declined(1, 1)]),
    );
}

#[test]
fn an_answer_to_another_call_means_nothing() {
    check([opened(Method::Card), authorizing()], answer(2, done()), Ok(vec![]));
    check(
        [opened(Method::Card), authorizing(), authorized(1)],
        answer(1, done()),
        Ok(vec![]),
    );
    check([], answer(1, done()), Ok(vec![]));
}

#[test]
fn a_lost_call_is_asked_again_under_its_key_ever_more_slowly() {
    let policy = Policy::default();
    check(
        [opened(Method::Card), authorizing()],
        answer(1, Answer::Lost),
        Ok(vec![unknown(1)]),
    );
    check(
        [opened(Method::Card), authorizing(), unknown(1)],
        answer(1, Answer::Lost),
        Ok(vec![unknown(2)]),
    );
    let payment = folded(&[opened(Method::Card), authorizing(), unknown(1)]).expect("a payment");
    let Some(Step::Ask(call)) = next_step(&payment) else {
        panic!("the call is still open")
    };
    assert_eq!(call.key, key(order().payment(), 1));
    let pauses: Vec<_> = (0..8).map(|lost| policy.retry(lost).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
}

#[test]
fn a_due_amount_is_captured_once() {
    let given = [opened(Method::Card), authorizing(), authorized(1), due(PRICE, false, 1)];
    check(
        given.clone(),
        Command::Drive,
        Ok(vec![intended(2, Operation::Capture, PRICE)]),
    );
    let given = [
        &given[..],
        &[
            intended(2, Operation::Capture, PRICE),
            captured(2, PRICE),
            due(PRICE, true, 2),
        ],
    ]
    .concat();
    check_given(&given, Command::Drive, Ok(vec![]));
}

#[test]
fn a_promise_is_kept_until_something_is_due() {
    check(
        [opened(Method::Card), authorizing(), authorized(1)],
        Command::Drive,
        Ok(vec![]),
    );
    check(
        [opened(Method::Card), authorizing(), authorized(1), due(0, false, 1)],
        Command::Drive,
        Ok(vec![]),
    );
}

#[test]
fn no_more_than_the_promise_is_captured() {
    check(
        [
            opened(Method::Card),
            authorizing(),
            authorized(1),
            due(PRICE + 1, true, 1),
        ],
        Command::Drive,
        Ok(vec![intended(2, Operation::Capture, PRICE)]),
    );
}

#[test]
fn a_promise_for_an_ended_order_is_given_back() {
    check(
        [opened(Method::Card), authorizing(), authorized(1), due(0, true, 1)],
        Command::Drive,
        Ok(vec![intended(2, Operation::Void, PRICE)]),
    );
    check(
        [
            opened(Method::Card),
            authorizing(),
            due(0, true, 1),
            unknown(1),
            authorized(1),
        ],
        Command::Drive,
        Ok(vec![intended(2, Operation::Void, PRICE)]),
    );
}

#[test]
fn a_payment_of_an_order_that_ended_first_is_closed_without_a_call() {
    check(
        [opened(Method::Card), due(0, true, 1)],
        Command::Drive,
        Ok(vec![voided(0)]),
    );
    check(
        [opened(Method::Card), authorizing(), declined(1, 1), due(0, true, 1)],
        Command::Drive,
        Ok(vec![voided(1)]),
    );
    check(
        [opened(Method::Card), due(0, true, 1), voided(0)],
        Command::Drive,
        Ok(vec![]),
    );
}

#[test]
fn what_was_taken_above_what_is_due_goes_back() {
    let taken = [
        opened(Method::Card),
        authorizing(),
        authorized(1),
        due(PRICE, false, 1),
        intended(2, Operation::Capture, PRICE),
        captured(2, PRICE),
    ];
    let back = |cents, seq| [&taken[..], &[due(cents, true, seq)]].concat();
    check_given(
        &back(0, 2),
        Command::Drive,
        Ok(vec![intended(3, Operation::Refund, PRICE)]),
    );
    check_given(
        &back(1000, 2),
        Command::Drive,
        Ok(vec![intended(3, Operation::Refund, 290)]),
    );
}

#[test]
fn a_failed_refund_is_tried_with_a_new_call_later() {
    let given = [
        opened(Method::Card),
        authorizing(),
        authorized(1),
        due(PRICE, false, 1),
        intended(2, Operation::Capture, PRICE),
        captured(2, PRICE),
        due(0, true, 2),
        intended(3, Operation::Refund, PRICE),
    ];
    let failed = Event::RefundFailed {
        attempt: 3,
        code: "declined".into(),
        retry_at: NOON + Policy::default().retry(0),
    };
    check(given.clone(), answer(3, refused()), Ok(vec![failed.clone()]));
    let payment = folded(&[&given[..], &[failed]].concat()).expect("a payment");
    assert_eq!(drive(&payment, NOON, &Policy::default()), []);
    let later = drive(&payment, LATER, &Policy::default());
    assert!(
        matches!(
            &later[..],
            [Event::Intended {
                attempt: 4,
                operation: Operation::Refund,
                ..
            }]
        ),
        "{later:?}"
    );
}

#[test]
fn somebody_is_told_of_a_refund_that_fails_and_fails() {
    let mut given = refunding();
    for failures in 1..=REFUND_ALERT_AFTER {
        let attempt = folded(&given).expect("a payment").attempt;
        let told = decide(
            folded(&given).as_ref(),
            &answer(attempt, refused()),
            NOON,
            &Policy::default(),
        );
        let told = told.expect("a fact is never refused");
        let alert = Event::RefundOverdue {
            amount: euros(PRICE),
            failures,
        };
        assert_eq!(
            told.contains(&alert),
            failures == REFUND_ALERT_AFTER,
            "{failures} failures"
        );
        given.extend(told);
        let again = drive(&folded(&given).expect("a payment"), LATER, &Policy::default());
        assert_eq!(again.len(), 1, "it is tried on");
        given.extend(again);
    }
}

#[test]
fn a_refund_that_changed_its_amount_meanwhile_is_for_the_newest() {
    let mut given = refunding();
    given.push(refund_failed(3));
    given.push(due(1000, true, 3));
    let again = drive(&folded(&given).expect("a payment"), LATER, &Policy::default());
    assert!(
        matches!(&again[..], [Event::Intended { operation: Operation::Refund, amount, .. }] if *amount == euros(290)),
        "{again:?}"
    );
}

#[test]
fn cash_goes_back_and_is_closed_without_a_call() {
    let collected = Event::CashCollected { amount: euros(PRICE) };
    check(
        [
            opened(Method::Cash),
            cash_agreed(),
            due(PRICE, true, 1),
            collected,
            due(290, true, 2),
        ],
        Command::Drive,
        Ok(vec![Event::Refunded {
            attempt: 0,
            amount: euros(1000),
        }]),
    );
}

#[test]
fn more_than_was_taken_is_never_taken_again_but_owed() {
    let taken = || captured_of(&[due(PRICE, false, 1)]);
    check_given(
        &[taken(), vec![due(PRICE + 500, false, 2)]].concat(),
        Command::Drive,
        Ok(vec![]),
    );
    let owed = |cents| Ok(vec![Event::DebtBooked { amount: euros(cents) }]);
    let mut given = [taken(), vec![due(PRICE + 500, true, 2)]].concat();
    check_given(&given, Command::Drive, owed(500));
    given.push(Event::DebtBooked { amount: euros(500) });
    check_given(&given, Command::Drive, Ok(vec![]));
    given.push(due(PRICE, true, 3));
    check_given(&given, Command::Drive, owed(0));
    let cash = Event::CashCollected { amount: euros(PRICE) };
    check(
        [opened(Method::Cash), cash_agreed(), due(PRICE + 500, true, 1), cash],
        Command::Drive,
        owed(500),
    );
}

#[test]
fn what_is_due_after_all_was_given_back_is_owed() {
    check(
        [opened(Method::Card), due(0, true, 1), voided(0), due(PRICE, true, 2)],
        Command::Drive,
        Ok(vec![Event::DebtBooked { amount: euros(PRICE) }]),
    );
}

#[test]
fn a_failed_capture_gives_the_promise_back_and_asks_the_card_anew_once() {
    let mut given = capturing();
    check_given(&given, answer(2, refused()), Ok(vec![capture_failed(2)]));
    given.push(capture_failed(2));
    check_given(&given, Command::Drive, Ok(vec![intended(3, Operation::Void, PRICE)]));
    given.extend([intended(3, Operation::Void, PRICE), voided(3)]);
    check_given(
        &given,
        Command::Drive,
        Ok(vec![intended(4, Operation::Authorize, PRICE)]),
    );
    given.extend([intended(4, Operation::Authorize, PRICE), authorized(4)]);
    check_given(&given, Command::Drive, Ok(vec![intended(5, Operation::Capture, PRICE)]));
    // The card fails again: the time does not begin anew, and it is not asked a third time.
    given.extend([intended(5, Operation::Capture, PRICE), capture_failed(5)]);
    given.extend([intended(6, Operation::Void, PRICE), voided(6)]);
    check_given(&given, Command::Drive, Ok(vec![]));
}

#[test]
fn a_collection_fails_when_no_other_card_comes_in_time() {
    let given = waiting_for_a_card();
    let payment = folded(&given).expect("a payment");
    let recover_by = NOON + Policy::default().recover_within;
    assert_eq!(recover_by, NOON + jiff::SignedDuration::from_mins(5));
    assert_eq!(due_at(&payment, NOON), Some(recover_by));
    assert_eq!(drive(&payment, NOON, &Policy::default()), []);
    assert_eq!(
        drive(&payment, recover_by, &Policy::default()),
        [Event::CollectionFailed { amount: euros(PRICE) }]
    );
    let failed = [given, vec![Event::CollectionFailed { amount: euros(PRICE) }]].concat();
    // order-master decides: nothing cooked, nothing owed; cooked, and it is a debt.
    check_given(&failed, Command::Drive, Ok(vec![]));
    check_given(&[&failed[..], &[due(0, true, 2)]].concat(), Command::Drive, Ok(vec![]));
    check_given(
        &[&failed[..], &[due(PRICE, true, 2)]].concat(),
        Command::Drive,
        Ok(vec![Event::DebtBooked { amount: euros(PRICE) }]),
    );
}

#[test]
fn an_order_that_ends_waits_for_no_other_card() {
    let ended = |cents| [waiting_for_a_card(), vec![due(cents, true, 2)]].concat();
    check_given(&ended(0), Command::Drive, Ok(vec![voided(4)]));
    check_given(
        &ended(PRICE),
        Command::Drive,
        Ok(vec![Event::CollectionFailed { amount: euros(PRICE) }]),
    );
    let failed = [capturing(), vec![capture_failed(2), due(PRICE, true, 2)]].concat();
    check_given(&failed, Command::Drive, Ok(vec![intended(3, Operation::Void, PRICE)]));
    let void = [failed, vec![intended(3, Operation::Void, PRICE), voided(3)]].concat();
    check_given(
        &void,
        Command::Drive,
        Ok(vec![Event::CollectionFailed { amount: euros(PRICE) }]),
    );
}

#[test]
fn another_card_may_pay_after_a_failed_capture_while_there_is_time() {
    let given = waiting_for_a_card();
    let second = Event::Intended {
        attempt: 5,
        operation: Operation::Authorize,
        amount: euros(PRICE),
        key: "second".into(),
        answer_by: NOON + Policy::default().answer_within,
    };
    check_given(&given, pay_again(), Ok(vec![second.clone()]));
    let late = NOON + Policy::default().recover_within;
    let decided = decide(folded(&given).as_ref(), &pay_again(), late, &Policy::default());
    assert_eq!(decided, Err(Rejection::PaymentNotOpen));
    for end in [due(PRICE, true, 2), Event::CollectionFailed { amount: euros(PRICE) }] {
        let given = [&given[..], &[end]].concat();
        check_given(&given, pay_again(), Err(Rejection::PaymentNotOpen));
    }
    let paid = [given, vec![second, authorized(5)]].concat();
    check_given(&paid, Command::Drive, Ok(vec![intended(6, Operation::Capture, PRICE)]));
}

#[test]
fn a_capture_that_failed_before_times_were_known_has_failed_for_good() {
    let old = Event::CaptureFailed {
        attempt: 2,
        code: "declined".into(),
        recover_by: None,
    };
    let given = [capturing(), vec![old, intended(3, Operation::Void, PRICE), voided(3)]].concat();
    check_given(
        &given,
        Command::Drive,
        Ok(vec![Event::CollectionFailed { amount: euros(PRICE) }]),
    );
}

#[test]
fn who_is_at_fault_bears_what_the_customer_need_not_pay() {
    let blame = Command::Blame {
        liable: Liable::Point,
        borne: None,
    };
    let named = Event::LiableNamed {
        liable: Liable::Point,
        amount: euros(PRICE),
        borne: None,
    };
    let taken = captured_of(&[due(PRICE, false, 1)]);
    check_given(&taken, blame.clone(), Ok(vec![named.clone()]));
    check_given(
        &[&taken[..], std::slice::from_ref(&named)].concat(),
        blame.clone(),
        Ok(vec![]),
    );
    check([], blame, Ok(vec![]));
    let borne = |cents| Event::LiabilityBooked {
        liable: Liable::Point,
        amount: euros(cents),
    };
    let ended = |cents, seq| [&taken[..], &[named.clone(), due(cents, true, seq)]].concat();
    check_given(&ended(290, 2), Command::Drive, Ok(vec![borne(1000)]));
    check_given(&ended(PRICE, 2), Command::Drive, Ok(vec![]));
    // Nobody bears what was never due.
    let before = [opened(Method::Card), authorizing(), authorized(1)];
    let nothing = Event::LiableNamed {
        liable: Liable::Point,
        amount: euros(0),
        borne: None,
    };
    check_given(
        &before,
        Command::Blame {
            liable: Liable::Point,
            borne: None,
        },
        Ok(vec![nothing.clone()]),
    );
    let voided = [&before[..], &[nothing, due(0, true, 1), voided(2)]].concat();
    check_given(&voided, Command::Drive, Ok(vec![]));
    let changed = [ended(290, 2), vec![borne(1000), due(0, true, 3)]].concat();
    check_given(&changed, Command::Drive, Ok(vec![borne(PRICE)]));
}

#[test]
fn what_order_master_says_somebody_bears_is_what_is_booked() {
    let half = euros(PRICE / 2);
    let agreed = [
        opened(Method::Cash),
        Event::CashAgreed { amount: euros(PRICE) },
        due(PRICE, false, 1),
    ];
    let blame = Command::Blame {
        liable: Liable::Platform,
        borne: Some(half),
    };
    let named = Event::LiableNamed {
        liable: Liable::Platform,
        amount: euros(PRICE),
        borne: Some(half),
    };
    check_given(&agreed, blame, Ok(vec![named.clone()]));
    let ended = [&agreed[..], &[named, due(0, true, 2), voided(0)]].concat();
    let booked = Event::LiabilityBooked {
        liable: Liable::Platform,
        amount: half,
    };
    check_given(&ended, Command::Drive, Ok(vec![booked]));
}

#[test]
fn a_token_is_kept_while_the_card_may_be_asked() {
    let may = |given: &[Event]| may_need_a_card(&folded(given).expect("a payment"));
    for given in [
        vec![opened(Method::Card)],
        vec![opened(Method::Card), authorizing(), authorized(1)],
        capturing(),
        waiting_for_a_card(),
    ] {
        assert!(may(&given), "{given:?}");
    }
    for given in [
        captured_of(&[due(PRICE, false, 1)]),
        vec![opened(Method::Card), due(0, true, 1), voided(0)],
        [waiting_for_a_card(), vec![due(0, true, 2), voided(4)]].concat(),
        [
            waiting_for_a_card(),
            vec![Event::CollectionFailed { amount: euros(PRICE) }],
        ]
        .concat(),
    ] {
        assert!(!may(&given), "{given:?}");
    }
}

#[test]
fn another_card_may_be_tried_after_a_refusal() {
    check(
        [opened(Method::Card), authorizing(), declined(1, 1)],
        pay_again(),
        Ok(vec![second_card(2)]),
    );
}

#[test]
fn a_second_payment_while_one_is_under_way_is_refused() {
    for given in [vec![], vec![authorizing()], vec![authorizing(), unknown(1)]] {
        let given = [&[opened(Method::Card)][..], &given].concat();
        check_given(&given, pay_again(), Err(Rejection::PaymentInProgress));
    }
}

#[test]
fn a_payment_that_is_paid_settled_or_refused_too_often_takes_no_card() {
    let refused = [opened(Method::Card), authorizing(), declined(1, 1)];
    for more in [
        vec![second_card(2), authorized(2)],
        vec![due(0, true, 1)],
        vec![due(0, true, 1), voided(1)],
        vec![
            second_card(2),
            declined(2, 2),
            second_card(3),
            declined(3, DECLINES_MAX),
        ],
    ] {
        check_given(
            &[&refused[..], &more].concat(),
            pay_again(),
            Err(Rejection::PaymentNotOpen),
        );
    }
    check(
        [opened(Method::Cash), cash_agreed()],
        pay_again(),
        Err(Rejection::PaymentNotOpen),
    );
}

#[test]
fn nobody_pays_for_anothers_order() {
    let stranger = Command::PayAgain {
        customer: UserId(Uuid::from_u128(9)),
        key: "second".into(),
    };
    check(
        [opened(Method::Card), authorizing(), declined(1, 1)],
        stranger,
        Err(Rejection::NoSuchPayment),
    );
    check([], pay_again(), Err(Rejection::NoSuchPayment));
}

#[test]
fn an_older_amount_due_is_no_news() {
    let older = Command::Due {
        amount: euros(PRICE),
        is_final: false,
        seq: 1,
    };
    check([opened(Method::Card), due(0, true, 2)], older.clone(), Ok(vec![]));
    check([], older, Ok(vec![]));
}

#[test]
fn the_timer_stands_exactly_while_a_step_is_due() {
    let set = |due| {
        vec![Effect::SetTimer {
            kind: DRIVE.into(),
            due,
        }]
    };
    let clear = vec![Effect::ClearTimer { kind: DRIVE.into() }];
    let timers = |given: &[Event]| {
        let payment = folded(given).expect("a payment");
        react(&payment, given.last().expect("an event"), NOON)
    };
    let policy = Policy::default();
    let mut given = vec![opened(Method::Card)];
    assert_eq!(timers(&given), set(NOON));
    given.push(authorizing());
    assert_eq!(timers(&given), set(NOON + policy.answer_within));
    given.push(unknown(1));
    assert_eq!(timers(&given), set(NOON + policy.retry(0)));
    given.push(authorized(1));
    assert_eq!(timers(&given), clear);
    given.push(due(PRICE, false, 1));
    assert_eq!(timers(&given), set(NOON));
}

#[track_caller]
fn check<const N: usize>(given: [Event; N], when: Command, then: Result<Vec<Event>, Rejection>) {
    check_given(&given, when, then);
}

#[track_caller]
fn check_given(given: &[Event], when: Command, then: Result<Vec<Event>, Rejection>) {
    assert_eq!(decide(folded(given).as_ref(), &when, NOON, &Policy::default()), then);
}

fn folded(given: &[Event]) -> Option<Payment> {
    given.iter().fold(None, |payment, event| fold(payment, event, NOON))
}

fn open(method: Method) -> Command {
    Command::Open {
        order: order(),
        customer: customer(),
        method,
        amount: euros(PRICE),
        pay_by: LATER,
    }
}

fn answer(attempt: u32, answer: Answer) -> Command {
    Command::Answered { attempt, answer }
}

fn pay_again() -> Command {
    Command::PayAgain {
        customer: customer(),
        key: "second".into(),
    }
}

fn done() -> Answer {
    Answer::Done {
        provider_id: "pi_1".into(),
    }
}

fn refused() -> Answer {
    Answer::Refused {
        code: "declined".into(),
    }
}

fn opened(method: Method) -> Event {
    Event::Opened {
        order: order(),
        customer: customer(),
        method,
        amount: euros(PRICE),
        pay_by: LATER,
    }
}

fn authorizing() -> Event {
    intended(1, Operation::Authorize, PRICE)
}

fn intended(attempt: u32, operation: Operation, cents: i64) -> Event {
    let key = key(order().payment(), attempt);
    Event::Intended {
        attempt,
        operation,
        amount: euros(cents),
        key,
        answer_by: NOON + Policy::default().answer_within,
    }
}

fn second_card(attempt: u32) -> Event {
    Event::Intended {
        attempt,
        operation: Operation::Authorize,
        amount: euros(PRICE),
        key: "second".into(),
        answer_by: NOON + Policy::default().answer_within,
    }
}

fn authorized(attempt: u32) -> Event {
    Event::Authorized {
        attempt,
        amount: euros(PRICE),
        provider_id: "pi_1".into(),
    }
}

fn declined(attempt: u32, count: u32) -> Event {
    Event::Declined {
        attempt,
        code: "declined".into(),
        count,
    }
}

fn unknown(times: u32) -> Event {
    let retry_at = NOON + Policy::default().retry(times - 1);
    Event::Unknown {
        attempt: 1,
        operation: Operation::Authorize,
        retry_at,
    }
}

fn captured(attempt: u32, cents: i64) -> Event {
    Event::Captured {
        attempt,
        amount: euros(cents),
    }
}

/// The capture is under way.
fn capturing() -> Vec<Event> {
    vec![
        opened(Method::Card),
        authorizing(),
        authorized(1),
        due(PRICE, false, 1),
        intended(2, Operation::Capture, PRICE),
    ]
}

/// Taken, after these amounts were said to be due.
fn captured_of(dues: &[Event]) -> Vec<Event> {
    let before = [opened(Method::Card), authorizing(), authorized(1)];
    let after = [intended(2, Operation::Capture, PRICE), captured(2, PRICE)];
    [&before[..], dues, &after[..]].concat()
}

/// All of it is to go back, and the provider is asked.
fn refunding() -> Vec<Event> {
    let more = vec![due(0, true, 2), intended(3, Operation::Refund, PRICE)];
    [captured_of(&[due(PRICE, false, 1)]), more].concat()
}

/// Captured in vain, and the card's second promise refused.
fn waiting_for_a_card() -> Vec<Event> {
    let more = vec![
        capture_failed(2),
        intended(3, Operation::Void, PRICE),
        voided(3),
        intended(4, Operation::Authorize, PRICE),
        declined(4, 1),
    ];
    [capturing(), more].concat()
}

fn capture_failed(attempt: u32) -> Event {
    Event::CaptureFailed {
        attempt,
        code: "declined".into(),
        recover_by: Some(NOON + Policy::default().recover_within),
    }
}

fn refund_failed(attempt: u32) -> Event {
    Event::RefundFailed {
        attempt,
        code: "declined".into(),
        retry_at: NOON + Policy::default().refund_retry(0),
    }
}

fn voided(attempt: u32) -> Event {
    Event::Voided { attempt }
}

fn cash_agreed() -> Event {
    Event::CashAgreed { amount: euros(PRICE) }
}

fn due(cents: i64, is_final: bool, seq: u32) -> Event {
    Event::Due {
        amount: euros(cents),
        is_final,
        seq,
    }
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
