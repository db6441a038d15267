use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use mesh_bus::{Bus, Subscription, Verdict};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::subject::Context;
use mesh_runtime::Shutdown;
use mesh_testkit::{Stage, eventually, eventually_in};

use crate::dead_letters::letters;
use crate::events::{DURABLE, Notes, consume, event, note_everything, publish, stream};
use crate::own_server::OwnServer;

async fn order_bus(stage: &Stage) -> Bus {
    let bus = Bus::connect(stage.bus("order-master")).await.unwrap();
    bus.ensure_streams(&[Context::Order]).await.unwrap();
    bus
}

async fn drained(bus: &Bus) {
    eventually("the consumer is drained", async || {
        let state = bus.consumer_state(Context::Order, DURABLE).await.unwrap()?;
        state.is_drained().then_some(())
    })
    .await;
}

#[tokio::test]
async fn events_of_a_stream_arrive_in_order_whatever_else_travels() {
    let stage = Stage::new();
    let bus = order_bus(&stage).await;
    let notes = Notes::default();
    let _consumer = note_everything(&bus, &notes);
    for version in 1..=50 {
        for number in 0..10 {
            // Not awaited: a window is open.
            let _ = bus.publish(&event(&stream(number), version)).await.unwrap();
        }
    }
    for number in 0..10 {
        eventually("all events arrive", || notes.has(stream(number), 50)).await;
        assert_eq!(notes.of(&stream(number)), (1..=50).collect::<Vec<_>>());
    }
    drained(&bus).await;
}

#[tokio::test]
async fn drained_turns_true_once_everything_is_acknowledged() {
    let stage = Stage::new();
    let bus = order_bus(&stage).await;
    publish(
        &bus,
        &(1..=300).map(|version| event(&stream(1), version)).collect::<Vec<_>>(),
    )
    .await;
    let subscription = Subscription::new(Context::Order, DURABLE).batch_max(16);
    let mut drained = subscription.drained();
    assert!(!*drained.borrow());
    let notes = Notes::default();
    let noted = notes.clone();
    let _consumer = consume(&bus, subscription, move |event| {
        noted.note(event);
        Verdict::Done
    });
    drained.wait_for(|drained| *drained).await.unwrap();
    assert_eq!(notes.of(&stream(1)).len(), 300);
}

/// What is handed over of these streams, when all there is has been acknowledged.
async fn noted_of(bus: &Bus, stream_prefix: &'static str) -> Vec<(String, u64)> {
    let notes = Notes::default();
    let noted = notes.clone();
    let subscription = Subscription::new(Context::Order, DURABLE).only_streams_of(stream_prefix);
    let mut drained = subscription.drained();
    let _consumer = consume(bus, subscription, move |event| {
        noted.note(event);
        Verdict::Done
    });
    drained.wait_for(|drained| *drained).await.unwrap();
    notes.all()
}

#[tokio::test]
async fn events_of_other_streams_are_acknowledged_unread() {
    let stage = Stage::new();
    let bus = order_bus(&stage).await;
    // Whoever read this would bury it.
    let subject = format!("{}ev.local.ORDER.0", stage.bus_prefix());
    let headers = HeaderMap::from_iter([("ce-subject".parse().unwrap(), "ord_b1".parse().unwrap())]);
    let sent = bus.jetstream().publish_with_headers(subject, headers, "?".into()).await;
    sent.unwrap().await.unwrap();
    publish(&bus, &[event("ord_b1", 2), event("ord_a1", 1), event("ord_b1", 3)]).await;
    assert_eq!(noted_of(&bus, "ord_a").await, [("ord_a1".to_owned(), 1)]);
    assert!(letters(&stage).await.is_empty());
}

#[tokio::test]
async fn a_batch_is_handed_over_in_portions_and_acknowledged_when_its_last_event_is_done() {
    let stage = Stage::new();
    let bus = order_bus(&stage).await;
    let events: Vec<_> = (1..=30).map(|version| event(&stream(1), version)).collect();
    bus.publish_batch(&events).await.unwrap().await.unwrap();
    let notes = Notes::default();
    let noted = notes.clone();
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let subscription = Subscription::new(Context::Order, DURABLE).batch_max(8);
    let mut drained = subscription.drained();
    let shutdown = Shutdown::new();
    let consuming = bus.consume(subscription, shutdown.clone(), |batch| {
        assert!(batch.len() <= 8);
        let judge = |event: &Envelope| {
            if event.version == 30 && count.fetch_add(1, Ordering::SeqCst) < 3 {
                return Verdict::Later("away".into());
            }
            noted.note(event);
            Verdict::Done
        };
        let verdicts = batch.iter().map(judge).collect();
        async move { verdicts }
    });
    let watching = async {
        drained.wait_for(|drained| *drained).await.unwrap();
        shutdown.trigger();
    };
    tokio::join!(consuming, watching);
    assert_eq!(tries.load(Ordering::SeqCst), 4);
    assert_eq!(notes.of(&stream(1)), (1..=30).collect::<Vec<_>>());
}

#[tokio::test]
async fn of_a_batch_only_what_is_of_the_wanted_streams_is_handed_over() {
    let stage = Stage::new();
    let bus = order_bus(&stage).await;
    let others = [event("ord_b1", 1), event("ord_b1", 2)];
    bus.publish_batch(&others).await.unwrap().await.unwrap();
    let mixed = [event("ord_b1", 3), event("ord_a1", 1), event("ord_b1", 4)];
    bus.publish_batch(&mixed).await.unwrap().await.unwrap();
    assert_eq!(noted_of(&bus, "ord_a").await, [("ord_a1".to_owned(), 1)]);
}

#[tokio::test]
async fn an_unknown_consumer_has_no_state() {
    let stage = Stage::new();
    let bus = order_bus(&stage).await;
    assert_eq!(bus.consumer_state(Context::Order, "nobody").await.unwrap(), None);
    assert_eq!(bus.consumer_state(Context::Basket, DURABLE).await.unwrap(), None);
}

#[tokio::test]
async fn a_consumer_waits_for_a_stream_that_is_made_later() {
    let stage = Stage::new();
    let bus = Bus::connect(stage.bus("order-master")).await.unwrap();
    let notes = Notes::default();
    let _consumer = note_everything(&bus, &notes);
    bus.ensure_streams(&[Context::Order]).await.unwrap();
    publish(&bus, &[event(&stream(1), 1)]).await;
    eventually("the event arrives", || notes.has(stream(1), 1)).await;
}

#[tokio::test]
async fn a_deleted_consumer_is_made_again() {
    let stage = Stage::new();
    let bus = order_bus(&stage).await;
    let notes = Notes::default();
    let _consumer = note_everything(&bus, &notes);
    publish(&bus, &[event(&stream(1), 1)]).await;
    eventually("the first event arrives", || notes.has(stream(1), 1)).await;
    let durable = format!("{}{DURABLE}", stage.bus_prefix());
    let name = format!("{}ORDER", stage.bus_prefix());
    bus.jetstream()
        .delete_consumer_from_stream(durable, name)
        .await
        .unwrap();
    publish(&bus, &[event(&stream(1), 2)]).await;
    eventually("the second event arrives", || notes.has(stream(1), 2)).await;
}

#[tokio::test]
async fn a_dependency_that_is_away_never_makes_an_event_poison() {
    let stage = Stage::new();
    let bus = order_bus(&stage).await;
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let _consumer = consume(&bus, Subscription::new(Context::Order, DURABLE), move |_| {
        match count.fetch_add(1, Ordering::SeqCst) {
            0..8 => Verdict::Later("away".into()),
            _ => Verdict::Done,
        }
    });
    publish(&bus, &[event(&stream(1), 1)]).await;
    eventually("the event is done", async || {
        (tries.load(Ordering::SeqCst) == 9).then_some(())
    })
    .await;
    drained(&bus).await;
}

#[tokio::test]
async fn what_a_killed_process_had_in_hand_is_handed_out_again_within_seconds() {
    let stage = Stage::new();
    let bus = order_bus(&stage).await;
    publish(&bus, &[event(&stream(1), 1)]).await;
    let (taken, taking) = tokio::sync::oneshot::channel();
    let taken = Mutex::new(Some(taken));
    let killed = bus.consume(Subscription::new(Context::Order, DURABLE), Shutdown::new(), |_| {
        let taken = taken.lock().unwrap().take();
        async {
            taken.unwrap().send(()).unwrap();
            std::future::pending().await
        }
    });
    tokio::select! {
        () = killed => unreachable!("nothing shuts it down"),
        taken = taking => taken.unwrap(),
    }
    let notes = Notes::default();
    let _consumer = note_everything(&bus, &notes);
    eventually_in("the event comes again", Duration::from_secs(7), || {
        notes.has(stream(1), 1)
    })
    .await;
    drained(&bus).await;
}

#[tokio::test]
async fn an_event_that_takes_long_is_not_handed_out_twice() {
    // Longer than the broker waits for a sign of life.
    const AWAY: Duration = Duration::from_secs(8);
    let stage = Stage::new();
    let bus = order_bus(&stage).await;
    let started = Instant::now();
    let notes = Notes::default();
    let done = notes.clone();
    let _consumer = consume(&bus, Subscription::new(Context::Order, DURABLE), move |event| {
        if started.elapsed() < AWAY {
            return Verdict::Later("away".into());
        }
        done.note(event);
        Verdict::Done
    });
    publish(&bus, &[event(&stream(1), 1)]).await;
    eventually("the event is done", || notes.has(stream(1), 1)).await;
    drained(&bus).await;
    assert_eq!(notes.of(&stream(1)), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_survives_a_killed_broker() {
    let mut server = OwnServer::start().await;
    let bus = server.bus().await;
    bus.ensure_streams(&[Context::Order]).await.unwrap();
    let notes = Notes::default();
    let _consumer = note_everything(&bus, &notes);
    publish(&bus, &[event(&stream(1), 1)]).await;
    eventually("the first event arrives", || notes.has(stream(1), 1)).await;
    let mut connections = bus.connections();
    connections.mark_unchanged();
    server.kill();
    server.start_again().await;
    connections.changed().await.unwrap();
    let second = event(&stream(1), 2);
    eventually("the broker takes events again", async || {
        bus.publish(&second).await.ok()?.await.ok()
    })
    .await;
    eventually("the second event arrives", || notes.has(stream(1), 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_a_wiped_broker_starts_from_the_first_event_again() {
    let mut server = OwnServer::start().await;
    let bus = server.bus().await;
    bus.ensure_streams(&[Context::Order]).await.unwrap();
    let notes = Notes::default();
    let _consumer = note_everything(&bus, &notes);
    let first = event(&stream(1), 1);
    publish(&bus, std::slice::from_ref(&first)).await;
    eventually("the first event arrives", || notes.has(stream(1), 1)).await;
    server.kill();
    server.wipe();
    server.start_again().await;
    eventually("the broker has no stream", async || {
        matches!(bus.stream_info(Context::Order).await, Ok(None)).then_some(())
    })
    .await;
    bus.ensure_streams(&[Context::Order]).await.unwrap();
    // What a relay does that heals: everything again.
    publish(&bus, &[first, event(&stream(1), 2)]).await;
    eventually("the second event arrives", || notes.has(stream(1), 2)).await;
    assert_eq!(notes.of(&stream(1)), [1, 1, 2]);
}

/// Numbers of messages are given again by a broker that lost the newest.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_hand_when_the_broker_fell_back_acknowledges_no_other_event() {
    let mut server = OwnServer::start().await;
    let bus = server.bus().await;
    bus.ensure_streams(&[Context::Order]).await.unwrap();
    bus.prepare(&Subscription::new(Context::Order, DURABLE)).await.unwrap();
    server.kill();
    let before = server.store();
    server.start_again().await;

    let (in_hand, is_fallen_back) = (Notes::default(), Arc::new(AtomicBool::new(false)));
    let (noted, may_end) = (in_hand.clone(), is_fallen_back.clone());
    let consumer = bus.clone();
    tokio::spawn(async move {
        let subscription = Subscription::new(Context::Order, DURABLE);
        let handle = |batch: Vec<Envelope>| {
            let (noted, may_end) = (noted.clone(), may_end.clone());
            async move {
                let verdicts = batch.into_iter().map(|event| {
                    let is_first = event.stream == stream(1);
                    noted.note(&event);
                    match is_first && may_end.load(Ordering::SeqCst) {
                        true => Verdict::Done,
                        false => Verdict::Later("held".into()),
                    }
                });
                verdicts.collect()
            }
        };
        consumer.consume(subscription, Shutdown::new(), handle).await;
    });
    let first = event(&stream(1), 1);
    eventually("the broker takes the first event", async || {
        bus.publish(&first).await.ok()?.await.ok()
    })
    .await;
    eventually("the first event is in hand", || in_hand.has(stream(1), 1)).await;

    server.kill();
    server.fall_back(before);
    server.start_again().await;
    let second = event(&stream(2), 1);
    let published = eventually("the broker takes the second event", async || {
        bus.publish(&second).await.ok()?.await.ok()
    })
    .await;
    assert_eq!(published.sequence, 1, "the number of the first event");
    eventually("the broker has given it to somebody", async || {
        let state = bus.consumer_state(Context::Order, DURABLE).await.ok()??;
        (state.ack_pending == 1).then_some(())
    })
    .await;
    is_fallen_back.store(true, Ordering::SeqCst);
    eventually("the second event is in hand", || in_hand.has(stream(2), 1)).await;
    let state = bus.consumer_state(Context::Order, DURABLE).await.unwrap().unwrap();
    assert_eq!(
        (state.acknowledged, state.ack_pending),
        (0, 1),
        "nobody is done with it"
    );
}
