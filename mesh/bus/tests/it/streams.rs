use async_nats::jetstream;
use mesh_bus::{Bus, Published, StreamsError, message_id};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::subject::Context;
use mesh_testkit::Stage;

use crate::events::{event, publish, stream};

#[tokio::test]
async fn streams_are_made_once_and_found_again() {
    let stage = Stage::new();
    let bus = Bus::connect(stage.bus("order-master")).await.unwrap();
    bus.ensure_streams(&[Context::Order]).await.unwrap();
    let made = bus.stream_info(Context::Order).await.unwrap().expect("made");
    bus.ensure_streams(&[Context::Order]).await.unwrap();
    let found = bus.stream_info(Context::Order).await.unwrap().expect("found");
    assert_eq!(made, found);
    assert_eq!(bus.stream_info(Context::Basket).await.unwrap(), None);
}

#[tokio::test]
async fn a_stream_with_another_setting_is_named_and_left_alone() {
    let stage = Stage::new();
    let bus = Bus::connect(stage.bus("order-master")).await.unwrap();
    bus.ensure_streams(&[Context::Order]).await.unwrap();
    let admin = jetstream::new(stage.bus_admin().await);
    let name = format!("{}ORDER", stage.bus_prefix());
    let made = admin.get_stream(&name).await.unwrap();
    let mut drifted = made.cached_info().config.clone();
    drifted.max_age /= 2;
    admin.update_stream(&drifted).await.unwrap();
    match bus.ensure_streams(&[Context::Order]).await {
        Err(StreamsError::Drifted { stream, field, .. }) => {
            assert_eq!((stream, field), (name.clone(), "max_age"));
        }
        other => panic!("drift not noticed: {other:?}"),
    }
    let left = admin.get_stream(&name).await.unwrap();
    assert_eq!(left.cached_info().config.max_age, drifted.max_age);
}

#[tokio::test]
async fn an_event_published_twice_is_kept_once_and_found_by_its_sequence() {
    let stage = Stage::new();
    let bus = Bus::connect(stage.bus("order-master")).await.unwrap();
    bus.ensure_streams(&[Context::Order]).await.unwrap();
    let event = event(&stream(1), 1);
    let first = bus.publish(&event).await.unwrap().await.unwrap();
    let second = bus.publish(&event).await.unwrap().await.unwrap();
    assert!(!first.duplicate && second.duplicate);
    assert_eq!(first.sequence, second.sequence);
    let kept = bus.message_at(Context::Order, first.sequence).await.unwrap().unwrap();
    assert_eq!(kept.id(), Some(event.event_id));
    assert_eq!(kept.events().pop().unwrap().unwrap(), event);
    assert!(bus.message_at(Context::Order, 99).await.unwrap().is_none());
    assert!(bus.message_at(Context::Basket, 1).await.unwrap().is_none());
}

#[tokio::test]
async fn of_batches_only_the_very_same_is_a_repeat() {
    let stage = Stage::new();
    let bus = Bus::connect(stage.bus("order-master")).await.unwrap();
    bus.ensure_streams(&[Context::Order]).await.unwrap();
    let events: Vec<_> = (1..=3).map(|version| event(&stream(1), version)).collect();
    let send = async |batch: &[Envelope]| bus.publish_batch(batch).await.unwrap().await.unwrap();
    let first = send(&events[..2]).await;
    assert_eq!(
        send(&events[..2]).await,
        Published {
            duplicate: true,
            ..first
        }
    );
    // A relay that comes back cuts otherwise, and what is new among what is old must not be dropped with it.
    for other in [&events[..], &events[..1], &events[1..2], &events[1..]] {
        assert!(!send(other).await.duplicate);
    }
    let kept = bus.message_at(Context::Order, first.sequence).await.unwrap().unwrap();
    assert_eq!(kept.id(), Some(message_id(&events[..2])));
    let kept: Vec<_> = kept.events().into_iter().map(Result::unwrap).collect();
    assert_eq!(kept, events[..2]);
}

#[tokio::test]
async fn publishing_without_the_stream_fails_and_says_so() {
    let stage = Stage::new();
    let bus = Bus::connect(stage.bus("order-master")).await.unwrap();
    let err = bus.publish(&event(&stream(1), 1)).await.unwrap().await.unwrap_err();
    assert!(err.is_stream_missing(), "{err:?}");
}

#[tokio::test]
async fn nobody_publishes_the_events_of_another_owner() {
    let stage = Stage::new();
    let owner = Bus::connect(stage.bus("order-master")).await.unwrap();
    owner.ensure_streams(&[Context::Order]).await.unwrap();
    publish(&owner, &[event(&stream(1), 1)]).await;
    let other = Bus::connect(stage.bus("order-info")).await.unwrap();
    let sent = other.publish(&event(&stream(1), 2)).await.unwrap().await;
    assert!(sent.is_err());
    let info = owner.stream_info(Context::Order).await.unwrap().unwrap();
    assert_eq!(info.messages, 1);
}
