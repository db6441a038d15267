use mesh_contracts::geo::Coordinates;
use uuid::Uuid;

use super::*;

/// A degree of latitude is 111.2 km, so a thousandth of it is 111 m: about 21 s at 320 m/min.
const SPEED: u32 = 320;

fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("a timestamp")
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

/// A place `ride` minutes north of the origin.
fn north(ride: i32) -> Coordinates {
    Coordinates::new(ride * 2_878, 0).expect("on earth")
}

fn courier(number: u128) -> CourierId {
    CourierId(Uuid::from_u128(number))
}

fn delivery(number: u128) -> DeliveryId {
    DeliveryId(Uuid::from_u128(number))
}

/// Cooked at the origin by point 1, ready in so many minutes, to be brought ten minutes south.
fn job(number: u128, ready_in: i64) -> Waiting {
    Waiting {
        delivery: delivery(number),
        food_point: FoodPointId(Uuid::from_u128(1)),
        pickup: north(0),
        dropoff: north(-10),
        ready_by: later(noon(), minutes(ready_in)),
        since: later(noon(), minutes(-1)),
        passed: Vec::new(),
    }
}

/// Idle, so many minutes away from the origin.
fn idle(number: u128, away: i32) -> Available {
    Available {
        courier: courier(number),
        speed_m_per_min: SPEED,
        doing: Doing::Idle,
        at: north(away),
    }
}

fn plan(waiting: &[Waiting], couriers: &[Available]) -> Plan {
    assign(waiting, couriers, noon(), &Policy::default())
}

#[track_caller]
fn check<const N: usize>(waiting: &[Waiting], couriers: &[Available], expected: [(u128, u128); N]) {
    let mut asked: Vec<_> = plan(waiting, couriers)
        .offers
        .iter()
        .map(|offer| (offer.delivery, offer.courier))
        .collect();
    asked.sort();
    let mut expected = expected.map(|(job, by)| (delivery(job), courier(by)));
    expected.sort();
    assert_eq!(asked, expected);
}

#[test]
fn the_nearest_courier_is_asked_for_food_that_is_ready() {
    check(&[job(1, 0)], &[idle(1, 7), idle(2, 3), idle(3, 5)], [(1, 2)]);
}

#[test]
fn five_at_one_counter_get_the_five_nearest_of_many() {
    let jobs: Vec<Waiting> = (1..=5).map(|number| job(number, 0)).collect();
    let couriers: Vec<Available> = (1..=40).map(|number| idle(number, 41 - number as i32)).collect();
    check(&jobs, &couriers, [(1, 40), (2, 39), (3, 38), (4, 37), (5, 36)]);
}

#[test]
fn nobody_is_asked_before_it_is_time_to_leave_and_the_plan_says_when_that_is() {
    let plan = plan(&[job(1, 10)], &[idle(1, 4)]);
    assert_eq!(plan.offers, []);
    // Ten minutes less four on the way and three of margin.
    let again_in = plan.again_at.expect("a time").duration_since(noon());
    assert!(
        (minutes(3) - again_in).abs() < SignedDuration::from_secs(10),
        "{again_in:?}"
    );
}

#[test]
fn a_far_courier_is_not_asked_early_while_a_near_one_is_free() {
    check(&[job(1, 10)], &[idle(1, 2), idle(2, 10)], []);
}

#[test]
fn a_far_courier_is_asked_in_time_to_arrive_with_the_food() {
    check(&[job(1, 10)], &[idle(1, 10)], [(1, 1)]);
}

#[test]
fn nobody_is_bound_more_than_a_quarter_of_an_hour_ahead() {
    check(&[job(1, 16)], &[idle(1, 18)], []);
    check(&[job(1, 15)], &[idle(1, 18)], [(1, 1)]);
}

#[test]
fn a_courier_out_of_reach_is_asked_later_by_as_much() {
    // 29 minutes away, nine beyond reach: first a quarter of an hour before, now six minutes before.
    check(&[job(1, 7)], &[idle(1, 29)], []);
    check(&[job(1, 5)], &[idle(1, 29)], [(1, 1)]);
}

#[test]
fn two_jobs_go_to_two_couriers() {
    check(&[job(1, 0), job(2, 0)], &[idle(1, 2), idle(2, 3)], [(1, 1), (2, 2)]);
}

#[test]
fn one_courier_gets_one_offer_at_a_time() {
    check(&[job(1, 0), job(2, 0)], &[idle(1, 2)], [(1, 1)]);
}

#[test]
fn of_two_jobs_for_one_courier_the_later_one_goes_first() {
    check(&[job(1, 0), job(2, -20)], &[idle(1, 2)], [(2, 1)]);
}

#[test]
fn a_courier_who_is_about_to_be_asked_for_a_near_job_does_no_far_one_first() {
    let near = Waiting {
        pickup: north(2),
        ..job(1, 7)
    };
    let far = Waiting {
        pickup: north(20),
        ..job(2, 0)
    };
    let plan = plan(&[near, far], &[idle(1, 0)]);
    assert_eq!(plan.offers, []);
    assert!(plan.again_at.is_some());
}

#[test]
fn a_courier_whose_near_job_is_long_ahead_does_another_first() {
    let near = Waiting {
        pickup: north(2),
        ..job(1, 14)
    };
    check(&[near, job(2, 0)], &[idle(1, 0)], [(2, 1)]);
}

#[test]
fn a_courier_on_the_way_to_the_counter_takes_a_second_bag_of_it() {
    let ready_by = later(noon(), minutes(2));
    let food_point = FoodPointId(Uuid::from_u128(1));
    let fetching = Doing::Fetching {
        food_point,
        ready_by,
        dropoff: north(-10),
    };
    let on_the_way = Available {
        doing: fetching,
        ..idle(1, 3)
    };
    check(&[job(1, 4)], std::slice::from_ref(&on_the_way), [(1, 1)]);
    let elsewhere = Waiting {
        food_point: FoodPointId(Uuid::from_u128(2)),
        ..job(1, 4)
    };
    check(&[elsewhere], std::slice::from_ref(&on_the_way), []);
    check(&[job(1, 8)], &[on_the_way], []);
}

#[test]
fn a_free_courier_goes_before_one_whose_other_customer_would_wait() {
    let food_point = FoodPointId(Uuid::from_u128(1));
    let fetching = Doing::Fetching {
        food_point,
        ready_by: noon(),
        dropoff: north(10),
    };
    let on_the_way = Available {
        doing: fetching,
        ..idle(1, 1)
    };
    check(&[job(1, 0)], &[on_the_way, idle(2, 5)], [(1, 2)]);
}

#[test]
fn a_courier_near_the_last_door_is_asked_before_one_who_is_far() {
    let bringing = Doing::Bringing { dropoff: north(1) };
    let almost_free = Available {
        doing: bringing,
        ..idle(1, 2)
    };
    check(&[job(1, 0)], &[almost_free.clone(), idle(2, 12)], [(1, 1)]);
    let offer = plan(&[job(1, 0)], &[almost_free]).offers.remove(0);
    // One minute to the door and one from there, at 320 m/min.
    assert!(
        (620..=660).contains(&offer.pickup_distance_m),
        "{}",
        offer.pickup_distance_m
    );
}

#[test]
fn who_passed_a_job_is_asked_again_only_when_there_is_nobody_else_and_not_at_once() {
    let passed = Waiting {
        passed: vec![courier(1)],
        ..job(1, 0)
    };
    check(std::slice::from_ref(&passed), &[idle(1, 1), idle(2, 9)], [(1, 2)]);
    let plan = plan(std::slice::from_ref(&passed), &[idle(1, 1)]);
    assert_eq!((plan.offers.len(), plan.again_at), (0, Some(later(noon(), minutes(1)))));
    let long_ago = Waiting {
        since: later(noon(), minutes(-2)),
        ..passed
    };
    check(&[long_ago], &[idle(1, 1)], [(1, 1)]);
}

#[test]
fn without_couriers_nothing_is_planned() {
    assert_eq!(plan(&[job(1, 0)], &[]), Plan::default());
}

#[test]
fn an_offer_says_who_else_was_there_and_why_they_were_not_asked() {
    let twice = Waiting {
        passed: vec![courier(1)],
        ..job(1, 0)
    };
    let couriers = [idle(1, 1), idle(2, 2), idle(3, 4), idle(4, 6), idle(5, 8), idle(6, 9)];
    let offers = plan(&[twice, job(2, 0)], &couriers).offers;
    let found: Vec<_> = offers
        .iter()
        .map(|offer| {
            let others = offer.considered.iter();
            let others: Vec<_> = others.map(|other| (other.courier, other.not_asked)).collect();
            (offer.delivery, offer.courier, others)
        })
        .collect();
    let slower = |number| (courier(number), NotAsked::Slower);
    assert_eq!(
        found,
        [
            (
                delivery(2),
                courier(1),
                vec![slower(2), slower(3), slower(4), slower(5)]
            ),
            (
                delivery(1),
                courier(2),
                vec![(courier(1), NotAsked::Passed), slower(3), slower(4), slower(5)]
            ),
        ]
    );
    let both = plan(&[job(1, 0), job(2, 0)], &couriers[..2]).offers;
    assert_eq!(both[1].considered[0].not_asked, NotAsked::Taken);
}
