//! `tiffin verify` over real stores: it counts nothing where everything holds, and each checker counts when the store
//! that it reads is corrupted on purpose.

mod scene;

use jiff::Timestamp;
use mesh_testkit::{Stage, run};
use mesh_verify::history::{Heard, Outcome, Read};
use mesh_verify::{Invariant, Report};

use crate::silence::actors::{CUSTOMER, ORDER};
use scene::{Scene, document_key, placed_line};

/// Spoils fresh stores and checks them.
async fn spoilt(stage: &Stage, spoil: impl AsyncFnOnce(&Scene)) -> Report {
    let scene = Scene::new(stage).await;
    spoil(&scene).await;
    let report = scene.check().await;
    scene.stores.close().await;
    report
}

#[track_caller]
fn counted(report: &Report, invariant: Invariant, about: &str) {
    assert!(report.count(invariant) > 0, "{invariant:?} counts nothing:\n{report}");
    let examples = &report.examples[&invariant];
    let is_named = examples
        .iter()
        .any(|breach| breach.id.contains(about) || breach.what.contains(about));
    assert!(is_named, "no example names {about}:\n{report}");
}

/// Only this checker sees it.
#[track_caller]
fn counted_alone(report: &Report, invariant: Invariant, about: &str) {
    counted(report, invariant, about);
    for other in Invariant::ALL {
        assert!(
            other == invariant || report.count(other) == 0,
            "{other:?} counts, too:\n{report}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_in_which_everything_holds_count_nothing() {
    run(async |stage| {
        let report = spoilt(stage, async |_| {}).await;
        assert!(report.holds(), "{report}");
        let checked = &report.checked;
        assert_eq!((checked.orders, checked.payments, checked.food_points), (1, 1, 3));
        assert_eq!(
            (
                checked.timers,
                checked.commands,
                checked.history_lines,
                checked.ledger_entries
            ),
            (1, 1, 1, 1)
        );
        assert!(
            checked.events > 30 && checked.documents > 8 && checked.readings > 20 && checked.ledger_lines > 3,
            "{report}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_counts_an_acknowledged_order_that_is_gone() {
    run(async |stage| {
        let report = spoilt(stage, async |scene| {
            let of_order = format!("where stream_id = '{ORDER}'");
            let events = format!("delete from events {of_order}");
            let streams = format!("delete from streams {of_order}");
            scene.spoil("order-master", &[&events, &streams]).await;
        })
        .await;
        counted(&report, Invariant::I1, "no such order");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_counts_an_open_order_without_a_deadline() {
    run(async |stage| {
        let report = spoilt(stage, async |scene| {
            let end = scene.events.iter().find(|event| event.event_type == "order.completed");
            let version = end.expect("it completed").version;
            let events = format!("delete from events where stream_id = '{ORDER}' and version >= {version}");
            let streams = format!(
                "update streams set version = {} where stream_id = '{ORDER}'",
                version - 1
            );
            scene.spoil("order-master", &[&events, &streams]).await;
        })
        .await;
        counted(&report, Invariant::I1, "waits without a deadline");
        assert_eq!(
            report.count(Invariant::I4),
            0,
            "a shorter path is still a path:\n{report}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i2_counts_a_second_capture_in_the_providers_ledger() {
    run(async |stage| {
        let report = spoilt(stage, async |scene| scene.pay("behind-our-back", true).await).await;
        counted_alone(&report, Invariant::I2, "took the money 2 times");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i2_counts_a_promise_that_only_the_provider_has() {
    run(async |stage| {
        let report = spoilt(stage, async |scene| scene.pay("behind-our-back", false).await).await;
        counted_alone(&report, Invariant::I2, "at the provider");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i2_counts_another_amount_due() {
    run(async |stage| {
        let report = spoilt(stage, async |scene| {
            let edit = format!(
                "update events set data = (data::jsonb || '{{\"amount\": {{\"amount\": 1, \"currency\": \"EUR\"}}}}')::json
                 where stream_id = '{ORDER}' and type = 'settlement.due' and data->>'final' = 'true'"
            );
            scene.spoil("order-master", &[&edit]).await;
        })
        .await;
        counted(&report, Invariant::I2, "1 is due, 1800 is kept, 0 is owed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i2_counts_a_ledger_that_is_not_what_the_events_post() {
    run(async |stage| {
        let moved = "update ledger_entries set account = 'revenue' where account = 'provider_clearing'";
        let other = spoilt(stage, async |scene| scene.spoil("basket-master", &[moved]).await).await;
        counted_alone(&other, Invariant::I2, "another line");
        let gone = ["delete from ledger_entries", "delete from ledger_heads"];
        let behind = spoilt(stage, async |scene| scene.spoil("basket-master", &gone).await).await;
        counted_alone(&behind, Invariant::I2, "the ledger stands at 0");
        let lost = spoilt(stage, async |scene| scene.spoil("basket-master", &gone[..1]).await).await;
        counted_alone(&lost, Invariant::I2, "has 0 lines");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_counts_stock_that_was_never_received() {
    run(async |stage| {
        let report = spoilt(stage, async |scene| {
            let edit =
                "update events set data = (data::jsonb || '{\"quantity\": 1}')::json where type = 'stock.received'";
            scene.spoil("point-master", &[edit]).await;
        })
        .await;
        counted(&report, Invariant::I3, "negative");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_counts_a_deleted_event_and_an_edited_version() {
    run(async |stage| {
        let delete = format!("delete from events where stream_id = '{ORDER}' and version = 3");
        let report = spoilt(stage, async |scene| scene.spoil("order-master", &[&delete]).await).await;
        counted(&report, Invariant::I4, "version 4 where 3 should be");
        let edit = format!("update events set version = 99 where stream_id = '{ORDER}' and version = 3");
        let report = spoilt(stage, async |scene| scene.spoil("order-master", &[&edit]).await).await;
        counted(&report, Invariant::I4, "version 99 where");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_counts_a_status_that_does_not_follow() {
    run(async |stage| {
        let edit = format!(
            "update events set type = 'order.delivery_overdue' where stream_id = '{ORDER}' and type = 'order.ready'"
        );
        let report = spoilt(stage, async |scene| scene.spoil("order-master", &[&edit]).await).await;
        counted(&report, Invariant::I4, "no way from assigned to in_delivery");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_counts_a_changed_a_missing_and_a_strange_document() {
    run(async |stage| {
        let key = document_key("order-info", "order", ORDER);
        let changed = spoilt(stage, async |scene| {
            let document = "{\"status\": \"paid\"}";
            scene.spoil_redis("HSET", &key, &["doc", document]).await;
        })
        .await;
        counted_alone(&changed, Invariant::I5, "differs from the fold");
        let missing = spoilt(stage, async |scene| scene.spoil_redis("DEL", &key, &[]).await).await;
        counted(&missing, Invariant::I5, "no document");
        let strange = spoilt(stage, async |scene| {
            let key = document_key("order-info", "order", CUSTOMER);
            scene.spoil_redis("HSET", &key, &["v", "1", "doc", "{}"]).await;
        })
        .await;
        counted_alone(&strange, Invariant::I5, "a document of nothing");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_counts_personal_data_that_is_not_what_user_master_has() {
    run(async |stage| {
        let edit = "update people set name = 'Berta'";
        let report = spoilt(stage, async |scene| scene.spoil("user-master", &[edit]).await).await;
        counted_alone(&report, Invariant::I5, "other data than user-master");
        assert!(!report.to_string().contains("Berta"), "a report has no personal data");
        let report = spoilt(stage, async |scene| {
            scene.spoil("user-master", &["delete from people"]).await
        })
        .await;
        counted_alone(&report, Invariant::I5, "somebody who is gone");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_counts_an_answer_that_is_older_than_its_token() {
    run(async |stage| {
        let shown = |version| Read {
            read_at: Timestamp::UNIX_EPOCH,
            path: format!("/v1/orders/{ORDER}"),
            asked: [(ORDER.to_string(), 3)].into(),
            shown: [(ORDER.to_string(), version)].into(),
        };
        let report = spoilt(stage, async |scene| {
            scene.note(&shown(4));
            scene.note(&shown(2));
        })
        .await;
        counted_alone(&report, Invariant::I6, "showed version 2 to somebody who had seen 3");
        assert_eq!(report.checked.token_reads, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_counts_a_live_event_that_a_client_never_heard() {
    run(async |stage| {
        let report = spoilt(stage, async |scene| {
            for (stamp, snapshot) in [("7-1-a", true), ("7-3-a", false)] {
                scene.note(&Heard {
                    heard_at: Timestamp::now(),
                    follower: "f".into(),
                    path: format!("/v1/orders/{ORDER}/live"),
                    stamp: stamp.into(),
                    snapshot,
                });
            }
        })
        .await;
        counted_alone(&report, Invariant::I7, "left out");
        assert_eq!(report.checked.live_news, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i8_counts_a_timer_in_the_past() {
    run(async |stage| {
        let push = "update timers set due_at = now() - interval '31 seconds'";
        let report = spoilt(stage, async |scene| scene.spoil("point-master", &[push]).await).await;
        counted_alone(&report, Invariant::I8, "hold:x was due");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_counts_an_altered_and_a_dropped_answer() {
    run(async |stage| {
        let alter = "update commands set response = replace(response, 'created', 'paid')";
        let altered = spoilt(stage, async |scene| scene.spoil("order-master", &[alter]).await).await;
        counted_alone(&altered, Invariant::I9, "keeps 201");
        let dropped = spoilt(stage, async |scene| {
            scene.spoil("order-master", &["delete from commands"]).await
        })
        .await;
        counted_alone(&dropped, Invariant::I9, "no answer is kept");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_counts_a_second_effect_and_a_second_answer() {
    run(async |stage| {
        let twice = format!("update events set recorded_at = now() where stream_id = '{ORDER}' and version = 2");
        let effects = spoilt(stage, async |scene| scene.spoil("order-master", &[&twice]).await).await;
        counted_alone(&effects, Invariant::I9, "2 effects");
        let answers = spoilt(stage, async |scene| {
            let mut other = placed_line();
            if let Outcome::Answered { status, .. } = &mut other.outcome {
                *status = 200;
            }
            scene.note(&other);
        })
        .await;
        counted_alone(&answers, Invariant::I9, "and later 200");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i10_counts_a_dropped_inbox_mark_and_an_old_document() {
    run(async |stage| {
        let drop = format!("delete from inbox where source_stream = '{ORDER}'");
        let dropped = spoilt(stage, async |scene| scene.spoil("point-master", &[&drop]).await).await;
        counted_alone(&dropped, Invariant::I10, "point-master (inbox of ORDER) stands at 0");
        let old = spoilt(stage, async |scene| {
            let payment = ORDER.payment();
            let key = document_key("basket-info", "payment", payment);
            scene.spoil_redis("HSET", &key, &["v", "1"]).await;
        })
        .await;
        counted(&old, Invariant::I10, "basket-info (payment documents) stands at 1");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i10_counts_a_consumer_that_left_messages_behind() {
    run(async |stage| {
        let scene = Scene::new(stage).await;
        scene.leave_a_message().await;
        let report = scene.check().await;
        counted_alone(&report, Invariant::I10, "point-master");
        scene.remove_the_message().await;
        scene.stores.close().await;
    })
    .await;
}
