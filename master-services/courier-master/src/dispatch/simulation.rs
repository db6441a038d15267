//! A day of orders and couriers against the dispatcher, without streams and clocks: what its choices cost in minutes.

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::geo::Coordinates;
use mesh_contracts::id::{CourierId, DeliveryId, FoodPointId};
use uuid::Uuid;

use super::{Available, Doing, Waiting, assign};
use crate::domain::{Policy, later};

/// How often the dispatcher looks.
const STEP_S: i64 = 10;

pub struct Order {
    pub placed_s: i64,
    pub ready_s: i64,
    pub food_point: u128,
    pub pickup: (i32, i32),
    pub dropoff: (i32, i32),
}

pub struct Shift {
    pub from_s: i64,
    pub until_s: i64,
    pub start: (i32, i32),
}

/// What came of the day, in minutes.
#[derive(Debug)]
pub struct Day {
    pub delivered: usize,
    pub click_to_door_mean: f64,
    /// Of a courier who always stands at the counter.
    pub lower_bound_mean: f64,
    pub ready_to_pickup_mean: f64,
    pub ready_to_pickup_max: f64,
}

struct Rider {
    at: (i32, i32),
    from_s: i64,
    until_s: i64,
    /// Where the rider goes next, and since when.
    jobs: Vec<Job>,
    moved_s: i64,
    busy_until_s: i64,
}

struct Job {
    order: usize,
    picked_up: bool,
}

/// Plays the day; `speed` in metres per minute, places in metres.
pub fn play(orders: &[Order], shifts: &[Shift], speed: u32) -> Day {
    let policy = Policy::default();
    let mut riders: Vec<Rider> = shifts
        .iter()
        .map(|shift| Rider {
            at: shift.start,
            from_s: shift.from_s,
            until_s: shift.until_s,
            jobs: Vec::new(),
            moved_s: shift.from_s,
            busy_until_s: 0,
        })
        .collect();
    let mut waiting: Vec<usize> = Vec::new();
    let mut by_time: Vec<usize> = (0..orders.len()).collect();
    by_time.sort_by_key(|order| -orders[*order].placed_s);
    let (mut pickups, mut doors) = (vec![0; orders.len()], vec![0; orders.len()]);
    let last_s = orders.iter().map(|order| order.ready_s).max().unwrap_or(0) + 6 * 3600;
    let mut now_s = 0;
    while now_s < last_s {
        while by_time.last().is_some_and(|order| orders[*order].placed_s <= now_s) {
            waiting.extend(by_time.pop());
        }
        for rider in &mut riders {
            ride(rider, orders, speed, now_s, &policy, &mut pickups, &mut doors);
        }
        let jobs: Vec<Waiting> = waiting.iter().map(|order| wanted(*order, &orders[*order])).collect();
        let free: Vec<Available> = riders
            .iter()
            .enumerate()
            .filter(|(_, rider)| (rider.from_s..rider.until_s).contains(&now_s) && rider.jobs.len() < policy.jobs_max)
            .filter_map(|(number, rider)| available(number, rider, orders, speed))
            .collect();
        for offer in assign(&jobs, &free, at(now_s), &policy).offers {
            let order = offer.delivery.uuid().as_u128() as usize;
            let rider = &mut riders[offer.courier.uuid().as_u128() as usize];
            rider.jobs.push(Job {
                order,
                picked_up: false,
            });
            rider.moved_s = rider.moved_s.max(now_s);
            waiting.retain(|known| *known != order);
        }
        now_s += STEP_S;
    }
    summary(orders, speed, &pickups, &doors)
}

fn ride(
    rider: &mut Rider,
    orders: &[Order],
    speed: u32,
    now_s: i64,
    policy: &Policy,
    pickups: &mut [i64],
    doors: &mut [i64],
) {
    while rider.busy_until_s <= now_s && !rider.jobs.is_empty() {
        let mut time_s = rider.moved_s.max(rider.busy_until_s);
        let fetch = rider.jobs.iter().position(|job| !job.picked_up).filter(|_| {
            // Whoever has food on the bike brings it first, unless the next is of the same counter.
            rider.jobs.iter().all(|job| !job.picked_up)
                || rider
                    .jobs
                    .iter()
                    .any(|job| job.picked_up && orders[job.order].pickup == rider.at)
        });
        let target = match fetch {
            Some(index) => orders[rider.jobs[index].order].pickup,
            None => {
                let nearest = rider.jobs.iter().filter(|job| job.picked_up);
                let nearest = nearest.min_by_key(|job| distance(rider.at, orders[job.order].dropoff));
                orders[nearest.expect("something is on the bike").order].dropoff
            }
        };
        let need_s = (f64::from(distance(rider.at, target)) * 60.0 / f64::from(speed)).ceil() as i64;
        if time_s + need_s > now_s {
            let part = (now_s - time_s) as f64 / need_s.max(1) as f64;
            if part > 0.0 {
                let go = |from: i32, to: i32| from + (f64::from(to - from) * part) as i32;
                rider.at = (go(rider.at.0, target.0), go(rider.at.1, target.1));
                rider.moved_s = now_s;
            }
            return;
        }
        time_s += need_s;
        rider.at = target;
        if let Some(index) = fetch {
            let order = rider.jobs[index].order;
            let out_s = time_s.max(orders[order].ready_s);
            if out_s > now_s {
                // Waits at the counter.
                rider.moved_s = time_s;
                return;
            }
            pickups[order] = out_s;
            rider.jobs[index].picked_up = true;
            rider.moved_s = out_s;
        } else {
            let index = rider
                .jobs
                .iter()
                .position(|job| job.picked_up && orders[job.order].dropoff == target);
            let job = rider.jobs.remove(index.expect("it was just brought"));
            doors[job.order] = time_s + policy.service.as_secs();
            rider.moved_s = doors[job.order];
            rider.busy_until_s = doors[job.order];
        }
    }
    if rider.jobs.is_empty() {
        rider.moved_s = now_s;
    }
}

fn wanted(number: usize, order: &Order) -> Waiting {
    Waiting {
        delivery: DeliveryId(Uuid::from_u128(number as u128)),
        food_point: FoodPointId(Uuid::from_u128(order.food_point)),
        pickup: place(order.pickup),
        dropoff: place(order.dropoff),
        ready_by: at(order.ready_s),
        since: at(order.placed_s),
        passed: Vec::new(),
    }
}

fn available(number: usize, rider: &Rider, orders: &[Order], speed: u32) -> Option<Available> {
    let doing = match rider.jobs.iter().min_by_key(|job| job.picked_up) {
        None => Doing::Idle,
        Some(job) => {
            let order = &orders[job.order];
            let dropoff = place(order.dropoff);
            if job.picked_up {
                Doing::Bringing { dropoff }
            } else {
                let food_point = FoodPointId(Uuid::from_u128(order.food_point));
                Doing::Fetching {
                    food_point,
                    ready_by: at(order.ready_s),
                    dropoff,
                }
            }
        }
    };
    let courier = CourierId(Uuid::from_u128(number as u128));
    Some(Available {
        courier,
        speed_m_per_min: speed,
        doing,
        at: place(rider.at),
    })
}

fn summary(orders: &[Order], speed: u32, pickups: &[i64], doors: &[i64]) -> Day {
    let policy = Policy::default();
    let minutes = |seconds: i64| seconds as f64 / 60.0;
    let done: Vec<usize> = (0..orders.len()).filter(|order| doors[*order] > 0).collect();
    let mean = |of: &dyn Fn(usize) -> i64| done.iter().map(|o| minutes(of(*o))).sum::<f64>() / done.len().max(1) as f64;
    let way_s = |order: &Order| i64::from(distance(order.pickup, order.dropoff)) * 60 / i64::from(speed);
    Day {
        delivered: done.len(),
        click_to_door_mean: mean(&|order| doors[order] - orders[order].placed_s),
        lower_bound_mean: mean(&|order| {
            orders[order].ready_s - orders[order].placed_s + way_s(&orders[order]) + policy.service.as_secs()
        }),
        ready_to_pickup_mean: mean(&|order| pickups[order] - orders[order].ready_s),
        ready_to_pickup_max: done
            .iter()
            .map(|o| minutes(pickups[*o] - orders[*o].ready_s))
            .fold(0.0, f64::max),
    }
}

fn at(seconds: i64) -> Timestamp {
    later(Timestamp::UNIX_EPOCH, SignedDuration::from_secs(seconds))
}

/// Metres on a flat map near the equator, where a degree is the same both ways.
fn place((x_m, y_m): (i32, i32)) -> Coordinates {
    let e6 = |metres: i32| (f64::from(metres) * 1e6 / 111_195.0).round() as i32;
    Coordinates::new(e6(y_m), e6(x_m)).expect("a city is small")
}

fn distance(from: (i32, i32), to: (i32, i32)) -> i32 {
    f64::from(from.0 - to.0).hypot(f64::from(from.1 - to.1)).round() as i32
}

/// A generator of its own, so that the day is the same on every machine and for ever.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: i64) -> i64 {
        // Knuth's MMIX constants; the high bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % end.unsigned_abs()).cast_signed()
    }

    fn place(&mut self) -> (i32, i32) {
        (self.below(6_000) as i32, self.below(6_000) as i32)
    }
}

/// Two hours of dinner in a town of six kilometres: 150 orders of 12 counters, 30 couriers.
fn dinner() -> (Vec<Order>, Vec<Shift>) {
    let mut dice = Dice(7);
    let counters: Vec<(i32, i32)> = (0..12).map(|_| dice.place()).collect();
    let orders = (0..150).map(|_| {
        let counter = dice.below(12);
        let placed_s = 3_600 + dice.below(7_200);
        Order {
            placed_s,
            ready_s: placed_s + 600 + dice.below(900),
            food_point: counter.unsigned_abs().into(),
            pickup: counters[counter as usize],
            dropoff: dice.place(),
        }
    });
    let orders = orders.collect();
    let shifts = (0..30).map(|_| Shift {
        from_s: dice.below(3_600),
        until_s: 4 * 3_600,
        start: dice.place(),
    });
    (orders, shifts.collect())
}

#[test]
fn a_busy_dinner_is_brought_in_time() {
    let (orders, shifts) = dinner();
    let day = play(&orders, &shifts, 320);
    assert_eq!(day.delivered, orders.len(), "{day:?}");
    assert!(day.ready_to_pickup_mean < 2.0, "{day:?}");
    assert!(day.ready_to_pickup_max < 15.0, "{day:?}");
    assert!(day.click_to_door_mean < day.lower_bound_mean + 2.5, "{day:?}");
}

#[test]
fn with_half_the_couriers_everything_is_late_and_nothing_is_forgotten() {
    let (orders, shifts) = dinner();
    let day = play(&orders, &shifts[..15], 320);
    assert_eq!(day.delivered, orders.len(), "{day:?}");
    assert!(day.ready_to_pickup_max < 80.0, "{day:?}");
}
