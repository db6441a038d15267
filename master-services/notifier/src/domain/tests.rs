use mesh_contracts::id::{OrderId, UserId};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::notification::{Event, Failure, Job, Occasion};
use mesh_contracts::user::Language;
use mesh_contracts::view::notification::Notifications;

use super::words::amount;
use super::{Words, is_settled, settle, words};

fn job(occasion: Occasion, amount: i64) -> Job {
    Job {
        order: "ord_00000000000000000000000001".parse::<OrderId>().expect("an order"),
        number: "7K2M9Q".into(),
        customer: "usr_00000000000000000000000002".parse::<UserId>().expect("a person"),
        occasion,
        amount: Money::new(amount, Currency::EUR),
    }
}

fn told(occasion: Occasion, failure: Option<Failure>) -> Notifications {
    Notifications {
        settled: [(occasion, failure)].into(),
        ..Notifications::default()
    }
}

#[test]
fn each_occasion_is_settled_once_whatever_came_of_it() {
    let sent = Event::Sent {
        occasion: Occasion::Paid,
    };
    let failed = Event::Failed {
        occasion: Occasion::Paid,
        reason: Failure::Refused,
    };
    assert_eq!(settle(Occasion::Paid, None), sent);
    assert_eq!(settle(Occasion::Paid, Some(Failure::Refused)), failed);
    assert!(!is_settled(None, Occasion::Paid));
    for before in [None, Some(Failure::PutOff)] {
        assert!(is_settled(Some(&told(Occasion::Paid, before)), Occasion::Paid));
    }
    assert!(!is_settled(Some(&told(Occasion::Completed, None)), Occasion::Paid));
}

#[test]
fn every_mail_names_the_order_the_person_and_the_sum_in_both_languages() {
    for occasion in Occasion::ALL {
        for (language, sum) in [(Language::En, "12.90 EUR"), (Language::Ru, "12,90 EUR")] {
            let Words { subject, text } = words(&job(occasion, 1290), language, "Anna");
            assert!(subject.contains("7K2M9Q"), "{subject}");
            assert!(
                text.contains("7K2M9Q") && text.contains("Anna") && text.contains(sum),
                "{text}"
            );
            assert!(!subject.contains('\n'), "{subject}");
        }
    }
}

#[test]
fn no_two_mails_of_a_language_say_the_same() {
    for language in [Language::En, Language::Ru] {
        let subjects: std::collections::BTreeSet<String> = Occasion::ALL
            .iter()
            .map(|occasion| words(&job(*occasion, 1290), language, "Anna").subject)
            .collect();
        assert_eq!(subjects.len(), Occasion::ALL.len());
    }
}

#[test]
fn who_pays_nothing_is_told_so() {
    for occasion in [
        Occasion::Rejected,
        Occasion::Expired,
        Occasion::Cancelled,
        Occasion::Undelivered,
    ] {
        assert!(
            words(&job(occasion, 0), Language::En, "Anna")
                .text
                .contains("pay nothing")
        );
        assert!(
            words(&job(occasion, 0), Language::Ru, "Анна")
                .text
                .contains("ничего не платите")
        );
    }
}

#[test]
fn amounts_have_the_digits_of_their_currency() {
    let of = |minor: i64, currency: &str| Money::new(minor, currency.parse::<Currency>().expect("a code"));
    for (money, formatted) in [
        (of(1290, "EUR"), "12.90 EUR"),
        (of(5, "EUR"), "0.05 EUR"),
        (of(0, "RSD"), "0.00 RSD"),
        (of(1290, "JPY"), "1290 JPY"),
        (of(1290, "KWD"), "1.290 KWD"),
        (of(-1290, "EUR"), "-12.90 EUR"),
        (of(i64::MIN, "JPY"), "-9223372036854775808 JPY"),
    ] {
        assert_eq!(amount(money, '.'), formatted);
    }
}
