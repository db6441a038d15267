use uuid::Uuid;

use super::*;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + minute * 60).expect("in range")
}

fn registered() -> Event {
    Event::Registered {
        country: Country::parse("DE").expect("a country"),
    }
}

fn on() -> Event {
    Event::ShiftStarted { speed_m_per_min: 320 }
}

fn job(number: u128) -> DeliveryId {
    DeliveryId(Uuid::from_u128(number))
}

fn missed() -> Event {
    Event::OfferMissed { delivery: job(1) }
}

fn folded<const N: usize>(events: [Event; N]) -> Courier {
    events
        .iter()
        .zip(0..)
        .fold(None, |courier, (event, minute)| fold(courier, event, at(minute)))
        .expect("the first event registers")
}

#[test]
fn nobody_works_before_being_registered() {
    assert_eq!(fold(None, &on(), at(0)), None);
}

/// If this changes, raise [`FOLD_VERSION`]: snapshots of before would be read as something else.
#[test]
fn the_form_of_its_snapshots_is_pinned() {
    let courier = folded([registered(), on(), missed(), Event::JobTaken { delivery: job(1) }]);
    let form = serde_json::to_string(&(FOLD_VERSION, courier)).expect("plain data");
    insta::assert_snapshot!(form, @r#"[1,{"status":"on","status_version":2,"version":4,"country":"DE","speed_m_per_min":320,"jobs":["dlv_00000000000000000000000001"],"misses":0,"shift_ended":null,"updated_at":"2023-11-14T22:16:20Z"}]"#);
}

#[test]
fn jobs_outlive_the_shift() {
    let courier = folded([
        registered(),
        on(),
        Event::JobTaken { delivery: job(1) },
        Event::JobTaken { delivery: job(2) },
        Event::ShiftEnded {
            reason: ShiftEnd::Courier,
        },
        Event::JobEnded { delivery: job(1) },
    ]);
    assert_eq!(courier.status, Status::Off);
    assert_eq!(courier.jobs, [job(2)]);
    assert_eq!((courier.version, courier.status_version), (6, 5));
}

#[test]
fn any_answer_and_any_new_shift_end_a_row_of_misses() {
    assert_eq!(folded([registered(), on(), missed(), missed()]).misses, 2);
    for answer in [
        Event::OfferDeclined { delivery: job(1) },
        Event::JobTaken { delivery: job(1) },
        on(),
    ] {
        assert_eq!(folded([registered(), on(), missed(), answer]).misses, 0);
    }
}

#[test]
fn an_unknown_event_moves_only_the_version() {
    let mut courier = folded([registered(), on()]);
    skip(&mut courier, at(9));
    assert_eq!((courier.version, courier.status_version), (3, 2));
    assert_eq!(courier.status, Status::On);
}
