//! From the first offer to the door. A decision may touch two streams: the delivery's, and that of the courier
//! who is asked, takes the job or loses it; both are stored together or not at all.

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::api::FailOutcome;
use mesh_contracts::courier::{Event as CourierEvent, ShiftEnd};
use mesh_contracts::delivery::{Considered, DropCause, Event, HandOverEnd};
use mesh_contracts::geo::Coordinates;
use mesh_contracts::id::{CourierId, DeliveryId, FoodPointId, OrderId, UserId};
use mesh_contracts::order::{Destination, Proof, Reason};
use mesh_contracts::view::courier::{Courier, Status as Shift};
use mesh_contracts::view::delivery::{Delivery, Offer, Status};
use mesh_eventstore::Effect;

use super::Rejection;
use super::policy::{Policy, later};

/// The offer has not been answered in time.
pub const OFFER_TIMER: &str = "offer";
/// The food is ready, the courier has the job, and nothing happens.
pub const PICK_UP_TIMER: &str = "pick_up";
/// The courier who is asked to go on with it has said nothing.
pub const HAND_OVER_TIMER: &str = "hand_over";

/// What a delivery's stream is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// order-master asks for a courier.
    Open {
        order: OrderId,
        customer: UserId,
        food_point: FoodPointId,
        pickup: Coordinates,
        destination: Destination,
        ready_by: Timestamp,
    },
    /// The kitchen called it.
    FoodReady,
    /// The order ended otherwise.
    Cancel,
    /// Ask a courier; `pickup_distance_m` is the whole way to the food, `considered` are some of the others.
    Offer {
        courier: CourierId,
        pickup_distance_m: u32,
        considered: Vec<Considered>,
    },
    /// The courier will.
    Accept { courier: CourierId },
    /// The courier won't.
    Decline { courier: CourierId },
    /// Nobody answered in time.
    Lapse,
    /// The courier who is asked has gone off shift.
    Withdraw { courier: CourierId },
    /// The courier gives the job back.
    Drop { courier: CourierId },
    /// The courier sent no position for too long.
    Silence { courier: CourierId },
    /// The food waited too long for the courier.
    NotPickedUp,
    /// The courier has it.
    PickUp { courier: CourierId },
    /// The courier handed it over; without proof if the PIN was wrong.
    Deliver { courier: CourierId, proof: Option<Proof> },
    /// It was not handed over at the door, came back, or is gone.
    Fail {
        courier: CourierId,
        reason: Reason,
        outcome: FailOutcome,
    },
    /// An operator asks another courier to go on with it.
    HandOver { to: CourierId },
    /// The other courier said nothing in time.
    HandOverLapse,
}

impl Command {
    /// What a deadline says when it passes.
    pub fn of_timer(kind: &str) -> Option<Self> {
        match kind {
            OFFER_TIMER => Some(Self::Lapse),
            PICK_UP_TIMER => Some(Self::NotPickedUp),
            HAND_OVER_TIMER => Some(Self::HandOverLapse),
            _ => None,
        }
    }

    /// The courier whose state the decision needs.
    pub fn party(&self, delivery: Option<&Delivery>) -> Option<CourierId> {
        match self {
            Self::HandOverLapse => None,
            Self::HandOver { to } => Some(*to),
            // Said again, it may be cooked elsewhere, and whoever has the job is off it.
            Self::Open { .. } => delivery.and_then(Delivery::active_courier),
            Self::FoodReady | Self::Cancel | Self::NotPickedUp => delivery.and_then(Delivery::active_courier),
            Self::Lapse => delivery.and_then(|delivery| delivery.offer).map(|offer| offer.courier),
            Self::Offer { courier, .. }
            | Self::Accept { courier }
            | Self::Decline { courier }
            | Self::Withdraw { courier }
            | Self::Drop { courier }
            | Self::Silence { courier }
            | Self::PickUp { courier }
            | Self::Deliver { courier, .. }
            | Self::Fail { courier, .. } => Some(*courier),
        }
    }

    /// The courier who loses the job to [`Self::party`], if that is what it comes to.
    pub fn former(&self, delivery: Option<&Delivery>) -> Option<CourierId> {
        match (self, delivery) {
            (Self::Accept { courier }, Some(delivery)) if delivery.invited() == Some(*courier) => delivery.courier,
            _ => None,
        }
    }
}

/// Events for the two streams.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// What happens to the delivery.
    pub delivery: Vec<Event>,
    /// What that means for the courier whom [`Command::party`] named.
    pub courier: Vec<CourierEvent>,
    /// And for the one whom [`Command::former`] named.
    pub former: Vec<CourierEvent>,
}

impl Decision {
    fn nothing() -> Self {
        Self::default()
    }

    fn alone(event: Event) -> Self {
        Self {
            delivery: vec![event],
            ..Self::default()
        }
    }

    fn both(event: Event, courier: CourierEvent) -> Self {
        Self {
            delivery: vec![event],
            courier: vec![courier],
            former: Vec::new(),
        }
    }
}

/// What happens. `courier` is the one whom [`Command::party`] names; deadlines and other masters are never refused:
/// what is too late for them changes nothing.
pub fn decide(
    delivery: Option<&Delivery>,
    courier: Option<&Courier>,
    command: Command,
    now: Timestamp,
    policy: &Policy,
) -> Result<Decision, Rejection> {
    let Some(delivery) = delivery else {
        return without_delivery(command, now, policy);
    };
    let id = delivery.order.delivery();
    match command {
        Command::Open {
            food_point,
            pickup,
            ready_by,
            ..
        } => Ok(moved(delivery, food_point, pickup, ready_by, now, policy)),
        Command::FoodReady => Ok(food_ready(delivery, courier, now, policy)),
        Command::Cancel => Ok(cancel(delivery, id)),
        Command::Offer {
            courier: asked,
            pickup_distance_m,
            considered,
        } => offer(delivery, courier, asked, pickup_distance_m, considered, now, policy),
        Command::Accept { courier: by } if delivery.invited() == Some(by) => taken_over(delivery, courier, by, policy),
        Command::Accept { courier: by } => {
            offered_to(delivery, by)?;
            accept(delivery, courier, by, now, policy)
        }
        Command::Decline { courier: by } if delivery.invited() == Some(by) => {
            Ok(Decision::alone(hand_over_ended(by, HandOverEnd::Declined)))
        }
        Command::Decline { courier: by } => {
            let offer = offered_to(delivery, by)?;
            let declined = Event::Declined {
                attempt: offer.attempt,
                courier: by,
            };
            Ok(Decision::both(declined, CourierEvent::OfferDeclined { delivery: id }))
        }
        Command::Lapse => Ok(lapse(delivery, courier, policy)),
        Command::Withdraw { courier: by } => Ok(match offered_to(delivery, by) {
            Ok(offer) => Decision::alone(Event::OfferLapsed {
                attempt: offer.attempt,
                courier: by,
            }),
            Err(_) => Decision::nothing(),
        }),
        Command::Drop { courier: by } => {
            held_by(delivery, by, &[Status::Assigned])?;
            Ok(drop_job(id, by, DropCause::Dropped))
        }
        Command::Silence { courier: by } => Ok(match held_by(delivery, by, &[Status::Assigned]) {
            Ok(()) => drop_job(id, by, DropCause::Silent),
            Err(_) => Decision::nothing(),
        }),
        Command::NotPickedUp => Ok(not_picked_up(delivery, id, now)),
        Command::PickUp { courier: by } => {
            held_by(delivery, by, &[Status::Assigned])?;
            pick_up(delivery, courier, by, now, policy)
        }
        Command::Deliver { courier: by, proof } => {
            held_by(delivery, by, &[Status::PickedUp, Status::Attempted])?;
            let delivered = Event::Delivered {
                courier: by,
                proof: proof.ok_or(Rejection::WrongPin)?,
            };
            Ok(Decision::both(delivered, CourierEvent::JobEnded { delivery: id }))
        }
        Command::Fail {
            courier: by,
            reason,
            outcome,
        } => fail(delivery, by, reason, outcome),
        Command::HandOver { to } => hand_over(delivery, courier, to, now, policy),
        Command::HandOverLapse => Ok(match delivery.invited() {
            Some(to) => Decision::alone(hand_over_ended(to, HandOverEnd::Lapsed)),
            None => Decision::nothing(),
        }),
    }
}

/// Timers, from the events that start and end what they watch.
pub fn react(event: &Event) -> Vec<Effect> {
    match event {
        Event::Offered { answer_by, .. } => vec![Effect::set(OFFER_TIMER, *answer_by)],
        Event::Declined { .. } | Event::OfferLapsed { .. } => vec![Effect::clear(OFFER_TIMER)],
        Event::Assigned { pick_up_by, .. } => {
            let mut effects = vec![Effect::clear(OFFER_TIMER)];
            effects.extend(pick_up_by.map(|due| Effect::set(PICK_UP_TIMER, due)));
            effects
        }
        Event::FoodReady { pick_up_by } => pick_up_by
            .map(|due| Effect::set(PICK_UP_TIMER, due))
            .into_iter()
            .collect(),
        Event::Dropped { .. } | Event::PickedUp { .. } => vec![Effect::clear(PICK_UP_TIMER)],
        Event::Moved { .. } => vec![Effect::clear(OFFER_TIMER), Effect::clear(PICK_UP_TIMER)],
        Event::HandOverOffered { answer_by, .. } => vec![Effect::set(HAND_OVER_TIMER, *answer_by)],
        Event::HandOverEnded { .. }
        | Event::HandedOver { .. }
        | Event::Returned { .. }
        | Event::Lost { .. }
        | Event::Delivered { .. } => vec![Effect::clear(HAND_OVER_TIMER)],
        Event::Cancelled { .. } => vec![
            Effect::clear(OFFER_TIMER),
            Effect::clear(PICK_UP_TIMER),
            Effect::clear(HAND_OVER_TIMER),
        ],
        Event::Opened { .. } | Event::Attempted { .. } => Vec::new(),
    }
}

fn without_delivery(command: Command, now: Timestamp, policy: &Policy) -> Result<Decision, Rejection> {
    match command {
        Command::Open {
            order,
            customer,
            food_point,
            pickup,
            destination,
            ready_by,
        } => {
            let offer_from = later(ready_by, -policy.offer_ahead).max(now);
            Ok(Decision::alone(Event::Opened {
                order,
                customer,
                food_point,
                pickup,
                destination,
                ready_by,
                offer_from,
            }))
        }
        // Pick-up orders have no delivery, and orders may end before they ask for one.
        Command::FoodReady | Command::Cancel => Ok(Decision::nothing()),
        Command::Lapse
        | Command::Withdraw { .. }
        | Command::Silence { .. }
        | Command::NotPickedUp
        | Command::HandOverLapse => Ok(Decision::nothing()),
        Command::Offer { .. }
        | Command::Accept { .. }
        | Command::Decline { .. }
        | Command::Drop { .. }
        | Command::PickUp { .. }
        | Command::Deliver { .. }
        | Command::Fail { .. }
        | Command::HandOver { .. } => Err(Rejection::NoSuchDelivery),
    }
}

fn food_ready(delivery: &Delivery, courier: Option<&Courier>, now: Timestamp, policy: &Policy) -> Decision {
    if delivery.food_ready || !delivery.status.is_open() {
        return Decision::nothing();
    }
    let taken_at = delivery.assigned_at.filter(|_| delivery.status == Status::Assigned);
    let pick_up_by = taken_at.map(|at| pick_up_by(delivery, courier, at, now, policy));
    Decision::alone(Event::FoodReady { pick_up_by })
}

/// The same order, cooked elsewhere. Once the food is ready it stays where it is; so a late word changes nothing.
fn moved(
    delivery: &Delivery,
    food_point: FoodPointId,
    pickup: Coordinates,
    ready_by: Timestamp,
    now: Timestamp,
    policy: &Policy,
) -> Decision {
    let may_move = match delivery.status {
        Status::Waiting | Status::Offered | Status::Assigned => !delivery.food_ready,
        Status::PickedUp
        | Status::Attempted
        | Status::Delivered
        | Status::Cancelled
        | Status::Returned
        | Status::Lost => false,
    };
    if !may_move || delivery.food_point == food_point {
        return Decision::nothing();
    }
    let moved = Event::Moved {
        food_point,
        pickup,
        ready_by,
        offer_from: later(ready_by, -policy.offer_ahead).max(now),
    };
    match delivery.active_courier() {
        Some(courier) => {
            let mut decision = drop_job(delivery.order.delivery(), courier, DropCause::Rerouted);
            decision.delivery.push(moved);
            decision
        }
        None => Decision::alone(moved),
    }
}

/// Row 17. Only after an attempt may food come back: the customer had the chance to take it. What is lost is lost.
fn fail(delivery: &Delivery, by: CourierId, reason: Reason, outcome: FailOutcome) -> Result<Decision, Rejection> {
    let id = delivery.order.delivery();
    match outcome {
        FailOutcome::Attempted => {
            held_by(delivery, by, &[Status::PickedUp])?;
            Ok(Decision::alone(Event::Attempted { courier: by, reason }))
        }
        FailOutcome::Returned => {
            held_by(delivery, by, &[Status::Attempted])?;
            let returned = Event::Returned { courier: by, reason };
            Ok(Decision::both(returned, CourierEvent::JobEnded { delivery: id }))
        }
        FailOutcome::Lost => {
            held_by(delivery, by, &[Status::PickedUp, Status::Attempted])?;
            let lost = Event::Lost { courier: by };
            Ok(Decision::both(lost, CourierEvent::JobEnded { delivery: id }))
        }
    }
}

/// Row 16: the first courier keeps it until the other one has said yes.
fn hand_over(
    delivery: &Delivery,
    courier: Option<&Courier>,
    to: CourierId,
    now: Timestamp,
    policy: &Policy,
) -> Result<Decision, Rejection> {
    let from = match delivery.status {
        Status::PickedUp | Status::Attempted => delivery.courier,
        Status::Waiting
        | Status::Offered
        | Status::Assigned
        | Status::Delivered
        | Status::Cancelled
        | Status::Returned
        | Status::Lost => None,
    };
    let from = from.ok_or(Rejection::WrongState(delivery.status))?;
    if from == to {
        return Err(Rejection::SameCourier);
    }
    may_take(courier, policy)?;
    let mut decision = Decision::nothing();
    let replaced = delivery.invited().filter(|asked| *asked != to);
    decision
        .delivery
        .extend(replaced.map(|asked| hand_over_ended(asked, HandOverEnd::Replaced)));
    decision.delivery.push(Event::HandOverOffered {
        from,
        to,
        answer_by: later(now, policy.hand_over_within),
    });
    Ok(decision)
}

fn taken_over(
    delivery: &Delivery,
    courier: Option<&Courier>,
    to: CourierId,
    policy: &Policy,
) -> Result<Decision, Rejection> {
    may_take(courier, policy)?;
    let from = delivery.courier.ok_or(Rejection::WrongState(delivery.status))?;
    let id = delivery.order.delivery();
    Ok(Decision {
        delivery: vec![Event::HandedOver { from, to }],
        courier: vec![CourierEvent::JobTaken { delivery: id }],
        former: vec![CourierEvent::JobEnded { delivery: id }],
    })
}

fn hand_over_ended(to: CourierId, cause: HandOverEnd) -> Event {
    Event::HandOverEnded { to, cause }
}

/// From when the food is ready and the courier, who took the job at `taken_at`, could be there.
fn pick_up_by(
    delivery: &Delivery,
    courier: Option<&Courier>,
    taken_at: Timestamp,
    now: Timestamp,
    policy: &Policy,
) -> Timestamp {
    let way = policy.travel(delivery.pickup_distance_m, speed(courier, policy));
    later(later(taken_at, way).max(now), policy.pick_up_within)
}

fn cancel(delivery: &Delivery, id: DeliveryId) -> Decision {
    if !delivery.status.is_open() {
        return Decision::nothing();
    }
    match delivery.active_courier() {
        Some(courier) => Decision::both(
            Event::Cancelled { courier: Some(courier) },
            CourierEvent::JobEnded { delivery: id },
        ),
        None => Decision::alone(Event::Cancelled { courier: None }),
    }
}

fn offer(
    delivery: &Delivery,
    courier: Option<&Courier>,
    asked: CourierId,
    pickup_distance_m: u32,
    considered: Vec<Considered>,
    now: Timestamp,
    policy: &Policy,
) -> Result<Decision, Rejection> {
    if delivery.status != Status::Waiting {
        return Err(Rejection::WrongState(delivery.status));
    }
    may_take(courier, policy)?;
    Ok(Decision::alone(Event::Offered {
        attempt: delivery.attempt + 1,
        courier: asked,
        pickup_distance_m,
        answer_by: later(now, policy.answer_within),
        considered,
    }))
}

fn accept(
    delivery: &Delivery,
    courier: Option<&Courier>,
    by: CourierId,
    now: Timestamp,
    policy: &Policy,
) -> Result<Decision, Rejection> {
    may_take(courier, policy)?;
    let pick_up_by = delivery
        .food_ready
        .then(|| pick_up_by(delivery, courier, now, now, policy));
    Ok(Decision::both(
        Event::Assigned {
            courier: by,
            pick_up_by,
        },
        CourierEvent::JobTaken {
            delivery: delivery.order.delivery(),
        },
    ))
}

fn may_take(courier: Option<&Courier>, policy: &Policy) -> Result<(), Rejection> {
    let courier = courier.ok_or(Rejection::NoSuchCourier)?;
    if courier.status != Shift::On {
        return Err(Rejection::OffShift);
    }
    if courier.jobs.len() >= policy.jobs_max {
        return Err(Rejection::TooManyJobs);
    }
    Ok(())
}

fn lapse(delivery: &Delivery, courier: Option<&Courier>, policy: &Policy) -> Decision {
    let Some(offer) = delivery.offer else {
        return Decision::nothing();
    };
    let mut decision = Decision::both(
        Event::OfferLapsed {
            attempt: offer.attempt,
            courier: offer.courier,
        },
        CourierEvent::OfferMissed {
            delivery: delivery.order.delivery(),
        },
    );
    let gone = courier.is_some_and(|courier| courier.status == Shift::On && courier.misses + 1 >= policy.misses_max);
    if gone {
        decision.courier.push(CourierEvent::ShiftEnded {
            reason: ShiftEnd::MissedOffers,
        });
    }
    decision
}

fn drop_job(delivery: DeliveryId, courier: CourierId, cause: DropCause) -> Decision {
    Decision::both(Event::Dropped { courier, cause }, CourierEvent::JobEnded { delivery })
}

fn not_picked_up(delivery: &Delivery, id: DeliveryId, now: Timestamp) -> Decision {
    let overdue = delivery.pick_up_by.is_some_and(|due| due <= now);
    match delivery
        .courier
        .filter(|_| overdue && delivery.status == Status::Assigned)
    {
        Some(courier) => drop_job(id, courier, DropCause::NotPickedUp),
        None => Decision::nothing(),
    }
}

fn pick_up(
    delivery: &Delivery,
    courier: Option<&Courier>,
    by: CourierId,
    now: Timestamp,
    policy: &Policy,
) -> Result<Decision, Rejection> {
    if !delivery.food_ready {
        return Err(Rejection::NotReady);
    }
    let distance_m = delivery.pickup.distance_m(delivery.destination.place.at);
    let way: SignedDuration = policy.travel(distance_m, speed(courier, policy));
    let eta = later(later(now, way), policy.service);
    Ok(Decision::alone(Event::PickedUp { courier: by, eta }))
}

fn speed(courier: Option<&Courier>, policy: &Policy) -> u32 {
    courier
        .map(|courier| courier.speed_m_per_min)
        .filter(|speed| *speed > 0)
        .unwrap_or(policy.speed_m_per_min)
}

/// The open offer, if it is this courier's.
fn offered_to(delivery: &Delivery, courier: CourierId) -> Result<Offer, Rejection> {
    match delivery.offer.filter(|offer| offer.courier == courier) {
        Some(offer) => Ok(offer),
        None => Err(refusal(delivery, courier)),
    }
}

fn held_by(delivery: &Delivery, courier: CourierId, allowed: &[Status]) -> Result<(), Rejection> {
    if delivery.courier == Some(courier) && allowed.contains(&delivery.status) {
        Ok(())
    } else {
        Err(refusal(delivery, courier))
    }
}

/// Whether the courier was ever asked, and so may know where it stands.
pub fn concerns(delivery: &Delivery, courier: CourierId) -> bool {
    delivery.courier == Some(courier)
        || delivery.invited() == Some(courier)
        || delivery.offer.is_some_and(|offer| offer.courier == courier)
        || delivery.passed.contains(&courier)
}

/// For everyone else there is none.
fn refusal(delivery: &Delivery, courier: CourierId) -> Rejection {
    if concerns(delivery, courier) {
        Rejection::WrongState(delivery.status)
    } else {
        Rejection::NoSuchDelivery
    }
}
