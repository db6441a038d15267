use std::sync::{Arc, Mutex};

use async_nats::jetstream;
use mesh_bus::{Bus, DeadLetter, Poisoned, Subscription, Verdict};
use mesh_contracts::subject::Context;
use mesh_testkit::{Stage, eventually};

use crate::events::{DURABLE, Notes, consume, event, publish, stream};

async fn order_bus(stage: &Stage) -> Bus {
    let bus = Bus::connect(stage.bus("order-master")).await.unwrap();
    bus.ensure_streams(&[Context::Order]).await.unwrap();
    bus
}

pub async fn letters(stage: &Stage) -> Vec<(DeadLetter, String)> {
    let admin = jetstream::new(stage.bus_admin().await);
    let dead = admin.get_stream(format!("{}DEAD", stage.bus_prefix())).await.unwrap();
    let mut letters = Vec::new();
    for sequence in 1..=dead.cached_info().state.last_sequence {
        let raw = dead.get_raw_message(sequence).await.unwrap();
        let text = String::from_utf8(raw.payload.to_vec()).unwrap();
        letters.push((serde_json::from_str(&text).unwrap(), text));
    }
    letters
}

#[tokio::test]
async fn after_three_tries_an_event_is_a_dead_letter_without_its_body() {
    let stage = Stage::new();
    let bus = order_bus(&stage).await;
    let tries = Notes::default();
    let told: Arc<Mutex<Vec<Poisoned>>> = Arc::default();
    let (noted, telling) = (tries.clone(), told.clone());
    let subscription = Subscription::new(Context::Order, DURABLE).on_poison(move |poisoned| {
        telling.lock().unwrap().push(poisoned);
        async { Ok(()) }
    });
    let _consumer = consume(&bus, subscription, move |event| {
        noted.note(event);
        match event.version {
            2 => Verdict::Retry("does not fit".into()),
            _ => Verdict::Done,
        }
    });
    let mut poison = event(&stream(1), 2);
    poison.data = serde_json::json!({ "secret": "body" }).into();
    publish(&bus, &[event(&stream(1), 1), poison.clone(), event(&stream(2), 1)]).await;
    eventually("the owner is told", async || {
        (!told.lock().unwrap().is_empty()).then_some(())
    })
    .await;
    assert_eq!(tries.of(&stream(1)).iter().filter(|version| **version == 2).count(), 3);
    assert_eq!(told.lock().unwrap()[0].stream, stream(1));
    let letters = letters(&stage).await;
    let [(letter, text)] = letters.as_slice() else {
        panic!("not one letter: {letters:?}");
    };
    assert_eq!(letter.event_id, Some(poison.event_id.to_string()));
    assert_eq!((letter.version, letter.position), (Some(2), Some(2)));
    assert_eq!((letter.context, letter.consumer.as_str()), (Context::Order, DURABLE));
    assert_eq!(letter.error, "does not fit");
    assert!(!text.contains("body"), "{text}");
    stage.settled().await;
}

#[tokio::test]
async fn only_the_first_failing_event_of_a_stream_is_buried() {
    let stage = Stage::new();
    let bus = order_bus(&stage).await;
    let events: Vec<_> = (1..=4).map(|version| event(&stream(1), version)).collect();
    publish(&bus, &events).await;
    let quarantined: Arc<Mutex<bool>> = Arc::default();
    let mark = quarantined.clone();
    let subscription = Subscription::new(Context::Order, DURABLE).on_poison(move |_| {
        *mark.lock().unwrap() = true;
        async { Ok(()) }
    });
    let known = quarantined.clone();
    let _consumer = consume(&bus, subscription, move |event| match event.version {
        1 => Verdict::Done,
        _ if *known.lock().unwrap() => Verdict::Done,
        _ => Verdict::Poison("unknown shape".into()),
    });
    eventually("the stream is quarantined", async || {
        quarantined.lock().unwrap().then_some(())
    })
    .await;
    stage.settled().await;
    let buried: Vec<_> = letters(&stage)
        .await
        .into_iter()
        .map(|(letter, _)| letter.version)
        .collect();
    assert_eq!(buried, [Some(2)]);
}

#[tokio::test]
async fn poison_in_a_batch_takes_none_of_the_others_with_it() {
    let stage = Stage::new();
    let bus = order_bus(&stage).await;
    let events: Vec<_> = (1..=5).map(|number| event(&stream(number), 1)).collect();
    bus.publish_batch(&events).await.unwrap().await.unwrap();
    let notes = Notes::default();
    let noted = notes.clone();
    let _consumer = consume(&bus, Subscription::new(Context::Order, DURABLE), move |event| {
        if event.stream == stream(3) {
            return Verdict::Poison("unknown shape".into());
        }
        noted.note(event);
        Verdict::Done
    });
    eventually("the others are handled", || notes.has(stream(5), 1)).await;
    stage.settled().await;
    let [(letter, _)] = letters(&stage).await.try_into().expect("one letter");
    assert_eq!(letter.event_id, Some(events[2].event_id.to_string()));
    assert_eq!(notes.all().len(), 4);
}

#[tokio::test]
async fn what_cannot_be_read_of_a_batch_is_buried_and_the_rest_is_handled() {
    let stage = Stage::new();
    let bus = order_bus(&stage).await;
    let events: Vec<_> = (1..=3).map(|number| event(&stream(number), 1)).collect();
    let (headers, body) = mesh_bus::encode(&events);
    let mut batch: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
    batch[1]["time"] = "yesterday".into();
    let subject = format!("{}ev.local.ORDER.batch", stage.bus_prefix());
    let body = serde_json::to_vec(&batch).unwrap().into();
    let sent = bus.jetstream().publish_with_headers(subject, headers, body).await;
    sent.unwrap().await.unwrap();
    let notes = Notes::default();
    let noted = notes.clone();
    let _consumer = consume(&bus, Subscription::new(Context::Order, DURABLE), move |event| {
        noted.note(event);
        Verdict::Done
    });
    eventually("the last is handled", || notes.has(stream(3), 1)).await;
    stage.settled().await;
    let [(letter, _)] = letters(&stage).await.try_into().expect("one letter");
    assert_eq!(
        (letter.stream, letter.error.as_str()),
        (Some(stream(2)), "message has no readable body")
    );
    assert_eq!(notes.all().len(), 2);
}

#[tokio::test]
async fn a_panicking_handler_loses_only_the_event_it_panics_on() {
    let stage = Stage::new();
    let bus = order_bus(&stage).await;
    let events: Vec<_> = (1..=5).map(|number| event(&stream(number), 1)).collect();
    publish(&bus, &events).await;
    let notes = Notes::default();
    let noted = notes.clone();
    let _consumer = consume(&bus, Subscription::new(Context::Order, DURABLE), move |event| {
        assert_ne!(event.stream, stream(3), "the bug");
        noted.note(event);
        Verdict::Done
    });
    eventually("the others are handled", || notes.has(stream(5), 1)).await;
    stage.settled().await;
    let buried: Vec<_> = letters(&stage)
        .await
        .into_iter()
        .map(|(letter, _)| letter.stream)
        .collect();
    assert_eq!(buried, [Some(stream(3))]);
}

#[tokio::test]
async fn a_message_that_is_none_of_ours_is_buried_and_acknowledged() {
    let stage = Stage::new();
    let bus = order_bus(&stage).await;
    let subject = format!("{}ev.local.ORDER.0", stage.bus_prefix());
    bus.jetstream()
        .publish(subject, "?".into())
        .await
        .unwrap()
        .await
        .unwrap();
    let notes = Notes::default();
    let noted = notes.clone();
    let _consumer = consume(&bus, Subscription::new(Context::Order, DURABLE), move |event| {
        noted.note(event);
        Verdict::Done
    });
    publish(&bus, &[event(&stream(1), 1)]).await;
    eventually("the event behind it arrives", || notes.has(stream(1), 1)).await;
    stage.settled().await;
    let letters = letters(&stage).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].0.error, "message has no readable ce-id");
}
