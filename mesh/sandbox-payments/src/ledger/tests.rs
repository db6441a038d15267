use super::*;
use crate::cards::{LATE_BY, REPEATS, USUALLY_AFTER};

/// A ledger in a test: decides, writes the record as a journal line, reads it back and applies it.
struct Desk {
    ledger: Ledger,
    lines: Vec<String>,
    calls: u128,
}

impl Desk {
    fn new() -> Desk {
        Desk {
            ledger: Ledger::new(true),
            lines: Vec::new(),
            calls: 0,
        }
    }

    fn send(&mut self, key: &str, command: Command) -> Verdict {
        self.calls += 1;
        let stamp = Stamp {
            at: noon(),
            nonce: Uuid::from_u128(self.calls),
        };
        let call = Call {
            key: key.to_owned(),
            fingerprint: format!("{command:?}"),
            command,
        };
        let verdict = self.ledger.decide(call, stamp);
        if let Verdict::New(settled) = &verdict {
            self.record(Record::Settled(settled.clone()));
        }
        verdict
    }

    fn record(&mut self, record: Record) {
        let line = serde_json::to_string(&record).unwrap();
        self.ledger.apply(serde_json::from_str(&line).unwrap());
        self.lines.push(line);
    }

    /// What a restart knows.
    fn restarted(&self) -> Ledger {
        let mut ledger = Ledger::new(true);
        for line in &self.lines {
            ledger.apply(serde_json::from_str(line).unwrap());
        }
        ledger
    }

    fn paid_with(card: Card) -> (Desk, String) {
        let mut desk = Desk::new();
        let verdict = desk.send("authorize", authorization(card));
        let id = answered(&verdict).payment.id.clone();
        (desk, id)
    }

    fn captured_with(card: Card) -> (Desk, String) {
        let (mut desk, id) = Desk::paid_with(card);
        desk.send("capture", capture_of(&id, None));
        (desk, id)
    }

    fn payment(&self, id: &str) -> Payment {
        Arc::unwrap_or_clone(self.ledger.payment(id).unwrap())
    }
}

fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn authorization(card: Card) -> Command {
    let metadata = Metadata::from([(ORDER_ID.to_owned(), "ord_1".to_owned())]);
    Command::Authorize {
        amount: 1290,
        currency: "eur".to_owned(),
        card,
        metadata,
    }
}

fn capture_of(id: &str, amount: Option<u64>) -> Command {
    Command::Capture {
        payment: id.to_owned(),
        amount,
    }
}

fn cancel_of(id: &str) -> Command {
    Command::Cancel {
        payment: id.to_owned(),
        reason: None,
    }
}

fn refund_of(id: &str, amount: Option<u64>) -> Command {
    Command::Refund {
        payment: id.to_owned(),
        amount,
        metadata: Metadata::new(),
    }
}

#[track_caller]
fn answered(verdict: &Verdict) -> Answer {
    match verdict {
        Verdict::New(settled) => Answer {
            payment: settled.payment.clone(),
            outcome: settled.outcome.clone(),
        },
        Verdict::Replayed(answer) => answer.clone(),
        Verdict::KeyReused | Verdict::NoSuchPayment => panic!("no answer: {verdict:?}"),
    }
}

#[track_caller]
fn check_refused(verdict: &Verdict, refusal: Refusal) {
    assert_eq!(answered(verdict).outcome, Outcome::Refused(refusal));
}

#[test]
fn an_authorisation_holds_the_amount_and_takes_nothing() {
    let (desk, id) = Desk::paid_with(Card::Visa);
    let payment = desk.payment(&id);
    assert_eq!(payment.status, Status::RequiresCapture);
    assert_eq!((payment.authorized, payment.captured, payment.open()), (1290, 0, 1290));
}

#[test]
fn a_declined_authorisation_holds_nothing_and_can_be_found() {
    for card in [Card::Declined, Card::InsufficientFunds] {
        let mut desk = Desk::new();
        check_refused(&desk.send("k", authorization(card)), Refusal::Declined);
        let payment = &desk.ledger.payments_of("ord_1")[0];
        assert_eq!((payment.status, payment.open()), (Status::RequiresPaymentMethod, 0));
    }
}

#[test]
fn a_second_send_of_a_key_gets_the_first_answer_even_after_the_payment_moved_on() {
    let (mut desk, id) = Desk::paid_with(Card::Visa);
    let first = answered(&desk.send("authorize", authorization(Card::Visa)));
    desk.send("cancel", cancel_of(&id));
    let again = desk.send("authorize", authorization(Card::Visa));
    assert_eq!(again, Verdict::Replayed(first));
    assert_eq!(desk.ledger.payments_of("ord_1").len(), 1);
}

#[test]
fn a_key_with_another_request_does_nothing() {
    let (mut desk, id) = Desk::paid_with(Card::Visa);
    assert_eq!(desk.send("authorize", capture_of(&id, None)), Verdict::KeyReused);
    assert_eq!(desk.payment(&id).captures, 0);
}

#[test]
fn a_refusal_is_remembered_like_a_success() {
    let mut desk = Desk::new();
    let first = answered(&desk.send("k", authorization(Card::Declined)));
    assert_eq!(desk.send("k", authorization(Card::Declined)), Verdict::Replayed(first));
}

#[test]
fn an_unknown_payment_is_not_remembered_under_the_key() {
    let mut desk = Desk::new();
    assert_eq!(desk.send("k", capture_of("pi_0", None)), Verdict::NoSuchPayment);
    assert!(matches!(desk.send("k", authorization(Card::Visa)), Verdict::New(_)));
}

#[test]
fn a_capture_takes_the_amount_once_whatever_key_it_brings() {
    let (mut desk, id) = Desk::captured_with(Card::Visa);
    check_refused(&desk.send("capture-2", capture_of(&id, None)), Refusal::UnexpectedState);
    let payment = desk.payment(&id);
    assert_eq!(
        (payment.status, payment.captured, payment.captures),
        (Status::Succeeded, 1290, 1)
    );
}

#[test]
fn a_partial_capture_gives_the_rest_back() {
    let (mut desk, id) = Desk::paid_with(Card::Visa);
    desk.send("capture", capture_of(&id, Some(1000)));
    let payment = desk.payment(&id);
    assert_eq!((payment.captured, payment.voided, payment.open()), (1000, 290, 0));
}

#[test]
fn more_than_authorised_cannot_be_captured() {
    let (mut desk, id) = Desk::paid_with(Card::Visa);
    let verdict = desk.send("capture", capture_of(&id, Some(1291)));
    check_refused(&verdict, Refusal::AmountTooLarge { max: 1290 });
    assert_eq!(desk.payment(&id).open(), 1290);
}

#[test]
fn a_failed_capture_leaves_the_authorisation_open_until_cancelled() {
    let (mut desk, id) = Desk::paid_with(Card::CaptureFails);
    check_refused(&desk.send("capture", capture_of(&id, None)), Refusal::CaptureDeclined);
    assert_eq!(desk.payment(&id).open(), 1290);
    desk.send("cancel", cancel_of(&id));
    assert_eq!((desk.payment(&id).open(), desk.payment(&id).captures), (0, 0));
}

#[test]
fn a_cancelled_payment_is_voided_and_final() {
    let (mut desk, id) = Desk::paid_with(Card::Visa);
    desk.send("cancel", cancel_of(&id));
    assert_eq!(
        (desk.payment(&id).status, desk.payment(&id).voided),
        (Status::Canceled, 1290)
    );
    for command in [cancel_of(&id), capture_of(&id, None), refund_of(&id, None)] {
        check_refused(&desk.send(&format!("{command:?}"), command), Refusal::UnexpectedState);
    }
}

#[test]
fn a_captured_payment_cannot_be_cancelled() {
    let (mut desk, id) = Desk::captured_with(Card::Visa);
    check_refused(&desk.send("cancel", cancel_of(&id)), Refusal::UnexpectedState);
}

#[test]
fn refunds_never_exceed_what_was_captured() {
    let (mut desk, id) = Desk::captured_with(Card::Visa);
    desk.send("r1", refund_of(&id, Some(1000)));
    check_refused(
        &desk.send("r2", refund_of(&id, Some(291))),
        Refusal::AmountTooLarge { max: 290 },
    );
    desk.send("r3", refund_of(&id, None));
    assert_eq!(desk.payment(&id).refunded(), 1290);
    check_refused(&desk.send("r4", refund_of(&id, None)), Refusal::AlreadyRefunded);
}

#[test]
fn nothing_is_refunded_before_it_was_captured() {
    let (mut desk, id) = Desk::paid_with(Card::Visa);
    check_refused(&desk.send("r", refund_of(&id, None)), Refusal::UnexpectedState);
}

#[test]
fn a_failed_refund_returns_nothing() {
    let (mut desk, id) = Desk::captured_with(Card::RefundFails);
    let answer = answered(&desk.send("r", refund_of(&id, None)));
    assert_eq!(answer.outcome, Outcome::Refund);
    assert!(answer.payment.refunds[0].failed);
    assert_eq!(desk.payment(&id).refunded(), 0);
}

#[test]
fn every_change_is_announced_once_and_refusals_that_change_nothing_are_not() {
    let (mut desk, id) = Desk::captured_with(Card::Visa);
    desk.send("again", capture_of(&id, None));
    desk.send("r", refund_of(&id, None));
    let mut kinds: Vec<_> = desk.ledger.pending().map(|pending| pending.notice.kind).collect();
    kinds.sort_by_key(|kind| *kind as u8);
    assert_eq!(
        kinds,
        [NoticeKind::Authorized, NoticeKind::Captured, NoticeKind::Refunded]
    );
}

#[test]
fn a_late_webhook_is_due_later_and_a_repeated_one_needs_every_copy_confirmed() {
    let (desk, _) = Desk::paid_with(Card::WebhookLate);
    let notice = desk.ledger.pending().next().unwrap().notice.clone();
    assert_eq!(notice.due.duration_since(noon()), LATE_BY);

    let (mut desk, _) = Desk::paid_with(Card::WebhookRepeated);
    let notice = desk.ledger.pending().next().unwrap().notice.clone();
    assert_eq!(notice.due.duration_since(noon()), USUALLY_AFTER);
    for copy in 1..=REPEATS {
        assert!(desk.ledger.is_pending(&notice.event), "gone before copy {copy}");
        desk.record(Record::Delivered {
            event: notice.event.clone(),
        });
    }
    assert!(!desk.ledger.is_pending(&notice.event));
}

#[test]
fn an_abandoned_webhook_is_not_sent_again() {
    let (mut desk, _) = Desk::paid_with(Card::WebhookRepeated);
    let event = desk.ledger.pending().next().unwrap().notice.event.clone();
    desk.record(Record::Abandoned { event: event.clone() });
    assert!(!desk.restarted().is_pending(&event));
}

#[test]
fn a_restart_knows_payments_keys_and_pending_webhooks() {
    let (mut desk, id) = Desk::captured_with(Card::Visa);
    desk.send("r", refund_of(&id, Some(90)));
    let event = desk.ledger.pending().next().unwrap().notice.event.clone();
    desk.record(Record::Delivered { event: event.clone() });

    let restarted = desk.restarted();
    assert_eq!(restarted.payment(&id), desk.ledger.payment(&id));
    assert_eq!(restarted.payments_of("ord_1"), desk.ledger.payments_of("ord_1"));
    assert_eq!((restarted.pending().count(), restarted.is_pending(&event)), (2, false));
    assert_eq!(restarted.keys, desk.ledger.keys);
}

#[test]
fn pages_follow_creation_and_join_without_hole_or_repeat() {
    let mut desk = Desk::new();
    for n in 0..5 {
        desk.send(&n.to_string(), authorization(Card::Visa));
    }
    let (first, more) = desk.ledger.page(None, 3).unwrap();
    assert!(more);
    let (second, more) = desk.ledger.page(Some(&first[2].id), 3).unwrap();
    assert!(!more);
    let ids: Vec<_> = first.iter().chain(&second).map(|payment| payment.id.clone()).collect();
    let all: Vec<_> = desk.ledger.payments.iter().map(|payment| payment.id.clone()).collect();
    assert_eq!(ids, all);
    assert_eq!(desk.ledger.page(Some("pi_unknown"), 3), None);
}
