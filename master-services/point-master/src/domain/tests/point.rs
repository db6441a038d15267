//! Describing, opening and closing a point.

use super::*;

#[test]
fn a_point_is_registered_once_with_its_name_trimmed() {
    let spaced = Settings {
        name: "  Alexanderplatz ".into(),
        ..settings()
    };
    check([], Command::Register(spaced), [registered()]);
    refuse(
        [registered()],
        Command::Register(settings()),
        Rejection::AlreadyRegistered,
    );
}

#[test]
fn everything_wrong_with_a_description_is_said_at_once() {
    flawed(
        Settings {
            name: " ".into(),
            kinds: vec![Kind::Delivery, Kind::Delivery],
            radius_m: 0,
            pool: 1_001,
            utc_offset_minutes: 841,
            ..settings()
        },
        &["name", "kinds", "radius_m", "pool", "utc_offset_minutes"],
    );
    flawed(
        Settings {
            name: "tab\tbed".into(),
            kinds: Vec::new(),
            ..settings()
        },
        &["name", "kinds"],
    );
    flawed(
        Settings {
            name: "ж".repeat(121),
            ..settings()
        },
        &["name"],
    );
}

#[test]
fn hours_lie_within_a_day_of_the_week() {
    let opening = Opening {
        weekday: 1,
        opens_minute: 480,
        closes_minute: 1_440,
    };
    let hours = vec![
        opening,
        Opening { weekday: 8, ..opening },
        Opening {
            opens_minute: 1_440,
            ..opening
        },
        Opening {
            closes_minute: 1_441,
            ..opening
        },
    ];
    flawed(Settings { hours, ..settings() }, &["hours[1]", "hours[2]", "hours[3]"]);
    flawed(
        Settings {
            hours: vec![opening; 22],
            ..settings()
        },
        &["hours"],
    );
}

#[test]
fn nothing_but_registration_is_possible_before_it() {
    for command in [
        open(true),
        hold(FIRST),
        confirm(FIRST),
        consume(FIRST),
        end(FIRST, true),
        Command::Gone { ingredient: BREAD },
    ] {
        refuse([], command, Rejection::NoSuchPoint);
    }
}

#[test]
fn what_is_so_already_changes_nothing() {
    check([registered()], open(true), []);
    check([registered()], describe(settings()), []);
    check([registered(), closed(ClosedBy::MissedTickets)], open(false), []);
}

#[test]
fn a_change_says_what_changed() {
    check([registered()], open(false), [closed(ClosedBy::Staff)]);
    let smaller = Settings { pool: 1, ..settings() };
    check(
        [registered(), closed(ClosedBy::Staff)],
        Command::Change {
            open: Some(true),
            settings: Some(smaller.clone()),
        },
        [Event::Changed { settings: smaller }, Event::Opened {}],
    );
}

#[test]
fn a_change_of_nothing_or_to_nonsense_is_refused() {
    let nothing = Command::Change {
        open: None,
        settings: None,
    };
    refuse([registered()], nothing, Rejection::invalid(".", "nothing to change"));
    let nowhere = Settings { pool: 0, ..settings() };
    refuse(
        [registered()],
        describe(nowhere),
        Rejection::invalid("settings.pool", "must be from 1 to 1000"),
    );
}
