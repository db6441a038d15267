use std::time::Duration;

use tokio::time::Instant;

use crate::notebook::{given, id, noted};
use crate::world::World;

#[tokio::test]
async fn a_token_waits_for_the_bus() {
    let world = World::new().await;
    let event = given(1, 1, "ann");
    world.log.append(std::slice::from_ref(&event));
    let asked = world.log.asked();
    let later = async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        world.publish(std::slice::from_ref(&event)).await;
    };
    let token = [(id(1), 1)];
    let (waited, ()) = tokio::join!(world.projection.await_token(&token), later);
    waited.unwrap();
    assert_eq!(world.get(1).await.unwrap().version, 1);
    assert_eq!(world.log.asked(), asked);
}

#[tokio::test]
async fn a_token_that_the_bus_does_not_satisfy_is_satisfied_by_the_master() {
    let world = World::new().await;
    world.log.append(&[given(1, 1, "ann"), noted(1, 2)]);
    let started = Instant::now();
    world.projection.await_token(&[(id(1), 2)]).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(world.get(1).await.unwrap().doc, world.folded(1));
    assert_eq!(world.holders("ann").await, [id(1)]);
}

#[tokio::test]
async fn a_token_that_nobody_can_satisfy_makes_the_read_unavailable() {
    let world = World::new().await;
    world.log.set_down(true);
    assert!(world.projection.await_token(&[(id(1), 1)]).await.is_err());
    world.log.set_down(false);
    // Nor if the master has never heard of that version.
    world.log.append(&[given(1, 1, "ann")]);
    assert!(world.projection.await_token(&[(id(1), 2)]).await.is_err());
}

#[tokio::test]
async fn streams_that_nobody_shows_here_are_not_waited_for() {
    let world = World::new().await;
    let started = Instant::now();
    world.projection.await_token(&[("pay_1".into(), 7)]).await.unwrap();
    world.projection.await_token(&[]).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(300));
}
