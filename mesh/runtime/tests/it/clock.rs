//! Business time: monotone, scaled, and kind to short deadlines.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use mesh_runtime::Clock;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn time_never_goes_back_at_rate_20() {
    let clock = Clock::new(20.0, Timestamp::now(), at("2030-01-01T12:00:00Z"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let clock = clock.clone();
            scope.spawn(move || {
                let mut newest = clock.now();
                for _ in 0..20_000 {
                    let now = clock.now();
                    assert!(now >= newest);
                    newest = now;
                }
            });
        }
    });
}

#[test]
fn business_time_runs_rate_times_as_fast_from_its_origin() {
    let wall = at("2026-01-01T00:00:00Z");
    let clock = Clock::new(300.0, wall, at("2026-03-01T08:00:00Z"));
    assert_eq!(clock.business_at(wall), at("2026-03-01T08:00:00Z"));
    assert_eq!(
        clock.business_at(wall + SignedDuration::from_mins(1)),
        at("2026-03-01T13:00:00Z")
    );
}

#[test]
fn rate_1_is_the_wall_clock_plus_an_offset_exactly() {
    let clock = Clock::new(1.0, at("2026-01-01T00:00:00Z"), at("2026-01-01T06:00:00Z"));
    assert_eq!(
        clock.business_at(at("2026-07-01T00:00:00.123456789Z")),
        at("2026-07-01T06:00:00.123456789Z")
    );
    let real = Clock::real();
    let drift = real.now().duration_since(real.wall()).abs();
    assert!(drift < SignedDuration::from_millis(100), "{drift}");
}

#[test]
fn no_deadline_is_shorter_than_ten_wall_seconds() {
    let now = at("2026-01-01T00:00:00Z");
    let fast = Clock::new(300.0, now, now);
    let short = SignedDuration::from_secs(30);
    assert_eq!(fast.deadline(now, short), now + SignedDuration::from_secs(3000));
    assert_eq!(
        fast.deadline(now, SignedDuration::from_hours(2)),
        now + SignedDuration::from_hours(2)
    );
    assert_eq!(Clock::real().deadline(now, short), now + short);
}

#[tokio::test]
async fn sleeping_ends_when_business_time_is_there() {
    let clock = Clock::new(100.0, Timestamp::now(), at("2030-01-01T00:00:00Z"));
    let started = Instant::now();
    let due = clock.now() + SignedDuration::from_secs(20);
    clock.sleep_until(due).await;
    assert!(clock.now() >= due);
    assert!(
        started.elapsed() >= Duration::from_millis(190),
        "20 s at rate 100 are 200 ms"
    );
    clock.sleep_until(due).await;
}
