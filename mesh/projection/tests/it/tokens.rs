use std::time::Duration;

use futures::{StreamExt as _, stream};
use mesh_projection::{Projection, Unavailable};
use tokio::time::Instant;

use crate::notebook::{Notebooks, given, id, noted};
use crate::world::World;

/// Token reads of the long test, unless `TIFFIN_TOKEN_READS` says how many.
const READS: usize = 20_000;
/// Readers who bring the token of one write, at once.
const READERS: usize = 40;
/// Writes under way at a time.
const WRITES_AT_ONCE: usize = 16;
/// Streams that they go to in turn, so that each is written again while it is read.
const STREAMS: usize = 50;

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

/// How late the bus brings an event: mostly in time, sometimes later than a reader waits, sometimes never.
fn lag(write: usize) -> Option<Duration> {
    match write % 20 {
        0 => None,
        1 => Some(Duration::from_millis(450)),
        other => Some(Duration::from_millis((other as u64 * 7) % 60)),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr, reason = "the number of reads is for whoever reads the log")]
async fn no_read_is_older_than_its_token_however_late_the_bus_is() {
    let reads = std::env::var("TIFFIN_TOKEN_READS").map_or(READS, |reads| reads.parse().expect("a number"));
    let world = World::new().await;
    let started = Instant::now();
    let unanswered: usize = stream::iter(0..reads.div_ceil(READERS))
        .map(|write| write_and_read(&world, write))
        .buffer_unordered(WRITES_AT_ONCE)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .sum();
    let reads = reads.div_ceil(READERS) * READERS;
    eprintln!(
        "{reads} reads with a token in {:.1?}: none older than it, {unanswered} not answered",
        started.elapsed()
    );
    assert_eq!(unanswered, 0, "the master was there for all of them");
    // What the bus never brought is nothing to wait for.
    for number in 1..=STREAMS.min(reads / READERS) {
        assert_eq!(world.get(number).await.unwrap().doc, world.folded(number));
    }
}

/// Commits one event, which the bus brings when it likes, and reads it at once; tells how many had no answer.
async fn write_and_read(world: &World, write: usize) -> usize {
    let number = write % STREAMS + 1;
    let event = world.log.append_next(number, |version| match version {
        1 => given(number, version, "ann"),
        version => noted(number, version),
    });
    let version = event.version;
    let late = async {
        if let Some(lag) = lag(write) {
            tokio::time::sleep(lag).await;
            world.publish(std::slice::from_ref(&event)).await;
        }
    };
    let reading = stream::iter(0..READERS)
        .map(|_| read_after(&world.projection, number, version))
        .buffer_unordered(READERS)
        .filter(|read| std::future::ready(read.is_err()))
        .count();
    let ((), unanswered) = tokio::join!(late, reading);
    unanswered
}

async fn read_after(projection: &Projection, number: usize, version: u64) -> Result<(), Unavailable> {
    projection.await_token(&[(id(number), version)]).await?;
    let read = projection.get::<Notebooks>(&id(number)).await?;
    let seen = read.map_or(0, |read| read.version);
    assert!(seen >= version, "{number} at {seen}, and the token says {version}");
    Ok(())
}
