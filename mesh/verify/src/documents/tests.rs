use mesh_contracts::geo::Country;
use mesh_contracts::id::{CourierId, UserId};
use uuid::Uuid;

use super::*;
use crate::log::log;

const COURIER: CourierId = CourierId(Uuid::from_u128(4));

fn events() -> Vec<Envelope> {
    let country = Country::parse("DE").expect("a country");
    log(
        COURIER,
        &[
            courier::Event::Registered { country },
            courier::Event::ShiftStarted { speed_m_per_min: 300 },
        ],
    )
}

fn stored(version: u64) -> Stored {
    let events = events();
    let upto: Vec<&Envelope> = events.iter().filter(|event| event.version <= version).collect();
    let document = expected("courier", &COURIER.to_string(), &upto).expect("a fold");
    Stored {
        version,
        document: document.map(|document| document.to_string()).unwrap_or_default(),
        quarantine: None,
    }
}

#[track_caller]
fn check(stored: Option<&Stored>, expected: &str) {
    let breach = folded("user-info", "courier", &COURIER.to_string(), stored, &events());
    let what = breach.map(|breach| breach.what).unwrap_or_default();
    assert_eq!(what.is_empty(), expected.is_empty(), "{what}");
    assert!(what.contains(expected), "{what}");
}

#[test]
fn the_fold_at_the_documents_own_version_is_fine() {
    check(Some(&stored(2)), "");
    check(Some(&stored(1)), "");
}

#[test]
fn no_document_is_a_breach() {
    check(None, "no document");
    assert_eq!(folded("user-info", "courier", "cou_x", None, &[]), None);
}

#[test]
fn another_document_is_a_breach_that_names_the_difference() {
    let mut changed = stored(2);
    changed.document = changed.document.replace("300", "999");
    check(Some(&changed), "differs from the fold in speed_m_per_min");
    let emptied = Stored {
        document: String::new(),
        ..stored(2)
    };
    check(Some(&emptied), "differs from the fold in everything");
    let broken = Stored {
        document: "{".into(),
        ..stored(2)
    };
    check(Some(&broken), "unreadable");
}

#[test]
fn a_document_ahead_of_its_events_is_a_breach() {
    let ahead = Stored {
        version: 9,
        ..stored(2)
    };
    check(Some(&ahead), "stands at version 9, the events end at 2");
}

#[test]
fn a_quarantined_document_is_a_breach() {
    let quarantined = Stored {
        quarantine: Some("poison".into()),
        ..stored(2)
    };
    check(Some(&quarantined), "quarantined: poison");
}

#[test]
fn every_kind_that_is_shown_can_be_folded() {
    use crate::readers::{Keeps, READERS};
    let stream = UserId(Uuid::from_u128(1)).to_string();
    for reader in READERS {
        if let Keeps::Documents(kind) = reader.keeps {
            assert!(expected(kind, &stream, &[]).is_ok(), "{kind}");
        }
    }
}
