//! Rows 19 and 20: collected at the counter, or not.

use super::*;

const NINE_PM: Timestamp = Timestamp::constant(1_767_301_200, 0);

/// The same, to be collected at a point that closes at nine in the evening.
fn collected(given: Vec<Event>) -> Vec<Event> {
    let at_the_counter = |event| match event {
        Event::Created(mut placed) => {
            placed.kind = Kind::PickUp;
            placed.destination = None;
            for candidate in &mut placed.candidates {
                candidate.closes_at = Some(NINE_PM);
            }
            Some(Event::Created(placed))
        }
        Event::DeliveryRequested { .. } | Event::CourierAssigned { .. } | Event::Ready { .. } => None,
        other => Some(other),
    };
    given.into_iter().filter_map(at_the_counter).collect()
}

fn on_the_counter() -> Vec<Event> {
    let given = collected(ready());
    let marked = decide(Some(&state(&given)), Command::MarkReady, NOON, &policy()).expect("assigned");
    with(given, marked)
}

fn give_up_at(given: &[Event], now: Timestamp) -> Timestamp {
    let marked = decide(Some(&state(given)), Command::MarkReady, now, &policy()).expect("assigned");
    match marked[..] {
        [Event::Ready { give_up_at, .. }] => give_up_at,
        _ => panic!("{marked:?}"),
    }
}

#[test]
fn row_19_the_pin_at_the_counter_completes_the_order_and_settles() {
    let completed = Event::Completed { proof: Proof::Pin };
    check(
        &on_the_counter(),
        Command::Collect(Some(Proof::Pin)),
        Ok(vec![completed, due(2, TOTAL, true)]),
    );
    check(&on_the_counter(), Command::Collect(None), Err(Rejection::WrongPin));
}

#[test]
fn only_what_is_ready_and_meant_for_the_counter_is_collected() {
    let collect = || Command::Collect(Some(Proof::Pin));
    check(&ready(), collect(), Err(Rejection::NotPickUp));
    check(&collected(offered()), collect(), Err(Rejection::TooEarly(Status::Paid)));
    check(
        &collected(assigned()),
        collect(),
        Err(Rejection::TooEarly(Status::Assigned)),
    );
    let events = decide(Some(&state(&on_the_counter())), collect(), NOON, &policy()).expect("ready");
    let over = with(on_the_counter(), events);
    check(&over, collect(), Err(Rejection::AlreadyEnded(Status::Completed)));
    // Before anything else: nobody learns from a guess whether the order is there to be collected.
    check(
        &collected(assigned()),
        Command::Collect(None),
        Err(Rejection::TooEarly(Status::Assigned)),
    );
}

#[test]
fn row_20_what_is_not_collected_half_an_hour_after_closing_is_not_given_back() {
    let given = collected(assigned());
    let half_an_hour = SignedDuration::from_mins(30);
    assert_eq!(give_up_at(&given, NOON), NINE_PM + half_an_hour);
    let late = NINE_PM + SignedDuration::from_mins(20);
    assert_eq!(give_up_at(&given, late), late + half_an_hour);
    let missed = Event::Undelivered {
        by: EndedBy::Timer,
        reason: Reason::CustomerNotFound,
        liable: None,
        held_at: None,
        borne: None,
    };
    check_timer(&on_the_counter(), "give_up", &[missed, due(2, TOTAL, true)]);
}

#[test]
fn row_20_a_point_that_never_closes_keeps_it_for_two_hours() {
    let mut given = collected(assigned());
    if let Event::Created(placed) = &mut given[0] {
        placed.candidates[0].closes_at = None;
    }
    assert_eq!(give_up_at(&given, NOON), NOON + SignedDuration::from_hours(2));
}

#[test]
fn nobody_misses_a_courier_at_the_counter() {
    let given = on_the_counter();
    let order = state(&given);
    let kinds: Vec<String> = react(&order, given.last().expect("ready"), NOON)
        .into_iter()
        .map(|effect| format!("{effect:?}"))
        .collect();
    assert!(kinds.iter().all(|kind| !kind.contains("courier")), "{kinds:?}");
    check_timer(&given, "courier", &[]);
    let over = Event::Cancelled {
        by: EndedBy::Operator,
        reason: Reason::Other,
        liable: Some(Liable::Platform),
        held_at: None,
        cooking_began: true,
        borne: borne_by_chain(),
    };
    check(
        &given,
        Command::Override(Reason::Other),
        Ok(vec![over, due(2, NOTHING, true)]),
    );
}
